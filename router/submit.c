#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <utlist.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/proc.h"
#include "manager/base/processor.h"
#include "manager/base/stop_point.h"
#include "router/inner.h"
#include "router/writer.h"

/* ---- where a request waits ---- */

struct router_ticket *ticket_of(struct turn_request *rq)
{
	/* rq is the first member */
	return (struct router_ticket *)(void *)rq;
}

const char *ticket_path(const struct router_ticket *t)
{
	return t->m ? t->m->path : t->path;
}

void ticket_free(struct router_ticket *t)
{
	if (!t)
		return;
	mutation_free(t->m);
	free(t->claim);
	free(t->path);
	free(t->path2);
	free(t);
}

static struct router_ticket **list_of(struct router_repo *rr, enum ticket_place place)
{
	switch (place) {
	case TICKET_BACKEND:
		return &rr->needing;
	case TICKET_URGENT:
		return &rr->urgent;
	case TICKET_ANSWER:
		return &rr->answers;
	case TICKET_NOWHERE:
	case TICKET_TURN:
		break;
	}
	return NULL;
}

static void put_locked(struct router_repo *rr, struct router_ticket *t, enum ticket_place place)
{
	struct router_ticket **list = list_of(rr, place);

	t->place = place;
	DL_APPEND(*list, t);
}

bool submit_take_out_locked(struct router_repo *rr, struct router_ticket *t)
{
	struct router_ticket **list = list_of(rr, t->place);

	if (t->place == TICKET_NOWHERE || t->place == TICKET_ANSWER)
		return false;
	if (t->place == TICKET_TURN) {
		turn_remove(&rr->turn, &t->rq);
		rr->line_changes++;
	} else if (list) {
		DL_DELETE(*list, t);
	}
	t->place = TICKET_NOWHERE;
	return true;
}

void submit_fail_locked(struct router_repo *rr, struct router_ticket *t, int error,
			const struct err *e)
{
	assert(t->place == TICKET_NOWHERE);
	if (t->flying) {
		t->flying = false;
		grant_end_locked(rr, clock_mono_ms());
	}
	t->error = error;
	if (e)
		t->sentence = *e;
	put_locked(rr, t, TICKET_ANSWER);
	thread_wake_locked(&rr->keeper, 0);
}

void submit_place_locked(struct router_repo *rr, struct router_ticket *t)
{
	uint64_t now = clock_mono_ms();

	if (t->kind == TICKET_ENDPOINT ||
	    (t->kind == TICKET_MUTATION && (!rr->backend_good || rr->needing))) {
		int rc;

		put_locked(rr, t, TICKET_BACKEND);
		rc = summon_start_locked(rr);
		if (rc < 0 && submit_take_out_locked(rr, t))
			submit_fail_locked(rr, t, -EIO, NULL);
		return;
	}
	if (t->borrowed || t->flying) {
		put_locked(rr, t, TICKET_URGENT);
		thread_wake_locked(&rr->submit, 0);
		return;
	}
	t->place = TICKET_TURN;
	t->serial = atomic_fetch_add(&rr->router->serials, 1) + 1;
	turn_push(&rr->turn, &t->rq, t->pass.session, now);
	rr->line_changes++;
	thread_wake_locked(&rr->submit, turn_next_deadline(&rr->turn, now));
	/* writer.json names those who wait longer than a moment. */
	thread_wake_locked(&rr->keeper,
			   now + (t->pass.in_turn ? ROUTER_CIRCLE_MS : ROUTER_WRITER_MS));
}

static void set_busy(struct router_repo *rr, struct router_ticket *t)
{
	char who[300], since[CLOCK_ISO_LEN];

	if (rr->turn.held)
		snprintf(who, sizeof(who), "%s pid %d of %s (session %s) since %s%s%s",
			 rr->holder.comm[0] ? rr->holder.comm : "a process", (int)rr->holder.pid,
			 rr->holder.home[0] ? rr->holder.home : "no repository", rr->holder.session,
			 clock_iso(since, rr->holder_wall_ms), rr->holder_path ? " for " : "",
			 rr->holder_path ? rr->holder_path : "");
	else
		writer_describe(rr->info.state_dir, who, sizeof(who));
	err_set(&t->sentence, -EBUSY,
		"the write turn of %s was not free within %u ms: %s has it; try again later, see "
		"rrm status",
		rr->info.name, rr->turn.timeout_ms, who[0] ? who : "another program");
}

