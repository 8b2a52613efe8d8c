/*
 * <state>/writer.json: who has the write turn and who waits, for people and `rrm status`: {branch,
 * holder {home, session, branch, pid, comm, since, path, process}, waiters [the same], others [the same:
 * who holds the turns of other branches]}. since is RFC 3339, process
 * the pid of the program that wrote the entry (rrm-mount, rrm). holder is null when nobody has it. Advice
 * only: entries of dead processes are dropped by the next writer. Replaced atomically, without fsync.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "router/mutation.h"

struct writer {
	const struct actor *actor; /* borrowed */
	int64_t since_wall_ms;
	const char *path; /* borrowed; NULL when unknown */
};

/*
 * Puts what this process knows: holder (NULL: it has not the turn) and its n waiters; the entries of
 * other living processes stay. With neither of its own nor of others the file is removed. Any thread, one
 * at a time per directory. 0 or negative errno.
 */
int writer_put(const char *state_dir, const char *branch, const struct writer *holder,
	       const struct writer *waiters, size_t n);

/* Who has the turn, in words: "agent pid 812 of web-0123 (session ses_1) since 17:40:00.123Z for src/a.c"; "" when
 * the file does not say. */
void writer_describe(const char *state_dir, char *buf, size_t size);
