/*
 * A detached process: double fork and setsid, so it is nobody's child, the leader of its own session
 * and process group (pgid = pid), with stdin from /dev/null, stdout and stderr to a log, no other fd,
 * default signals, and the soft limit of open files raised to the hard one.
 *
 * It is not executed before its (pid, start time) was noted: spawn_detached() calls noted() while the
 * new process waits, and a caller that is killed in between takes it along. So there is never a backend
 * that no registry knows.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"

/* An environment that is built: NAME=VALUE strings, NULL-terminated, all owned. */
struct spawn_env {
	char **vars;
	size_t n, room;
};

/* Copy of from (environ); spawn_env_deinit() frees. -ENOMEM. */
int spawn_env_init(struct spawn_env *env, char *const *from);
void spawn_env_deinit(struct spawn_env *env);
/* value NULL removes the variable. */
int spawn_env_set(struct spawn_env *env, const char *name, const char *value);
const char *spawn_env_get(const struct spawn_env *env, const char *name); /* borrowed; NULL */

struct spawn_request {
	const char *const *argv; /* argv[0] is the file to execute */
	const struct spawn_env *env;
	const char *cwd;
	int log_fd; /* stdout and stderr; borrowed */
	/* Called with the new process waiting; a negative return ends it and is passed on. */
	int (*noted)(void *arg, pid_t pid, uint64_t start, struct err *e);
	void *arg;
	int timeout_ms; /* for all steps up to exec (a chdir can hang on a dead file system) */
};

/* 0 when exec succeeded. Negative errno with a sentence (which step failed and why). */
int spawn_detached(const struct spawn_request *rq, pid_t *pid, uint64_t *start, struct err *e);

/* As rq->noted for a caller that has nothing to note. */
int spawn_noted_nothing(void *arg, pid_t pid, uint64_t start, struct err *e);
