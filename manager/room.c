#include "manager/room.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/ensure.h"
#include "manager/idle.h"
#include "manager/policy.h"
#include "manager/registry.h"

enum { LOCK_NAP_MS = 10, NAP_MS = 500, PATIENCE_MS = POLICY_FRESH_MS + 1000 };

static int take_lock(const struct config *c, uint64_t deadline_ms, int *lock, struct err *e)
{
	CLEANUP(freep) char *path = path_join(c->base, "backends.lock");
	CLEANUP(closep) int fd = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd < 0)
		return err_errno(e, path ? -errno : -ENOMEM, "opening %s/backends.lock", c->base);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(e, -errno, "locking %s", path);
		if (clock_mono_ms() >= deadline_ms)
			return err_set(e, -ETIMEDOUT,
				       "another process has been making room for a backend all the "
				       "time (it holds %s)",
				       path);
		poll(NULL, 0, LOCK_NAP_MS);
	}
	*lock = steal_fd(&fd);
	return 0;
}

/* The others that live now. */
struct others {
	struct repo_list list;               /* owned */
	struct policy_candidate *candidates; /* owned; for list.items[which[i]] */
	size_t *which;                       /* owned */
	size_t n;
};

static void others_deinit(struct others *o)
{
	repo_list_deinit(&o->list);
	free(o->candidates);
	free(o->which);
}

static int others_load(struct others *o, const struct config *c, const struct repo *r,
		       struct err *e)
{
	int rc = repo_list_load(c, &o->list, e);
	if (rc < 0)
		return rc;
	o->candidates = calloc(o->list.n + 1, sizeof(*o->candidates));
	o->which = calloc(o->list.n + 1, sizeof(*o->which));
	if (!o->candidates || !o->which)
		return err_errno(e, -ENOMEM, "counting the backends");
	for (size_t i = 0; i < o->list.n; i++) {
		const struct repo *other = &o->list.items[i];
		struct endpoint ep;
		bool alive;
		if (strcmp(other->id, r->id) == 0 || registry_read(other, &ep, &alive, NULL) < 0 ||
		    !alive)
			continue;
		o->which[o->n] = i;
		o->candidates[o->n++] = (struct policy_candidate){.used_ms = idle_used_ms(other)};
	}
	return 0;
}

/* One look: 0 when there is room now, -EAGAIN when none is idle, or another error. */
static int make_once(const struct config *c, const struct repo *r, struct err *e)
{
	CLEANUP(others_deinit) struct others o = {0};
	int rc = others_load(&o, c, r, e);
	size_t running = o.n;
	while (rc == 0 && running >= c->max_backends) {
		struct err why = ERR_INIT;
		int i = policy_victim(o.candidates, o.n, clock_wall_ms());
		if (i < 0)
			return -EAGAIN;
		const struct repo *victim = &o.list.items[o.which[i]];
		o.candidates[i].refused = true;
		/* Never waits for another start.lock: its holder may wait for ours. */
		if (ensure_stop_if_idle(c, victim, POLICY_FRESH_MS, 0, &why) != 0)
			continue;
		log_info("event=room repo=%s stopped=%s why=\"max_backends is %u\"", r->id,
			 victim->id, c->max_backends);
		running--;
	}
	return rc;
}

static int refuse(const struct config *c, const struct repo *r, struct err *e)
{
	CLEANUP(others_deinit) struct others o = {0};
	char names[512] = "";
	int rc = others_load(&o, c, r, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0, n = 0; i < o.n && n + 64 < sizeof(names); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%.48s", i ? ", " : "",
				      o.list.items[o.which[i]].name);
	return err_set(e, -EBUSY,
		       "%zu backend%s (%s), as many as max_backends allows, and none is idle; stop "
		       "one with `rrm stop NAME` or raise max_backends",
		       o.n, o.n == 1 ? " runs" : "s run", names);
}

int room_make(const struct config *c, const struct repo *r, uint64_t deadline_ms, int *lock,
	      struct err *e)
{
	*lock = -1;
	if (c->max_backends == 0)
		return 0;
	CLEANUP(closep) int fd = -1;
	int rc = take_lock(c, deadline_ms, &fd, e);
	if (rc < 0)
		return rc;
	uint64_t patience_ms = clock_mono_ms() + PATIENCE_MS;
	while ((rc = make_once(c, r, e)) == -EAGAIN) {
		uint64_t now_ms = clock_mono_ms();
		if (now_ms >= patience_ms || now_ms >= deadline_ms)
			return refuse(c, r, e);
		poll(NULL, 0, NAP_MS);
	}
	if (rc == 0)
		*lock = steal_fd(&fd);
	return rc;
}
