#include "manager/recover.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "manager/backendlog.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/child.h"
#include "manager/ensure.h"
#include "manager/start.h"
#include "manager/stop.h"

enum { LOCK_MS = 20000, EXTRA_MS = 30000, NAP_MS = 100, GRACE_MS = 2000 };

/* Writes down a failure that nobody ordered, and what follows from it. */
static int note(const struct repo *r, struct endpoint *ep, const char *what, struct err *e)
{
	char text[sizeof(ep->error) + 1];
	int64_t now_ms = clock_wall_ms();
	registry_add_death(ep, now_ms);
	int delay_ms = policy_delay_ms(ep->deaths_ms, ep->n_deaths, now_ms);
	if (delay_ms < 0)
		snprintf(text, sizeof(text),
			 "it failed %d times within a minute and is started again only by the next "
			 "write or `rrm ensure %.64s`; the last time: %s",
			 POLICY_LIMIT, r->name, what);
	else
		snprintf(text, sizeof(text), "%s", what);
	backendlog_copy(ep->error, sizeof(ep->error), text);
	backendlog_copy(ep->restarted_why, sizeof(ep->restarted_why), what);
	snprintf(ep->state, sizeof(ep->state), "failed");
	ep->pid = 0;
	ep->start_time = 0;
	ep->died = true;
	ep->restarted_ms = now_ms;
	ep->retry_at_ms = delay_ms < 0 ? 0 : now_ms + delay_ms;
	log_warn("event=died repo=%s delay_ms=%d why=\"%s\"", r->id, delay_ms, what);
	return registry_write(r, ep, e);
}

static int note_death(const struct repo *r, struct endpoint *ep, struct err *e)
{
	char tail[sizeof(ep->restarted_why) - 64], what[sizeof(tail) + 64];
	int rc = stop_processes(r, ep, false, GRACE_MS, e);
	if (rc < 0)
		return rc;
	backendlog_last(r, tail, sizeof(tail));
	snprintf(what, sizeof(what), "the backend with pid %d ended by itself; %s", (int)ep->pid,
		 tail);
	return note(r, ep, what, e);
}

/* A start by us that failed counts like a death: start_backend() has written down why. */
static int start_again(const struct config *c, const struct repo *r, struct endpoint *ep,
		       struct err *e)
{
	struct err why = ERR_INIT;
	uint64_t deadline_ms = clock_mono_ms() + c->start_timeout_ms;
	int rc = ensure_locked(c, r, deadline_ms, ep, &why);
	if (rc == 0)
		return 0;
	if (registry_read(r, ep, NULL, NULL) < 0)
		return err_set(e, rc, "%s", why.text);
	rc = note(r, ep, why.text, e);
	return rc < 0 ? rc : -EAGAIN;
}

/* One look under the lock. -EAGAIN: look again when ep->retry_at_ms has come. */
static int look(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e)
{
	CLEANUP(closep) int lock = -1;
	bool alive;
	int rc = start_lock(r, clock_mono_ms() + 2 * (uint64_t)c->start_timeout_ms + LOCK_MS, &lock,
			    e);
	if (rc == -ENOENT)
		return RECOVER_STOPPED;
	if (rc < 0)
		return rc;
	rc = registry_read(r, ep, &alive, e);
	if (rc == -ENOENT || (rc == 0 && !registry_this_boot(ep)))
		return RECOVER_STOPPED;
	if (rc < 0 || (alive && strcmp(ep->state, "ready") == 0))
		return rc;
	if (registry_root(r, ep) == REGISTRY_ROOT_GONE)
		return registry_root_gone(r, e);
	if (!alive && strcmp(ep->state, "failed") != 0) {
		rc = note_death(r, ep, e);
		if (rc < 0)
			return rc;
	}
	if (strcmp(ep->state, "failed") == 0 && ep->retry_at_ms == 0)
		return err_set(e, -EIO, "%s", ep->error);
	return clock_wall_ms() < ep->retry_at_ms ? -EAGAIN : start_again(c, r, ep, e);
}

int recover_here(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e)
{
	for (;;) {
		int rc = look(c, r, ep, e);
		if (rc != -EAGAIN)
			return rc < 0 ? err_prefix(e, rc, "restarting backend of %s", r->name) : rc;
		if (ep->retry_at_ms == 0)
			return err_set(e, -EIO, "%s", ep->error);
		/* Without the lock: whoever needs it sooner starts it. */
		int64_t wait_ms = ep->retry_at_ms - clock_wall_ms();
		poll(NULL, 0, wait_ms < 0 ? 0 : wait_ms < NAP_MS ? (int)wait_ms : NAP_MS);
	}
}

int recover_backend(const struct config *c, const struct repo *r, struct err *e)
{
	const char *const args[] = {"restart", "--if-dead", r->id, NULL};
	uint64_t one_ms = 2 * (uint64_t)c->start_timeout_ms + POLICY_DELAY_MAX_MS;
	int rc = child_run(c, args, POLICY_LIMIT * one_ms + EXTRA_MS, e);
	struct endpoint ep;
	if (rc == 0 && registry_read(r, &ep, NULL, NULL) == -ENOENT)
		return RECOVER_STOPPED;
	return rc;
}
