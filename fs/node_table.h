/* Inside of the node table; for node*.c only. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "fs/node.h"

enum { NAME_UNIT = 16, NAME_CLASSES = 20, MAX_DEVS = 4096, MAX_ORPHANS = 256 };

#define NODE_KEPT_BYTES ((size_t)1 << 16)
#define NODE_TABLE_BYTES ((size_t)16 << 30) /* of the nodes, and of the names */
#define NODE_HEADS_BYTES ((size_t)1 << 30)  /* of the heads of the chains of each */

struct name {
	uint32_t node, parent; /* indexes; parent 0: free */
	uint32_t hash_next;
	uint32_t sibling; /* next name of the same node; next free one when free */
	uint8_t own;
	uint8_t units; /* size of this record in NAME_UNITs; stays when it is freed */
	char text[];
};

/* Chains of what has the same hash; their heads lie in an area of their own. */
struct hash {
	uint32_t mask, count; /* mask: only grows */
};

/* What a successor needs beside the records. */
struct nodes_kept {
	uint32_t node_end, name_end; /* first index never used */
	uint16_t n_devs;
	_Atomic bool changing; /* chains and counts are being changed: not to be relied on */
	bool more_orphans;     /* there was no room for all: look at every node */
	uint32_t free_node;
	uint32_t free_name[NAME_CLASSES];
	struct hash by_ino, by_name;
	uint64_t live_nodes, live_names, name_bytes;
	/* Directories that the kernel forgot before their children and whose last child's name then went
	 * away by a change: the next node_forget() frees them. */
	uint32_t n_orphans;
	uint32_t orphans[MAX_ORPHANS];
	dev_t devs[MAX_DEVS];
};

_Static_assert(sizeof(struct nodes_kept) <= NODE_KEPT_BYTES, "the nodes would lie in it");

/*
 * Address space is reserved once, and memory comes as it is touched: so an index turns into a pointer by one
 * multiplication and a pointer stays valid for ever.
 */
struct nodes {
	pthread_mutex_t lock;
	char *base, *node_mem, *name_mem; /* protected by lock, as is all that follows */
	struct nodes_kept *kept;
	uint32_t *ino_heads, *name_heads;
	uint32_t *taken; /* owned; nodes_taken() */
	size_t n_taken;
};

static inline struct node *node_ptr(struct nodes *t, uint32_t index)
{
	return (struct node *)(void *)(t->node_mem + (size_t)index * sizeof(struct node));
}

static inline struct name *name_ptr(struct nodes *t, uint32_t index)
{
	return (struct name *)(void *)(t->name_mem + (size_t)index * NAME_UNIT);
}

static inline uint32_t hash_ino(uint16_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ ((uint64_t)dev << 48)) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

static inline uint32_t hash_name(uint32_t parent, const char *text)
{
	uint64_t h = 0xcbf29ce484222325u ^ parent;
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return (uint32_t)(h ^ (h >> 32));
}

/* What was stored before is there when what is stored after it is: a successor sees the order of the program. */
static inline void node_stored(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/* node_rebuild.c: makes everything but the records anew; resets what only the server before us could know, and
 * collects nodes_taken(). */
void nodes_rebuild(struct nodes *t);
int nodes_take_stock(struct nodes *t);
