/*
 * One ensure of a repo's backend, on a thread of its own: it may take start_timeout_ms, while others
 * wait for nothing but the turn. The thread is detached and holds all that it needs, so the repo can go
 * meanwhile.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include <utlist.h>

#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/base/processor.h"
#include "router/inner.h"

struct summon {
	_Atomic unsigned refs; /* the thread, the repo */
	struct shared_config *config;
	struct repo repo;
	int (*ensure)(const struct config *c, const struct repo *r, struct endpoint *ep,
		      struct err *e);
	pthread_mutex_t lock;   /* before rr->lock */
	struct router_repo *rr; /* protected by lock; NULL: abandoned */
};

static void summon_put(struct summon *s)
{
	if (!s || --s->refs)
		return;
	shared_config_put(s->config);
	repo_deinit(&s->repo);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void answer_endpoint_locked(struct router_repo *rr, struct router_ticket *t, int rc,
				   const struct endpoint *ep, const struct err *e)
{
	t->ep = *ep;
	submit_fail_locked(rr, t, rc, e);
}

/*
 * The backend did not start, and it has begun one of those that wait: only its successor can tell what became of
 * that. So it is tried once more (it may have been killed).
 */
static bool retry_locked(struct router_repo *rr)
{
	struct router_ticket *t;
	bool again = false;

	DL_FOREACH(rr->needing, t)
	{
		again = again || (t->sent && !t->retried);
		t->retried = true;
	}
	return again && !rr->stopping && summon_start_locked(rr) == 0;
}

static void ready_locked(struct router_repo *rr, int rc, const struct endpoint *ep, struct err *e)
{
	struct router_ticket *t, *next, *list = rr->needing;

	rr->backend_good = rc == 0;
	if (rc < 0) {
		log_warn("event=ensure repo=%s why=\"%s\"", rr->info.id, e->text);
		if (retry_locked(rr))
			return;
	}
	rr->needing = NULL;
	DL_FOREACH_SAFE(list, t, next)
	{
		DL_DELETE(list, t);
		t->place = TICKET_NOWHERE;
		if (t->kind == TICKET_ENDPOINT)
			answer_endpoint_locked(rr, t, rc, ep, e);
		else if (rc == 0)
			submit_place_locked(rr, t);
		else
			submit_fail_locked(rr, t, -EIO, e);
	}
}

static void *summon_main(void *arg)
{
	struct summon *s = arg;
	struct endpoint ep = {.pid = 0};
	struct err e = ERR_INIT;
	bool ours = false;
	int rc;

	processor_free(); /* the backend may run everywhere */
	rc = s->ensure(&s->config->c, &s->repo, &ep, &e);
	pthread_mutex_lock(&s->lock);
	if (s->rr) {
		pthread_mutex_lock(&s->rr->lock);
		s->rr->summon = NULL;
		ours = true;
		ready_locked(s->rr, rc, &ep, &e);
		pthread_mutex_unlock(&s->rr->lock);
		s->rr = NULL; /* summon_abandon() may be waiting for s->lock */
	}
	pthread_mutex_unlock(&s->lock);
	if (ours)
		s->refs--; /* the repo's; ours is still there */
	summon_put(s);
	return NULL;
}

static int start_thread(struct summon *s)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t id;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&id, &attr, summon_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

int summon_start_locked(struct router_repo *rr)
{
	struct summon *s;
	int rc;

	if (rr->summon)
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	if (repo_copy(&s->repo, &rr->info) < 0) {
		free(s);
		return -ENOMEM;
	}
	pthread_mutex_init(&s->lock, NULL);
	s->refs = 2;
	s->rr = rr;
	s->ensure = rr->router->hooks.ensure;
	s->config = rr->router->config;
	s->config->refs++;
	rc = start_thread(s);
	if (rc < 0) {
		s->refs = 1;
		summon_put(s);
		return rc;
	}
	rr->summon = s;
	return 0;
}

void summon_abandon(struct router_repo *rr)
{
	struct summon *s;

	pthread_mutex_lock(&rr->lock);
	s = rr->summon;
	if (s)
		s->refs++; /* it may end this moment */
	pthread_mutex_unlock(&rr->lock);
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	if (s->rr) {
		s->rr = NULL;
		s->refs--; /* the repo's */
		pthread_mutex_lock(&rr->lock);
		rr->summon = NULL;
		pthread_mutex_unlock(&rr->lock);
	}
	pthread_mutex_unlock(&s->lock);
	summon_put(s);
}
