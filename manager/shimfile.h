/*
 * The file that `rrm shim install` makes: a shell script called opencode that execs `rrm shim run --`
 * with its arguments. It is known by its second line, so whoever looks for the real OpenCode passes it
 * by, and nobody overwrites or removes anything else.
 */
#pragma once
#include <stdbool.h>

#include "manager/base/err.h"

/* Whether path, symlinks followed, is such a file. */
bool shimfile_is(const char *path);

/*
 * Writes dir/opencode, mode 0755; dir is made when it is missing. A shim that is there is replaced,
 * anything else is left alone: -EEXIST with a sentence. *path is owned.
 */
int shimfile_install(const char *dir, char **path, struct err *e);

/* 1: removed; 0: there is none; -EEXIST with a sentence: it is something else. */
int shimfile_remove(const char *dir, struct err *e);

/* What stands between the shim at path and its use, one sentence in why: dir is not on PATH, or the
 * command that comes first there is another file. True when nothing does. */
bool shimfile_in_use(const char *path, struct err *why);
