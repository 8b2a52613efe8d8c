#include "fs/node.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "manager/base/cleanup.h"

/*
 * Both regions are address space reserved once and made usable piece by piece, so an index turns into a
 * pointer by one multiplication and a pointer stays valid for ever.
 */
struct region {
	char *base;
	size_t reserved, usable;
};

enum {
	REGION_STEP = 1 << 20,
	NAME_UNIT = 16,
	NAME_CLASSES = 20,
	MAX_DEVS = 4096,
	MAX_ORPHANS = 256
};
static const size_t node_region_bytes = (size_t)16 << 30;
static const size_t name_region_bytes = (size_t)16 << 30;

struct name {
	uint32_t node, parent; /* indexes; parent 0: free */
	uint32_t hash_next;
	uint32_t sibling; /* next name of the same node; next free one when free */
	uint8_t own;
	uint8_t units; /* size of this record in NAME_UNITs */
	char text[];
};

struct hash {
	uint32_t *heads;
	uint32_t mask, count;
};

struct nodes {
	pthread_mutex_t lock;
	struct region node_mem, name_mem; /* protected by lock, as is all that follows */
	uint32_t node_end, name_end;      /* first index never used */
	uint32_t free_node;
	uint32_t free_name[NAME_CLASSES];
	struct hash by_ino, by_name;
	uint64_t live_nodes, live_names, name_bytes;
	dev_t devs[MAX_DEVS];
	uint16_t n_devs;
	/* Directories that the kernel forgot before their children and whose last child's name then went
	 * away by a change: the next node_forget() frees them. */
	uint32_t orphans[MAX_ORPHANS];
	unsigned n_orphans;
	bool more_orphans; /* there was no room for all: look at every node */
};

static int region_reserve(struct region *r, size_t bytes)
{
	r->base = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->base == MAP_FAILED) {
		r->base = NULL;
		return -ENOMEM;
	}
	r->reserved = bytes;
	return 0;
}

static int region_need(struct region *r, size_t bytes)
{
	if (bytes <= r->usable)
		return 0;
	size_t want = (bytes + REGION_STEP - 1) / REGION_STEP * REGION_STEP;
	if (want > r->reserved)
		return -ENOMEM;
	if (mprotect(r->base + r->usable, want - r->usable, PROT_READ | PROT_WRITE) < 0)
		return -ENOMEM;
	r->usable = want;
	return 0;
}

static void region_free(struct region *r)
{
	if (r->base)
		munmap(r->base, r->reserved);
}

static struct node *node_ptr(struct nodes *t, uint32_t index)
{
	return (struct node *)(void *)(t->node_mem.base + (size_t)index * sizeof(struct node));
}

static struct name *name_ptr(struct nodes *t, uint32_t index)
{
	return (struct name *)(void *)(t->name_mem.base + (size_t)index * NAME_UNIT);
}

