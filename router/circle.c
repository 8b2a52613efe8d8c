/*
 * Writes through the mount in standoff.h's circles: one whose process works under an explicit turn, and that
 * has waited a moment for another one. The keeper puts the claim down and takes it away; what runs goes
 * without.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <utlist.h>

#include "manager/base/clock.h"
#include "manager/base/proc.h"
#include "router/inner.h"

static bool is_due(const struct router_repo *rr, const struct router_ticket *t, uint64_t now_ms)
{
	if (!t->pass.in_turn)
		return false;
	if (t->looked)
		return t->looked_version != atomic_load(&rr->branch.version);
	return now_ms >= t->rq.since_ms + ROUTER_CIRCLE_MS;
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

/* What its process works under is asked again: a request carries no list. */
static int fill(struct router_repo *rr, const struct actor *a, uint64_t serial, struct claim *c)
{
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
static bool lend_locked(struct router_repo *rr, struct router_ticket *t, const struct claim *c)
{
	const struct held *h = held_find(&c->above, c->turn.repo, c->turn.offset);

	if (!h)
		return false;
	submit_take_out_locked(rr, t);
	t->borrowed = t->pass.borrowed = true;
	t->pass.holder_pid = h->pid;
	t->pass.holder_start = h->start;
	t->pass.epoch = h->epoch;
	submit_place_locked(rr, t);
	return true;
}

/* (drops) */
static void look_locked(struct router_repo *rr, struct router_ticket *t)
{
	const char *base = rr->router->config->c.base;
	uint64_t serial = t->serial;
	struct actor a = t->pass.actor;
	struct claim *c = malloc(sizeof(*c));
	struct err e = ERR_INIT;
	int rc;

	t->looked = true;
	t->looked_version = atomic_load(&rr->branch.version);
	if (!c)
		return;
	pthread_mutex_unlock(&rr->lock);
	rc = fill(rr, &a, serial, c);
	if (rc == 0 && !held_find(&c->above, c->turn.repo, c->turn.offset))
		rc = c->above.n ? standoff_claim(base, c, &e) : -ENOENT;
	pthread_mutex_lock(&rr->lock);
	t = in_line_locked(rr, serial, 0);
	if (rc == 0 && t && !lend_locked(rr, t, c)) {
		free(t->claim);
		t->claim = c;
		return;
	}
	if (rc == -EDEADLK && t) {
		submit_take_out_locked(rr, t);
		submit_fail_locked(rr, t, -EDEADLK, &e);
	}
	if (rc == 0 && !t) {
		pthread_mutex_unlock(&rr->lock);
		standoff_drop(base, c);
		pthread_mutex_lock(&rr->lock);
	}
	free(c);
}

void circle_tend_locked(struct router_repo *rr, uint64_t now_ms)
{
	struct router_ticket *t;

	while ((t = in_line_locked(rr, 0, now_ms)))
		look_locked(rr, t);
	while ((t = astray_locked(rr)))
		circle_leave_locked(rr, t);
}

uint64_t circle_due_locked(const struct router_repo *rr)
{
	uint64_t at = TURN_NO_DEADLINE;
	struct turn_request *rq;

	DL_FOREACH(rr->turn.queue, rq)
	{
		const struct router_ticket *t = ticket_of(rq);

		if (t->pass.in_turn && !t->looked && t->rq.since_ms + ROUTER_CIRCLE_MS < at)
			at = t->rq.since_ms + ROUTER_CIRCLE_MS;
	}
	return at;
}
