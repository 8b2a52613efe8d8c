/* What is mounted where: /proc/self/mountinfo, and umount(2) or fusermount3 for who is not root. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "manager/base/err.h"

/* True when something is mounted exactly at path (absolute, canonical): type gets its file system type. */
bool mounts_at(const char *path, char *type, size_t size);

/* Detaches what is mounted there at once (lazily), never touching the mounted file system itself. 0 or
 * negative errno with a sentence. */
int mounts_detach(const char *path, struct err *e);
