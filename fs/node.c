#include "fs/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/node_table.h"
#include "manager/base/cleanup.h"

enum { FIRST_MASK = 1023 };

static void change_ended(struct nodes **t)
{
	node_stored();
	(*t)->kept->changing = false;
	pthread_mutex_unlock(&(*t)->lock);
}

static struct nodes *change_begins(struct nodes *t)
{
	pthread_mutex_lock(&t->lock);
	t->kept->changing = true;
	node_stored();
	return t;
}

/* As LOCK_SCOPE() of the table, for who changes chains and counts: a successor finds them whole unless the server
 * was killed within. */
#define CHANGE_SCOPE(t) CLEANUP(change_ended) struct nodes *changed = change_begins(t)

/* The hash of entry x; *next: where its chain goes on. */
typedef uint32_t (*hash_of_fn)(struct nodes *t, uint32_t x, uint32_t **next);

static uint32_t of_ino(struct nodes *t, uint32_t x, uint32_t **next)
{
	struct node *n = node_ptr(t, x);
	*next = &n->next;
	return hash_ino(n->dev, n->ino);
}

static uint32_t of_name(struct nodes *t, uint32_t x, uint32_t **next)
{
	struct name *m = name_ptr(t, x);
	*next = &m->hash_next;
	return hash_name(m->parent, m->text);
}

/* Doubles the heads when there are more entries than heads; what was in chain i comes to i or to the new half. */
static void grow(struct nodes *t, struct hash *h, uint32_t *heads, hash_of_fn of)
{
	const uint32_t old = h->mask;
	if (h->count <= old || (size_t)old + 1 >= NODE_HEADS_BYTES / sizeof(*heads))
		return;
	h->mask = old * 2 + 1;
	for (uint32_t i = 0; i <= old; i++) {
		uint32_t x = heads[i], after = NODE_NONE;
		heads[i] = NODE_NONE;
		for (; x; x = after) {
			uint32_t *next, *head = &heads[of(t, x, &next) & h->mask];
			after = *next;
			*next = *head;
			*head = x;
		}
	}
}

static int dev_index(struct nodes *t, dev_t dev, uint16_t *out)
{
	for (uint16_t i = 0; i < t->kept->n_devs; i++)
		if (t->kept->devs[i] == dev) {
			*out = i;
			return 0;
		}
	if (t->kept->n_devs == MAX_DEVS)
		return -ENFILE;
	t->kept->devs[t->kept->n_devs] = dev;
	node_stored();
	*out = t->kept->n_devs++;
	return 0;
}

static int alloc_node(struct nodes *t, struct node **out)
{
	uint32_t index = t->kept->free_node;
	if (index) {
		t->kept->free_node = node_ptr(t, index)->next;
	} else {
		if ((t->kept->node_end + 1) * sizeof(struct node) > NODE_TABLE_BYTES)
			return -ENOMEM;
		index = t->kept->node_end++;
	}
	struct node *n = node_ptr(t, index);
	n->gen++; /* never goes back, whenever we are killed */
	n->index = index;
	memset((char *)n + offsetof(struct node, nlookup), 0,
	       sizeof(*n) - offsetof(struct node, nlookup));
	n->path_fd = -1;
	n->wd = -1;
	t->kept->live_nodes++;
	*out = n;
	return 0;
}

static int alloc_name(struct nodes *t, size_t len, uint32_t *out)
{
	size_t units = (sizeof(struct name) + len + 1 + NAME_UNIT - 1) / NAME_UNIT;
	uint32_t index = t->kept->free_name[units];
	if (index) {
		t->kept->free_name[units] = name_ptr(t, index)->sibling;
	} else {
		index = t->kept->name_end;
		if ((index + units) * NAME_UNIT > NODE_TABLE_BYTES)
			return -ENOMEM;
		name_ptr(t, index)->units = (uint8_t)units;
		node_stored();
		t->kept->name_end += (uint32_t)units;
	}
	t->kept->live_names++;
	t->kept->name_bytes += units * NAME_UNIT;
	*out = index;
	return 0;
}

