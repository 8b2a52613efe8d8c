/*
 * Mutations applied to the real tree, below one root that is opened once. Two steps, so that the
 * gateway can note what it is about to do in between: gateway_apply_open() finds the object and its
 * state, gateway_apply_commit() changes it. Owned by one thread; no locks.
 *
 * Paths are resolved by openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS), so nothing leads out of the
 * root, neither "..", nor an absolute symlink, nor a rename under way. The last component is never
 * followed. Parents are not cached: an openat2() of one costs about a microsecond, a stale one is a
 * write into the wrong directory.
 *
 * No write fd outlives its mutation (a program just written must be executable), but for the one that
 * created a file whose mode forbids its own writing: kept by (dev, ino), at most GATEWAY_APPLY_KEPT of them,
 * because its maker may write it. It also reaches a file whose name is gone. The mount cannot tell when the maker
 * has closed it (fdcache.h): so it is kept for a minute after its last use, and of a program, or of a file without a
 * name, for a second; when somebody else made it that, this is noticed within ten seconds.
 *
 * Errors: 0 or negative errno with a sentence.
 */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>

#include "manager/base/err.h"
#include "router/mutation.h"

enum { GATEWAY_APPLY_KEPT = 256, GATEWAY_APPLY_KEPT_MS = 60000, GATEWAY_APPLY_BRIEF_MS = 1000 };

struct gateway_apply;

struct gateway_target {
	int parent, parent2; /* owned; -1: not opened */
	const char *name;    /* last component, borrowed from the mutation; "" for the root */
	const char *name2;
	int fd;    /* the object: for reading or writing by data ops, else O_PATH; -1 when none */
	bool kept; /* fd is borrowed from the kept ones */
	bool exists, exists2;
	struct stat st, st2; /* state before, when it exists */
	bool had_xattr;      /* setxattr, removexattr: the attribute was there */
};

/* root: absolute path of a directory. */
int gateway_apply_new(struct gateway_apply **out, const char *root, struct err *e);
struct gateway_apply *gateway_apply_free(struct gateway_apply *a); /* NULL is fine; returns NULL */

/*
 * Finds what m is about. -EACCES with outside set: the path leads out of the root. -ESTALE: it is not
 * the inode that m names. t is closed again on failure.
 */
int gateway_apply_open(struct gateway_apply *a, const struct mutation *m, struct gateway_target *t,
		       bool *outside, struct err *e);

/* Makes the change; fills bytes, offset and attr of the answer. The target stays open. */
int gateway_apply_commit(struct gateway_apply *a, const struct mutation *m,
			 struct gateway_target *t, struct mutation_answer *answer, struct err *e);
void gateway_target_close(struct gateway_target *t);

/* MUTATION_RELEASE: the creating fd of m's inode goes, if there is one. */
void gateway_apply_release(struct gateway_apply *a, const struct mutation *m);

/* Closes what was kept long enough (CLOCK_MONOTONIC); milliseconds until there may be more of that, -1: none. */
int gateway_apply_expire(struct gateway_apply *a, uint64_t now_ms);

/* State of path at this moment, no symlink followed. -ENOENT, ... */
int gateway_apply_look(struct gateway_apply *a, const char *path, struct stat *st);

/* An fd to read the regular file (dev, ino) at path; *owned says whether to close it. Negative errno. */
int gateway_apply_reader(struct gateway_apply *a, const char *path, uint64_t dev, uint64_t ino,
			 bool *owned);
