/*
 * Writes through the mount in standoff.h's circles: one whose process works under an explicit turn, and that
 * has waited a moment for another one; and one whose wait keeps a lock of the kernel that is needed under an
 * explicit turn (stuck.h): what needs it cannot go on before, so it waits as if it worked under that turn.
 * The keeper puts the claim down and takes it away; what runs goes without.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "router/inner.h"

static uint64_t due_ms(const struct router_ticket *t)
{
	uint64_t waited = t->rq.since_ms + ROUTER_CIRCLE_MS;

	return t->look_ms > waited ? t->look_ms : waited;
}

static bool is_due(const struct router_repo *rr, const struct router_ticket *t, uint64_t now_ms)
{
	if (!t->pass.in_turn && !t->behind.pid)
		return false;
	if (t->looked)
		return t->looked_version != atomic_load(&rr->branch.version);
	return now_ms >= due_ms(t);
}

/* One that waits for a backend again waits for no turn. */
static struct router_ticket *astray_locked(struct router_repo *rr)
{
	struct router_ticket *t;

	DL_FOREACH(rr->needing, t)
	if (t->looked)
		return t;
	return NULL;
}

static struct router_ticket *in_line_locked(struct router_repo *rr, uint64_t serial,
					    uint64_t now_ms)
{
	struct turn_request *rq;

	DL_FOREACH(rr->turn.queue, rq)
	if (serial ? ticket_of(rq)->serial == serial : is_due(rr, ticket_of(rq), now_ms))
		return ticket_of(rq);
	return NULL;
}

/* What its process works under is asked again: a request carries no list. *lent: the turn among those that it
 * may go in by now; pid 0: none. */
static int fill(struct router_repo *rr, const struct actor *a, uint64_t serial,
		const struct held *behind, struct claim *c, struct held *lent)
{
	const struct held *mine;
	struct identity who;
	struct proc_stat self;
	char name[BRANCH_MAX];
	int rc = proc_stat(getpid(), &self);

	if (rc < 0)
		return rc;
	identity_of(rr->router->ids, a->pid, clock_mono_ms(), &who);
	branch_name(&rr->branch, name);
	*c = (struct claim){
		.waits = true,
		.turn = {.pid = self.pid, .start = self.start, .offset = turnlock_offset(name)},
		.serial = serial,
		.above = who.held,
		.who = a->pid,
	};
	memcpy(c->turn.repo, rr->info.id, sizeof(c->turn.repo));
	memcpy(c->comm, a->comm, sizeof(c->comm));
	snprintf(c->name, sizeof(c->name), "%s", rr->info.name);
	mine = held_find(&c->above, c->turn.repo, c->turn.offset);
	*lent = mine ? *mine : (struct held){.pid = 0};
	c->behind = behind->pid && held_push(&c->above, behind);
	return 0;
}

void circle_leave_locked(struct router_repo *rr, struct router_ticket *t)
{
	struct claim *c = t->claim;

	t->looked = false;
	t->claim = NULL;
	if (!c)
		return;
	pthread_mutex_unlock(&rr->lock);
	standoff_drop(rr->router->config->c.base, c);
	free(c);
	pthread_mutex_lock(&rr->lock);
}

/* HEAD names the branch of a turn above it by now: that is what it goes in. */
static void lend_locked(struct router_repo *rr, struct router_ticket *t, const struct held *h)
{
	submit_take_out_locked(rr, t);
	t->borrowed = t->pass.borrowed = true;
	t->pass.holder_pid = h->pid;
	t->pass.holder_start = h->start;
	t->pass.epoch = h->epoch;
	submit_place_locked(rr, t);
}

/* (drops) */
static void look_locked(struct router_repo *rr, struct router_ticket *t)
{
	const char *base = rr->router->config->c.base;
	uint64_t serial = t->serial;
	struct actor a = t->pass.actor;
	struct held behind = t->behind, lent = {.pid = 0};
	struct claim *c = malloc(sizeof(*c));
	struct err e = ERR_INIT;
	int rc;

	t->looked = true;
	t->looked_version = atomic_load(&rr->branch.version);
	if (!c)
		return;
	pthread_mutex_unlock(&rr->lock);
	rc = fill(rr, &a, serial, &behind, c, &lent);
	if (rc == 0 && !lent.pid)
		rc = c->above.n ? standoff_claim(base, c, STANDOFF_SOON_MS, &e) : -ENOENT;
	pthread_mutex_lock(&rr->lock);
	t = in_line_locked(rr, serial, 0);
	if (rc == 0 && t && !lent.pid) {
		free(t->claim);
		t->claim = c;
		return;
	}
	if (rc == 0 && t)
		lend_locked(rr, t, &lent);
	if (rc == -EAGAIN && t) { /* others were at the file */
		t->looked = false;
		t->look_ms = clock_mono_ms() + ROUTER_CIRCLE_MS;
	}
	if (rc == -EDEADLK && t) {
		submit_take_out_locked(rr, t);
		submit_fail_locked(rr, t, -EDEADLK, &e);
	}
	if (rc == 0 && !t && !lent.pid) {
		pthread_mutex_unlock(&rr->lock);
		standoff_drop(base, c);
		pthread_mutex_lock(&rr->lock);
	}
	free(c);
}