void submit_interrupt_locked(struct router_repo *rr, struct router_ticket *t)
{
	uint64_t at = clock_mono_ms() + ROUTER_EINTR_MS;
	enum proc_signal why;

	t->stopped = false;
	/* One that was sent before may have been applied: its end decides. */
	if (t->sent)
		return;
	why = proc_signal(t->pass.tid);
	if (why == PROC_UNSIGNALLED) {
		/* The kernel tells once only, and of what comes later not at all. */
		t->stopped = true;
		if (at < rr->stopped_ms)
			rr->stopped_ms = at;
		thread_wake_locked(&rr->keeper, rr->stopped_ms);
	} else if (why == PROC_SIGNALLED && t->place == TICKET_TURN) {
		/* A plain file system would not even notice: only a wait that lasts is cut short. */
		t->interrupted = true;
		if (at < t->rq.deadline_ms)
			t->rq.deadline_ms = at;
		thread_wake_locked(&rr->keeper, t->rq.deadline_ms);
	} else if (submit_take_out_locked(rr, t)) {
		submit_fail_locked(rr, t, -EINTR, NULL);
	}
}

void submit_look_at_stopped_locked(struct router_repo *rr, uint64_t now_ms)
{
	struct turn_request *rq, *next;
	struct router_ticket *t, *tnext;

	if (now_ms < rr->stopped_ms)
		return;
	rr->stopped_ms = TURN_NO_DEADLINE;
	DL_FOREACH_SAFE(rr->turn.queue, rq, next)
	if (ticket_of(rq)->stopped)
		submit_interrupt_locked(rr, ticket_of(rq));
	DL_FOREACH_SAFE(rr->urgent, t, tnext)
	if (t->stopped)
		submit_interrupt_locked(rr, t);
	DL_FOREACH_SAFE(rr->needing, t, tnext)
	if (t->stopped)
		submit_interrupt_locked(rr, t);
}

void submit_expire_locked(struct router_repo *rr, uint64_t now_ms)
{
	struct turn_request *rq;

	while ((rq = turn_expired(&rr->turn, now_ms))) {
		struct router_ticket *t = ticket_of(rq);

		t->place = TICKET_NOWHERE;
		rr->line_changes++;
		if (t->interrupted) {
			submit_fail_locked(rr, t, -EINTR, NULL);
			continue;
		}
		if (!rr->turn.held) {
			/* Another process has it: its name is in a file. */
			pthread_mutex_unlock(&rr->lock);
			set_busy(rr, t);
			pthread_mutex_lock(&rr->lock);
		} else {
			set_busy(rr, t);
		}
		submit_fail_locked(rr, t, -EBUSY, NULL);
	}
}

void submit_fail_all_locked(struct router_repo *rr, int error, const char *sentence)
{
	struct err e;

	err_set(&e, error, "%s", sentence);
	for (;;) {
		struct router_ticket *t = rr->needing ? rr->needing : rr->urgent;

		if (!t && rr->turn.queue)
			t = ticket_of(rr->turn.queue);
		if (!t)
			return;
		submit_take_out_locked(rr, t);
		submit_fail_locked(rr, t, error, &e);
	}
}

/* ---- sending ---- */

static int connect_client(struct router_repo *rr, struct err *e)
{
	char path[128];
	int rc;

	if (rr->client)
		return 0;
	rc = registry_gateway_socket(&rr->info, path, sizeof(path), e);
	return rc < 0 ? rc : client_new(&rr->client, path);
}

/* The gateway is gone: those behind this one must not overtake it, nor be sent to nobody. */
static void regroup_locked(struct router_repo *rr, struct router_ticket *t)
{
	struct turn_request *rq, *next;
	struct router_ticket *u, *unext;

	rr->backend_good = false;
	rr->client_stale = true;
	t->place = TICKET_BACKEND;
	DL_PREPEND(rr->needing, t);
	DL_FOREACH_SAFE(rr->urgent, u, unext)
	{
		submit_take_out_locked(rr, u);
		put_locked(rr, u, TICKET_BACKEND);
	}
	DL_FOREACH_SAFE(rr->turn.queue, rq, next)
	{
		if (ticket_of(rq)->kind != TICKET_MUTATION)
			continue;
		submit_take_out_locked(rr, ticket_of(rq));
		/* A signal came: it waits for the turn a moment longer, but not for a backend. */
		if (ticket_of(rq)->interrupted && !ticket_of(rq)->sent)
			submit_fail_locked(rr, ticket_of(rq), -EINTR, NULL);
		else
			put_locked(rr, ticket_of(rq), TICKET_BACKEND);
	}
}

