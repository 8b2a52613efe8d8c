/*
 * Nodes: what the kernel knows of. A node is (device, inode) with its names (parent, name).
 *
 * The kernel's nodeid is a checked number, generation << 32 | index, not a pointer. Everything is
 * linked by 32-bit indexes inside two reserved regions, so a node with one name costs about 130 bytes
 * and the table can lie in memory that outlives the server (estate.h). A server may be killed at any
 * instruction: a record is written before it becomes valid (a node by its ino, a name by its parent), and the next
 * server makes all chains anew from the valid records, if one was being changed that moment.
 *
 * Locking: the table has one lock, a leaf: every function here takes and drops it. A node stays where
 * it is while the kernel holds it (nlookup > 0) or a name of a child does, so a request may keep the
 * pointer that node_get() gave it. Fields say who guards them.
 * Errors: 0 or negative errno.
 */
#pragma once
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct nodes;

enum {
	NODE_DIR = 1,
	NODE_REG = 2,
	NODE_REPO_ROOT = 4,  /* root directory of a registered repo: never evicted */
	NODE_UNLINKED = 8,   /* its last name went away through the mount */
	NODE_CONTENDED = 16, /* also written from outside: own events are not trusted */
	NODE_RECHECK = 32,   /* an invalidation met a write in flight: do it again after that */
	NODE_DEAD = 64,      /* forgotten, not yet buried */
	NODE_DOUBT = 128,    /* somebody outside wrote it at the same time as we did */
	NODE_WRITTEN = 256,  /* it was made or its content changed through the mount at some time */
	NODE_DROPPED =
		512, /* its cached data was invalidated: a write under way may have met that */
	NODE_BARE =
		4096, /* its cached data was dropped since the last write(2), maybe under a writer */
	NODE_REREAD = 8192, /* and a READ came after that */
	NODE_OUTSIDE =
		2048, /* was changed outside at some time: stamp may say what the kernel was not told yet */
	NODE_REPLACED = 1024, /* its file is gone and another has its number: out of the hash */
};

enum { NODE_NONE = 0 }; /* index and name record 0 are never used */

struct node {
	uint64_t ino; /* immutable; so are index, gen, dev, born. 0: free (but for the root) */
	uint32_t index, gen;
	uint64_t nlookup; /* table lock; the kernel's count */
	_Atomic uint64_t
		stamp;     /* version (ctime and size) of the content that the kernel may cache */
	uint32_t next;     /* table lock; next in the hash chain, or in a list of the dead */
	uint32_t names;    /* table lock; first name record */
	uint32_t children; /* table lock; names that have this node as parent */
	uint32_t born;     /* hash of the birth time: tells a reused inode number */
	_Atomic uint32_t session;    /* router session that changed it last; 0: none */
	_Atomic uint32_t flags;      /* NODE_* */
	_Atomic int32_t wd;          /* inotify watch; -1: none, -2: none can be had */
	_Atomic uint16_t changing;   /* changes through the mount under way */
	_Atomic uint16_t waiting;    /* those of them that wait for a turn or a gateway */
	uint16_t dev;                /* index in nodes_dev() */
	_Atomic uint16_t repo;       /* index of the owner in the mount's repos */
	int32_t path_fd;             /* fdcache lock; O_PATH, -1: none */
	uint32_t lru_prev, lru_next; /* fdcache lock */
	uint32_t users;              /* fdcache lock; who holds path_fd this moment */
};

/* What a stat says of a file. */
struct node_key {
	dev_t dev;
	ino_t ino;
	uint32_t born;
	uint32_t flags; /* NODE_DIR or NODE_REG or 0 */
	uint64_t stamp;
	uint16_t repo;
};

enum { NODE_ROOT_ID = 1 }; /* FUSE_ROOT_ID: the mount's own top directory, made by nodes_new() */

int nodes_new(struct nodes **out);

