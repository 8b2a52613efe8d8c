#include "fs/takeover.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/estate.h"
#include "fs/mounts.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/mountstate.h"

struct fd_list {
	int *fds; /* owned; NULL: only counted */
	size_t n;
};

static void collect_fd(struct node *n, void *arg)
{
	struct fd_list *l = arg;
	if (n->path_fd < 0)
		return;
	if (l->fds)
		l->fds[l->n] = n->path_fd;
	l->n++;
}

/* Closes what the server before us had open and we cannot use; above all its locks and connections. */
int takeover_sweep(struct overlay *o)
{
	struct fd_list l = {0};
	nodes_taken(o->nodes, collect_fd, &l);
	l.fds = calloc(l.n + 1, sizeof(int));
	if (!l.fds)
		return -ENOMEM;
	l.n = 0;
	nodes_taken(o->nodes, collect_fd, &l);
	estate_sweep(o->estate, l.fds, l.n);
	free(l.fds);
	return 0;
}

struct renumber {
	uint32_t now[ESTATE_SESSIONS];
};

static void renumber_session(struct node *n, void *arg)
{
	const struct renumber *r = arg;
	uint32_t old = n->session;
	n->session = old < ESTATE_SESSIONS ? r->now[old] : 0;
}

/* Nodes tell by a number who changed them last; the new router has its own numbers. */
int takeover_sessions(struct overlay *o)
{
	struct estate_session *old = o->estate->sessions;
	CLEANUP(freep) struct renumber *r = calloc(1, sizeof(*r));
	CLEANUP(freep) struct estate_session *copy = malloc(sizeof(o->estate->sessions));
	if (!r || !copy)
		return -ENOMEM;
	for (uint32_t i = 0; i < ESTATE_SESSIONS; i++)
		if (old[i].state == SESSION_NOTED)
			r->now[i] = router_session(o->router, old[i].home, old[i].session);
	memcpy(copy, old, sizeof(o->estate->sessions));
	nodes_taken(o->nodes, renumber_session, r);
	for (uint32_t i = 0; i < ESTATE_SESSIONS; i++)
		old[i].state = SESSION_FREE;
	for (uint32_t i = 0; i < ESTATE_SESSIONS; i++)
		if (copy[i].state == SESSION_NOTED)
			estate_note_session(o->estate, r->now[i], copy[i].home, copy[i].session);
	return 0;
}

void takeover_log(const struct overlay *o)
{
	struct timespec cpu = {0};
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	log_info("event=take_over pid=%d servers=%u cpu_us=%ld", (int)getpid(), o->estate->servers,
		 (long)(cpu.tv_sec * 1000000 + cpu.tv_nsec / 1000));
}

void takeover_failed(struct overlay *o)
{
	struct pollfd p = {.fd = o->estate->fuse};
	struct err e = ERR_INIT;
	if (!o->taken_over || p.fd < 0 || (poll(&p, 1, 0) == 1 && p.revents & (POLLERR | POLLNVAL)))
		return;
	if (mounts_detach(o->mountpoint, &e) < 0)
		log_warn("event=unmount error=\"%s\"", e.text);
	mountstate_clear(o->config, o->estate->guard);
}