static void free_name(struct nodes *t, uint32_t index)
{
	struct name *m = name_ptr(t, index);
	m->parent = NODE_NONE;
	m->sibling = t->kept->free_name[m->units];
	t->kept->free_name[m->units] = index;
	t->kept->live_names--;
	t->kept->name_bytes -= (uint64_t)m->units * NAME_UNIT;
}

/* In memory of its own (memfd -1), or in that file from byte `at` on. */
static int map_table(struct nodes *t, int memfd, off_t at)
{
	t->base = mmap(NULL, NODES_BYTES, PROT_READ | PROT_WRITE,
		       memfd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
				 : MAP_SHARED | MAP_NORESERVE,
		       memfd, memfd < 0 ? 0 : at);
	if (t->base == MAP_FAILED) {
		t->base = NULL;
		return -errno;
	}
	t->kept = (struct nodes_kept *)(void *)t->base;
	t->node_mem = t->base + NODE_KEPT_BYTES;
	t->name_mem = t->node_mem + NODE_TABLE_BYTES;
	t->ino_heads = (uint32_t *)(void *)(t->name_mem + NODE_TABLE_BYTES);
	t->name_heads = t->ino_heads + NODE_HEADS_BYTES / sizeof(uint32_t);
	return 0;
}

static int make_root(struct nodes *t)
{
	struct node *root = NULL;
	t->kept->by_ino.mask = t->kept->by_name.mask = FIRST_MASK;
	t->kept->node_end = NODE_ROOT_ID;
	t->kept->name_end = 1;
	int rc = alloc_node(t, &root);
	if (rc < 0)
		return rc;
	root->gen = 0; /* so that its id is 1 */
	root->flags = NODE_DIR;
	root->nlookup = 1;
	return 0;
}