/* ---- those who need what a wait keeps locked ---- */

static bool is_rename(const char *path, const char *path2)
{
	const char *a = strrchr(path, '/'), *b = strrchr(path2, '/');
	size_t len = a ? (size_t)(a - path) : 0;

	return len != (b ? (size_t)(b - path2) : 0) || strncmp(path, path2, len) != 0;
}

static void add_lock(struct router_ticket *t, const char *path, bool parent)
{
	CLEANUP(freep) char *real = path ? path_join(t->pass.repo->info.root, path) : NULL;

	if (real && t->n_locks < sizeof(t->locks) / sizeof(t->locks[0]))
		t->locks[t->n_locks++] = stuck_place(real, parent);
}

void circle_locks(struct router_ticket *t, enum mutation_op op, const char *path, const char *path2)
{
	switch (op) {
	case MUTATION_CREATE:
	case MUTATION_MKDIR:
	case MUTATION_MKNOD:
	case MUTATION_SYMLINK:
		add_lock(t, path, true);
		break;
	case MUTATION_UNLINK:
	case MUTATION_RMDIR:
		add_lock(t, path, true);
		add_lock(t, path, false);
		break;
	case MUTATION_LINK:
		add_lock(t, path, false);
		add_lock(t, path2, true);
		break;
	case MUTATION_RENAME:
		add_lock(t, path, true);
		add_lock(t, path2, true);
		add_lock(t, path2, false);
		if (path && path2 && is_rename(path, path2))
			t->locks[t->n_locks++] = STUCK_RENAME;
		break;
	default:
		add_lock(t, path, false);
	}
}

/* Who is stuck behind t, as they say. */
static const struct held *behind_of(const struct router_repo *rr, const struct router_ticket *t)
{
	for (size_t i = 0; i < rr->n_stuck; i++)
		for (unsigned k = 0; k < t->n_locks; k++)
			if (stuck_needs(&rr->stuck[i].stuck, t->locks[k]))
				return &rr->stuck[i].turn;
	return NULL;
}

static bool match_locked(struct router_repo *rr, struct router_ticket *t)
{
	static const struct held none;
	const struct held *h = behind_of(rr, t);
	bool gone;

	h = h ? h : &none;
	if (held_same(h, &t->behind))
		return false;
	gone = !h->pid && !t->pass.in_turn;
	t->behind = *h;
	t->looked = false;
	return gone && t->claim;
}

/* (drops) */
static void read_stuck_locked(struct router_repo *rr)
{
	const char *base = rr->router->config->c.base;
	uint64_t stamp, before = rr->stuck_stamp;
	struct claim *all = NULL;
	size_t n = 0;

	pthread_mutex_unlock(&rr->lock);
	stamp = standoff_stamp(base);
	if (stamp && stamp != before && standoff_stuck(base, &all, &n) < 0)
		stamp = before; /* once more next time */
	pthread_mutex_lock(&rr->lock);
	if (stamp == rr->stuck_stamp)
		return free(all);
	rr->stuck_stamp = stamp;
	free(rr->stuck);
	rr->stuck = all;
	rr->n_stuck = n;
}

/* (drops) Only explicit turns, which are other processes', are held while somebody waits for something else. */
static void behind_tend_locked(struct router_repo *rr, uint64_t now_ms)
{
	struct turn_request *rq, *next;
	struct router_ticket *left = NULL;

	if (!rr->blocked || !rr->turn.queue) {
		rr->stuck_ms = 0;
		return;
	}
	if (now_ms < rr->stuck_ms)
		return;
	if (rr->stuck_ms)
		read_stuck_locked(rr);
	rr->stuck_ms = now_ms + ROUTER_STUCK_MS;
	DL_FOREACH_SAFE(rr->turn.queue, rq, next)
	if (match_locked(rr, ticket_of(rq)))
		left = ticket_of(rq);
	if (left) {
		rr->stuck_ms =
			now_ms; /* there may be more: one at a time, since the line changes meanwhile */
		circle_leave_locked(rr, left);
	}
}

void circle_tend_locked(struct router_repo *rr, uint64_t now_ms)
{
	struct router_ticket *t;

	behind_tend_locked(rr, now_ms);
	while ((t = in_line_locked(rr, 0, now_ms)))
		look_locked(rr, t);
	while ((t = astray_locked(rr)))
		circle_leave_locked(rr, t);
}

uint64_t circle_due_locked(const struct router_repo *rr)
{
	uint64_t at = TURN_NO_DEADLINE;
	struct turn_request *rq;

	if (rr->blocked && rr->turn.queue)
		at = rr->stuck_ms;
	DL_FOREACH(rr->turn.queue, rq)
	{
		const struct router_ticket *t = ticket_of(rq);

		if ((t->pass.in_turn || t->behind.pid) && !t->looked && due_ms(t) < at)
			at = due_ms(t);
	}
	return at;
}
