/*
 * refused.jsonl: changes of this repository that were refused before a gateway was asked, which the audit knows
 * nothing of. One JSON object a line, with the keys of an audit record that apply: {ts, repo_id, branch, op, path,
 * path2, result, message, wait_us, actor}. No seq, no chain, no fsync. Beyond 1 MiB the file becomes
 * refused.1.jsonl, in place of an older one.
 *
 * refusedlog_add() only adds to memory, up to REFUSEDLOG_MAX lines; refusedlog_flush() writes them, from a thread that may
 * wait for a disk, at most every REFUSEDLOG_MS: a program that is refused without end fills neither.
 * Own lock, never held while the file is written.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "router/mutation.h"

enum { REFUSEDLOG_MAX = 256, REFUSEDLOG_MS = 100 };
#define REFUSEDLOG_NEVER UINT64_MAX

struct refusedlog;

int refusedlog_new(struct refusedlog **out, const char *state_dir,
		   const char *repo_id);                  /* copied */
struct refusedlog *refusedlog_free(struct refusedlog *l); /* does not flush; NULL is fine */

struct refusedlog_line {
	const char *branch;
	enum mutation_op op;
	const char *path, *path2; /* may be NULL */
	int error;                /* positive errno */
	const char *message;
	uint64_t wait_us;
	const struct actor *actor;
};

/* True: it is time to look at refusedlog_due(), since l was empty. */
bool refusedlog_add(struct refusedlog *l, const struct refusedlog_line *line, int64_t wall_ms);

/* When to call refusedlog_flush(); REFUSEDLOG_NEVER while it is empty. */
uint64_t refusedlog_due(struct refusedlog *l);
/* Writes all. 0 or negative errno: then they are lost (logged once), so that a full disk does not eat the memory. */
int refusedlog_flush(struct refusedlog *l, uint64_t now_ms);
