/*
 * home.jsonl: changes that programs made at home through the mount, coalesced per (session, file). One
 * JSON object a line: {ts_first, ts_last, op, path, path2, writes, bytes, actor {pid, comm, uid, home,
 * session}}, the last two null when unknown; op joins the kinds of change with '+' ("create+write"); path (path_hex when it
 * is no UTF-8) is relative to the root, null when it was not told.
 * No fsync, no chain. Beyond 16 MiB the file becomes home.1.jsonl, in place of an older one.
 *
 * homelog_note() only adds to memory; homelog_flush() writes, from a thread that may wait for a disk.
 * Own lock, never held while the file is written.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "router/mutation.h"

enum { HOMELOG_MAX = 256, HOMELOG_IDLE_MS = 1000, HOMELOG_OLD_MS = 10000 };
#define HOMELOG_NEVER UINT64_MAX

struct homelog;

int homelog_new(struct homelog **out, const char *state_dir); /* copied; 0 or -ENOMEM */
struct homelog *homelog_free(struct homelog *l);              /* does not flush; NULL is fine */

/* False: homelog_note() wants the path of this file. */
bool homelog_knows(struct homelog *l, uint32_t session, uint64_t key);

struct homelog_change {
	uint32_t session;
	uint64_t key;
	enum mutation_op op;
	const char *path, *path2; /* borrowed; may be NULL */
	uint64_t bytes;
	const struct actor *actor; /* borrowed */
};

/* True: it is time to look at homelog_due() (the first of an empty log, or it is full). */
bool homelog_note(struct homelog *l, const struct homelog_change *c, uint64_t now_ms,
		  int64_t wall_ms);

/* When to call homelog_flush(); HOMELOG_NEVER while it is empty. */
uint64_t homelog_due(struct homelog *l, uint64_t now_ms);
/* Writes what is idle or old, or everything when full or all. 0 or negative errno: then those lines are
 * lost (logged once), so that a full disk does not eat the memory. */
int homelog_flush(struct homelog *l, uint64_t now_ms, bool all);
