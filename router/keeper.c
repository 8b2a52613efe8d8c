/* Everything of a repo that has a time but must not wait behind a send. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "manager/base/clock.h"
#include "manager/base/processor.h"
#include "router/inner.h"
#include "router/writer.h"

enum { WRITER_LIST_MAX = 100 };

/* One that was sent may be in the audit. */
static void note_failure(struct router_repo *rr, const struct router_ticket *t)
{
	struct router_note what = {
		.op = t->op,
		.path = ticket_path(t),
		.path2 = t->m ? t->m->path2 : t->path2,
		.error = -t->error,
	};

	if (t->error == -EINTR || t->kind == TICKET_ENDPOINT || !t->sentence.text[0])
		return;
	if (!t->sent)
		refuse_note(rr, &t->pass, &what, t->sentence.text);
	else
		refusals_add(rr->router->refusals, &t->pass.actor, mutation_op_name(t->op),
			     rr->info.name, what.path, what.error, t->sentence.text);
}

/* (drops) */
static void answer_locked(struct router_repo *rr, struct router_ticket *t)
{
	DL_DELETE(rr->answers, t);
	t->place = TICKET_NOWHERE;
	circle_leave_locked(rr, t);
	pthread_mutex_unlock(&rr->lock);
	note_failure(rr, t);
	switch (t->kind) {
	case TICKET_HOME:
		t->fn.granted(t->arg, t->error, &t->pass);
		break;
	case TICKET_MUTATION:
		t->fn.done(t->arg, t->error, NULL, &t->pass);
		break;
	case TICKET_ENDPOINT:
		t->fn.endpoint(t->arg, t->error, t->error ? NULL : &t->ep, t->sentence.text);
		break;
	}
	ticket_free(t);
	pthread_mutex_lock(&rr->lock);
}

static bool quiet_locked(const struct router_repo *rr)
{
	return rr->lock_held && !rr->lock_busy && !rr->turn.in_flight;
}

/* (drops) Gives the file lock back when it is idle or another process has waited long enough. */
static void tend_lock_locked(struct router_repo *rr, uint64_t now)
{
	if (quiet_locked(rr) && rr->giving_way) {
		rr->lock_not_before_ms = now + ROUTER_LOCK_AWAY_MS;
		grant_release_locked(rr);
	} else if (quiet_locked(rr) && !rr->turn.queue && turn_idle(&rr->turn, now)) {
		grant_release_locked(rr);
	}
	if (rr->lock_held && !rr->lock_busy && !rr->giving_way && now >= rr->wanted_at_ms) {
		bool wanted;

		rr->lock_busy = true;
		pthread_mutex_unlock(&rr->lock);
		wanted = rr->file && turnlock_wanted(rr->file);
		pthread_mutex_lock(&rr->lock);
		rr->giving_way = wanted;
		rr->wanted_at_ms = now + ROUTER_WANTED_MS;
		grant_unbusy_locked(rr);
	}
	if (rr->lock_marked && !rr->turn.queue && !rr->lock_busy) {
		/* Who waited has given up: no holder need give way to us. */
		rr->lock_marked = false;
		rr->lock_busy = true;
		pthread_mutex_unlock(&rr->lock);
		turnlock_unmark(rr->file);
		pthread_mutex_lock(&rr->lock);
		grant_unbusy_locked(rr);
	}
}

static uint64_t lock_due_locked(const struct router_repo *rr, uint64_t now)
{
	uint64_t at = TURN_NO_DEADLINE;

	if (!rr->lock_held || rr->lock_busy)
		return at; /* whoever has it busy wakes us */
	if (!rr->turn.in_flight) {
		if (rr->giving_way)
			return now;
		if (!rr->turn.queue)
			at = rr->turn.held ? rr->turn.last_ms + rr->turn.linger_ms : now;
	}
	if (!rr->giving_way && rr->wanted_at_ms < at)
		at = rr->wanted_at_ms;
	return at;
}

/* ---- writer.json ---- */

struct snapshot {
	struct writer holder, waiters[WRITER_LIST_MAX];
	struct actor holder_actor, actors[WRITER_LIST_MAX];
	char *holder_path, *paths[WRITER_LIST_MAX]; /* owned */
	bool held;
	size_t n;
	char branch[BRANCH_MAX];
};

static void snapshot_locked(struct router_repo *rr, struct snapshot *s)
{
	struct turn_request *rq;

	s->held = rr->lock_held && rr->turn.held;
	s->holder_actor = rr->holder;
	s->holder_path = rr->holder_path ? strdup(rr->holder_path) : NULL;
	s->holder = (struct writer){.actor = &s->holder_actor,
				    .since_wall_ms = rr->holder_wall_ms,
				    .path = s->holder_path};
	DL_FOREACH(rr->turn.queue, rq)
	{
		const struct router_ticket *t = ticket_of(rq);

		if (s->n == WRITER_LIST_MAX)
			break;
		s->actors[s->n] = t->pass.actor;
		s->paths[s->n] = ticket_path(t) ? strdup(ticket_path(t)) : NULL;
		s->waiters[s->n] = (struct writer){.actor = &s->actors[s->n],
						   .since_wall_ms = t->since_wall_ms,
						   .path = s->paths[s->n]};
		s->n++;
	}
}

