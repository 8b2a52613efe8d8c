/*
 * A systemd scope for each backend, where the user has a systemd of their own: then all that the backend
 * ever starts is in one cgroup, whatever sessions and environments it makes, and can be ended as a
 * whole. `systemd-run --scope` asks for the scope, moves itself there and becomes the backend, so the
 * pid stays. Nothing here is needed: without a user manager, or when it does not answer, a backend is
 * a process group (stop.h).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/repo.h"

enum { SCOPE_UNIT_MAX = 128, SCOPE_ARGS = 7 };

struct scope {
	char *program; /* owned; systemd-run, canonical */
	char unit[SCOPE_UNIT_MAX];
	char unit_option[SCOPE_UNIT_MAX + 8];
};

/* Whether a systemd of this user accepts a connection. */
bool scope_manager(void);

/*
 * 0 when $XDG_RUNTIME_DIR/systemd/private or $XDG_RUNTIME_DIR/bus accepts a connection and systemd-run
 * is on PATH; unit is then "rrm-<repo_id>-<now in hex>.scope". -ENOENT otherwise.
 */
int scope_init(struct scope *s, const struct repo *r, int64_t now_ms);
void scope_deinit(struct scope *s);

/* The words in front of argv that put it into the scope, and argv; *out owned, its words borrowed. */
int scope_argv(const struct scope *s, const char *const *argv, const char ***out);

/* Waits until pid is no longer systemd-run but what that became, in a cgroup of that name. dir: where it
 * is to be seen, "" when it is not. -ECHILD when it ended instead, -ETIMEDOUT. */
int scope_entered(const struct scope *s, pid_t pid, uint64_t start, int timeout_ms, char *dir,
		  size_t size);

/* Calls fn for each process in it, and below; stops when that returns non-zero and returns that. A
 * directory that is none of a scope of r, or gone, has none. */
int scope_each(const char *dir, const struct repo *r, int (*fn)(pid_t pid, void *arg), void *arg);

/* SIGKILL to all of it at once, also to what is just being forked. Best effort. */
void scope_kill(const char *dir, const struct repo *r);
