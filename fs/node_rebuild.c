/*
 * The node table of a server that was killed, made whole: the records that are valid tell everything, chains
 * and counts are made anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/node_table.h"

static bool valid(struct nodes *t, uint32_t index)
{
	return index == NODE_ROOT_ID ||
	       (index > NODE_ROOT_ID && index < t->kept->node_end && node_ptr(t, index)->ino != 0);
}

static void free_node(struct nodes *t, struct node *n)
{
	n->ino = 0;
	n->next = t->kept->free_node;
	t->kept->free_node = n->index;
}

static void reset_nodes(struct nodes *t)
{
	struct nodes_kept *k = t->kept;
	k->free_node = NODE_NONE;
	memset(k->free_name, 0, sizeof(k->free_name));
	k->live_nodes = k->live_names = k->name_bytes = 0;
	k->n_orphans = 0;
	k->more_orphans = false;
	for (uint32_t i = NODE_ROOT_ID; i < k->node_end; i++) {
		struct node *n = node_ptr(t, i);
		n->index = i;
		n->next = n->names = n->children = 0;
		if (valid(t, i))
			k->live_nodes++;
		else
			free_node(t, n);
	}
}

static void free_name(struct nodes *t, uint32_t index)
{
	struct name *m = name_ptr(t, index);
	m->parent = NODE_NONE;
	m->sibling = t->kept->free_name[m->units];
	t->kept->free_name[m->units] = index;
}

static void take_name(struct nodes *t, uint32_t index)
{
	struct name *m = name_ptr(t, index);
	if (!valid(t, m->parent) || !valid(t, m->node)) {
		free_name(t, index);
		return;
	}
	struct node *n = node_ptr(t, m->node);
	m->sibling = n->names;
	n->names = index;
	node_ptr(t, m->parent)->children++;
	t->kept->live_names++;
	t->kept->name_bytes += (uint64_t)m->units * NAME_UNIT;
}

static void take_names(struct nodes *t)
{
	uint32_t i = 1;
	while (i < t->kept->name_end) {
		uint32_t units = name_ptr(t, i)->units;
		if (units < 2 || units >= NAME_CLASSES)
			break; /* memory that somebody overwrote: what follows cannot be read */
		take_name(t, i);
		i += units;
	}
	t->kept->name_end = i;
}

/* Frees what the kernel does not know and no child needs; its parents may be next. */
static void free_unused(struct nodes *t, uint32_t first)
{
	uint32_t todo = first;
	node_ptr(t, first)->next = NODE_NONE;
	while (todo) {
		struct node *n = node_ptr(t, todo);
		todo = n->next;
		for (uint32_t x = n->names, next; x; x = next) {
			struct node *parent = node_ptr(t, name_ptr(t, x)->parent);
			next = name_ptr(t, x)->sibling;
			t->kept->live_names--;
			t->kept->name_bytes -= (uint64_t)name_ptr(t, x)->units * NAME_UNIT;
			free_name(t, x);
			if (--parent->children || parent->nlookup || parent->index == NODE_ROOT_ID)
				continue;
			parent->next = todo;
			todo = parent->index;
		}
		n->gen++;
		n->path_fd = -1;
		n->wd = -1;
		t->kept->live_nodes--;
		free_node(t, n);
	}
}

static void empty_hash(struct hash *h, uint32_t *heads, uint64_t count)
{
	memset(heads, 0, ((size_t)h->mask + 1) * sizeof(*heads));
	while (h->mask < count && ((size_t)h->mask + 1) * sizeof(*heads) < NODE_HEADS_BYTES)
		h->mask = h->mask * 2 + 1;
	h->count = 0;
}

static void fill_hashes(struct nodes *t)
{
	for (uint32_t i = NODE_ROOT_ID + 1; i < t->kept->node_end; i++) {
		struct node *n = node_ptr(t, i);
		if (!n->ino)
			continue;
		n->next = NODE_NONE;
		if (!(n->flags & NODE_REPLACED)) {
			uint32_t *head =
				&t->ino_heads[hash_ino(n->dev, n->ino) & t->kept->by_ino.mask];
			n->next = *head;
			*head = i;
			t->kept->by_ino.count++;
		}
	}
	for (uint32_t i = 1; i < t->kept->name_end; i += name_ptr(t, i)->units) {
		struct name *m = name_ptr(t, i);
		if (!m->parent)
			continue;
		uint32_t *head =
			&t->name_heads[hash_name(m->parent, m->text) & t->kept->by_name.mask];
		m->hash_next = *head;
		*head = i;
		t->kept->by_name.count++;
	}
}

void nodes_rebuild(struct nodes *t)
{
	struct nodes_kept *k = t->kept;
	k->changing = true; /* until this is done: we may be killed, too */
	reset_nodes(t);
	take_names(t);
	for (uint32_t i = NODE_ROOT_ID + 1; i < k->node_end; i++) {
		struct node *n = node_ptr(t, i);
		if (n->ino && !n->nlookup && !n->children)
			free_unused(t, i);
	}
	empty_hash(&k->by_ino, t->ino_heads, k->live_nodes);
	empty_hash(&k->by_name, t->name_heads, k->live_names);
	fill_hashes(t);
	node_stored();
	k->changing = false;
}

/* Most nodes are only read, not written: that is what a successor's start costs for each. */
static void reset_node(struct node *n)
{
	if (n->changing)
		n->changing = 0;
	if (n->waiting)
		n->waiting = 0;
	if (n->users)
		n->users = 0;
	if (n->lru_prev || n->lru_next)
		n->lru_prev = n->lru_next = NODE_NONE;
}

static int add_taken(struct nodes *t, uint32_t index, size_t *max)
{
	if (t->n_taken == *max) {
		size_t more = *max ? *max * 2 : 1024;
		uint32_t *grown = realloc(t->taken, more * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		t->taken = grown;
		*max = more;
	}
	t->taken[t->n_taken++] = index;
	return 0;
}

int nodes_take_stock(struct nodes *t)
{
	size_t max = 0;
	for (uint32_t i = NODE_ROOT_ID; i < t->kept->node_end; i++) {
		struct node *n = node_ptr(t, i);
		if (!valid(t, i))
			continue;
		if (n->flags & NODE_DEAD) { /* nobody came to bury it */
			free_node(t, n);
			t->kept->live_nodes--;
			continue;
		}
		reset_node(n);
		if ((n->path_fd >= 0 || n->wd != -1 || n->session) && add_taken(t, i, &max) < 0)
			return -ENOMEM;
	}
	return 0;
}
