/*
 * A change may begin when its session has the turn in this process and this process has the file lock
 * of the branch. The file lock is taken with the first change of a turn and kept while turns follow
 * each other; the keeper gives it back when nothing happened for linger_ms.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/proc.h"
#include "manager/base/stop_point.h"
#include "router/inner.h"

void grant_unbusy_locked(struct router_repo *rr)
{
	rr->lock_busy = false;
	/* Those who found it busy went to sleep. */
	if (rr->turn.queue || rr->urgent)
		thread_wake_locked(&rr->submit, 0);
	if (rr->awaiting)
		thread_wake_locked(&rr->await, 0);
	thread_wake_locked(&rr->keeper, clock_mono_ms());
}

void grant_taken_locked(struct router_repo *rr, uint64_t version, const char *name, int rc)
{
	uint64_t now = clock_mono_ms();

	if (rc < 0 && !rr->lock_nominal)
		log_warn("event=turn-lock repo=%s error=%s effect=\"other processes are not kept "
			 "out\"",
			 rr->info.id, strerror(-rc));
	rr->lock_nominal = rc < 0;
	rr->lock_held = true;
	rr->lock_marked = false;
	rr->awaiting =
		false; /* else the await thread would let go of it for the branch of that moment */
	rr->lock_since_ms = now;
	rr->wanted_at_ms = now + rr->turn.max_turn_ms;
	rr->branch_version = version;
	snprintf(rr->branch_held, BRANCH_MAX, "%s", name);
	if (rr->turn.held)
		turn_renew(&rr->turn); /* HEAD moved: same holder, new turn */
	thread_wake_locked(&rr->keeper, now + rr->turn.linger_ms);
}

bool grant_ready_locked(struct router_repo *rr, uint64_t version, bool mark, uint64_t now_ms)
{
	char name[BRANCH_MAX];
	bool away = rr->away_left > 0;
	int rc = 0;

	if (rr->lock_held && rr->branch_version == version)
		return !rr->giving_way;
	if (rr->lock_busy || rr->turn.in_flight || rr->giving_way ||
	    now_ms < rr->lock_not_before_ms)
		return false;
	rr->lock_busy = true;
	rr->lock_held = false;
	pthread_mutex_unlock(&rr->lock);
	version = branch_name(&rr->branch, name);
	if (!rr->file)
		rc = turnlock_open(&rr->file, rr->info.state_dir, NULL);
	/* On a busy machine who was given way to may take its time to run. */
	away = away && rc == 0 && turnlock_awaited(rr->file, name);
	if (rc == 0 && !away)
		rc = turnlock_try(rr->file, name, mark);
	pthread_mutex_lock(&rr->lock);
	rr->away_left = away ? rr->away_left - 1 : 0;
	if (away) {
		rr->lock_not_before_ms = now_ms + ROUTER_LOCK_AWAY_MS;
		rc = -EAGAIN;
		if (rr->turn.held)
			turn_drop(&rr->turn);
	} else if (rc == -EAGAIN) {
		rr->lock_marked = mark;
		if (rr->turn.held)
			turn_drop(&rr->turn);
		if (mark)
			await_start_locked(rr);
	} else {
		grant_taken_locked(rr, version, name, rc);
	}
	grant_unbusy_locked(rr);
	return rc != -EAGAIN && !rr->stopping;
}

void grant_release_locked(struct router_repo *rr)
{
	assert(!rr->turn.in_flight && rr->lock_held && !rr->lock_busy);
	turn_drop(&rr->turn);
	rr->lock_held = false;
	rr->giving_way = false;
	rr->away_left = ROUTER_LOCK_AWAY_TIMES;
	rr->lock_busy = true;
	pthread_mutex_unlock(&rr->lock);
	stop_point("turn-release");
	if (rr->file)
		turnlock_release(rr->file);
	pthread_mutex_lock(&rr->lock);
	grant_unbusy_locked(rr);
}

enum count { COUNT_NEXT, COUNT_TRY, COUNT_RENEW };

/* (drops) The submit thread alone calls this, or who has rr->taking, and may while another one waits for rr->file. how:
 * as turnlock.h has them. */
static int count_locked(struct router_repo *rr, enum count how, uint64_t *epoch)
{
	int rc = 0;

	pthread_mutex_unlock(&rr->lock);
	if (!rr->counter)
		rc = turnlock_open(&rr->counter, rr->info.state_dir, NULL);
	if (rc == 0)
		rc = how == COUNT_RENEW ? turnlock_renew_epoch(rr->counter, epoch)
		     : how == COUNT_TRY ? turnlock_try_epoch(rr->counter, epoch)
					: turnlock_next_epoch(rr->counter, epoch);
	pthread_mutex_lock(&rr->lock);
	return rc;
}

static int borrowed_epoch_locked(struct router_repo *rr, const struct router_pass *p,
				 uint64_t *epoch)
{
	int rc;

	if (!proc_alive(p->holder_pid, p->holder_start))
		return -ESTALE;
	*epoch = rr->borrowed_from == p->epoch ? rr->borrowed_epoch : p->epoch;
	rc = count_locked(rr, COUNT_RENEW, epoch);
	if (rc == 0) {
		rr->borrowed_from = p->epoch;
		rr->borrowed_epoch = *epoch;
	}
	return rc;
}

int grant_epoch_locked(struct router_repo *rr, const struct router_ticket *t, bool wait,
		       uint64_t *epoch)
{
	int rc;

	if (t->borrowed)
		return borrowed_epoch_locked(rr, &t->pass, epoch);
	if (!rr->epoch || rr->epoch_generation != rr->turn.generation) {
		uint64_t next = 0; /* others read rr->epoch while the lock is dropped */

		/* In flight, so the turn cannot change hands meanwhile. */
		rc = count_locked(rr, wait ? COUNT_NEXT : COUNT_TRY, &next);
		if (rc < 0)
			return rc;
		rr->epoch = next;
		rr->epoch_generation = rr->turn.generation;
	}
	*epoch = rr->epoch;
	return 0;
}

bool grant_outrun_locked(struct router_repo *rr)
{
	uint64_t epoch = rr->epoch;

	if (count_locked(rr, COUNT_RENEW, &epoch) < 0 || epoch == rr->epoch)
		return false;
	rr->epoch = 0;
	return true;
}

void grant_path_locked(struct router_repo *rr, const char *path)
{
	free(rr->holder_path);
	rr->holder_path = path ? strdup(path) : NULL;
}

void grant_begun_locked(struct router_repo *rr, const struct actor *a, const char *path)
{
	if (rr->holder_generation == rr->turn.generation)
		return;
	rr->holder_generation = rr->turn.generation;
	rr->holder = *a;
	rr->holder_wall_ms = clock_wall_ms();
	grant_path_locked(rr, path);
	rr->line_changes++;
}

void grant_end_locked(struct router_repo *rr, uint64_t now_ms)
{
	turn_end(&rr->turn, now_ms);
	if (rr->turn.in_flight)
		return;
	if (rr->turn.queue)
		thread_wake_locked(&rr->submit, turn_next_deadline(&rr->turn, now_ms));
	/* The keeper sleeps without a deadline while something is in flight. */
	thread_wake_locked(&rr->keeper, now_ms + rr->turn.linger_ms);
}
