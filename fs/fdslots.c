#include "fs/fdslots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/clock.h"

enum { PROGRAM_MS = 1000 }; /* how long an unused one of a program is kept */

int slots_new(struct fdslots *p, struct nodes *nodes, unsigned n)
{
	*p = (struct fdslots){.nodes = nodes, .n = n, .all = calloc(n, sizeof(*p->all))};
	return p->all ? 0 : -ENOMEM;
}

void slots_free(struct fdslots *p)
{
	HASH_CLEAR(hh, p->by_key);
	for (unsigned i = 0; i < p->n; i++)
		if (p->all[i].used)
			close(p->all[i].fd);
	free(p->all);
}

static bool expires(const struct slot *s)
{
	return s->key & 1 && (!s->pinned || s->brief);
}

/* Of a CREATE that was not answered, which comes again and takes the descriptor in its intent. */
static bool is_intended(const struct estate *es, int fd)
{
	for (int i = 0; i < ESTATE_INTENTS; i++)
		if (es->intents[i].state != INTENT_FREE && es->intents[i].fd == fd)
			return true;
	return false;
}

static void adopt_one(struct fdslots *p, int at)
{
	struct estate_fd *k = &p->estate->kept[at];
	bool write = k->kind == ESTATE_PIN_WRITE;
	struct node *n = node_get(p->nodes, k->key);
	struct stat st;
	if (is_intended(p->estate, k->fd))
		k->fd = fcntl(k->fd, F_DUPFD_CLOEXEC, 0);
	if (!n || p->n_pinned >= p->n / 2 || k->fd < 0 || fstat(k->fd, &st) < 0) {
		estate_drop(p->estate, at);
		if (k->fd >= 0)
			close(k->fd);
		return;
	}
	struct slot *s = &p->all[p->n_pinned++];
	*s = (struct slot){.key = (uint64_t)n->index << 1 | write,
			   .fd = k->fd,
			   .used = true,
			   .pinned = true,
			   .brief = st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH),
			   .last_ms = clock_coarse_ms(),
			   .kept = at};
	HASH_ADD(hh, p->by_key, key, sizeof(s->key), s);
	p->n_expiring += expires(s);
}

void slots_adopt(struct fdslots *p, struct estate *es)
{
	p->estate = es;
	for (int i = 0; i < ESTATE_KEPT; i++)
		if (es->kept[i].kind == ESTATE_PIN_READ || es->kept[i].kind == ESTATE_PIN_WRITE)
			adopt_one(p, i);
}

static uint64_t key_of(const struct node *n, enum fd_kind kind)
{
	return (uint64_t)n->index << 1 | (kind == FD_WRITE);
}

struct slot *slots_find(struct fdslots *p, const struct node *n, enum fd_kind kind)
{
	const uint64_t key = key_of(n, kind);
	struct slot *s = NULL;
	HASH_FIND(hh, p->by_key, &key, sizeof(key), s);
	return s;
}

int slots_clear(struct fdslots *p, struct slot *s)
{
	int fd = s->fd;
	if (!s->doomed)
		HASH_DEL(p->by_key, s);
	p->n_expiring -= expires(s);
	if (s->pinned) {
		p->n_pinned--;
		estate_drop(p->estate, s->kept);
	}
	*s = (struct slot){.used = false, .fd = -1};
	return fd;
}

int slots_doom(struct fdslots *p, struct slot *s)
{
	if (s->users == 0)
		return slots_clear(p, s);
	HASH_DEL(p->by_key, s); /* the index may soon be another node's */
	s->doomed = true;
	return -1;
}

/* Second chance over the pool, like a clock. */
static struct slot *get_free(struct fdslots *p, int *evicted)
{
	*evicted = -1;
	for (unsigned tries = 0; tries < 2 * p->n; tries++) {
		struct slot *s = &p->all[p->hand];
		p->hand = (p->hand + 1) % p->n;
		if (!s->used)
			return s;
		if (s->users || s->pinned)
			continue;
		*evicted = slots_clear(p, s);
		return s;
	}
	return NULL;
}

