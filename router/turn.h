/*
 * The write turn of one repo as a pure state machine: who may change it now, who waits, until when.
 *
 * One session at a time has the turn; it keeps it while nobody else waits. When others wait it gives
 * way once nothing of it has been in flight for linger_ms, and at its next change in any case when its
 * burst (changes with gaps below linger_ms) is older than max_turn_ms (less where so many wait that the
 * last would meet its bound otherwise). First come, first served by session; what the holder itself asks for goes ahead of the others until it must give way.
 *
 * Calling sequence: turn_try() for a request that will not wait; else turn_push(), and turn_pop() when
 * it may be its turn; turn_end() for each one that was let through. Whoever serves the queue sleeps
 * until turn_next_deadline() and looks again then and after each turn_end(), turn_push(), turn_drop().
 * No threads, no clock, no I/O: the caller locks, and now_ms is CLOCK_MONOTONIC, passed in.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { TURN_NEVER_MS = 0 }; /* timeout_ms: wait without a bound */
#define TURN_NO_DEADLINE UINT64_MAX

/* One that waits; embedded in the caller's request. */
struct turn_request {
	struct turn_request *prev, *next; /* queue, in order of arrival */
	uint32_t session;
	uint64_t since_ms;
	uint64_t deadline_ms; /* then it ends with -EBUSY */
	bool queued;
};

struct turn {
	uint32_t linger_ms, max_turn_ms, timeout_ms;
	bool held;
	uint32_t holder;    /* session; valid while held */
	unsigned in_flight; /* of the holder */
	uint64_t begun_ms;  /* of the turn, or of its latest burst */
	uint64_t last_ms;   /* when something of the holder was last begun or ended */
	uint64_t
		generation; /* one more for each turn: two requests with the same one share a turn */
	struct turn_request *queue;
	unsigned n_queued;
};

void turn_init(struct turn *t, uint32_t linger_ms, uint32_t max_turn_ms, uint32_t timeout_ms);

/* True: session may go now, and is counted as in flight. False: it has to wait in line. */
bool turn_try(struct turn *t, uint32_t session, uint64_t now_ms);
/* What turn_try() would say, with nothing changed. */
bool turn_would(const struct turn *t, uint32_t session, uint64_t now_ms);

/* Puts rq at the end of the line; rq belongs to the line until popped, expired or removed. */
void turn_push(struct turn *t, struct turn_request *rq, uint32_t session, uint64_t now_ms);

/* The request that may go now, or NULL; turn_pop() takes it out and counts it as in flight. */
struct turn_request *turn_peek(const struct turn *t, uint64_t now_ms);
struct turn_request *turn_pop(struct turn *t, uint64_t now_ms);

/* The popped rq was not done after all: it is the first in line again, with the deadline it had. */
void turn_put_back(struct turn *t, struct turn_request *rq, uint64_t now_ms);

/* Takes out one whose deadline has passed (the caller answers -EBUSY), or NULL. */
struct turn_request *turn_expired(struct turn *t, uint64_t now_ms);

/* Takes rq out of the line (cancelled: -EINTR). False when it was not in it. */
bool turn_remove(struct turn *t, struct turn_request *rq);

/* One request in flight is done. */
void turn_end(struct turn *t, uint64_t now_ms);

/* The turn ends (the lock between processes was given back); nothing may be in flight. */
void turn_drop(struct turn *t);

/* Same holder, new turn: HEAD names another branch now. Nothing may be in flight. */
void turn_renew(struct turn *t);

/* True when nothing has been in flight for linger_ms, or nobody holds it. */
bool turn_idle(const struct turn *t, uint64_t now_ms);

/*
 * When turn_pop() or turn_expired() may next give something if nothing else happens: now_ms when they
 * do at once, TURN_NO_DEADLINE when only a turn_end() or turn_push() can change that.
 */
uint64_t turn_next_deadline(const struct turn *t, uint64_t now_ms);
