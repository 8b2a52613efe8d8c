/*
 * Where the parts of rrm are. Looked for in this order: $RRM_BINDIR (programs), $RRM_DATADIR (data);
 * beside the running executable or, for librrm, beside the library, in an installed tree (bin/,
 * lib/.../, share/rrm/) as in meson's build tree (router/, manager/, fs/, tests/unit/); last, for
 * programs, PATH.
 */
#pragma once
#include <stdbool.h>

#include "manager/base/err.h"

/* "rrm", "rrm-backend", "rrm-mount". *path is owned and absolute. -ENOENT with a sentence. */
int program_find(const char *name, char **path, struct err *e);

/* A file of share/rrm, "rrm.js". *path is owned. -ENOENT with a sentence. */
int program_data(const char *name, char **path, struct err *e);

/* An executable file called name on PATH, or name itself when it has a slash. *path is owned and
 * absolute; -ENOENT, or -EACCES when there is one that may not be executed. No sentence. */
int program_on_path(const char *name, char **path);

/* The same, as if the files of which skip (may be NULL) is true were not on PATH; -ELOOP for a name with a
 * slash that is one of them. */
int program_on_path_but(const char *name, bool (*skip)(const char *path), char **path);
