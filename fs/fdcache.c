#include "fs/fdcache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/closer.h"
#include "fs/fdslots.h"
#include "fs/lookup.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"

enum { HOLD_PATH, HOLD_SLOT, HOLD_TEMP };
enum {
	POOL_MAX = 1024,
	/* How many nodes one search by name may go through. Names can be out of date, so that the way
	 * up may even be a circle. */
	SEARCH_MAX = 4096,
};

struct fdcache {
	struct nodes *nodes;   /* borrowed */
	struct closer *closer; /* owned; of files without a name */
	pthread_mutex_t lock;
	uint32_t lru_head, lru_tail; /* protected by lock, as is all below; head: used last */
	unsigned n_paths, max_paths;
	struct fdslots slots;
	void (*wake)(void *arg);
	void *wake_arg;
};

int fdcache_new(struct fdcache **out, struct nodes *nodes, unsigned limit)
{
	struct fdcache *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->lock, NULL);
	c->nodes = nodes;
	unsigned slots = limit / 8 < POOL_MAX ? limit / 8 : POOL_MAX;
	if (slots < 16)
		slots = 16;
	/* What is left is for sockets, logs, inotify, rings, what waits to be closed, and descriptors that live for one
	 * request. */
	c->max_paths = limit > slots + 512 ? limit - slots - 512 : 64;
	if (slots_new(&c->slots, nodes, slots) < 0) {
		free(c);
		return -ENOMEM;
	}
	c->closer = closer_new(limit / 16);
	*out = c;
	return 0;
}

