#include "fs/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fs/awake.h"
#include "fs/estate.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/base/spin.h"

/* Of newer kernels than the headers that we may be built with. */
#define UNIQUE_RESEND ((uint64_t)1 << 63)
#define FLAGS2_HAS_RESEND ((uint32_t)1 << 7)
#define NOTIFY_RESEND 7

enum {
	GATHER_US = 2000, /* FORGETs are gathered this long where nothing else comes here */
	WATCH_MS = 1,     /* how often the watch looks while requests come */
	WATCH_IDLE = 20,  /* looks without a request after which it sleeps, too */
};

/*
 * Where the token is. FREE: one post of `token` is on its way to a waiting thread. READING: a thread
 * waits for a request. ALONE: a thread serves a request and means to read again.
 */
enum { FREE, READING, ALONE };

struct loop {
	struct overlay *o;
	int fd;           /* borrowed from the session */
	sem_t token;      /* posted to hand it over */
	sem_t wake_watch; /* posted when requests come again */
	_Atomic int state;
	_Atomic uint64_t served; /* requests received: how the watch sees that time passes on one */
	_Atomic bool watching, stop;
	unsigned n;
	pthread_t *threads; /* owned */
};

static _Thread_local uint64_t in_hand;

uint64_t loop_unique(bool *again)
{
	if (again)
		*again = in_hand & UNIQUE_RESEND;
	return in_hand & ~UNIQUE_RESEND;
}

/* The kernel says it once; a successor has to hear it, too. */
static void keep_init(struct estate *es, const void *request, size_t len)
{
	const struct fuse_in_header *in = request;
	const struct fuse_init_in *init = (const void *)(in + 1);
	if (len > sizeof(es->init) || len < sizeof(*in) + sizeof(*init))
		return;
	memcpy(es->init, request, len);
	es->resend = es->resend && init->flags & FUSE_INIT_EXT && init->flags2 & FLAGS2_HAS_RESEND;
	es->init_len = (uint32_t)len;
}

void loop_note(struct overlay *o, const void *request, size_t len)
{
	const struct fuse_in_header *in = request;
	if (len < sizeof(*in))
		return;
	in_hand = in->unique;
	if (in->opcode < ESTATE_OPCODES)
		atomic_fetch_add_explicit(&o->estate->requests[in->opcode], 1,
					  memory_order_relaxed);
	if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET)
		awake_note(o->awake);
	if (in->opcode == FUSE_INIT)
		keep_init(o->estate, request, len);
	if (in->opcode != FUSE_WRITE || in->nodeid & CONTROL_BIT)
		return;
	struct node *n = node_get(o->nodes, in->nodeid);
	if (n)
		n->changing++; /* change.c takes it back when the write is done */
}

/* Served sooner than another thread is woken. */
static bool is_quick(const struct fuse_buf *buf)
{
	const struct fuse_in_header *in = buf->mem;
	return in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET ||
	       in->opcode == FUSE_GETATTR || in->opcode == FUSE_RELEASE ||
	       in->opcode == FUSE_INTERRUPT;
}

static bool more_to_read(const struct loop *l)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	return poll(&p, 1, 0) > 0;
}

static void sleep_until_more(const struct loop *l)
{
	struct pollfd p[2] = {{.fd = l->fd, .events = POLLIN},
			      {.fd = l->o->stop_fd, .events = POLLIN}};
	poll(p, 2, -1);
	if (l->o->uring && l->o->initialized)
		usleep(GATHER_US);
}

/* Next request into buf: its length; 0 when the session is over. */
static int receive(struct loop *l, struct fuse_buf *buf)
{
	struct fuse_session *se = l->o->se;
	struct spin spin = spin_begin();
	while (!l->o->stopping && !fuse_session_exited(se)) {
		int len = fuse_session_receive_buf(se, buf);
		if (len == -EINTR)
			continue;
		if (len != -EAGAIN)
			return len > 0 ? len : 0;
		if (!l->o->uring && spin_more(&spin)) /* nobody waits for a FORGET */
			continue;
		l->o->estate->drained = l->o->estate->servers;
		sleep_until_more(l);
		spin = spin_begin();
	}
	return 0;
}

void loop_catch_up(struct overlay *o)
{
	struct fuse_buf buf = {0};
	while (!o->stopping && fuse_session_receive_buf(o->se, &buf) > 0) {
		loop_note(o, buf.mem, buf.size);
		fuse_session_process_buf(o->se, &buf);
	}
	free(buf.mem);
}

static void give_token(struct loop *l)
{
	l->state = FREE;
	sem_post(&l->token);
}

/* Reads and serves one request; the token is held. False: no token any more. */
static bool serve_one(struct loop *l, struct fuse_buf *buf, bool *ended)
{
	int len = receive(l, buf);
	*ended = len == 0;
	if (*ended)
		return true;
	loop_note(l->o, buf->mem, (size_t)len);
	l->served++;
	if (!l->o->uring && !l->watching && !atomic_exchange(&l->watching, true))
		sem_post(&l->wake_watch);
	bool keep = is_quick(buf) || !more_to_read(l);
	if (keep)
		l->state = ALONE;
	else
		give_token(l);
	fuse_session_process_buf(l->o->se, buf);
	if (!l->o->initialized)
		l->o->initialized = true; /* the first one is INIT */
	int alone = ALONE;
	return keep && atomic_compare_exchange_strong(&l->state, &alone, READING);
}

