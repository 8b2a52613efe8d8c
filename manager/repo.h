/*
 * Registered repositories. A repo is known by <base>/repos/<repo_id>/repo.json =
 * {"repo_id","root","name","added"}; the list of repos is the list of these files.
 *
 * repo_id is "<slug>-<16 hex>": the slug is the basename of the root in lower case with every byte
 * outside [a-z0-9._-] turned into '-' (at most 40 bytes, "repo" when nothing is left), the hex the
 * first 16 digits of SHA-256 over the canonical root path. The name is what the mount shows: the
 * basename, or --name; unique (a second "web" becomes "web-2", ...). Names and roots are bytes.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manager/base/err.h"
#include "manager/config.h"

enum { REPO_ID_MAX = 64 };

struct repo {
	char id[REPO_ID_MAX];
	char *root;      /* owned; canonical absolute path */
	char *name;      /* owned; one path component, unique, never ".rrm" */
	char *state_dir; /* owned; <base>/repos/<id> */
	char *added;     /* owned; RFC 3339 */
};

struct repo_list {
	struct repo *items; /* owned; sorted by name (bytewise) */
	size_t n;
};

/* Pure. out holds REPO_ID_MAX bytes. */
int repo_id_of(const char *canonical_root, char *out);

/* Whether id and root belong together. Reading repo.json looks at the shape of the id alone; who starts a
 * backend for it asks this. 0 or -EINVAL with a sentence. */
int repo_verify(const struct repo *r, struct err *e);

/* Whether the mount can show it: one directory entry, no control byte, not ".rrm". Pure. */
bool repo_name_ok(const char *name);

/*
 * Reads all repo.json files. A corrupt one is moved aside (file_move_aside), a line goes to the log,
 * and the rest is read. 0 or negative errno with a sentence.
 */
int repo_list_load(const struct config *c, struct repo_list *out, struct err *e);
void repo_list_deinit(struct repo_list *l);

/* One repo.json. *out is owned (repo_free). -ENOENT. */
int repo_load(const struct config *c, const char *repo_id, struct repo **out, struct err *e);
struct repo *repo_free(struct repo *r);
int repo_copy(struct repo *dst, const struct repo *src); /* deep; repo_deinit(dst) frees */
void repo_deinit(struct repo *r);

/* name, or name-2, name-3, ... so that no repo of l has it; owned; NULL when out of memory. Pure. */
char *repo_free_name(const struct repo_list *l, const char *name);

/*
 * What the user means: a path (outside or inside the mount, any depth below the root; the longest
 * registered prefix wins), else a mount name, else a repo_id; name and id may have "/PATH" behind them.
 * rest (may be NULL) gets the path below the root, "" for the root; owned.
 *
 * A path in the mount becomes one in the real tree as text: nothing below the mountpoint is touched
 * (a dead mount hangs). A path that does not exist resolves by its longest existing parent; a bare
 * word (no "/", "./", "../" in front) does so only when rest is wanted, so that a misspelt name is not
 * taken for a file of the working directory. Symlinks are followed; the last component's only when
 * rest is NULL or nobody owns the link, so that `rrm rm link` removes the link.
 *
 * -ENOENT with "web is not a registered repository; rrm add PATH registers one".
 */
int repo_find(const struct config *c, const struct repo_list *l, const char *what,
	      const struct repo **out, char **rest, struct err *e);

/* Longest component-wise prefix of a real path: the owner. NULL when there is none. Pure. */
const struct repo *repo_owner(const struct repo_list *l, const char *real_path, const char **rel);

/*
 * Registers path (must exist, be a directory, and be a git work tree: has .git, or force). Already
 * registered is success. name NULL: the basename. Makes the state directory (0700). *out owned.
 * Errors name the cause: not a repo, does not exist, a bad name, state base not writable, path inside
 * the state base or the mountpoint.
 */
int repo_add(const struct config *c, const char *path, const char *name, bool force,
	     struct repo **out, struct err *e);

/*
 * Takes <base>/repos.lock, which whoever changes the list of repos holds (repo_add() and repo_remove()
 * do it themselves). An fd: close() ends it. Waits at most 10 s, then -ETIMEDOUT with a sentence.
 */
int repo_lock(const struct config *c, struct err *e);

/* Removes repo.json (the rest of the state directory stays until rrm gc). */
int repo_remove(const struct config *c, const struct repo *r, struct err *e);

/* Registers dir itself when it is a git work tree, else every one below it down to depth levels (1 =
 * dir's children); found counts those that are registered then. A repo is not searched further, but
 * for the submodules that it names in .gitmodules. Hidden directories, symlinks, the mountpoint and the
 * state base are passed by. What cannot be registered or read goes to the log as a line. */
int repo_scan(const struct config *c, const char *dir, int depth, size_t *found, struct err *e);

/*
 * Branch of a work tree as text: what HEAD names without refs/heads/, or the commit when detached
 * ("detached:<40 hex>" is NOT used: just the hex). Follows a .git file (worktrees, submodules).
 * "" when the root has no git. buf of at least 256 bytes. 0 or negative errno.
 */
int repo_branch(const char *root, char *buf, size_t size);
/* Path of the HEAD file of root ("<gitdir>/HEAD"), owned. -ENOENT when there is no git. */
int repo_head_path(const char *root, char **out);
