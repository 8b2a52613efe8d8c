/*
 * The guard: the process that a mount lives as long as. It does nothing but start the server, its child, and
 * see how that ends: one that was killed or crashed has a successor at once, which takes over the
 * memory (estate.h) and, since both share one descriptor table, every descriptor. The programs in the mount
 * only wait a moment longer for their answers.
 *
 *	SIGTERM, SIGINT   passed on: the server answers what is in flight and unmounts
 *	SIGUSR2           the server makes room, and the guard becomes the program that is on disk now
 *
 * The guard's own death is a SIGTERM to the server. After GUARD_CRASHES crashes within GUARD_CRASHES_MS it
 * gives up, unmounts and says so in the log; it does so at the first where the kernel cannot send again what
 * the dead server had read (before Linux 6.9), so that nobody waits for ever.
 */
#pragma once
#include "fs/estate.h"
#include "manager/config.h"

enum { GUARD_CRASHES = 3, GUARD_CRASHES_MS = 10000 };

struct guard_mount {
	const struct config *config;
	const char *mountpoint;
	const char *fuse; /* -o options */
};

enum { GUARD_SERVE = 1 };

/* Returns GUARD_SERVE in each server, which ends with the process; 0 in the guard when the mount has ended, with
 * *code to exit with. Negative errno with a sentence: no process. To be called without threads. */
int guard_run(struct estate *es, const struct guard_mount *m, int *code, struct err *e);

/* The estate that a guard of another program left to this one, which it became; NULL when there is none. Does not return
 * when that must go on with the other program. */
struct estate *guard_inherited(char **argv);
