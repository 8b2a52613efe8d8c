/*
 * The order under start.lock: look once more (somebody else may have started it meanwhile), adopt what
 * lives and is only slow or half-started, end everything that is left of a backend which is of no use,
 * start a new one on the old port. The lock is never handed to a child, so it ends with its holder.
 */
#include "manager/ensure.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/child.h"
#include "manager/health.h"
#include "manager/idle.h"
#include "manager/password.h"
#include "manager/start.h"
#include "manager/stop.h"

enum {
	WARM_MS = 500, /* each probe of a look; a busy backend is looked at again under the lock */
	ADOPT_MS = 10000, /* OpenCode may stall for 5 s on a locked database */
	STOP_GRACE_MS = 5000,
	USELESS_GRACE_MS = 2000,
	CLEANUP_MS = 15000, /* a start that fails cleans up */
	CHILD_EXTRA_MS = 20000,
};

int ensure_warm(const struct config *c, const struct repo *r, int probe_ms, struct endpoint *ep)
{
	bool alive;
	char password[PASSWORD_MAX], socket[108];
	if (registry_read(r, ep, &alive, NULL) < 0 || !alive || strcmp(ep->state, "ready") != 0 ||
	    registry_root(r, ep) != REGISTRY_ROOT_SAME)
		return ENSURE_COLD;
	if (password_read(r, password) < 0 ||
	    registry_gateway_socket(r, socket, sizeof(socket), NULL) < 0)
		return ENSURE_COLD;
	if (health_backend(r, ep->backend, ep->port, ep->pid, password, probe_ms, ep->version) !=
	    HEALTH_OK)
		return ENSURE_COLD;
	return health_gateway(r, socket, ep->pid, probe_ms) == HEALTH_OK ? 0 : ENSURE_COLD;
}

/* The longest that somebody holds start.lock: a slot may be waited for, then comes the start itself. */
static uint64_t lock_ms(const struct config *c)
{
	return 2 * (uint64_t)c->start_timeout_ms + CLEANUP_MS;
}