/* No answer came. True: it will be tried again. */
static bool again_locked(struct router_repo *rr, struct router_ticket *t, const struct err *why)
{
	uint64_t now = clock_mono_ms();

	log_warn("event=no-answer repo=%s id=%s attempt=%u why=\"%s\"", rr->info.id, t->m->id,
		 t->attempts, why->text);
	rr->backend_good = false;
	rr->client_stale = true;
	if (rr->stopping || now >= t->give_up_ms || t->attempts >= ROUTER_ATTEMPTS)
		return false;
	regroup_locked(rr, t);
	if (summon_start_locked(rr) == 0)
		return true;
	submit_take_out_locked(rr, t);
	return false;
}

static long send_timeout(const struct router_repo *rr, const struct router_ticket *t)
{
	uint64_t now = clock_mono_ms();
	uint64_t left = t->give_up_ms > now ? t->give_up_ms - now : 1;

	return (long)(left < rr->turn.timeout_ms ? left : rr->turn.timeout_ms);
}

static bool worth_noting(int error)
{
	/* Programs probe with these all the time. */
	return error && error != ENOENT && error != EEXIST && error != ENODATA;
}

/* (drops) One exchange. 0: *a is the gateway's word. */
static int send_locked(struct router_repo *rr, struct router_ticket *t, struct mutation_answer *a,
		       struct err *e)
{
	uint64_t epoch = 0;
	int rc = grant_epoch_locked(rr, t, true, &epoch);
	bool stale = rr->client_stale;

	if (rc == -ESTALE)
		return rc;
	if (rc < 0) {
		t->attempts = ROUTER_ATTEMPTS; /* no other backend helps */
		return err_errno(e, rc, "cannot count the turn in %s/lock", rr->info.state_dir);
	}
	memcpy(t->m->branch, rr->branch_held, sizeof(t->m->branch));
	rr->client_stale = false;
	t->m->epoch = epoch;
	t->m->wait_us = clock_mono_us() - t->submitted_us;
	t->sent = true;
	pthread_mutex_unlock(&rr->lock);
	if (t->borrowed)
		branch_name(&rr->branch, t->m->branch);
	rc = connect_client(rr, e);
	if (rc == 0 && stale)
		client_reset(rr->client);
	stop_point("epoch-written");
	if (rc == 0) {
		t->attempts++;
		rc = rr->router->hooks.send(rr->client, t->m, send_timeout(rr, t), a, e);
		stop_point("answer-received");
	} else {
		t->attempts = ROUTER_ATTEMPTS; /* a path too long does not get shorter */
	}
	/* It was refused because of its holder's death, which the next turn came with. */
	if (rc == 0 && a->error == ESTALE && t->borrowed &&
	    !proc_alive(t->pass.holder_pid, t->pass.holder_start))
		rc = -ESTALE;
	pthread_mutex_lock(&rr->lock);
	return rc;
}

/*
 * (drops) The gateway's ESTALE: because others had turns on another branch, which HEAD named for a while? True: nothing
 * was changed, and t is in line again, the first, for a turn of the branch that HEAD names now.
 */
static bool late_locked(struct router_repo *rr, struct router_ticket *t)
{
	uint64_t now = clock_mono_ms();

	if (t->borrowed || !grant_outrun_locked(rr) || ++t->late > ROUTER_ATTEMPTS || rr->stopping)
		return false;
	t->flying = false;
	t->sent = t->attempts > 1; /* only this one was certainly not applied */
	t->place = TICKET_TURN;
	turn_put_back(&rr->turn, &t->rq, now);
	thread_wake_locked(&rr->keeper, now + rr->turn.linger_ms);
	return true;
}

