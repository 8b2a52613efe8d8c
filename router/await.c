/*
 * Another process has the turn: a thread sleeps in the kernel, in the line for the file lock, and has it the
 * moment that it is given back. It is poked out of that when nobody here waits any more, when HEAD names
 * another branch, and at the end; the keeper does, again and again until it noticed.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "manager/base/clock.h"
#include "manager/base/processor.h"
#include "router/inner.h"

static void *await_main(void *repo)
{
	struct router_repo *rr = repo;
	char name[BRANCH_MAX];
	uint64_t version;
	int rc;

	processor_free();
	pthread_mutex_lock(&rr->lock);
	while (!rr->stopping) {
		if (!rr->awaiting || rr->lock_busy) {
			if (!thread_sleep_locked(rr, &rr->await, TURN_NO_DEADLINE) && !rr->awaiting)
				break;
			continue;
		}
		rr->lock_busy = rr->blocked = true;
		version = branch_name(&rr->branch, name);
		rr->awaited_version = version;
		rr->lock_marked = true;
		thread_wake_locked(&rr->keeper, 0);
		pthread_mutex_unlock(&rr->lock);
		rc = turnlock_block(rr->file, name);
		pthread_mutex_lock(&rr->lock);
		rr->blocked = rr->awaiting = false;
		if (rc != -EINTR)
			grant_taken_locked(rr, version, name, rc);
		grant_unbusy_locked(rr);
	}
	rr->await.alive = false;
	pthread_mutex_unlock(&rr->lock);
	return NULL;
}

int await_start_locked(struct router_repo *rr)
{
	int rc = thread_ensure_locked(rr, &rr->await, await_main);

	rr->awaiting = rc == 0;
	if (rc == 0)
		thread_wake_locked(&rr->await, 0);
	return rc;
}

uint64_t await_tend_locked(struct router_repo *rr, uint64_t now_ms)
{
	uint64_t version;

	if (!rr->blocked)
		return TURN_NO_DEADLINE;
	pthread_mutex_unlock(&rr->lock);
	version = branch_poll(&rr->branch, now_ms);
	pthread_mutex_lock(&rr->lock);
	if (!rr->blocked)
		return TURN_NO_DEADLINE;
	if (rr->turn.queue && version == rr->awaited_version && !rr->stopping)
		return now_ms + ROUTER_WANTED_MS;
	turnlock_poke(rr->await.id);
	return now_ms + ROUTER_POKE_MS;
}

void await_stop(struct router_repo *rr)
{
	pthread_mutex_lock(&rr->lock);
	while (rr->blocked) {
		turnlock_poke(rr->await.id);
		pthread_mutex_unlock(&rr->lock);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		pthread_mutex_lock(&rr->lock);
	}
	pthread_mutex_unlock(&rr->lock);
	thread_stop(rr, &rr->await);
}
