#include "fs/loop.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/log.h"

struct loop {
	struct overlay *o;
	pthread_mutex_t receive;
	unsigned n;
	pthread_t *threads; /* owned */
};

/* Set while loop_run() runs, for loop_stop(). */
static struct loop *_Atomic running;

static void on_wake(int sig)
{
	(void)sig; /* its only purpose is to end a read(2) with EINTR */
}

static void note(struct overlay *o, const struct fuse_buf *buf, ssize_t len)
{
	const struct fuse_in_header *in = buf->mem;
	if ((size_t)len < sizeof(*in))
		return;
	if (in->opcode < OVERLAY_OPCODES)
		atomic_fetch_add_explicit(&o->requests[in->opcode], 1, memory_order_relaxed);
	if (in->opcode != FUSE_WRITE || in->nodeid & CONTROL_BIT)
		return;
	struct node *n = node_get(o->nodes, in->nodeid);
	if (n)
		n->changing++; /* change.c takes it back when the write is done */
}

static void *work(void *arg)
{
	struct loop *l = arg;
	struct fuse_session *se = l->o->se;
	struct fuse_buf buf = {0};
	while (!fuse_session_exited(se)) {
		pthread_mutex_lock(&l->receive);
		int len = fuse_session_exited(se) ? 0 : fuse_session_receive_buf(se, &buf);
		if (len > 0)
			note(l->o, &buf, len);
		pthread_mutex_unlock(&l->receive);
		if (len == -EINTR || len == -EAGAIN)
			continue;
		if (len <= 0)
			break;
		fuse_session_process_buf(se, &buf);
	}
	free(buf.mem);
	read_thread_end();
	return NULL;
}

int loop_run(struct overlay *o, unsigned n)
{
	struct loop l = {.o = o, .receive = PTHREAD_MUTEX_INITIALIZER};
	struct sigaction sa = {.sa_handler = on_wake};
	sigaction(SIGUSR2, &sa, NULL);
	l.threads = calloc(n, sizeof(*l.threads));
	if (!l.threads)
		return -ENOMEM;
	for (l.n = 0; l.n < n; l.n++)
		if (pthread_create(&l.threads[l.n], NULL, work, &l) != 0)
			break;
	if (l.n == 0) {
		free(l.threads);
		return -EAGAIN;
	}
	running = &l;
	for (unsigned i = 0; i < l.n; i++)
		pthread_join(l.threads[i], NULL);
	running = NULL;
	free(l.threads);
	return 0;
}

void loop_stop(struct overlay *o)
{
	struct loop *l = running;
	fuse_session_exit(o->se);
	for (unsigned i = 0; l && i < l->n; i++)
		pthread_kill(l->threads[i], SIGUSR2);
}
