#include "fs/uring_inner.h"

#include <errno.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/loop.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/base/processor.h"

static _Thread_local struct entry *current;
static _Thread_local bool answered; /* current was, by this thread */

/* A thread without a ring would leave callers waiting: the mount ends. */
static void give_up(struct line *l, int error)
{
	l->over = true;
	log_error("event=uring error=\"%s\" effect=\"the mount ends\"", strerror(error));
	loop_stop(l->u->o);
}

/* ---- submissions, by the line's own thread ---- */

static struct io_uring_sqe *next_sqe(struct line *l)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&l->ring);
	if (!sqe && io_uring_submit(&l->ring) >= 0)
		sqe = io_uring_get_sqe(&l->ring);
	return sqe;
}

static void submit_entry(struct entry *e, uint32_t op)
{
	struct line *l = e->line;
	struct io_uring_sqe *sqe = next_sqe(l);
	if (!sqe) {
		give_up(l, ENOSPC);
		return;
	}
	memset(sqe, 0, sizeof(*sqe) + 64); /* IORING_SETUP_SQE128 */
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fuse_session_fd(l->u->o->se);
	sqe->cmd_op = op;
	sqe->user_data = (uintptr_t)e;
	struct ring_cmd cmd = {.queue = (uint16_t)l->cpu,
			       .commit_id = op == CMD_REGISTER ? 0 : e->commit_id};
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
	if (op == CMD_REGISTER) {
		sqe->addr = (uintptr_t)e->iov;
		sqe->len = 2;
	}
	l->free++;
}

static void arm_wake(struct line *l)
{
	struct io_uring_sqe *sqe = next_sqe(l);
	if (!sqe) {
		give_up(l, ENOSPC);
		return;
	}
	io_uring_prep_poll_add(sqe, l->wake, POLLIN);
	sqe->user_data = 0;
}

static int add_entry(struct line *l)
{
	struct entry *e = calloc(1, sizeof(*e));
	size_t size = 2 * PAGE + l->u->payload;
	char *mem =
		!e ? MAP_FAILED
		   : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED) {
		free(e);
		return -ENOMEM;
	}
	e->line = l;
	e->head = (struct ring_head *)(void *)mem;
	e->payload = mem + 2 * PAGE;
	e->iov[0] = (struct iovec){.iov_base = e->head, .iov_len = sizeof(*e->head)};
	e->iov[1] = (struct iovec){.iov_base = e->payload, .iov_len = l->u->payload};
	e->next = l->entries;
	l->entries = e;
	submit_entry(e, CMD_REGISTER);
	return 0;
}

static void commit_done(struct line *l)
{
	pthread_mutex_lock(&l->lock);
	struct entry *e = l->done;
	l->done = NULL;
	pthread_mutex_unlock(&l->lock);
	while (e) {
		struct entry *next = e->next_done;
		submit_entry(e, CMD_COMMIT_AND_FETCH);
		e = next;
	}
}

/* ---- answers, by any thread ---- */

static void fill(struct entry *e, const struct iovec *iov, int count)
{
	size_t len = 0;
	memcpy(e->head->in_out, iov[0].iov_base, sizeof(struct fuse_out_header));
	for (int i = 1; i < count; i++) {
		if (iov[i].iov_base != e->payload + len)
			memcpy(e->payload + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	e->head->entry.payload_size = (uint32_t)len;
	e->unique = 0;
}

void line_wake(struct line *l)
{
	eventfd_write(l->wake, 1);
}

struct entry *line_entry_of(struct uring *u, uint64_t unique)
{
	if (current && current->unique == unique)
		return current;
	for (unsigned i = 0; i < u->n; i++)
		for (struct entry *e = u->lines[i].entries; e; e = e->next)
			if (e->unique == unique)
				return e;
	return NULL;
}

/* To the thread whose ring has it. */
static void give_back(struct entry *e)
{
	struct line *l = e->line;
	pthread_mutex_lock(&l->lock);
	e->next_done = l->done;
	l->done = e;
	pthread_mutex_unlock(&l->lock);
	line_wake(l);
}

static bool fits(const struct uring *u, const struct iovec *iov, int count)
{
	size_t len = 0;
	for (int i = 1; i < count; i++)
		len += iov[i].iov_len;
	return len <= u->payload;
}

ssize_t line_answer(struct entry *e, struct iovec *iov, int count)
{
	struct line *l = e->line;
	struct fuse_out_header *out = iov[0].iov_base;
	ssize_t len = out->len;
	if (!fits(l->u, iov, count)) {
		out->error = -EIO;
		count = 1;
	}
	fill(e, iov, count);
	if (e == current) {
		answered = true;
		return len;
	}
	give_back(e);
	return len;
}

char *uring_answer_buffer(size_t size)
{
	return current && size <= current->line->u->payload ? current->payload : NULL;
}

/* ---- requests ---- */

/* The request as /dev/fuse would have given it: header, arguments and data in one piece. */
static bool put_together(struct entry *e, struct fuse_buf *buf)
{
	const struct fuse_in_header *in = (const void *)e->head->in_out;
	size_t data = e->head->entry.payload_size;
	if (data > e->line->u->payload || in->len < sizeof(*in) + data ||
	    in->len - sizeof(*in) - data > sizeof(e->head->op_in))
		return false;
	size_t args = in->len - sizeof(*in) - data;
	char *start = e->payload - args - sizeof(*in);
	memcpy(start, in, sizeof(*in));
	memcpy(start + sizeof(*in), e->head->op_in, args);
	*buf = (struct fuse_buf){.mem = start, .size = in->len};
	return true;
}

static void refuse(struct entry *e, uint64_t unique, int error)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = error, .unique = unique};
	struct iovec iov = {.iov_base = &out, .iov_len = sizeof(out)};
	fill(e, &iov, 1);
	answered = true;
}

