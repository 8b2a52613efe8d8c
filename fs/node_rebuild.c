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
	n->next = t->free_node;
	t->free_node = n->index;
}

static void reset_nodes(struct nodes *t)
{
	for (uint32_t i = NODE_ROOT_ID; i < t->kept->node_end; i++) {
		struct node *n = node_ptr(t, i);
		n->index = i;
		n->next = n->names = n->children = 0;
		n->changing = n->waiting = 0;
		n->lru_prev = n->lru_next = n->users = 0;
		if (valid(t, i))
			t->live_nodes++;
		else
			free_node(t, n);
	}
}

static void free_name(struct nodes *t, uint32_t index)
{
	struct name *m = name_ptr(t, index);
	m->parent = NODE_NONE;
	m->sibling = t->free_name[m->units];
	t->free_name[m->units] = index;
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
	t->live_names++;
	t->name_bytes += (uint64_t)m->units * NAME_UNIT;
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
			t->live_names--;
			t->name_bytes -= (uint64_t)name_ptr(t, x)->units * NAME_UNIT;
			free_name(t, x);
			if (--parent->children || parent->nlookup || parent->index == NODE_ROOT_ID)
				continue;
			parent->next = todo;
			todo = parent->index;
		}
		n->gen++;
		n->path_fd = -1;
		n->wd = -1;
		t->live_nodes--;
		free_node(t, n);
	}
}

static int size_hash(struct hash *h, uint64_t count)
{
	while (h->mask < count)
		h->mask = h->mask * 2 + 1;
	free(h->heads);
	h->heads = calloc((size_t)h->mask + 1, sizeof(*h->heads));
	return h->heads ? 0 : -ENOMEM;
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
				&t->by_ino.heads[hash_ino(n->dev, n->ino) & t->by_ino.mask];
			n->next = *head;
			*head = i;
			t->by_ino.count++;
		}
	}
	for (uint32_t i = 1; i < t->kept->name_end; i += name_ptr(t, i)->units) {
		struct name *m = name_ptr(t, i);
		if (!m->parent)
			continue;
		uint32_t *head = &t->by_name.heads[hash_name(m->parent, m->text) & t->by_name.mask];
		m->hash_next = *head;
		*head = i;
		t->by_name.count++;
	}
}

int nodes_rebuild(struct nodes *t)
{
	reset_nodes(t);
	take_names(t);
	for (uint32_t i = NODE_ROOT_ID + 1; i < t->kept->node_end; i++) {
		struct node *n = node_ptr(t, i);
		if (n->ino && !n->nlookup && !n->children)
			free_unused(t, i);
	}
	int rc = size_hash(&t->by_ino, t->live_nodes);
	if (rc == 0)
		rc = size_hash(&t->by_name, t->live_names);
	if (rc == 0)
		fill_hashes(t);
	return rc;
}