/* Whether there is something to tell, and when it may be told. */
static uint64_t writer_due_locked(const struct router_repo *rr)
{
	uint64_t soonest = rr->writer_ms + ROUTER_WRITER_MS, shown;

	if (rr->writer_written) {
		if (!rr->turn.queue && !(rr->lock_held && rr->turn.held))
			return soonest;
		return rr->writer_seen == rr->line_changes ? TURN_NO_DEADLINE : soonest;
	}
	if (!rr->turn.queue)
		return TURN_NO_DEADLINE;
	/* A wait of a moment is not worth a file. */
	shown = rr->turn.queue->since_ms + ROUTER_WRITER_MS;
	return shown > soonest ? shown : soonest;
}

/* (drops) */
static void tend_writer_locked(struct router_repo *rr, uint64_t now)
{
	struct snapshot *s;

	if (now < writer_due_locked(rr))
		return;
	s = calloc(1, sizeof(*s));
	rr->writer_ms = now;
	rr->writer_seen = rr->line_changes;
	if (!s)
		return;
	snapshot_locked(rr, s);
	rr->writer_written = s->held || s->n;
	pthread_mutex_unlock(&rr->lock);
	branch_name(&rr->branch, s->branch);
	writer_put(rr->info.state_dir, s->branch, s->held ? &s->holder : NULL, s->waiters, s->n);
	free(s->holder_path);
	for (size_t i = 0; i < s->n; i++)
		free(s->paths[i]);
	free(s);
	pthread_mutex_lock(&rr->lock);
}

/* ---- the thread ---- */

static uint64_t expiry_locked(const struct router_repo *rr)
{
	uint64_t at = TURN_NO_DEADLINE;
	struct turn_request *rq;

	DL_FOREACH(rr->turn.queue, rq)
	if (rq->deadline_ms < at)
		at = rq->deadline_ms;
	return at;
}

static uint64_t min_ms(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_ms_locked(struct router_repo *rr, uint64_t now)
{
	uint64_t at = min_ms(expiry_locked(rr), homelog_due(rr->log, now));

	at = min_ms(min_ms(at, rr->stopped_ms), refusedlog_due(rr->refused));
	at = min_ms(min_ms(at, lock_due_locked(rr, now)), writer_due_locked(rr));
	return min_ms(at, circle_due_locked(rr));
}

static bool nothing_left_locked(const struct router_repo *rr)
{
	return !rr->answers && !rr->needing && !rr->lock_held && !rr->lock_busy &&
	       !rr->lock_marked && !rr->awaiting && !rr->turn.queue && !rr->turn.in_flight &&
	       !rr->writer_written && rr->stopped_ms == TURN_NO_DEADLINE;
}

/* When the await thread is to be looked at again. */
static uint64_t round_locked(struct router_repo *rr, uint64_t now)
{
	submit_look_at_stopped_locked(rr, now);
	submit_expire_locked(rr, now);
	circle_tend_locked(rr, now);
	while (rr->answers)
		answer_locked(rr, rr->answers);
	tend_lock_locked(rr, now);
	tend_writer_locked(rr, now);
	if (homelog_due(rr->log, now) <= now) {
		pthread_mutex_unlock(&rr->lock);
		homelog_flush(rr->log, now, false);
		pthread_mutex_lock(&rr->lock);
	}
	if (refusedlog_due(rr->refused) <= now) {
		pthread_mutex_unlock(&rr->lock);
		refusedlog_flush(rr->refused, now);
		pthread_mutex_lock(&rr->lock);
	}
	return await_tend_locked(rr, now);
}

void keeper_drain(struct router_repo *rr)
{
	pthread_mutex_lock(&rr->lock);
	while (rr->answers)
		answer_locked(rr, rr->answers);
	pthread_mutex_unlock(&rr->lock);
}

void *keeper_main(void *repo)
{
	struct router_repo *rr = repo;

	processor_free();
	pthread_mutex_lock(&rr->lock);
	while (!rr->stopping || rr->answers) {
		uint64_t now = clock_mono_ms(), at, await_at;

		await_at = round_locked(rr, now);
		if (rr->answers || rr->stopping)
			continue;
		now = clock_mono_ms();
		at = min_ms(next_ms_locked(rr, now), await_at);
		if (at <= now)
			continue;
		if (!thread_sleep_locked(rr, &rr->keeper, at) && nothing_left_locked(rr) &&
		    homelog_due(rr->log, now) == HOMELOG_NEVER &&
		    refusedlog_due(rr->refused) == REFUSEDLOG_NEVER)
			break;
	}
	rr->keeper.alive = false;
	pthread_mutex_unlock(&rr->lock);
	return NULL;
}

int keeper_start_locked(struct router_repo *rr)
{
	return thread_ensure_locked(rr, &rr->keeper, keeper_main);
}
