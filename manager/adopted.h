/*
 * <base>/adopted.json: which databases `rrm adopt` has copied from, as they were then: an array of {path, ts,
 * dev, ino, size, mtime_ms, wal_size}. So `rrm doctor` does not report sessions for ever that are in their own databases.
 */
#pragma once
#include <stdbool.h>

#include "manager/base/err.h"
#include "manager/config.h"

/* Whether path was adopted from, and has not changed since. */
bool adopted_unchanged(const struct config *c, const char *path);

/* Notes it as it is now, in place of an older entry of the same path. */
int adopted_note(const struct config *c, const char *path, struct err *e);
