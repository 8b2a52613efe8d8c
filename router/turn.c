#include "router/turn.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include <utlist.h>

void turn_init(struct turn *t, uint32_t linger_ms, uint32_t max_turn_ms, uint32_t timeout_ms)
{
	memset(t, 0, sizeof(*t));
	t->linger_ms = linger_ms;
	t->max_turn_ms = max_turn_ms;
	t->timeout_ms = timeout_ms;
}

static struct turn_request *first_of(const struct turn *t, uint32_t session)
{
	struct turn_request *rq;

	DL_FOREACH(t->queue, rq)
	if (rq->session == session)
		return rq;
	return NULL;
}

static struct turn_request *first_other(const struct turn *t)
{
	struct turn_request *rq;

	DL_FOREACH(t->queue, rq)
	if (rq->session != t->holder)
		return rq;
	return NULL;
}

bool turn_idle(const struct turn *t, uint64_t now_ms)
{
	return !t->held || (!t->in_flight && now_ms >= t->last_ms + t->linger_ms);
}

/*
 * When its burst has lasted so long that others are not kept waiting any more: max_turn_ms, or less
 * where so many wait that the last of them would run into its bound if each used all of that.
 */
static uint64_t due_ms(const struct turn *t)
{
	uint64_t slice = t->max_turn_ms, share;

	if (t->timeout_ms != TURN_NEVER_MS) {
		share = t->timeout_ms / (2 * ((uint64_t)t->n_queued + 1));
		share = share < t->linger_ms ? t->linger_ms : share;
		slice = share < slice ? share : slice;
	}
	return t->begun_ms + slice;
}

static bool overdue(const struct turn *t, uint64_t now_ms)
{
	return now_ms >= due_ms(t);
}

bool turn_would(const struct turn *t, uint32_t session, uint64_t now_ms)
{
	if (!t->held)
		return !t->queue;
	if (t->holder != session)
		return !t->queue && turn_idle(t, now_ms);
	return !first_other(t) || (!turn_idle(t, now_ms) && !overdue(t, now_ms));
}

static void give(struct turn *t, uint32_t session, uint64_t now_ms)
{
	if (!t->held || t->holder != session) {
		assert(!t->in_flight);
		t->held = true;
		t->holder = session;
		t->begun_ms = now_ms;
		t->generation++;
	} else if (turn_idle(t, now_ms)) {
		/* Nobody wanted it in the gap: the clock of max_turn_ms starts anew, so that a waiter
		 * of this moment does not cut the holder's tool call into pieces. */
		t->begun_ms = now_ms;
	}
	t->in_flight++;
	t->last_ms = now_ms;
}

bool turn_try(struct turn *t, uint32_t session, uint64_t now_ms)
{
	if (!turn_would(t, session, now_ms))
		return false;
	give(t, session, now_ms);
	return true;
}

void turn_push(struct turn *t, struct turn_request *rq, uint32_t session, uint64_t now_ms)
{
	rq->session = session;
	rq->since_ms = now_ms;
	rq->deadline_ms =
		t->timeout_ms == TURN_NEVER_MS ? TURN_NO_DEADLINE : now_ms + t->timeout_ms;
	rq->queued = true;
	DL_APPEND(t->queue, rq);
	t->n_queued++;
}

struct turn_request *turn_peek(const struct turn *t, uint64_t now_ms)
{
	struct turn_request *other;

	if (!t->held)
		return t->queue;
	other = first_other(t);
	if (!other)
		return t->queue; /* only the holder's own */
	if (turn_idle(t, now_ms) || (!t->in_flight && overdue(t, now_ms)))
		return other;
	return overdue(t, now_ms) ? NULL : first_of(t, t->holder);
}

bool turn_remove(struct turn *t, struct turn_request *rq)
{
	if (!rq->queued)
		return false;
	DL_DELETE(t->queue, rq);
	rq->prev = rq->next = NULL;
	rq->queued = false;
	t->n_queued--;
	return true;
}

struct turn_request *turn_pop(struct turn *t, uint64_t now_ms)
{
	struct turn_request *rq = turn_peek(t, now_ms);

	if (!rq)
		return NULL;
	turn_remove(t, rq);
	give(t, rq->session, now_ms);
	return rq;
}

void turn_end(struct turn *t, uint64_t now_ms)
{
	assert(t->held && t->in_flight);
	t->in_flight--;
	t->last_ms = now_ms;
}

void turn_put_back(struct turn *t, struct turn_request *rq, uint64_t now_ms)
{
	turn_end(t, now_ms);
	rq->queued = true;
	DL_PREPEND(t->queue, rq);
	t->n_queued++;
}

struct turn_request *turn_expired(struct turn *t, uint64_t now_ms)
{
	struct turn_request *rq;

	DL_FOREACH(t->queue, rq)
	{
		if (now_ms >= rq->deadline_ms) {
			turn_remove(t, rq);
			return rq;
		}
	}
	return NULL;
}

void turn_drop(struct turn *t)
{
	assert(!t->in_flight);
	t->held = false;
}

void turn_renew(struct turn *t)
{
	assert(!t->in_flight);
	t->generation++;
}

uint64_t turn_next_deadline(const struct turn *t, uint64_t now_ms)
{
	uint64_t at = TURN_NO_DEADLINE;
	struct turn_request *rq;

	if (turn_peek(t, now_ms))
		return now_ms;
	DL_FOREACH(t->queue, rq)
	if (rq->deadline_ms < at)
		at = rq->deadline_ms;
	if (t->queue && !t->in_flight) {
		uint64_t idle = t->last_ms + t->linger_ms, due = due_ms(t);
		uint64_t way = idle < due ? idle : due;

		if (way < at)
			at = way;
	}
	return at < now_ms ? now_ms : at;
}
