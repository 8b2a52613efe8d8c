/*
 * Deadlocks of explicit turns, and who is in them. A turn that `rrm lock` holds (the plugin of OpenCode
 * uses it, too) ends with its command, and that with all that it runs. So there is a deadlock when what works
 * under a turn waits for another one, and that one's command, directly or by others in between, for the first.
 * Turns that nobody holds explicitly end by themselves: waiting for those is never part of a deadlock.
 *
 * <base>/turns.json lists the claims of all processes of this machine and user, an array of {waits, pid,
 * start, serial, repo_id, offset, name, who, comm, above, above_holders, needs}: who holds a turn explicitly, and
 * who waits for one while it works under another. Replaced under flock(2) of <base>/turns.lock. Whoever comes
 * to wait adds itself and looks, in one step: the last of a circle sees all of it, and is the newest.
 *
 * A claim goes before its turn does; those of dead processes do not count. Advice, but for its one answer:
 * when the file cannot be had there is no EDEADLK, and a wait ends at its bound.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manager/base/err.h"
#include "router/held.h"
#include "router/stuck.h"

enum { STANDOFF_NAME_MAX = 64 };
/* For standoff_claim(): of one with nothing else to do, and of one that others wait for. */
enum { STANDOFF_PATIENT_MS = 2000, STANDOFF_SOON_MS = 20 };

struct claim {
	bool waits;
	struct held
		turn; /* pid, start: of the process that claims: rrm, or rrm-mount for a writer */
	uint64_t serial;        /* the process's own number of it */
	struct held_list above; /* waits: what it works under; empty: it can be in no deadlock */
	char name[STANDOFF_NAME_MAX]; /* of the repo */
	bool behind; /* what is first in above needs a lock of the kernel that this wait keeps (stuck.h) */
	struct stuck stuck; /* holds: where what runs under it is stuck */
	pid_t who;          /* whose command or write it is */
	char comm[17];
};

/*
 * Pure: the circle that mine (a wait) closes in all. 0: none; else its length, and path has for each of
 * its first max links the claim that holds what the link before waits for, and then waits: path[2 * i], path[2 * i + 1];
 * the last one holds only, under mine.
 */
size_t standoff_find(const struct claim *all, size_t n, const struct claim *mine,
		     const struct claim **path, size_t max);

/* "a: make pid 12 has it and waits for b; sh pid 14 has that ..." */
void standoff_describe(const struct claim *mine, const struct claim *const *path, size_t len,
		       char *buf, size_t size);

/* Adds c, or puts it in the place of that of the same process and serial. A wait that closes a circle is
 * not added: -EDEADLK with a sentence. Other errors: no claim was made; -EAGAIN: others were at the file for all of
 * patience_ms, so it is to be tried again. */
int standoff_claim(const char *base, const struct claim *c, unsigned patience_ms, struct err *e);
int standoff_drop(const char *base, const struct claim *c);

/* Changes with the file; 0 when there is none. */
uint64_t standoff_stamp(const char *base);
/* Those who hold a turn while something under it is stuck; *all owned. 0 or negative errno. */
int standoff_stuck(const char *base, struct claim **all, size_t *n);