/* (drops) The end of an exchange about t, which is in flight. rc 0: *a is the gateway's word. */
static void answered_locked(struct router_repo *rr, struct router_ticket *t, int rc,
			    const struct mutation_answer *a, struct err *e)
{
	if (rc < 0) {
		/* A writer in between would find half of it, and the gateway could not tell what is whose. */
		t->flying = !t->borrowed;
		if (!again_locked(rr, t, e)) {
			err_prefix(e, -EIO, "the backend of %s did not answer", rr->info.name);
			submit_fail_locked(rr, t, -EIO, e);
		}
		return;
	}
	rr->backend_good = true;
	if (a->error == ESTALE && late_locked(rr, t))
		return;
	t->flying = false; /* it is counted until the end of this */
	pthread_mutex_unlock(&rr->lock);
	if (worth_noting(a->error))
		refusals_add(rr->router->refusals, &t->pass.actor, mutation_op_name(t->op),
			     rr->info.name, t->m->path, a->error, a->message);
	t->fn.done(t->arg, 0, a, &t->pass);
	pthread_mutex_lock(&rr->lock);
	if (!t->borrowed)
		grant_end_locked(rr, clock_mono_ms());
	ticket_free(t);
}

/* (drops) t is in flight. -ESTALE: nothing was changed, and it needs a turn of its own. */
static void run_mutation_locked(struct router_repo *rr, struct router_ticket *t)
{
	struct mutation_answer a = {.error = 0};
	struct err e = ERR_INIT;
	int rc = send_locked(rr, t, &a, &e);

	if (rc == -ESTALE) {
		t->borrowed = t->pass.borrowed = false;
		t->sent = t->attempts > 1;
		submit_place_locked(rr, t);
		return;
	}
	answered_locked(rr, t, rc, &a, &e);
}

/* (drops) What submit_now_locked() sent. */
static void finish_wire_locked(struct router_repo *rr)
{
	struct router_ticket *t = rr->wire;
	struct mutation_answer a = {.error = 0};
	struct err e = ERR_INIT;
	int rc;

	pthread_mutex_unlock(&rr->lock);
	rc = rr->router->hooks.finish(rr->client, t->m, send_timeout(rr, t), &a, &e);
	stop_point("answer-received");
	pthread_mutex_lock(&rr->lock);
	rr->wire = NULL;
	answered_locked(rr, t, rc, &a, &e);
}

/* Everything that a change in flight needs but its turn is there, nobody is before it, and the submit thread sleeps. */
static bool may_go_now(const struct router_repo *rr, const struct router_ticket *t)
{
	enum { SMALL = 64 * 1024 }; /* a socket takes that at once */

	return t->kind == TICKET_MUTATION && t->m && !t->borrowed && t->m->data_len <= SMALL &&
	       rr->backend_good && !rr->client_stale && !rr->needing && !rr->urgent && !rr->wire &&
	       !rr->taking && !rr->turn.queue && rr->submit.bell >= 0 && rr->submit.wake_at &&
	       rr->client && client_fd(rr->client) >= 0;
}

/* (drops) True: t is in flight. What the submit thread alone uses is the caller's until it sets rr->wire or lets go. */
static bool begin_turn_locked(struct router_repo *rr, struct router_ticket *t, uint64_t version)
{
	uint64_t now = clock_mono_ms();

	if (!may_go_now(rr, t) || !turn_would(&rr->turn, t->pass.session, now) ||
	    !grant_ready_locked(rr, version, false, now) || !may_go_now(rr, t) ||
	    !turn_would(&rr->turn, t->pass.session, now))
		return false;
	t->serial = atomic_fetch_add(&rr->router->serials, 1) + 1;
	turn_push(&rr->turn, &t->rq, t->pass.session, now);
	turn_pop(&rr->turn, now); /* nobody else waits */
	t->place = TICKET_NOWHERE;
	return true;
}