int nodes_open(struct nodes **out, int memfd, off_t at, bool doubt)
{
	struct nodes *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	pthread_mutex_init(&t->lock, NULL);
	int rc = map_table(t, memfd, at);
	if (rc == 0 && t->kept->node_end > NODE_ROOT_ID) {
		if (doubt || t->kept->changing)
			nodes_rebuild(t);
		rc = nodes_take_stock(t);
	} else if (rc == 0) {
		rc = make_root(t);
	}
	if (rc < 0) {
		nodes_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

int nodes_new(struct nodes **out)
{
	return nodes_open(out, -1, 0, false);
}

struct nodes *nodes_free(struct nodes *t)
{
	if (!t)
		return NULL;
	free(t->taken);
	if (t->base)
		munmap(t->base, NODES_BYTES);
	pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

struct node *node_get(struct nodes *t, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	LOCK_SCOPE(&t->lock);
	if (index == NODE_NONE || index >= t->kept->node_end)
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
	return t->kept->devs[n->dev];
}

static struct node *find_ino_locked(struct nodes *t, uint16_t dev, uint64_t ino)
{
	uint32_t x = t->ino_heads[hash_ino(dev, ino) & t->kept->by_ino.mask];
	for (; x; x = node_ptr(t, x)->next)
		if (node_ptr(t, x)->ino == ino && node_ptr(t, x)->dev == dev)
			return node_ptr(t, x);
	return NULL;
}

/* True when it was there: a node whose number was reused is out of the table already. */
static bool unhash_node_locked(struct nodes *t, struct node *n)
{
	uint32_t *at = &t->ino_heads[hash_ino(n->dev, n->ino) & t->kept->by_ino.mask];
	for (; *at; at = &node_ptr(t, *at)->next)
		if (*at == n->index) {
			*at = n->next;
			n->next = NODE_NONE;
			t->kept->by_ino.count--;
			return true;
		}
	return false;
}

static uint32_t *name_slot_locked(struct nodes *t, uint32_t parent, const char *text)
{
	uint32_t *at = &t->name_heads[hash_name(parent, text) & t->kept->by_name.mask];
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
	t->kept->by_name.count--;
	detach_from_node_locked(t, index);
	struct node *parent = node_ptr(t, m->parent);
	if (--parent->children == 0 && parent->nlookup == 0) {
		if (t->kept->n_orphans < MAX_ORPHANS)
			t->kept->orphans[t->kept->n_orphans++] = parent->index;
		else
			t->kept->more_orphans = true;
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
	m->own = own;
	strcpy(m->text, text);
	node_stored();
	m->parent = parent->index; /* valid from here on */
	m->sibling = n->names;
	n->names = index;
	uint32_t *head = &t->name_heads[hash_name(parent->index, text) & t->kept->by_name.mask];
	m->hash_next = *head;
	*head = index;
	t->kept->by_name.count++;
	parent->children++;
	grow(t, &t->kept->by_name, t->name_heads, of_name);
	return 0;
}

static int make_node_locked(struct nodes *t, const struct node_key *key, uint16_t dev,
			    struct node **out)
{
	struct node *n = NULL;
	int rc = alloc_node(t, &n);
	if (rc < 0)
		return rc;
	n->dev = dev;
	n->born = key->born;
	n->flags = key->flags;
	n->stamp = key->stamp;
	n->repo = key->repo;
	node_stored();
	n->ino = key->ino; /* valid from here on */
	uint32_t *head = &t->ino_heads[hash_ino(dev, n->ino) & t->kept->by_ino.mask];
	n->next = *head;
	*head = n->index;
	t->kept->by_ino.count++;
	grow(t, &t->kept->by_ino, t->ino_heads, of_ino);
	*out = n;
	return 0;
}

static void free_node_locked(struct nodes *t, struct node *n)
{
	n->ino = 0;
	n->next = t->kept->free_node;
	t->kept->free_node = n->index;
	t->kept->live_nodes--;
}

int node_intern(struct nodes *t, const struct node_key *key, struct node *parent, const char *name,
		bool own, struct node **out, bool *made)
{
	uint16_t dev = 0;
	bool fresh = false;
	CHANGE_SCOPE(t);
	int rc = dev_index(t, key->dev, &dev);
	if (rc < 0)
		return rc;
	struct node *n = find_ino_locked(t, dev, key->ino);
	const uint32_t type = NODE_DIR | NODE_REG;
	if (n && (n->born != key->born || (n->flags & type) != (key->flags & type))) {
		unhash_node_locked(t, n);
		atomic_fetch_or(&n->flags, NODE_REPLACED);
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
	CHANGE_SCOPE(t);
	if (n->index == NODE_ROOT_ID)
		return NULL;
	n->nlookup -= count < n->nlookup ? count : n->nlookup;
	free_if_unused_locked(t, n, &dead);
	/* Freeing a node frees its names, which may leave their parents without use. */
	while (t->kept->n_orphans || t->kept->more_orphans) {
		uint32_t all = t->kept->more_orphans ? t->kept->node_end : NODE_ROOT_ID;
		t->kept->more_orphans = false;
		for (uint32_t i = NODE_ROOT_ID; i < all; i++)
			if (node_ptr(t, i)->ino) /* 0: free */
				free_if_unused_locked(t, node_ptr(t, i), &dead);
		while (t->kept->n_orphans)
			free_if_unused_locked(
				t, node_ptr(t, t->kept->orphans[--t->kept->n_orphans]), &dead);
	}
	return dead;
}

struct node *node_next_dead(struct nodes *t, const struct node *n)
{
	return n->next ? node_ptr(t, n->next) : NULL;
}

void node_bury(struct nodes *t, struct node *n)
{
	CHANGE_SCOPE(t);
	free_node_locked(t, n);
}

uint64_t node_name_ino(struct nodes *t, const struct node *parent, const char *name)
{
	LOCK_SCOPE(&t->lock);
	uint32_t *slot = name_slot_locked(t, parent->index, name);
	return slot ? node_ptr(t, name_ptr(t, *slot)->node)->ino : 0;
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
	CHANGE_SCOPE(t);
	/* Without memory for the name the file is reached by its descriptor only, and the event of this
	 * change is taken for one from outside: slower, not wrong. */
	(void)add_name_locked(t, n, parent, name, true);
	atomic_fetch_and(&n->flags, ~(uint32_t)NODE_UNLINKED);
}

struct node *node_name_drop(struct nodes *t, struct node *parent, const char *name, bool *last)
{
	CHANGE_SCOPE(t);
	uint32_t *slot = name_slot_locked(t, parent->index, name);
	if (!slot)
		return NULL;
	struct node *n = node_ptr(t, name_ptr(t, *slot)->node);
	drop_name_locked(t, slot);
	if (last)
		*last = n->names == NODE_NONE;
	return n;
}

bool node_name_drop_of(struct nodes *t, struct node *parent, const char *name, const struct node *n)
{
	CHANGE_SCOPE(t);
	uint32_t *slot = name_slot_locked(t, parent->index, name);
	bool is = slot && node_ptr(t, name_ptr(t, *slot)->node) == n;
	if (is)
		drop_name_locked(t, slot);
	return is;
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

/* In front of what is there already, which begins at *at. */
static bool prepend(const char *begin, char **at, const char *name)
{
	const size_t len = strlen(name), slash = **at != '\0';
	if ((size_t)(*at - begin) < len + slash)
		return false;
	if (slash)
		*--*at = '/';
	*at -= len;
	memcpy(*at, name, len);
	return true;
}

bool node_path(struct nodes *t, const struct node *n, const char *name, char path[PATH_MAX])
{
	char *at = path + PATH_MAX - 1;
	*at = '\0';
	if (name && !prepend(path, &at, name))
		return false;
	LOCK_SCOPE(&t->lock);
	while (!(n->flags & NODE_REPO_ROOT)) {
		if (!n->names || !prepend(path, &at, name_ptr(t, n->names)->text))
			return false;
		n = node_ptr(t, name_ptr(t, n->names)->parent);
	}
	memmove(path, at, strlen(at) + 1);
	return true;
}

bool nodes_some(struct nodes *t, uint32_t *from, uint32_t count,
		void (*fn)(struct node *n, void *arg), void *arg)
{
	LOCK_SCOPE(&t->lock);
	for (; count && *from < t->kept->node_end; count--, (*from)++) {
		struct node *n = node_ptr(t, *from);
		if (*from && (n->nlookup || n->children))
			fn(n, arg);
	}
	return *from < t->kept->node_end;
}

void nodes_taken(struct nodes *t, void (*fn)(struct node *n, void *arg), void *arg)
{
	LOCK_SCOPE(&t->lock);
	for (size_t i = 0; i < t->n_taken; i++) {
		struct node *n = node_ptr(t, t->taken[i]);
		if (n->nlookup || n->children)
			fn(n, arg);
	}
}

void nodes_taken_end(struct nodes *t)
{
	free(t->taken);
	t->taken = NULL;
	t->n_taken = 0;
}

void nodes_each(struct nodes *t, void (*fn)(struct node *n, void *arg), void *arg)
{
	uint32_t from = NODE_ROOT_ID;
	nodes_some(t, &from, UINT32_MAX, fn, arg);
}

void nodes_stats(struct nodes *t, struct nodes_stats *out)
{
	LOCK_SCOPE(&t->lock);
	out->nodes = t->kept->live_nodes;
	out->names = t->kept->live_names;
	out->bytes =
		t->kept->live_nodes * sizeof(struct node) + t->kept->name_bytes +
		((uint64_t)t->kept->by_ino.mask + 1 + t->kept->by_name.mask + 1) * sizeof(uint32_t);
}
