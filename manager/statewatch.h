/*
 * Tells when something may have changed in <base>/repos, in the state directories in it, or beside the roots of
 * repos, so that nobody has to look again and again. One thread.
 */
#pragma once
#include <stdbool.h>

#include "manager/repo.h"

struct statewatch;

/* -errno when the kernel gives no inotify instance. */
int statewatch_new(struct statewatch **out, const char *repos_dir);
struct statewatch *statewatch_free(struct statewatch *w); /* NULL is fine */

/* Readable (poll) when there is something to be read. */
int statewatch_fd(const struct statewatch *w);

/* Takes what was told: 0 (nothing that matters), or the greatest of these. */
enum {
	STATEWATCH_LOOK = 1, /* a registry.json or a root may have come, gone or changed */
	STATEWATCH_LIST = 2, /* a repo may have (repo.json) */
};
int statewatch_read(struct statewatch *w);

/* Watches <base>/repos and every directory in it. Before the list of repos is read: what changes after that is
 * told. False when one of them cannot be watched. */
bool statewatch_dirs(struct statewatch *w);

/* Watches the directory in which the root of r lies. False when that cannot be. */
bool statewatch_root(struct statewatch *w, const struct repo *r);
