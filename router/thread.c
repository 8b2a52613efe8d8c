/* The threads of a repo: started when there is work, gone when there was none for a while. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/spin.h"
#include "router/inner.h"

void thread_init(struct thread *t)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
	t->bell = -1;
}

void thread_deinit(struct thread *t)
{
	pthread_cond_destroy(&t->wake);
	closep(&t->bell);
}

int thread_ensure_locked(struct router_repo *rr, struct thread *t, void *(*body)(void *))
{
	sigset_t all, before;
	int rc;

	if (t->alive)
		return 0;
	if (t->joinable)
		pthread_join(t->id, NULL); /* it has nothing left to do but return */
	t->joinable = false;
	/* Signals are for the program's own threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	t->alive = true;
	t->wake_at = 0;
	rc = pthread_create(&t->id, NULL, body, rr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->alive = t->joinable = rc == 0;
	return -rc;
}

/* (drops) Until the bell rings, the gateway says something, or end_ms. 0, ETIMEDOUT */
static int wait_for_bell(struct router_repo *rr, struct thread *t, uint64_t end_ms)
{
	struct pollfd p[2] = {{.fd = t->bell, .events = POLLIN},
			      {.fd = rr->client ? client_fd(rr->client) : -1, .events = POLLIN}};
	/* Who sends while we sleep is answered in time also by a gateway that hangs. */
	const uint64_t longest = rr->turn.timeout_ms < 100     ? 100
				 : rr->turn.timeout_ms > 60000 ? 60000
							       : rr->turn.timeout_ms;
	uint64_t now = clock_mono_ms();
	eventfd_t rung;
	int n;

	if (now >= end_ms)
		return ETIMEDOUT;
	t->asleep = true;
	pthread_mutex_unlock(&rr->lock);
	n = poll(p, 2, (int)(end_ms - now < longest ? end_ms - now : longest));
	if (n > 0 && p[0].revents)
		eventfd_read(t->bell, &rung);
	pthread_mutex_lock(&rr->lock);
	t->asleep = false;
	if (n > 0 && p[1].revents && !rr->wire)
		client_reset(rr->client); /* the gateway ended, or had nothing to do for long */
	if (rr->wire)
		t->wake_at = 0;
	return 0;
}

bool thread_sleep_locked(struct router_repo *rr, struct thread *t, uint64_t at_ms)
{
	unsigned idle =
		rr->router->hooks.idle_ms ? rr->router->hooks.idle_ms : ROUTER_THREAD_IDLE_MS;
	uint64_t end = at_ms == TURN_NO_DEADLINE ? clock_mono_ms() + idle : at_ms;
	struct timespec ts = {.tv_sec = (time_t)(end / 1000),
			      .tv_nsec = (long)(end % 1000) * 1000000};
	int rc = 0;

	t->wake_at = at_ms;
	if (t->spins) {
		struct spin spin = spin_begin();

		pthread_mutex_unlock(&rr->lock);
		while (t->wake_at && spin_more(&spin))
			;
		pthread_mutex_lock(&rr->lock);
	}
	while (rc == 0 && t->wake_at)
		rc = t->bell >= 0 ? wait_for_bell(rr, t, end)
				  : pthread_cond_timedwait(&t->wake, &rr->lock, &ts);
	t->wake_at = 0;
	return rc != ETIMEDOUT || at_ms != TURN_NO_DEADLINE;
}

void thread_wake_locked(struct thread *t, uint64_t at_ms)
{
	if (!t->wake_at || t->wake_at <= at_ms)
		return;
	t->wake_at = 0;
	if (t->bell < 0)
		pthread_cond_signal(&t->wake);
	else if (t->asleep)
		eventfd_write(t->bell, 1);
}

void thread_hint_locked(struct thread *t)
{
	if (!t->asleep)
		t->wake_at = 0;
}

void thread_stop(struct router_repo *rr, struct thread *t)
{
	bool join;

	pthread_mutex_lock(&rr->lock);
	thread_wake_locked(t, 0);
	join = t->joinable;
	t->joinable = false;
	pthread_mutex_unlock(&rr->lock);
	if (join)
		pthread_join(t->id, NULL);
}