static void *work(void *arg)
{
	struct loop *l = arg;
	struct fuse_buf buf = {0};
	bool ended = false;
	while (!ended) {
		while (sem_wait(&l->token) < 0)
			;
		l->state = READING;
		while (serve_one(l, &buf, &ended) && !ended)
			;
	}
	give_token(l); /* everybody is told in turn that it is over */
	free(buf.mem);
	read_thread_end();
	return NULL;
}

/* Takes the token from a thread whose request takes long. */
static void *watch(void *arg)
{
	struct loop *l = arg;
	uint64_t before = 0;
	unsigned idle = 0;
	while (!l->stop) {
		usleep(WATCH_MS * 1000);
		int alone = ALONE;
		uint64_t now = l->served;
		idle = now == before ? idle + 1 : 0;
		if (idle && l->o->initialized && /* INIT is served alone */
		    atomic_compare_exchange_strong(&l->state, &alone, FREE))
			sem_post(&l->token);
		before = now;
		if (idle < WATCH_IDLE || l->state == ALONE)
			continue;
		l->watching = false;
		while (sem_wait(&l->wake_watch) < 0)
			;
		idle = 0;
	}
	return NULL;
}

static void run_threads(struct loop *l, unsigned n)
{
	pthread_t watcher;
	bool watched = pthread_create(&watcher, NULL, watch, l) == 0;
	if (!watched)
		log_warn("event=start error=\"no thread to watch for slow requests: %m\"");
	for (l->n = 0; l->n < n; l->n++)
		if (pthread_create(&l->threads[l->n], NULL, work, l) != 0)
			break;
	give_token(l);
	for (unsigned i = 0; i < l->n; i++)
		pthread_join(l->threads[i], NULL);
	l->stop = true;
	sem_post(&l->wake_watch);
	if (watched)
		pthread_join(watcher, NULL);
}

int loop_run(struct overlay *o, unsigned n)
{
	struct loop l = {
		.o = o,
		.fd = fuse_session_fd(o->se),
		.threads = calloc(n, sizeof(pthread_t)),
	};
	if (!l.threads)
		return -ENOMEM;
	fcntl(l.fd, F_SETFL, fcntl(l.fd, F_GETFL) | O_NONBLOCK);
	sem_init(&l.token, 0, 0);
	sem_init(&l.wake_watch, 0, 0);
	run_threads(&l, n);
	int rc = l.n ? 0 : -EAGAIN;
	sem_destroy(&l.token);
	sem_destroy(&l.wake_watch);
	free(l.threads);
	return rc;
}

int loop_resend(struct overlay *o)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = NOTIFY_RESEND};
	return write(fuse_session_fd(o->se), &out, sizeof(out)) < 0 ? -errno : 0;
}

void loop_take_over(struct overlay *o)
{
	struct fuse_buf buf = {.mem = o->estate->init, .size = o->estate->init_len};
	/* The kernel takes the answer for one that came too late (ENOENT). */
	fuse_session_process_buf(o->se, &buf);
	o->initialized = true;
}

void loop_stop(struct overlay *o)
{
	/* Not fuse_session_exit(): libfuse would throw away, unanswered, what it has just read. */
	o->stopping = true;
	eventfd_write(o->stop_fd, 1);
}

/* ---- after that ---- */

struct loop_refusal {
	struct overlay *o;
	pthread_t thread;
	int end; /* eventfd */
};

static void refuse_one(struct overlay *o, struct fuse_buf *buf)
{
	if (fuse_session_receive_buf(o->se, buf) < (int)sizeof(struct fuse_in_header))
		return;
	const struct fuse_in_header *in = buf->mem;
	if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET ||
	    in->opcode == FUSE_INTERRUPT)
		return; /* these have no answer */
	struct fuse_out_header out = {.len = sizeof(out), .error = -ENOTCONN, .unique = in->unique};
	ssize_t n = write(fuse_session_fd(o->se), &out, sizeof(out));
	(void)n; /* whoever asked may be gone */
}

static void *refuse(void *arg)
{
	struct loop_refusal *r = arg;
	struct fuse_buf buf = {0};
	struct pollfd p[2] = {{.fd = fuse_session_fd(r->o->se), .events = POLLIN},
			      {.fd = r->end, .events = POLLIN}};
	while (poll(p, 2, -1) < 0 || (!p[1].revents && !(p[0].revents & (POLLERR | POLLHUP))))
		if (p[0].revents & POLLIN)
			refuse_one(r->o, &buf);
	free(buf.mem);
	return NULL;
}

struct loop_refusal *loop_refuse(struct overlay *o)
{
	struct loop_refusal *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->o = o;
	r->end = eventfd(0, EFD_CLOEXEC);
	int fd = fuse_session_fd(o->se);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (r->end >= 0 && pthread_create(&r->thread, NULL, refuse, r) == 0)
		return r;
	closep(&r->end);
	free(r);
	return NULL;
}

void loop_refuse_end(struct loop_refusal *r)
{
	if (!r)
		return;
	eventfd_write(r->end, 1);
	pthread_join(r->thread, NULL);
	closep(&r->end);
	free(r);
}
