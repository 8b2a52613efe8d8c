/*
 * A process that touches the mount for rrm-mount, which may not: a server that is killed while one of its
 * own threads waits for its own answer leaves that thread, /dev/fuse and the mount behind for good. The
 * toucher has no /dev/fuse and ends when the server does; each touch is a child of its own, so one that
 * waits in the kernel holds up no other.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct toucher {
	pid_t pid;
	int sock; /* a datagram a touch; its end is the toucher's end */
};

enum toucher_what {
	TOUCH_LOOKUP, /* lstat(2) */
	TOUCH_SYNC,   /* open, check the inode number, fdatasync(2) */
	TOUCH_CPU,    /* statfs(2) on the processor ino; waits for 100 ms at most */
};

/* To be called before the program has a thread or a mount. guard gets a SIGCHLD when this process begins to
 * die, which may hang in the kernel then, and the kernel tells nobody. 0 or negative errno. */
int toucher_start(struct toucher *t, pid_t guard);

/* Ends it and waits for that. */
void toucher_stop(struct toucher *t);

/* True when it succeeded. Waits as long as the mount takes; not from a worker. Any other thread. */
bool toucher_touch(struct toucher *t, enum toucher_what what, const char *path, uint64_t ino);

/* True for a process that touches. */
bool toucher_is(const struct toucher *t, pid_t pid);
