/*
 * A change that a program makes in the mount, from the request to the reply.
 *
 * change_ops.c takes the request; change.c asks the router whose it is, and either applies it at once (home.c), or
 * copies it to wait for the turn (then home.c), or sends it to the owner's gateway (foreign.c). Whoever
 * applied it fills `out`; change_finish() replies.
 */
#pragma once
#include <pthread.h>

#include <uthash.h>

#include "fs/fdcache.h"
#include "fs/lookup.h"
#include "fs/overlay.h"

enum change_kind {
	CHANGE_CREATE,
	CHANGE_WRITE,
	CHANGE_SETATTR,
	CHANGE_UNLINK,
	CHANGE_RMDIR,
	CHANGE_MKDIR,
	CHANGE_MKNOD,
	CHANGE_SYMLINK,
	CHANGE_LINK,
	CHANGE_RENAME,
	CHANGE_SETXATTR,
	CHANGE_REMOVEXATTR,
	CHANGE_FALLOCATE,
	CHANGE_COPY, /* copy_file_range(2); at home only, elsewhere the kernel reads and writes */
	CHANGE_TMPFILE, /* a file without a name (O_TMPFILE) */
};

struct change;
struct intent;

enum { CHANGE_STEPS = 4 }; /* a SETATTR may be chown, chmod, truncate and utimens at once */

/* chown(2), also of nothing, which takes set-id bits and moves ctime: a SETATTR with nothing to set. */
static inline bool change_is_chown(int to_set)
{
	const int others = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_ATIME |
			   FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
	return to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) || !(to_set & others);
}

struct change {
	struct overlay *o;
	fuse_req_t req;
	enum change_kind kind;
	struct node *node;   /* the file; for a change of names the directory */
	struct node *node2;  /* rename: the new directory; link: the directory of the new name */
	struct node *source; /* copy */
	const char *name;    /* entry in node; xattr name */
	const char *name2;   /* rename, link: entry in node2; symlink: target */
	const void *data;    /* write, setxattr */
	size_t size;
	off_t off, length;
	off_t from; /* copy: offset in source */
	mode_t mode;
	dev_t rdev;
	int flags;         /* open, rename, xattr or fallocate flags; write: O_APPEND or 0 */
	struct stat attr;  /* setattr */
	int to_set;        /* setattr: FUSE_SET_ATTR_* */
	bool kill_suidgid; /* the caller may not keep setuid and setgid bits */
	bool writepage;    /* write: what was stored into a mapping, which takes no such bits */
	struct fuse_file_info fi; /* create: for the reply */
	struct router_pass pass;
	uint64_t unique;       /* the kernel's number of the request; 0: none */
	struct intent *intent; /* again.h; NULL: none */
	bool routed;           /* the router knows of it: router_end() at the end */

	struct {                           /* filled by who applies it */
		struct lookup_stat ls;     /* setattr */
		struct fuse_entry_param e; /* create and its like */
		size_t written;
		bool trusted; /* nothing from outside came between (change_begin_content()) */
	} out;

	/* Only of a copy that waits: */
	bool waiting;
	pthread_mutex_t lock;                        /* outside of the router's locks */
	struct router_ticket *tickets[CHANGE_STEPS]; /* protected by lock, as is the rest */
	unsigned n_steps, steps_done;
	bool interrupted;
	int error;
	struct fd_hold
		nameless; /* foreign link of a file without a name: the gateway reads it here */
	char copied[];
};

/* Routes and applies it. Its nodes are there; c is copied when it has to wait. It ends with change_finish(). */
void change_run(struct change *c);

enum mutation_op change_op(const struct change *c);

/* Replies by rc and out, for a change that was not run; and a part of change_finish(). */
void change_reply(struct change *c, int rc);

/* Replies by rc and out, takes the marks off the nodes, tells the router; frees a waiting copy. */
void change_finish(struct change *c, int rc);

/* Takes a mark off n (node.changing); NULL is fine. */
void change_unmark(struct overlay *o, struct node *n);

/* Applies it to the real files, here and now. 0 or negative errno; fills out. home.c */
int home_apply(struct change *c);

/* Takes over fd, with which n was created with mode, into the cache. */
void home_keep_created(struct change *c, struct node *n, int fd, mode_t mode);

/* The same for fd, with which c->name was created: also finds its node, and fills the reply. */
int home_created(struct change *c, int fd);

/* Sends it to the owner's gateway; c is a waiting copy. change_finish() is called later, or at once
 * when it cannot even be sent. foreign.c */
void foreign_submit(struct change *c);

/* Path of n, or of name in it, below the root of its repo: where it is now, also after renames from
 * outside. buf of PATH_MAX bytes. 0, -ESTALE when it has no path any more, -ENAMETOOLONG. */
int change_path(struct overlay *o, struct node *n, const char *name, char *buf);

/* The content version of n (stat as `now`, of fd) before and after a change of ours: moves n->stamp only
 * when nothing from outside came between. */
void change_begin_content(struct change *c, struct node *n, uint64_t now);
void change_end_content(struct change *c, struct node *n, uint64_t now);

/*
 * A change of its names moved the ctime of n: now is what it is since, before (may be NULL: not known) what it was. Nothing
 * else may have changed, and before must be the version that we know; else it was somebody else, too, and its event tells.
 * (Where times move in steps of milliseconds, before Linux 6.13, a write of the same length in the same step is not seen.)
 */
void change_names_changed(struct node *n, const struct lookup_stat *before,
			  const struct lookup_stat *now);

/* The names after a removal or a rename that was applied; at the old place what was called so. before, before2: what
 * name and (of an exchange) name2 were just before; NULL: not known. */
void change_name_removed(struct overlay *o, struct node *dir, const char *name,
			 const struct lookup_stat *before);
void change_name_moved(struct change *c, const struct lookup_stat *before,
		       const struct lookup_stat *before2);

/* What is called so may be removed now: keeps it reachable for programs that have it open. */
void change_keep_reachable(struct overlay *o, struct node *dir, const char *name);

/*
 * Before a chmod: without root, who has the file open goes on reading and writing after one that forbids it.
 * Not writing of a program, which could not be run as long as we can write it.
 */
void change_keep_for_openers(struct change *c);

/* Makes the reply's entry of a name that this change made. */
int change_entry(struct change *c, struct node *dir, const char *name);
