#include "fs/news.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "manager/base/cleanup.h"

enum { NO_PLACE = -1, WORDS = ESTATE_NEWS / 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* leaf; of all below */
static int full;                                         /* so many words of used are full */
static uint64_t used[WORDS];
static uint64_t left[WORDS]; /* of them those of the server before us */

static bool is_in(const uint64_t *set, int at)
{
	return set[at / 64] >> (at % 64) & 1;
}

/* The lowest: what was never used takes no memory. */
static int take_place(struct estate *es)
{
	LOCK_SCOPE(&lock);
	while (full < WORDS && !~used[full])
		full++;
	if (full == WORDS)
		return NO_PLACE;
	int at = full * 64 + __builtin_ctzll(~used[full]);
	used[full] |= (uint64_t)1 << (at % 64);
	if (es->news_end <= (uint32_t)at)
		es->news_end = (uint32_t)at + 1;
	return at;
}

/* The place is written before it is valid: we may be killed in between. */
static struct estate_news *place(struct estate *es, int at, uint64_t node, const char *name)
{
	struct estate_news *n = &es->news[at];
	n->node = node;
	snprintf(n->name, sizeof(n->name), "%s", name);
	return n;
}

int news_look(struct estate *es, uint64_t node, const char *name)
{
	int at = es ? take_place(es) : NO_PLACE;
	if (at >= 0)
		place(es, at, node, name)->kind = NEWS_LOOK;
	else if (es)
		es->news_lost++;
	return at;
}

int news_tell(struct estate *es, uint16_t repo, uint64_t node, const char *name, bool data,
	      bool expire)
{
	int at = es ? take_place(es) : NO_PLACE;
	if (at >= 0) {
		struct estate_news *n = place(es, at, node, name);
		n->repo = repo;
		n->data = data;
		n->expire = expire;
		n->kind = NEWS_TELL;
	} else if (es) {
		es->news_lost++;
	}
	return at;
}

void news_done(struct estate *es, int at)
{
	if (!es)
		return;
	if (at < 0) {
		es->news_lost--;
		return;
	}
	es->news[at].kind = NEWS_FREE;
	LOCK_SCOPE(&lock);
	used[at / 64] &= ~((uint64_t)1 << (at % 64));
	left[at / 64] &= ~((uint64_t)1 << (at % 64));
	full = at / 64 < full ? at / 64 : full;
}

void news_begin(struct estate *es)
{
	LOCK_SCOPE(&lock);
	if (es->news_lost)
		es->news_all = true;
	es->news_lost = 0;
	memset(used, 0, sizeof(used));
	full = 0;
	for (int at = 0; at < (int)es->news_end; at++)
		if (es->news[at].kind != NEWS_FREE)
			used[at / 64] |= (uint64_t)1 << (at % 64);
	memcpy(left, used, sizeof(left));
}

bool news_left(struct estate *es, int *at, struct estate_news *out)
{
	LOCK_SCOPE(&lock);
	for (; *at < ESTATE_NEWS; (*at)++)
		if (is_in(left, *at)) {
			memcpy(out, &es->news[*at], sizeof(*out));
			return true;
		}
	return false;
}