/* When registry.json was last written; 0 when there is none. */
static int64_t registry_written_ms(const struct repo *r)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "registry.json");
	struct stat st;
	if (!path || stat(path, &st) < 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

/*
 * The start that we waited for failed while we waited: then its failure is ours. Otherwise 30 callers
 * would try one after the other, each for start_timeout_ms.
 */
static int shared_failure(const struct repo *r, int64_t begun_ms, struct err *e)
{
	struct endpoint ep;
	/* File times come from a clock that ticks every few milliseconds. */
	if (registry_read(r, &ep, NULL, NULL) < 0 || strcmp(ep.state, "failed") != 0 || ep.died ||
	    ep.retry_at_ms || registry_written_ms(r) < begun_ms)
		return 0;
	return err_set(e, -EIO, "%s", ep.error);
}

/* port (may be NULL): the one that it had; 0: none. */
static int stop_locked(const struct repo *r, int *port, struct err *e)
{
	struct endpoint ep;
	int known = registry_read(r, &ep, NULL, NULL);
	int rc = stop_processes(r, known == 0 ? &ep : NULL, true, STOP_GRACE_MS, e);
	if (rc == 0) {
		rc = registry_clear(r);
		if (rc < 0)
			err_errno(e, rc, "clearing the registry of %s", r->name);
	}
	if (port)
		*port = known == 0 ? ep.port : 0;
	return rc;
}

/* Whether what lives is to be kept: adopted when it becomes ready, not when it is of another directory. */
static int adopt(const struct config *c, const struct repo *r, const struct endpoint *old,
		 uint64_t deadline_ms, struct endpoint *ep, struct err *e)
{
	uint64_t now_ms = clock_mono_ms();
	uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
	uint64_t wait_ms = left_ms / 2; /* the other half is for its successor */
	if (registry_root(r, old) != REGISTRY_ROOT_SAME)
		return err_set(e, -ESTALE, "%s is gone, or another directory is there now",
			       r->root);
	if (strcmp(old->state, "starting") != 0 && wait_ms > ADOPT_MS)
		wait_ms = ADOPT_MS;
	*ep = *old;
	return start_adopt(c, r, now_ms + wait_ms, ep, e);
}

int ensure_locked(const struct config *c, const struct repo *r, uint64_t deadline_ms,
		  struct endpoint *ep, struct err *e)
{
	struct endpoint old = {.pid = 0};
	bool alive = false;
	int known = registry_read(r, &old, &alive, NULL);
	if (known == 0 && alive && registry_root(r, &old) != REGISTRY_ROOT_GONE) {
		struct err why = ERR_INIT;
		if (adopt(c, r, &old, deadline_ms, ep, &why) == 0)
			return 0;
		log_warn("event=ensure repo=%s replaced_pid=%d why=\"%s\"", r->id, (int)old.pid,
			 why.text);
	}
	int rc = stop_processes(r, known == 0 ? &old : NULL, false, USELESS_GRACE_MS, e);
	if (rc < 0)
		return rc;
	return start_backend(c, r, known == 0 ? &old : NULL, deadline_ms, ep, e);
}

int ensure_start(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e)
{
	int64_t begun_ms = clock_wall_ms();
	idle_touch(r); /* before the look: see ensure_stop_if_idle() */
	if (ensure_warm(c, r, WARM_MS, ep) == 0)
		return 0;
	CLEANUP(closep) int lock = -1;
	int rc = start_lock(r, clock_mono_ms() + lock_ms(c), &lock, e);
	if (rc == 0 && ensure_warm(c, r, WARM_MS, ep) == 0)
		return 0;
	if (rc == 0)
		rc = shared_failure(r, begun_ms, e);
	if (rc == 0)
		rc = repo_verify(r, e);
	if (rc == 0)
		rc = ensure_locked(c, r, clock_mono_ms() + c->start_timeout_ms, ep, e);
	return rc < 0 ? err_prefix(e, rc, "starting backend for %s", r->name) : 0;
}

int ensure_stop(const struct config *c, const struct repo *r, struct err *e)
{
	CLEANUP(closep) int lock = -1;
	int rc = start_lock(r, clock_mono_ms() + lock_ms(c), &lock, e);
	if (rc == -ENOENT)
		return 0; /* no state directory, so nothing ever ran */
	return rc == 0 ? stop_locked(r, NULL, e) : rc;
}

/*
 * A warm ensure takes no lock: it touches, then looks for "ready". Here "starting" is written, then the
 * touch is looked for. So one of the two sees the other: either the ensure waits for our lock, or the
 * backend stays. Should we end in between, the next ensure adopts it. Records of the audit log do not
 * count here: they are written 0.1 s late, and a stopping gateway ends what it has begun.
 */
static int stop_unless_touched(const struct repo *r, struct endpoint *ep, struct err *e)
{
	int64_t touched_ms = idle_touched_ms(r);
	snprintf(ep->state, sizeof(ep->state), "starting");
	int rc = registry_write(r, ep, e);
	if (rc == 0 && idle_touched_ms(r) == touched_ms)
		return stop_locked(r, NULL, e);
	snprintf(ep->state, sizeof(ep->state), "ready");
	if (rc == 0)
		rc = registry_write(r, ep, e);
	return rc < 0 ? rc : err_set(e, IDLE_IN_USE, "it was used just now");
}

int ensure_stop_if_idle(const struct config *c, const struct repo *r, int64_t unused_ms,
			uint64_t wait_ms, struct err *e)
{
	CLEANUP(closep) int lock = -1;
	struct endpoint ep;
	bool alive = false;
	int rc = start_lock(r, clock_mono_ms() + wait_ms, &lock, e);
	if (rc == -ENOENT)
		return 0;
	if (rc == -ETIMEDOUT)
		return err_set(e, IDLE_IN_USE, "somebody starts or stops it");
	if (rc < 0)
		return rc;
	if (registry_read(r, &ep, &alive, NULL) < 0)
		return 0;
	if (alive && strcmp(ep.state, "ready") == 0)
		rc = idle_look(r, &ep, IDLE_SESSIONS_AND_CLIENTS, unused_ms, e);
	else if (alive)
		return stop_locked(r, NULL, e); /* half started, and its starter is gone */
	return rc || !alive ? rc : stop_unless_touched(r, &ep, e);
}

int ensure_restart(const struct config *c, const struct repo *r, const char *why,
		   struct endpoint *ep, struct err *e)
{
	CLEANUP(closep) int lock = -1;
	struct endpoint old = {.port = 0};
	int rc = start_lock(r, clock_mono_ms() + lock_ms(c), &lock, e);
	if (rc == 0 && why && registry_read(r, ep, NULL, NULL) == 0)
		rc = idle_look(r, ep, IDLE_SESSIONS, POLICY_FRESH_MS, e);
	if (rc == 0)
		rc = stop_locked(r, &old.port, e);
	if (rc == 0 && why) {
		old.restarted_ms = clock_wall_ms();
		snprintf(old.restarted_why, sizeof(old.restarted_why), "%s", why);
	}
	if (rc == 0)
		rc = start_backend(c, r, &old, clock_mono_ms() + c->start_timeout_ms, ep, e);
	return rc ? err_prefix(e, rc, "restarting backend of %s", r->name) : 0;
}

int ensure_json(const struct repo *r, const struct endpoint *ep, cJSON **out)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	CLEANUP(freep) char *password_file = path_join(r->state_dir, "password");
	if (!j || !password_file || json_add_str(j, "repo_id", r->id) < 0 ||
	    json_add_bytes(j, "name", r->name) < 0 || json_add_bytes(j, "root", r->root) < 0 ||
	    json_add_str(j, "url", ep->url) < 0 || json_add_int(j, "pid", ep->pid) < 0 ||
	    json_add_str(j, "backend", ep->backend) < 0 ||
	    json_add_str(j, "version", ep->version) < 0 ||
	    json_add_str(j, "state", ep->state) < 0 ||
	    json_add_str(j, "username", PASSWORD_USER) < 0 ||
	    json_add_bytes(j, "password_file", password_file) < 0)
		return -ENOMEM;
	*out = steal(&j);
	return 0;
}

int ensure_running(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e)
{
	idle_touch(r);
	if (ensure_warm(c, r, WARM_MS, ep) == 0)
		return 0;
	const char *const args[] = {"ensure", "--json", r->id, NULL};
	int rc = child_run(c, args, lock_ms(c) + CHILD_EXTRA_MS, e);
	if (rc == 0)
		rc = registry_read(r, ep, NULL, e);
	if (rc == 0 && strcmp(ep->state, "ready") != 0)
		rc = err_set(e, -ESTALE, "the backend of %s was stopped again at once", r->name);
	return rc;
}
