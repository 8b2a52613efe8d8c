/*
 * Where the parts of rrm are. Looked for in this order: $RRM_BINDIR (programs), $RRM_DATADIR (data);
 * beside the running executable or, for librrm, beside the library, in an installed tree (bin/,
 * lib/.../, share/rrm/) as in meson's build tree (router/, manager/, fs/, tests/unit/); last, for
 * programs, PATH.
 */
#pragma once
#include "manager/base/err.h"

/* "rrm", "rrm-backend", "rrm-mount". *path is owned and absolute. -ENOENT with a sentence. */
int program_find(const char *name, char **path, struct err *e);

/* A file of share/rrm, "rrm.js". *path is owned. -ENOENT with a sentence. */
int program_data(const char *name, char **path, struct err *e);

/* An executable file called name on PATH, or name itself when it has a slash. *path is owned and
 * absolute; -ENOENT, or -EACCES when there is one that may not be executed. No sentence. */
int program_on_path(const char *name, char **path);