struct slot *slots_add(struct fdslots *p, const struct node *n, enum fd_kind kind, int fd,
		       int *evicted)
{
	struct slot *s = get_free(p, evicted);
	if (!s)
		return NULL;
	*s = (struct slot){.key = key_of(n, kind), .fd = fd, .used = true};
	HASH_ADD(hh, p->by_key, key, sizeof(s->key), s);
	p->n_expiring += expires(s);
	return s;
}

static void set_pinned(struct fdslots *p, struct slot *s, bool pinned, bool brief)
{
	p->n_expiring -= expires(s);
	s->pinned = pinned;
	s->brief = brief;
	p->n_expiring += expires(s);
}

/* Some of the least recently used that nobody uses this moment, a quarter at most: so that few pins look at all of them. */
static void unpin_old(struct fdslots *p)
{
	uint64_t now = clock_coarse_ms(), oldest = now;
	unsigned most = p->n_pinned / 4 + 1;
	for (unsigned i = 0; i < p->n; i++) {
		struct slot *s = &p->all[i];
		if (s->used && s->pinned && !s->users && s->last_ms < oldest)
			oldest = s->last_ms;
	}
	for (unsigned i = 0; i < p->n && most; i++) {
		struct slot *s = &p->all[i];
		if (!s->used || !s->pinned || s->users || s->last_ms > oldest + (now - oldest) / 4)
			continue;
		set_pinned(p, s, false, false);
		p->n_pinned--;
		most--;
		estate_drop(p->estate, s->kept);
	}
}

void slots_keep(struct fdslots *p, struct slot *s, bool briefly)
{
	if (s->pinned && s->brief != briefly)
		set_pinned(p, s, true, briefly);
}

static void pin(struct fdslots *p, struct slot *s, bool brief)
{
	if (p->n_pinned >= p->n / 2)
		unpin_old(p);
	if (p->n_pinned >= p->n / 2)
		return;
	set_pinned(p, s, true, brief);
	p->n_pinned++;
	s->kept = estate_keep(p->estate, s->key & 1 ? ESTATE_PIN_WRITE : ESTATE_PIN_READ,
			      node_id(node_at(p->nodes, (uint32_t)(s->key >> 1))), s->fd);
}

void slots_use(struct fdslots *p, struct slot *s, enum slot_pin how)
{
	s->last_ms = clock_coarse_ms();
	s->users++;
	if (how != SLOT_UNPINNED && !s->pinned)
		pin(p, s, how == SLOT_BRIEFLY);
}

/* Nobody writes it here any more: whoever else does is told of by events alone. */
static void settle(struct fdslots *p, const struct slot *s)
{
	struct node *n = node_at(p->nodes, (uint32_t)(s->key >> 1));
	if (n->flags & NODE_CONTENDED)
		atomic_fetch_and(&n->flags, ~(uint32_t)NODE_CONTENDED);
}

/* Of one for writing that stays: whether it is to be looked at again. */
static bool is_unsettled(struct fdslots *p, const struct slot *s, uint64_t before_ms)
{
	const struct node *n = node_at(p->nodes, (uint32_t)(s->key >> 1));
	if (!(n->flags & NODE_CONTENDED))
		return false;
	if (s->users || s->last_ms >= before_ms)
		return true;
	settle(p, s);
	return false;
}

unsigned slots_expire(struct fdslots *p, uint64_t before_ms, int *fds, unsigned max,
		      unsigned *n_fds)
{
	unsigned left = 0;
	*n_fds = 0;
	for (unsigned i = 0; i < p->n && (p->n_expiring || p->n_pinned); i++) {
		struct slot *s = &p->all[i];
		if (!s->used || !(s->key & 1))
			continue;
		if (!expires(s)) {
			left += is_unsettled(p, s, before_ms);
		} else if (s->users || s->last_ms + (s->pinned ? PROGRAM_MS : 0) >= before_ms ||
			   *n_fds == max) {
			left++;
		} else {
			settle(p, s);
			fds[(*n_fds)++] = slots_clear(p, s);
		}
	}
	return left;
}
