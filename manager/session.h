/*
 * Sessions begun by `rrm run`: <base>/sessions/<pid>.json = {pid, start_time, boot_id, repo_id,
 * session}. A process is at home in repo_id when this names it or an ancestor of it. Removed by
 * `rrm run` when its command ends, by rrm gc when the process is gone.
 */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/repo.h"

enum { SESSION_ID_MAX = 64 };

/* Registers pid (usually getpid() before exec). session gets the new id, "run-<pid>-<6 hex>". */
int session_register(const struct config *c, const struct repo *r, pid_t pid,
		     char session[SESSION_ID_MAX], struct err *e);
void session_unregister(const struct config *c, pid_t pid);

/* Calls fn with the repo_id of each session whose process lives. 0 or negative errno. */
int session_each(const struct config *c, void (*fn)(const char *repo_id, void *arg), void *arg);

/* Looks pid up; start is its start time. 0 and repo_id, session filled; -ENOENT when it is none.
 * One open(2) when there is no such file. */
int session_lookup(const struct config *c, pid_t pid, uint64_t start, char repo_id[REPO_ID_MAX],
		   char session[SESSION_ID_MAX]);