static uint32_t hash_ino(uint16_t dev, uint64_t ino)
{
	uint64_t h = (ino ^ ((uint64_t)dev << 48)) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

static uint32_t hash_name(uint32_t parent, const char *text)
{
	uint64_t h = 0xcbf29ce484222325u ^ parent;
	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3u;
	return (uint32_t)(h ^ (h >> 32));
}

static int hash_init(struct hash *h)
{
	h->mask = 1023;
	h->heads = calloc(h->mask + 1, sizeof(*h->heads));
	return h->heads ? 0 : -ENOMEM;
}

/* Doubles the heads when there are more entries than heads; failing to is only slow. */
static void grow_by_ino(struct nodes *t)
{
	struct hash *h = &t->by_ino;
	if (h->count <= h->mask)
		return;
	uint32_t mask = h->mask * 2 + 1;
	uint32_t *heads = calloc((size_t)mask + 1, sizeof(*heads));
	if (!heads)
		return;
	for (uint32_t i = 0; i <= h->mask; i++)
		for (uint32_t x = h->heads[i], next; x; x = next) {
			struct node *n = node_ptr(t, x);
			uint32_t *head = &heads[hash_ino(n->dev, n->ino) & mask];
			next = n->next;
			n->next = *head;
			*head = x;
		}
	free(h->heads);
	h->heads = heads;
	h->mask = mask;
}

static void grow_by_name(struct nodes *t)
{
	struct hash *h = &t->by_name;
	if (h->count <= h->mask)
		return;
	uint32_t mask = h->mask * 2 + 1;
	uint32_t *heads = calloc((size_t)mask + 1, sizeof(*heads));
	if (!heads)
		return;
	for (uint32_t i = 0; i <= h->mask; i++)
		for (uint32_t x = h->heads[i], next; x; x = next) {
			struct name *m = name_ptr(t, x);
			uint32_t *head = &heads[hash_name(m->parent, m->text) & mask];
			next = m->hash_next;
			m->hash_next = *head;
			*head = x;
		}
	free(h->heads);
	h->heads = heads;
	h->mask = mask;
}

static int dev_index(struct nodes *t, dev_t dev, uint16_t *out)
{
	for (uint16_t i = 0; i < t->n_devs; i++)
		if (t->devs[i] == dev) {
			*out = i;
			return 0;
		}
	if (t->n_devs == MAX_DEVS)
		return -ENFILE;
	t->devs[t->n_devs] = dev;
	*out = t->n_devs++;
	return 0;
}

static int alloc_node(struct nodes *t, struct node **out)
{
	uint32_t index = t->free_node;
	if (index) {
		t->free_node = node_ptr(t, index)->next;
	} else {
		int rc = region_need(&t->node_mem, ((size_t)t->node_end + 1) * sizeof(struct node));
		if (rc < 0)
			return rc;
		index = t->node_end++;
	}
	struct node *n = node_ptr(t, index);
	uint32_t gen = n->gen + 1;
	memset(n, 0, sizeof(*n));
	n->gen = gen;
	n->index = index;
	n->path_fd = -1;
	n->wd = -1;
	t->live_nodes++;
	*out = n;
	return 0;
}

static int alloc_name(struct nodes *t, size_t len, uint32_t *out)
{
	size_t units = (sizeof(struct name) + len + 1 + NAME_UNIT - 1) / NAME_UNIT;
	uint32_t index = t->free_name[units];
	if (index) {
		t->free_name[units] = name_ptr(t, index)->sibling;
	} else {
		int rc = region_need(&t->name_mem, ((size_t)t->name_end + units) * NAME_UNIT);
		if (rc < 0)
			return rc;
		index = t->name_end;
		t->name_end += (uint32_t)units;
	}
	name_ptr(t, index)->units = (uint8_t)units;
	t->live_names++;
	t->name_bytes += units * NAME_UNIT;
	*out = index;
	return 0;
}

static void free_name(struct nodes *t, uint32_t index)
{
	struct name *m = name_ptr(t, index);
	m->parent = NODE_NONE;
	m->sibling = t->free_name[m->units];
	t->free_name[m->units] = index;
	t->live_names--;
	t->name_bytes -= (uint64_t)m->units * NAME_UNIT;
}

int nodes_new(struct nodes **out)
{
	struct nodes *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	struct node *root = NULL;
	int rc = region_reserve(&t->node_mem, node_region_bytes);
	if (rc == 0)
		rc = region_reserve(&t->name_mem, name_region_bytes);
	if (rc == 0)
		rc = hash_init(&t->by_ino);
	if (rc == 0)
		rc = hash_init(&t->by_name);
	t->node_end = NODE_ROOT_ID;
	t->name_end = 1;
	if (rc == 0)
		rc = alloc_node(t, &root);
	if (rc < 0) {
		nodes_free(t);
		return rc;
	}
	root->gen = 0; /* so that its id is 1 */
	root->flags = NODE_DIR;
	root->nlookup = 1;
	*out = t;
	return 0;
}

struct nodes *nodes_free(struct nodes *t)
{
	if (!t)
		return NULL;
	free(t->by_ino.heads);
	free(t->by_name.heads);
	region_free(&t->node_mem);
	region_free(&t->name_mem);
	pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

struct node *node_get(struct nodes *t, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	LOCK_SCOPE(&t->lock);
	if (index == NODE_NONE || index >= t->node_end)
		return NULL;
	struct node *n = node_ptr(t, index);
	return n->gen == (uint32_t)(id >> 32) && (n->nlookup || n->children) ? n : NULL;
}

struct node *node_hold(struct nodes *t, uint64_t id)
{
	struct node *n = node_get(t, id);
	LOCK_SCOPE(&t->lock);
	if (!n || n->gen != (uint32_t)(id >> 32) || !(n->nlookup || n->children))
		return NULL;
	n->nlookup++;
	return n;
}

struct node *node_at(struct nodes *t, uint32_t index)
{
	return node_ptr(t, index);
}

uint64_t node_id(const struct node *n)
{
	return (uint64_t)n->gen << 32 | n->index;
}

dev_t node_dev(struct nodes *t, const struct node *n)
{
	LOCK_SCOPE(&t->lock);
	return t->devs[n->dev];
}

static struct node *find_ino_locked(struct nodes *t, uint16_t dev, uint64_t ino)
{
	uint32_t x = t->by_ino.heads[hash_ino(dev, ino) & t->by_ino.mask];
	for (; x; x = node_ptr(t, x)->next)
		if (node_ptr(t, x)->ino == ino && node_ptr(t, x)->dev == dev)
			return node_ptr(t, x);
	return NULL;
}

/* True when it was there: a node whose number was reused is out of the table already. */
static bool unhash_node_locked(struct nodes *t, struct node *n)
{
	uint32_t *at = &t->by_ino.heads[hash_ino(n->dev, n->ino) & t->by_ino.mask];
	for (; *at; at = &node_ptr(t, *at)->next)
		if (*at == n->index) {
			*at = n->next;
			n->next = NODE_NONE;
			t->by_ino.count--;
			return true;
		}
	return false;
}

static uint32_t *name_slot_locked(struct nodes *t, uint32_t parent, const char *text)
{
	uint32_t *at = &t->by_name.heads[hash_name(parent, text) & t->by_name.mask];
	for (; *at; at = &name_ptr(t, *at)->hash_next) {
		struct name *m = name_ptr(t, *at);
		if (m->parent == parent && strcmp(m->text, text) == 0)
			return at;
	}
	return NULL;
}

static void detach_from_node_locked(struct nodes *t, uint32_t index)
{
	struct node *n = node_ptr(t, name_ptr(t, index)->node);
	uint32_t *at = &n->names;
	while (*at != index)
		at = &name_ptr(t, *at)->sibling;
	*at = name_ptr(t, index)->sibling;
}

/* Out of both chains and freed. */
static void drop_name_locked(struct nodes *t, uint32_t *slot)
{
	uint32_t index = *slot;
	struct name *m = name_ptr(t, index);
	*slot = m->hash_next;
	t->by_name.count--;
	detach_from_node_locked(t, index);
	struct node *parent = node_ptr(t, m->parent);
	if (--parent->children == 0 && parent->nlookup == 0) {
		if (t->n_orphans < MAX_ORPHANS)
			t->orphans[t->n_orphans++] = parent->index;
		else
			t->more_orphans = true;
	}
	free_name(t, index);
}

static int add_name_locked(struct nodes *t, struct node *n, struct node *parent, const char *text,
			   bool own)
{
	uint32_t *slot = name_slot_locked(t, parent->index, text);
	if (slot && name_ptr(t, *slot)->node == n->index) {
		if (own)
			name_ptr(t, *slot)->own = 1;
		return 0;
	}
	if (slot)
		drop_name_locked(t, slot);
	uint32_t index = 0;
	int rc = alloc_name(t, strlen(text), &index);
	if (rc < 0)
		return rc;
	struct name *m = name_ptr(t, index);
	m->node = n->index;
	m->parent = parent->index;
	m->own = own;
	strcpy(m->text, text);
	m->sibling = n->names;
	n->names = index;
	uint32_t *head = &t->by_name.heads[hash_name(parent->index, text) & t->by_name.mask];
	m->hash_next = *head;
	*head = index;
	t->by_name.count++;
	parent->children++;
	grow_by_name(t);
	return 0;
}

static int make_node_locked(struct nodes *t, const struct node_key *key, uint16_t dev,
			    struct node **out)
{
	struct node *n = NULL;
	int rc = alloc_node(t, &n);
	if (rc < 0)
		return rc;
	n->ino = key->ino;
	n->dev = dev;
	n->born = key->born;
	n->flags = key->flags;
	n->stamp = key->stamp;
	n->repo = key->repo;
	uint32_t *head = &t->by_ino.heads[hash_ino(dev, n->ino) & t->by_ino.mask];
	n->next = *head;
	*head = n->index;
	t->by_ino.count++;
	grow_by_ino(t);
	*out = n;
	return 0;
}

static void free_node_locked(struct nodes *t, struct node *n)
{
	n->ino = 0;
	n->next = t->free_node;
	t->free_node = n->index;
	t->live_nodes--;
}

int node_intern(struct nodes *t, const struct node_key *key, struct node *parent, const char *name,
		bool own, struct node **out, bool *made)
{
	uint16_t dev = 0;
	bool fresh = false;
	LOCK_SCOPE(&t->lock);
	int rc = dev_index(t, key->dev, &dev);
	if (rc < 0)
		return rc;
	struct node *n = find_ino_locked(t, dev, key->ino);
	const uint32_t type = NODE_DIR | NODE_REG;
	if (n && (n->born != key->born || (n->flags & type) != (key->flags & type))) {
		unhash_node_locked(t, n);
		n = NULL;
	}
	if (!n) {
		rc = make_node_locked(t, key, dev, &n);
		if (rc < 0)
			return rc;
		fresh = true;
	}
	if (parent) {
		rc = add_name_locked(t, n, parent, name, own);
		if (rc < 0) {
			if (fresh) {
				unhash_node_locked(t, n);
				free_node_locked(t, n);
			}
			return rc;
		}
		if (n->flags & NODE_UNLINKED)
			atomic_fetch_and(&n->flags, ~(uint32_t)NODE_UNLINKED);
	}
	n->nlookup++;
	*out = n;
	if (made)
		*made = fresh;
	return 0;
}

static void free_if_unused_locked(struct nodes *t, struct node *n, struct node **dead)
{
	if (n->nlookup || n->children || n->index == NODE_ROOT_ID || (n->flags & NODE_DEAD))
		return;
	while (n->names) {
		struct name *m = name_ptr(t, n->names);
		drop_name_locked(t, name_slot_locked(t, m->parent, m->text));
	}
	unhash_node_locked(t, n);
	atomic_fetch_or(&n->flags, NODE_DEAD);
	n->gen++; /* its number names nothing from here on */
	n->next = *dead ? (*dead)->index : NODE_NONE;
	*dead = n;
}

struct node *node_forget(struct nodes *t, struct node *n, uint64_t count)
{
	struct node *dead = NULL;
	LOCK_SCOPE(&t->lock);
	if (n->index == NODE_ROOT_ID)
		return NULL;
	n->nlookup -= count < n->nlookup ? count : n->nlookup;
	free_if_unused_locked(t, n, &dead);
	/* Freeing a node frees its names, which may leave their parents without use. */
	while (t->n_orphans || t->more_orphans) {
		uint32_t all = t->more_orphans ? t->node_end : NODE_ROOT_ID;
		t->more_orphans = false;
		for (uint32_t i = NODE_ROOT_ID; i < all; i++)
			if (node_ptr(t, i)->ino) /* 0: free */
				free_if_unused_locked(t, node_ptr(t, i), &dead);
		while (t->n_orphans)
			free_if_unused_locked(t, node_ptr(t, t->orphans[--t->n_orphans]), &dead);
	}
	return dead;
}

struct node *node_next_dead(struct nodes *t, const struct node *n)
{
	return n->next ? node_ptr(t, n->next) : NULL;
}

void node_bury(struct nodes *t, struct node *n)
{
	LOCK_SCOPE(&t->lock);
	free_node_locked(t, n);
}

struct node *node_name_find(struct nodes *t, const struct node *parent, const char *name, bool *own)
{
	LOCK_SCOPE(&t->lock);
	uint32_t *slot = name_slot_locked(t, parent->index, name);
	if (!slot)
		return NULL;
	struct name *m = name_ptr(t, *slot);
	if (own) {
		*own = m->own;
		m->own = 0;
	}
	struct node *n = node_ptr(t, m->node);
	n->nlookup++;
	return n;
}

void node_name_add(struct nodes *t, struct node *n, struct node *parent, const char *name)
{
	LOCK_SCOPE(&t->lock);
	/* Without memory for the name the file is reached by its descriptor only, and the event of this
	 * change is taken for one from outside: slower, not wrong. */
	(void)add_name_locked(t, n, parent, name, true);
	atomic_fetch_and(&n->flags, ~(uint32_t)NODE_UNLINKED);
}

struct node *node_name_drop(struct nodes *t, struct node *parent, const char *name, bool *last)
{
	LOCK_SCOPE(&t->lock);
	uint32_t *slot = name_slot_locked(t, parent->index, name);
	if (!slot)
		return NULL;
	struct node *n = node_ptr(t, name_ptr(t, *slot)->node);
	drop_name_locked(t, slot);
	if (last)
		*last = n->names == NODE_NONE;
	return n;
}

bool node_name_nth(struct nodes *t, const struct node *n, unsigned nth, struct node **parent,
		   char name[NODE_NAME_MAX])
{
	LOCK_SCOPE(&t->lock);
	uint32_t x = n->names;
	for (; x && nth; nth--)
		x = name_ptr(t, x)->sibling;
	if (!x)
		return false;
	*parent = node_ptr(t, name_ptr(t, x)->parent);
	strcpy(name, name_ptr(t, x)->text);
	return true;
}

void nodes_each(struct nodes *t, void (*fn)(struct node *n, void *arg), void *arg)
{
	LOCK_SCOPE(&t->lock);
	for (uint32_t i = NODE_ROOT_ID; i < t->node_end; i++) {
		struct node *n = node_ptr(t, i);
		if (n->nlookup || n->children)
			fn(n, arg);
	}
}

void nodes_stats(struct nodes *t, struct nodes_stats *out)
{
	LOCK_SCOPE(&t->lock);
	out->nodes = t->live_nodes;
	out->names = t->live_names;
	out->bytes = t->live_nodes * sizeof(struct node) + t->name_bytes +
		     ((uint64_t)t->by_ino.mask + 1 + t->by_name.mask + 1) * sizeof(uint32_t);
}