bool submit_now_locked(struct router_repo *rr, struct router_ticket *t, uint64_t version)
{
	struct mutation *m = t->m;
	int rc;

	if (!begin_turn_locked(rr, t, version))
		return false;
	stop_point("turn-taken");
	rr->taking = true;
	rc = grant_epoch_locked(rr, t, false, &m->epoch);
	rr->taking = false;
	if (rc < 0) {
		turn_put_back(&rr->turn, &t->rq, clock_mono_ms());
		t->place = TICKET_TURN;
		rr->line_changes++;
		thread_wake_locked(&rr->submit, 0);
		return true;
	}
	grant_begun_locked(rr, &t->pass.actor, m->path);
	memcpy(m->branch, rr->branch_held, sizeof(m->branch));
	m->wait_us = clock_mono_us() - t->submitted_us;
	t->sent = true;
	t->attempts = 1;
	rr->wire = t;
	stop_point("epoch-written");
	if (rr->router->hooks.begin(rr->client, m))
		thread_hint_locked(&rr->submit);
	else
		thread_wake_locked(&rr->submit, 0);
	return true;
}

/* (drops) */
static void run_locked(struct router_repo *rr, struct router_ticket *t)
{
	t->place = TICKET_NOWHERE;
	stop_point("turn-taken");
	circle_leave_locked(rr, t);
	if (!t->borrowed && !t->flying)
		grant_begun_locked(rr, &t->pass.actor, ticket_path(t));
	if (t->kind == TICKET_MUTATION) {
		run_mutation_locked(rr, t);
		return;
	}
	pthread_mutex_unlock(&rr->lock);
	t->fn.granted(t->arg, 0, &t->pass); /* it calls router_end() */
	ticket_free(t);
	pthread_mutex_lock(&rr->lock);
}

/* (drops) Runs one request if one may go. *again_ms: when to look again. */
static bool step_locked(struct router_repo *rr, uint64_t version, uint64_t now, uint64_t *again_ms)
{
	struct turn_request *rq;

	if (rr->urgent) {
		struct router_ticket *t = rr->urgent;

		DL_DELETE(rr->urgent, t);
		run_locked(rr, t);
		return true;
	}
	submit_expire_locked(rr, now);
	*again_ms = turn_next_deadline(&rr->turn, now);
	if (!turn_peek(&rr->turn, now))
		return false;
	if (!grant_ready_locked(rr, version, true, now)) {
		if (rr->urgent)
			return true; /* it came while the lock was dropped, and needs no turn */
		/* Whoever has the lock busy, waits for it, is in flight, or gives it back wakes us. */
		*again_ms = TURN_NO_DEADLINE;
		if (!rr->lock_busy && !rr->awaiting && !rr->turn.in_flight && !rr->giving_way)
			*again_ms = now < rr->lock_not_before_ms ? rr->lock_not_before_ms
								 : now + ROUTER_WANTED_MS;
		return false;
	}
	rq = turn_pop(&rr->turn, clock_mono_ms());
	if (!rq)
		return true;
	rr->line_changes++;
	run_locked(rr, ticket_of(rq));
	return true;
}

void *submit_main(void *repo)
{
	struct router_repo *rr = repo;
	uint64_t again;

	processor_free();
	pthread_mutex_lock(&rr->lock);
	while (!rr->stopping || rr->wire || rr->taking) {
		uint64_t now = clock_mono_ms(), version;

		if (rr->wire) {
			finish_wire_locked(rr);
			continue;
		}
		if (rr->taking) {
			thread_sleep_locked(rr, &rr->submit, TURN_NO_DEADLINE);
			continue;
		}
		pthread_mutex_unlock(&rr->lock);
		version = branch_poll(&rr->branch, now);
		pthread_mutex_lock(&rr->lock);
		if (rr->stopping || step_locked(rr, version, now, &again) || rr->stopping)
			continue; /* whoever ends it while a step has let go of the lock wakes nobody */
		/* What waits for a backend comes back to us, however long that takes to start. */
		if (again > clock_mono_ms() && !thread_sleep_locked(rr, &rr->submit, again) &&
		    !rr->turn.queue && !rr->urgent && !rr->needing && !rr->wire && !rr->taking)
			break;
	}
	rr->submit.alive = false;
	closep(&rr->submit.bell);
	rr->submit.bell = -1;
	pthread_mutex_unlock(&rr->lock);
	return NULL;
}

int submit_start_locked(struct router_repo *rr)
{
	int rc;

	if (!rr->submit.alive && rr->submit.bell < 0) /* without one it is woken as the others */
		rr->submit.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = thread_ensure_locked(rr, &rr->submit, submit_main);
	return rc < 0 ? rc : keeper_start_locked(rr);
}
