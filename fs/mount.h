/*
 * The mount's life: clear what a dead server left, check the mountpoint, serve, unmount.
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

/* Serves until unmounted or told to end (SIGTERM, SIGINT); the server of guard.h. Goes on where one before it
 * stopped, when es says that there was one. es->ready gets an 'r' once the mount answers and is then closed and
 * set to -1. 0 or negative errno with a sentence. Does not return after SIGUSR2 (ESTATE_HANDOVER). */
int mount_serve(struct config *c, const struct options *opt, struct estate *es, struct err *e);

/* Has the guard of the mount there take the program that is installed now, and waits until that serves. 0 or
 * negative errno with a sentence. */
int mount_reexec(const struct config *c, const char *mountpoint, struct err *e);

/* Unmounts, and waits until the server has ended; programs inside lose it. Not mounted is success. */
int mount_unmount(const struct config *c, const char *mountpoint, struct err *e);
