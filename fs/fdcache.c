#include "fs/fdcache.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <uthash.h>

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

struct slot {
	uint64_t key; /* node index << 1 | kind */
	int fd;
	uint32_t users;
	bool used, pinned;
	int kept;    /* where the estate has it; of a pinned one */
	bool doomed; /* its node went while it was in use */
	uint64_t last_ms;
	UT_hash_handle hh;
};

struct fdcache {
	struct nodes *nodes;   /* borrowed */
	struct estate *estate; /* borrowed; NULL: none */
	pthread_mutex_t lock;
	uint32_t lru_head, lru_tail; /* protected by lock, as is all below; head: used last */
	unsigned n_paths, max_paths;
	struct slot *slots; /* owned array */
	struct slot *by_key;
	unsigned n_slots, hand, n_writes, n_pinned;
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
	c->n_slots = limit / 8 < POOL_MAX ? limit / 8 : POOL_MAX;
	if (c->n_slots < 16)
		c->n_slots = 16;
	/* What is left is for sockets, logs, inotify and descriptors that live for one request. */
	c->max_paths = limit > c->n_slots + 512 ? limit - c->n_slots - 512 : 64;
	c->slots = calloc(c->n_slots, sizeof(*c->slots));
	if (!c->slots) {
		free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

struct fdcache *fdcache_free(struct fdcache *c)
{
	if (!c)
		return NULL;
	HASH_CLEAR(hh, c->by_key);
	for (unsigned i = 0; i < c->n_slots; i++)
		if (c->slots[i].used)
			close(c->slots[i].fd);
	for (uint32_t x = c->lru_head; x;) {
		struct node *n = node_at(c->nodes, x);
		x = n->lru_next;
		close(n->path_fd);
		n->path_fd = -1;
	}
	free(c->slots);
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

static void adopt_pin(struct fdcache *c, int at)
{
	struct estate_fd *k = &c->estate->kept[at];
	bool write = k->kind == ESTATE_PIN_WRITE;
	struct node *n = node_get(c->nodes, k->key);
	if (!n || c->n_pinned >= c->n_slots / 2) {
		estate_drop(c->estate, at);
		close(k->fd);
		return;
	}
	struct slot *s = &c->slots[c->n_pinned++];
	*s = (struct slot){.key = (uint64_t)n->index << 1 | write,
			   .fd = k->fd,
			   .used = true,
			   .pinned = true,
			   .kept = at};
	HASH_ADD(hh, c->by_key, key, sizeof(s->key), s);
	c->n_writes += write;
}

void fdcache_adopt(struct fdcache *c, struct estate *es)
{
	c->estate = es;
	nodes_taken(c->nodes, adopt_path, c);
	for (int i = 0; i < ESTATE_KEPT; i++)
		if (es->kept[i].kind == ESTATE_PIN_READ || es->kept[i].kind == ESTATE_PIN_WRITE)
			adopt_pin(c, i);
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

static uint64_t slot_key(const struct node *n, enum fd_kind kind)
{
	return (uint64_t)n->index << 1 | (kind == FD_WRITE);
}

static struct slot *slot_find_locked(struct fdcache *c, uint64_t key)
{
	struct slot *s = NULL;
	HASH_FIND(hh, c->by_key, &key, sizeof(key), s);
	return s;
}

static void slot_hold_locked(struct fdcache *c, struct slot *s, struct node *n, struct fd_hold *h)
{
	s->users++;
	*h = (struct fd_hold){
		.fd = s->fd, .node = n, .kind = HOLD_SLOT, .slot = (int)(s - c->slots)};
}

/* Takes the slot out; its descriptor is the caller's to close. */
static int slot_clear_locked(struct fdcache *c, struct slot *s)
{
	int fd = s->fd;
	if (!s->doomed)
		HASH_DEL(c->by_key, s);
	if (s->key & 1)
		c->n_writes--;
	if (s->pinned) {
		c->n_pinned--;
		estate_drop(c->estate, s->kept);
	}
	*s = (struct slot){.used = false, .fd = -1};
	return fd;
}

/* Second chance over the pool, like a clock. *evicted: a descriptor to close. */
static struct slot *slot_alloc_locked(struct fdcache *c, int *evicted)
{
	*evicted = -1;
	for (unsigned tries = 0; tries < 2 * c->n_slots; tries++) {
		struct slot *s = &c->slots[c->hand];
		c->hand = (c->hand + 1) % c->n_slots;
		if (!s->used)
			return s;
		if (s->users || s->pinned)
			continue;
		*evicted = slot_clear_locked(c, s);
		return s;
	}
	return NULL;
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

static void pin_locked(struct fdcache *c, struct slot *s)
{
	if (s->pinned || c->n_pinned >= c->n_slots / 2)
		return;
	s->pinned = true;
	c->n_pinned++;
	s->kept = estate_keep(c->estate, s->key & 1 ? ESTATE_PIN_WRITE : ESTATE_PIN_READ,
			      node_id(node_at(c->nodes, (uint32_t)(s->key >> 1))), s->fd);
}

/* Puts fd into the pool; when the pool is all in use it becomes a descriptor for one request. */
static void keep_or_lend(struct fdcache *c, struct node *n, enum fd_kind kind, int fd, bool pin,
			 struct fd_hold *h)
{
	int evicted = -1, spare = -1;
	bool first = false;
	pthread_mutex_lock(&c->lock);
	uint64_t key = slot_key(n, kind);
	struct slot *s = slot_find_locked(c, key);
	if (s) {
		spare = fd;
	} else {
		s = slot_alloc_locked(c, &evicted);
		if (s) {
			*s = (struct slot){.key = key, .fd = fd, .used = true};
			HASH_ADD(hh, c->by_key, key, sizeof(s->key), s);
			first = kind == FD_WRITE && c->n_writes == 0;
			c->n_writes += kind == FD_WRITE;
		}
	}
	if (s) {
		s->last_ms = clock_coarse_ms();
		if (pin)
			pin_locked(c, s);
		slot_hold_locked(c, s, n, h);
	} else {
		*h = (struct fd_hold){.fd = fd, .node = n, .kind = HOLD_TEMP};
	}
	pthread_mutex_unlock(&c->lock);
	if (spare >= 0)
		close(spare);
	if (evicted >= 0)
		close(evicted);
	if (first && c->wake)
		c->wake(c->wake_arg);
}

static bool cached(struct fdcache *c, struct node *n, enum fd_kind kind, bool pin,
		   struct fd_hold *h)
{
	LOCK_SCOPE(&c->lock);
	struct slot *s = slot_find_locked(c, slot_key(n, kind));
	if (!s)
		return false;
	s->last_ms = clock_coarse_ms();
	if (pin)
		pin_locked(c, s);
	slot_hold_locked(c, s, n, h);
	return true;
}

bool fds_write_cached(struct fdcache *c, struct node *n, struct fd_hold *h)
{
	return cached(c, n, FD_WRITE, false, h);
}

static int open_kind(struct fdcache *c, struct node *n, enum fd_kind kind, bool pin,
		     struct fd_hold *h)
{
	if (cached(c, n, kind, pin, h))
		return 0;
	int fd = open_real(c, n, kind);
	if (fd < 0)
		return fd;
	keep_or_lend(c, n, kind, fd, pin, h);
	return 0;
}

int fds_open(struct fdcache *c, struct node *n, enum fd_kind kind, struct fd_hold *h)
{
	return open_kind(c, n, kind, false, h);
}

void fds_pin(struct fdcache *c, struct node *n, enum fd_kind kind)
{
	struct fd_hold h;
	if (open_kind(c, n, kind, true, &h) == 0)
		fds_put(c, &h);
}

void fds_give_write(struct fdcache *c, struct node *n, int fd)
{
	struct fd_hold h;
	keep_or_lend(c, n, FD_WRITE, fd, false, &h);
	fds_put(c, &h);
}

void fds_close_write(struct fdcache *c, struct node *n)
{
	int fd = -1;
	pthread_mutex_lock(&c->lock);
	struct slot *s = slot_find_locked(c, slot_key(n, FD_WRITE));
	if (s && s->users == 0 && !s->pinned)
		fd = slot_clear_locked(c, s);
	pthread_mutex_unlock(&c->lock);
	if (fd >= 0)
		close(fd);
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
		struct slot *s = &c->slots[h->slot];
		s->users--;
		if (s->doomed && s->users == 0)
			fd = slot_clear_locked(c, s);
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
		struct slot *s = slot_find_locked(c, slot_key(n, kind));
		if (!s)
			continue;
		if (s->users == 0) {
			fds[n_fds++] = slot_clear_locked(c, s);
			continue;
		}
		HASH_DEL(c->by_key, s); /* the index may soon be another node's */
		s->doomed = true;
	}
	pthread_mutex_unlock(&c->lock);
	while (n_fds)
		close(fds[--n_fds]);
}

unsigned fds_expire(struct fdcache *c, uint64_t before_ms)
{
	int fds[64];
	unsigned n_fds = 0;
	pthread_mutex_lock(&c->lock);
	unsigned left = 0;
	for (unsigned i = 0; i < c->n_slots && c->n_writes; i++) {
		struct slot *s = &c->slots[i];
		if (!s->used || !(s->key & 1) || s->pinned)
			continue;
		if (s->users || s->last_ms >= before_ms || n_fds == 64) {
			left++;
			continue;
		}
		struct node *n = node_at(c->nodes, (uint32_t)(s->key >> 1));
		atomic_fetch_and(&n->flags, ~(uint32_t)NODE_CONTENDED);
		fds[n_fds++] = slot_clear_locked(c, s);
	}
	pthread_mutex_unlock(&c->lock);
	while (n_fds)
		close(fds[--n_fds]);
	return left;
}

bool fds_written(struct fdcache *c, const struct node *n)
{
	LOCK_SCOPE(&c->lock);
	return slot_find_locked(c, slot_key(n, FD_WRITE)) != NULL;
}

void fds_on_write(struct fdcache *c, void (*wake)(void *arg), void *arg)
{
	c->wake = wake;
	c->wake_arg = arg;
}