/* The same in the file memfd (of NODES_BYTES from byte at on, a multiple of the page size): takes over what a
 * server before us left there. What only that server could know is reset (changes under way, who
 * uses path_fd); path_fd and wd stay. Chains are made anew, and nodes that nobody needs any more freed, only with
 * doubt (that server crashed), or when it was killed in the middle of changing them. */
#define NODES_BYTES (((size_t)34 << 30) + (1 << 16))
int nodes_open(struct nodes **out, int memfd, off_t at, bool doubt);
struct nodes *nodes_free(struct nodes *t);

/* NULL for a number that names no node. */
struct node *node_get(struct nodes *t, uint64_t id);
struct node *node_at(struct nodes *t, uint32_t index);
uint64_t node_id(const struct node *n);
dev_t node_dev(struct nodes *t, const struct node *n);

/*
 * Finds or makes the node of key, notes that it is called name in parent, and counts one lookup. own:
 * the name was made by a change through the mount (its inotify event tells nothing new). A node with
 * the same numbers but another birth time is a file that is gone: it is taken out of the table and a new one
 * made. *made (may be NULL) says so. parent NULL: no name (the root of a repo has a parent: node 1).
 */
int node_intern(struct nodes *t, const struct node_key *key, struct node *parent, const char *name,
		bool own, struct node **out, bool *made);

/*
 * Takes count lookups back. Nodes that are no longer needed (n and parents that waited for it) come back
 * as a list by `next`; the caller closes what they own and hands each to node_bury().
 */
struct node *node_forget(struct nodes *t, struct node *n, uint64_t count);
void node_bury(struct nodes *t, struct node *n);
struct node *node_next_dead(struct nodes *t, const struct node *n);

/* As node_get(), with a lookup counted, for who has no request that holds it: lookup_forget() later. */
struct node *node_hold(struct nodes *t, uint64_t id);

/* Names. name_find: what the kernel may believe is called name in parent, held (as by node_hold()); *own
 * tells and clears the mark that node_intern() made. NULL: nothing that we know of. */
struct node *node_name_find(struct nodes *t, const struct node *parent, const char *name,
			    bool *own);
/* Inode number of it; 0: nothing that we know of. */
uint64_t node_name_ino(struct nodes *t, const struct node *parent, const char *name);
void node_name_add(struct nodes *t, struct node *n, struct node *parent, const char *name);
/* Takes the name away; last says whether it was the node's last one. NULL when there is no such name. */
struct node *node_name_drop(struct nodes *t, struct node *parent, const char *name, bool *last);
/* The same, if it is n that is called so. */
bool node_name_drop_of(struct nodes *t, struct node *parent, const char *name,
		       const struct node *n);

enum { NODE_NAME_MAX = 256 };
/* The nth name of n: its parent, and the text copied. False when there are fewer. The parent stays
 * valid as long as the caller holds n. */
bool node_name_nth(struct nodes *t, const struct node *n, unsigned nth, struct node **parent,
		   char name[NODE_NAME_MAX]);

/* Where name in n is (NULL: n itself), below the root of its repo, by the newest names that we know of: what is being
 * renamed outside this very moment may be called as before. False: not known, or longer than a path may be. */
bool node_path(struct nodes *t, const struct node *n, const char *name, char path[PATH_MAX]);

/* Calls fn for each node of which the server before us had something: path_fd, wd or session. Ends with
 * nodes_taken_end(). */
void nodes_taken(struct nodes *t, void (*fn)(struct node *n, void *arg), void *arg);
void nodes_taken_end(struct nodes *t);

/* Calls fn for each node that is known (table lock held: fn is quick and calls nothing of the table). */
void nodes_each(struct nodes *t, void (*fn)(struct node *n, void *arg), void *arg);

/* The same for the next of them from *from on, count records at most, so that the lock is not held for long. False:
 * there are no more. */
bool nodes_some(struct nodes *t, uint32_t *from, uint32_t count,
		void (*fn)(struct node *n, void *arg), void *arg);

struct nodes_stats {
	uint64_t nodes, names, bytes; /* bytes: node and name memory in use and the hash tables */
};
void nodes_stats(struct nodes *t, struct nodes_stats *out);
