/*
 * The pool of descriptors for reading and writing that fdcache.c keeps: a fixed number of slots, found by node and
 * kind. Private to fdcache.c, which has the lock for all of it; nothing here touches a file but slots_adopt().
 */
#pragma once
#include <uthash.h>

#include "fs/estate.h"
#include "fs/fdcache.h"

struct slot {
	uint64_t key; /* node index << 1 | kind */
	int fd;
	uint32_t users;
	bool used, pinned;
	bool brief;  /* pinned until it was not used for a second */
	int kept;    /* where the estate has it; of a pinned one */
	bool doomed; /* its node went while it was in use */
	uint64_t last_ms;
	UT_hash_handle hh;
};

struct fdslots {
	struct nodes *nodes;   /* borrowed */
	struct estate *estate; /* borrowed; NULL: none */
	struct slot *all;      /* owned array */
	struct slot *by_key;
	unsigned n, hand, n_pinned;
	unsigned n_expiring; /* slots that slots_expire() is to take out some day */
};

enum slot_pin { SLOT_UNPINNED, SLOT_BRIEFLY, SLOT_PINNED };

/* 0 or -ENOMEM. */
int slots_new(struct fdslots *p, struct nodes *nodes, unsigned n);
void slots_free(struct fdslots *p); /* closes all */

/* Takes over those that a server before us had pinned. Before there is any thread. */
void slots_adopt(struct fdslots *p, struct estate *es);

struct slot *slots_find(struct fdslots *p, const struct node *n, enum fd_kind kind);

/* Puts fd into a free slot, or one that nobody uses: then *evicted is to be closed. NULL: all are in use. */
struct slot *slots_add(struct fdslots *p, const struct node *n, enum fd_kind kind, int fd,
		       int *evicted);

/* One more user; pin: from here on, unless it is already. */
void slots_use(struct fdslots *p, struct slot *s, enum slot_pin pin);

/* A pinned one is brief from here on, or no longer. */
void slots_keep(struct fdslots *p, struct slot *s, bool briefly);

/* Takes the slot out; its descriptor is the caller's to close. */
int slots_clear(struct fdslots *p, struct slot *s);

/* Its node goes: a descriptor to close, or -1 when somebody uses it, who closes it with slots_clear(). */
int slots_doom(struct fdslots *p, struct slot *s);

/* Takes out those for writing that were not used since before_ms, up to max; and NODE_CONTENDED from their nodes, also
 * of those that are pinned. *n_fds: descriptors to close. How many are left. */
unsigned slots_expire(struct fdslots *p, uint64_t before_ms, int *fds, unsigned max,
		      unsigned *n_fds);
