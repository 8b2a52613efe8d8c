/*
 * Names to nodes, and what the kernel may keep of the answer. All return 0 or a negative errno.
 */
#pragma once
#include "fs/overlay.h"

/* How long the kernel may keep what it learns (seconds): for ever where inotify tells of changes. */
#define LOOKUP_FOREVER 1e9
#define LOOKUP_UNWATCHED 1.0

/* statx(2) with the birth time; name "" is the descriptor itself. */
struct lookup_stat {
	struct stat st;
	uint32_t born;  /* hash of the birth time; 0 where the file system has none */
	uint64_t stamp; /* version of the content: hash of ctime and size; never 0 */
};
int lookup_statx(int dirfd, const char *name, struct lookup_stat *out);

/* Same hash as in lookup_stat. */
uint64_t lookup_stamp(const struct timespec *ctime, int64_t size);

/* Stat of a node: by its descriptor or by parent and name, checked. */
int lookup_stat_node(struct overlay *o, struct node *n, struct lookup_stat *out);

/* Makes the entry of name in parent (statted as ls) and counts one lookup of it. own: made by a change
 * through the mount. */
int lookup_intern(struct overlay *o, struct node *parent, const char *name,
		  const struct lookup_stat *ls, bool own, struct fuse_entry_param *e,
		  struct node **node);

/* How long attributes of n may be kept. */
double lookup_attr_timeout(struct overlay *o, struct node *n, const struct stat *st);

/* True for the name under which the mountpoint itself lies in this directory. */
bool lookup_hidden(struct overlay *o, const struct node *parent, const char *name);

/* Takes lookups back and frees what is no longer needed. */
void lookup_forget(struct overlay *o, fuse_ino_t ino, uint64_t count);

/* The one place where a negative errno becomes FUSE's positive one. */
void reply_err(fuse_req_t req, int rc);
