/*
 * One record of the audit as a value of fixed size, so that it can wait in <state>/inflight, and the
 * rule by which consecutive writes become one. Pure.
 */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "router/mutation.h"

enum { GATEWAY_RESULT_DONE, GATEWAY_RESULT_REFUSED, GATEWAY_RESULT_INTERRUPTED };

/* Where in undo/ what was lost is. attrs or len: a piece of the file, else all of it. */
struct gateway_kept {
	uint64_t n;          /* undo/<n>; 0: nothing was lost, or see why */
	uint64_t at;         /* where in it the content begins */
	uint32_t len, attrs; /* bytes of the content, and of the attributes behind it */
};

/* What was there before, for undo. Filled by gateway_undo.h. */
struct gateway_undo_note {
	uint32_t before; /* path (path2 of a rename, when that replaced it) existed, and was: */
	uint32_t mode, uid, gid;
	uint64_t rdev;
	int64_t size;
	struct timespec atime, mtime;
	struct gateway_kept kept;
	uint32_t exchange; /* a rename that swapped the two */
	uint32_t had_xattr;
	char xattr[256]; /* "" but for setxattr and removexattr */
	char why[96];    /* something was lost and is not kept */
};

struct gateway_record {
	int64_t ts_ms; /* wall clock, when its first mutation came */
	uint64_t epoch;
	uint32_t op;     /* enum mutation_op; "write" for all kinds of writing */
	uint32_t result; /* GATEWAY_RESULT_*; done with an error is that errno's name */
	int32_t error;   /* 0 or a positive errno */
	uint32_t hash;   /* sha256_after is wanted: a regular file that was written or renamed */
	uint64_t writes; /* mutations in it */
	uint64_t bytes;
	int64_t size_before, size_after; /* -1: no such regular file */
	uint64_t wait_us, apply_us;      /* sums */
	uint64_t dev, ino;               /* what path (path2 after a rename) was then; 0: unknown */
	struct actor actor;
	char branch[256];
	char message[512];
	struct gateway_undo_note undo;
	char path[PATH_MAX];
	char path2[PATH_MAX]; /* "" when the op has none */
};

/* The record of one mutation before it is applied: done, no error, sizes unknown. */
void gateway_record_init(struct gateway_record *r, const struct mutation *m, int64_t ts_ms);

/* True when next continues r: both successful writes of one actor to one path in one turn. */
bool gateway_record_continues(const struct gateway_record *r, const struct gateway_record *next);
void gateway_record_merge(struct gateway_record *r, const struct gateway_record *next);

/* The line without its newline, owned by the caller; NULL when out of memory. sha NULL: null. */
char *gateway_record_text(const struct gateway_record *r, uint64_t seq, const char *repo_id,
			  const char *sha, const char *prev);
