#include "fs/pending.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/news.h"
#include "fs/node.h"
#include "manager/base/clock.h"

enum { ID_DIGITS = 16 };

void pending_add(struct pending **list, struct estate *es, uint64_t node, const char *name)
{
	char *key = NULL;
	struct pending *p = NULL;
	if (asprintf(&key, "%0*llx%s", ID_DIGITS, (unsigned long long)node, name) < 0)
		return;
	HASH_FIND_STR(*list, key, p);
	if (!p)
		p = calloc(1, sizeof(*p));
	if (!p || p->key) {
		free(key);
		return;
	}
	p->key = key;
	p->node = node;
	p->since_ms = clock_mono_ms();
	p->es = es;
	p->news = news_look(es, node, name);
	HASH_ADD_KEYPTR(hh, *list, p->key, strlen(p->key), p);
}

bool pending_has(struct pending *list, uint64_t node, const char *name)
{
	char key[ID_DIGITS + NODE_NAME_MAX + 1];
	struct pending *p = NULL;
	snprintf(key, sizeof(key), "%0*llx%s", ID_DIGITS, (unsigned long long)node, name);
	HASH_FIND_STR(list, key, p);
	return p != NULL;
}

const char *pending_name(const struct pending *p)
{
	return p->key + ID_DIGITS;
}

void pending_move(struct pending **to, struct pending **from)
{
	struct pending *p = NULL, *tmp = NULL, *there = NULL;
	HASH_ITER (hh, *from, p, tmp) {
		HASH_FIND_STR(*to, p->key, there);
		if (there) {
			pending_done(from, p);
		} else {
			HASH_DEL(*from, p);
			HASH_ADD_KEYPTR(hh, *to, p->key, strlen(p->key), p);
		}
	}
}

void pending_done(struct pending **list, struct pending *p)
{
	HASH_DEL(*list, p);
	news_done(p->es, p->news);
	free(p->key);
	free(p);
}

void pending_free(struct pending **list)
{
	struct pending *p = NULL, *tmp = NULL;
	HASH_ITER (hh, *list, p, tmp)
		pending_done(list, p);
}