struct fdcache *fdcache_free(struct fdcache *c)
{
	if (!c)
		return NULL;
	closer_free(c->closer);
	slots_free(&c->slots);
	for (uint32_t x = c->lru_head; x;) {
		struct node *n = node_at(c->nodes, x);
		x = n->lru_next;
		close(n->path_fd);
		n->path_fd = -1;
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

static void lru_unlink_locked(struct fdcache *c, struct node *n)
{
	if (n->lru_prev)
		node_at(c->nodes, n->lru_prev)->lru_next = n->lru_next;
	else
		c->lru_head = n->lru_next;
	if (n->lru_next)
		node_at(c->nodes, n->lru_next)->lru_prev = n->lru_prev;
	else
		c->lru_tail = n->lru_prev;
}

static void lru_front_locked(struct fdcache *c, struct node *n)
{
	n->lru_prev = NODE_NONE;
	n->lru_next = c->lru_head;
	if (c->lru_head)
		node_at(c->nodes, c->lru_head)->lru_prev = n->index;
	c->lru_head = n->index;
	if (!c->lru_tail)
		c->lru_tail = n->index;
}

static void adopt_path(struct node *n, void *arg)
{
	struct fdcache *c = arg;
	if (n->path_fd < 0)
		return;
	lru_front_locked(c, n);
	c->n_paths++;
}

void fdcache_adopt(struct fdcache *c, struct estate *es)
{
	nodes_taken(c->nodes, adopt_path, c);
	slots_adopt(&c->slots, es);
}

static void hold_path_locked(struct fdcache *c, struct node *n, struct fd_hold *h)
{
	n->users++;
	if (c->lru_head != n->index) {
		lru_unlink_locked(c, n);
		lru_front_locked(c, n);
	}
	*h = (struct fd_hold){.fd = n->path_fd, .node = n, .kind = HOLD_PATH};
}

/* Closes the least recently used O_PATH descriptor that nobody uses and that may be found again. */
static int evict_path_locked(struct fdcache *c)
{
	uint32_t x = c->lru_tail;
	for (unsigned tries = 0; x && tries < 64; tries++) {
		struct node *n = node_at(c->nodes, x);
		x = n->lru_prev;
		if (n->users || (n->flags & (NODE_REPO_ROOT | NODE_UNLINKED)))
			continue;
		int fd = n->path_fd;
		lru_unlink_locked(c, n);
		n->path_fd = -1;
		c->n_paths--;
		return fd;
	}
	return -1;
}

bool fds_path_cached(struct fdcache *c, struct node *n, struct fd_hold *h)
{
	LOCK_SCOPE(&c->lock);
	if (n->path_fd < 0)
		return false;
	hold_path_locked(c, n, h);
	return true;
}

bool fds_over(struct fdcache *c)
{
	LOCK_SCOPE(&c->lock);
	return c->n_paths > c->max_paths;
}

static bool same_file(struct fdcache *c, const struct node *n, int fd)
{
	struct lookup_stat ls;
	return lookup_statx(fd, "", &ls) == 0 && ls.st.st_ino == n->ino && ls.born == n->born &&
	       ls.st.st_dev == node_dev(c->nodes, n);
}

void fds_give_path(struct fdcache *c, struct node *n, int fd)
{
	int evicted = -1;
	pthread_mutex_lock(&c->lock);
	if (n->path_fd < 0) {
		n->path_fd = fd;
		fd = -1;
		lru_front_locked(c, n);
		if (++c->n_paths > c->max_paths) {
			n->users++;
			evicted = evict_path_locked(c);
			n->users--;
		}
	}
	pthread_mutex_unlock(&c->lock);
	if (fd >= 0)
		close(fd);
	if (evicted >= 0)
		close(evicted);
}

static int open_by_name(struct fdcache *c, struct node *n, unsigned *left);

/* left: how many nodes may still be searched. */
static int path_hold(struct fdcache *c, struct node *n, struct fd_hold *h, unsigned *left)
{
	if (fds_path_cached(c, n, h))
		return 0;
	int fd = open_by_name(c, n, left);
	/* Who removes, replaces or renames it this moment made sure before that there is a descriptor. */
	if (fd < 0)
		return fds_path_cached(c, n, h) ? 0 : fd;
	fds_give_path(c, n, fd);
	/* It may have been evicted already by others: then once more, with a descriptor of its own. */
	if (fds_path_cached(c, n, h))
		return 0;
	fd = open_by_name(c, n, left);
	if (fd < 0)
		return fds_path_cached(c, n, h) ? 0 : fd;
	*h = (struct fd_hold){.fd = fd, .node = n, .kind = HOLD_TEMP};
	return 0;
}

/* By each name that is known, until one leads to the very file. */
static int open_by_name(struct fdcache *c, struct node *n, unsigned *left)
{
	char name[NODE_NAME_MAX];
	struct node *parent = NULL;
	for (unsigned i = 0; node_name_nth(c->nodes, n, i, &parent, name); i++) {
		if (parent->index == NODE_ROOT_ID)
			continue; /* the root of a repo keeps its descriptor */
		struct fd_hold h;
		if (*left == 0)
			return -ESTALE;
		(*left)--;
		int rc = path_hold(c, parent, &h, left);
		if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -EACCES)
			return rc;
		if (rc < 0)
			continue;
		int fd = openat(h.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		int err = errno;
		fds_put(c, &h);
		if (fd < 0 && (err == EMFILE || err == ENFILE || err == ENOMEM || err == EACCES))
			return -err;
		if (fd >= 0 && same_file(c, n, fd))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ESTALE;
}

int fds_path(struct fdcache *c, struct node *n, struct fd_hold *h)
{
	unsigned left = SEARCH_MAX;
	return path_hold(c, n, h, &left);
}

/*
 * Whoever has a file open that has no name any more goes on, whatever its mode says by now, and nobody else
 * can open it: so its mode gives way for a moment.
 */
static int open_nameless(int path_fd, const char *proc)
{
	struct lookup_stat ls;
	int rc = lookup_statx(path_fd, "", &ls);
	if (rc < 0 || ls.st.st_nlink || !S_ISREG(ls.st.st_mode))
		return -EACCES;
	const mode_t mode = ls.st.st_mode & 07777;
	if (chmod(proc, mode | S_IRUSR | S_IWUSR) < 0)
		return -EACCES;
	int fd = open(proc, O_RDWR | O_CLOEXEC);
	rc = fd < 0 ? -errno : fd;
	(void)chmod(proc, mode);
	return rc;
}

static int open_real(struct fdcache *c, struct node *n, enum fd_kind kind)
{
	struct fd_hold h;
	char proc[40];
	int rc = fds_path(c, n, &h);
	if (rc < 0)
		return rc;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h.fd);
	int fd = open(proc,
		      (kind == FD_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == EACCES && kind == FD_WRITE)
		fd = open(proc, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	rc = fd < 0 ? -errno : fd;
	if (rc == -EACCES && n->flags & NODE_UNLINKED)
		rc = open_nameless(h.fd, proc);
	fds_put(c, &h);
	return rc;
}

/* When the first one came that is to expire. No lock held. */
static void wake_if(struct fdcache *c, bool first)
{
	if (first && c->wake)
		c->wake(c->wake_arg);
}

static void hold_slot_locked(struct fdcache *c, struct slot *s, struct node *n, enum slot_pin pin,
			     struct fd_hold *h)
{
	slots_use(&c->slots, s, pin);
	*h = (struct fd_hold){
		.fd = s->fd, .node = n, .kind = HOLD_SLOT, .slot = (int)(s - c->slots.all)};
}

/* Puts fd into the pool; when the pool is all in use it becomes a descriptor for one request. */
static void keep_or_lend(struct fdcache *c, struct node *n, enum fd_kind kind, int fd,
			 enum slot_pin pin, struct fd_hold *h)
{
	int evicted = -1, spare = -1;
	pthread_mutex_lock(&c->lock);
	const bool none = c->slots.n_expiring == 0;
	struct slot *s = slots_find(&c->slots, n, kind);
	if (s)
		spare = fd;
	else
		s = slots_add(&c->slots, n, kind, fd, &evicted);
	if (s)
		hold_slot_locked(c, s, n, pin, h);
	else
		*h = (struct fd_hold){.fd = fd, .node = n, .kind = HOLD_TEMP};
	const bool first = none && c->slots.n_expiring;
	pthread_mutex_unlock(&c->lock);
	if (spare >= 0)
		close(spare);
	if (evicted >= 0)
		close(evicted);
	wake_if(c, first);
}

static bool cached(struct fdcache *c, struct node *n, enum fd_kind kind, enum slot_pin pin,
		   struct fd_hold *h)
{
	pthread_mutex_lock(&c->lock);
	const bool none = c->slots.n_expiring == 0;
	struct slot *s = slots_find(&c->slots, n, kind);
	if (s)
		hold_slot_locked(c, s, n, pin, h);
	const bool first = none && c->slots.n_expiring;
	pthread_mutex_unlock(&c->lock);
	wake_if(c, first);
	return s != NULL;
}

bool fds_write_cached(struct fdcache *c, struct node *n, struct fd_hold *h)
{
	return cached(c, n, FD_WRITE, SLOT_UNPINNED, h);
}

/* Who made the file may read it by the descriptor that made it, whatever its mode says. */
static bool cached_to_read(struct fdcache *c, struct node *n, struct fd_hold *h)
{
	if (!fds_write_cached(c, n, h))
		return false;
	if ((fcntl(h->fd, F_GETFL) & O_ACCMODE) == O_RDWR)
		return true;
	fds_put(c, h);
	return false;
}

static int open_kind(struct fdcache *c, struct node *n, enum fd_kind kind, enum slot_pin pin,
		     struct fd_hold *h)
{
	if (cached(c, n, kind, pin, h))
		return 0;
	int fd = open_real(c, n, kind);
	if (fd == -EACCES && kind == FD_READ && cached_to_read(c, n, h))
		return 0;
	if (fd < 0)
		return fd;
	keep_or_lend(c, n, kind, fd, pin, h);
	return 0;
}

int fds_open(struct fdcache *c, struct node *n, enum fd_kind kind, struct fd_hold *h)
{
	return open_kind(c, n, kind, SLOT_UNPINNED, h);
}

void fds_pin(struct fdcache *c, struct node *n, enum fd_kind kind)
{
	struct fd_hold h;
	if (open_kind(c, n, kind, SLOT_PINNED, &h) == 0)
		fds_put(c, &h);
}

static bool is_program(mode_t mode)
{
	return mode & (S_IXUSR | S_IXGRP | S_IXOTH);
}

void fds_give_write(struct fdcache *c, struct node *n, int fd, mode_t mode, bool keep)
{
	struct fd_hold h;
	keep_or_lend(c, n, FD_WRITE, fd,
		     !keep              ? SLOT_UNPINNED
		     : is_program(mode) ? SLOT_BRIEFLY
					: SLOT_PINNED,
		     &h);
	fds_put(c, &h);
}

void fds_put(struct fdcache *c, struct fd_hold *h)
{
	int fd = -1;
	if (h->kind == HOLD_TEMP) {
		close(h->fd);
		return;
	}
	pthread_mutex_lock(&c->lock);
	if (h->kind == HOLD_PATH) {
		h->node->users--;
	} else {
		struct slot *s = &c->slots.all[h->slot];
		s->users--;
		if (s->doomed && s->users == 0)
			fd = slots_clear(&c->slots, s);
	}
	pthread_mutex_unlock(&c->lock);
	if (fd >= 0)
		close(fd);
}

void fds_drop(struct fdcache *c, struct node *n)
{
	int fds[3];
	unsigned n_fds = 0;
	pthread_mutex_lock(&c->lock);
	if (n->path_fd >= 0) {
		lru_unlink_locked(c, n);
		fds[n_fds++] = n->path_fd;
		n->path_fd = -1;
		c->n_paths--;
	}
	for (enum fd_kind kind = FD_READ; kind <= FD_WRITE; kind++) {
		struct slot *s = slots_find(&c->slots, n, kind);
		int fd = s ? slots_doom(&c->slots, s) : -1;
		if (fd >= 0)
			fds[n_fds++] = fd;
	}
	pthread_mutex_unlock(&c->lock);
	while (n_fds && n->flags & NODE_UNLINKED)
		closer_give(c->closer, fds[--n_fds]);
	while (n_fds)
		close(fds[--n_fds]);
}

bool fds_settle(struct fdcache *c, bool wait)
{
	return closer_settle(c->closer, wait);
}

void fds_mode(struct fdcache *c, struct node *n, mode_t mode)
{
	pthread_mutex_lock(&c->lock);
	const bool none = c->slots.n_expiring == 0;
	for (enum fd_kind kind = FD_READ; kind <= FD_WRITE; kind++) {
		struct slot *s = slots_find(&c->slots, n, kind);
		if (s)
			slots_keep(&c->slots, s, is_program(mode));
	}
	const bool first = none && c->slots.n_expiring;
	pthread_mutex_unlock(&c->lock);
	wake_if(c, first);
}

unsigned fds_expire(struct fdcache *c, uint64_t before_ms)
{
	int fds[64];
	unsigned n_fds;
	pthread_mutex_lock(&c->lock);
	unsigned left =
		slots_expire(&c->slots, before_ms, fds, sizeof(fds) / sizeof(fds[0]), &n_fds);
	pthread_mutex_unlock(&c->lock);
	while (n_fds)
		close(fds[--n_fds]);
	return left;
}

bool fds_written(struct fdcache *c, const struct node *n, uint64_t since_ms)
{
	LOCK_SCOPE(&c->lock);
	const struct slot *s = slots_find(&c->slots, n, FD_WRITE);
	return s && (!s->pinned || s->users || s->last_ms >= since_ms);
}

void fds_on_write(struct fdcache *c, void (*wake)(void *arg), void *arg)
{
	c->wake = wake;
	c->wake_arg = arg;
	wake_if(c, c->slots.n_expiring);
}
