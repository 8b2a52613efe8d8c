/*
 * What is done to a mount from outside: clear what a dead server left and check the mountpoint, change its program, unmount.
 */
#pragma once
#include "fs/estate.h"
#include "fs/options.h"
#include "manager/config.h"

enum { MOUNT_ALREADY = 1 };

/*
 * Makes sure that a mount can be made at options->mountpoint: creates the directory, clears a dead rrm
 * mount. 0; MOUNT_ALREADY when a living rrm-mount serves it; negative errno with a sentence: not empty, not a
 * directory, inside a repository, another file system mounted there, ...
 */
int mount_prepare(const struct config *c, const char *mountpoint, struct err *e);

/* Has the guard of the mount there take the program that is installed now, and waits until that serves. 0 or
 * negative errno with a sentence. */
int mount_reexec(const struct config *c, const char *mountpoint, struct err *e);

/* Unmounts, and waits until the server has ended; programs inside lose it. Not mounted is success. */
int mount_unmount(const struct config *c, const char *mountpoint, struct err *e);