/* True when its answer is there; false when somebody gives it later, or did so meanwhile: then e may have another
 * request already. */
static bool serve(struct entry *e)
{
	struct uring *u = e->line->u;
	const unsigned cpu = e->line->cpu;
	const struct fuse_in_header *in = (const void *)e->head->in_out;
	struct fuse_buf buf;
	uint64_t unique = in->unique;
	e->commit_id = e->head->entry.commit_id;
	answered = false;
	e->unique = unique;
	u->serving++;
	if (u->refusing) {
		refuse(e, unique, -ENOTCONN);
	} else if (!put_together(e, &buf)) {
		refuse(e, unique, -EIO);
	} else {
		if (fds_over(u->o->fds))
			loop_catch_up(u->o);
		current = e;
		loop_note(u->o, buf.mem, buf.size);
		fuse_session_process_buf(u->o->se, &buf);
		current = NULL;
	}
	if (!answered)
		u->held[cpu]++;
	u->serving--;
	return answered;
}

static void serve_here(struct line *l, struct entry *e)
{
	if (serve(e)) {
		submit_entry(e, CMD_COMMIT_AND_FETCH);
		return;
	}
	if (l->free)
		return;
	if (add_entry(l) < 0)
		log_error("event=uring error=\"no memory for a buffer\" effect=\"a thread less\"");
	else
		l->grown = true;
}

/* What is registered is there for the kernel before the kicker's request comes. */
static void say_grown(struct line *l)
{
	l->grown = false;
	io_uring_submit(&l->ring);
	if (!atomic_exchange(&l->u->has_grown[l->cpu], true))
		sem_post(&l->u->grown);
}

static void take(struct line *l, struct entry *e, int res)
{
	if (!e) {
		eventfd_t count;
		eventfd_read(l->wake, &count);
		arm_wake(l);
		return;
	}
	l->free--;
	if (res == 0) {
		serve_here(l, e);
	} else if (res == -EAGAIN || res == -EINTR) {
		submit_entry(e, e->commit_id ? CMD_COMMIT_AND_FETCH : CMD_REGISTER);
	} else {
		l->over = true; /* unmounted */
		if (res != -ENOTCONN && res != -ECANCELED && res != -ENODEV)
			give_up(l, -res);
	}
}

static void *work(void *arg)
{
	struct line *l = arg;
	(void)processor_keep(l->cpu); /* one that may not run there is only slower */
	while (sem_wait(&l->u->begin) < 0)
		;
	if (l->u->end)
		return NULL;
	if (add_entry(l) < 0)
		give_up(l, ENOMEM);
	arm_wake(l);
	while (!l->over && !l->u->end) {
		struct io_uring_cqe *cqe = NULL;
		commit_done(l);
		int rc = io_uring_submit_and_wait(&l->ring, 1);
		if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
			give_up(l, -rc);
		while (!l->over && io_uring_peek_cqe(&l->ring, &cqe) == 0) {
			struct entry *e = io_uring_cqe_get_data(cqe);
			int res = cqe->res;
			io_uring_cqe_seen(&l->ring, cqe);
			take(l, e, res);
		}
		if (l->grown)
			say_grown(l);
	}
	commit_done(l);
	io_uring_submit(&l->ring);
	read_thread_end();
	return NULL;
}

/* ---- begin and end ---- */

int line_start(struct uring *u, unsigned i)
{
	struct line *l = &u->lines[i];
	l->u = u;
	l->cpu = i / u->each;
	pthread_mutex_init(&l->lock, NULL);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->wake < 0)
		return -errno;
	struct io_uring_params p = {.flags = IORING_SETUP_SQE128};
	int rc = io_uring_queue_init_params(SQ_ENTRIES, &l->ring, &p);
	if (rc < 0)
		return rc;
	l->ringed = true;
	rc = pthread_create(&l->thread, NULL, work, l);
	l->started = rc == 0;
	return -rc;
}

void line_free(struct line *l)
{
	if (l->started)
		pthread_join(l->thread, NULL);
	if (l->ringed)
		io_uring_queue_exit(&l->ring);
	for (struct entry *e = l->entries, *next = NULL; e; e = next) {
		next = e->next;
		munmap(e->head, 2 * PAGE + l->u->payload);
		free(e);
	}
	closep(&l->wake);
	pthread_mutex_destroy(&l->lock);
}
