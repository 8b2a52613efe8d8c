#include "fs/invalidate.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/change.h"
#include "fs/coherence.h"
#include "fs/lookup.h"
#include "fs/news.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/base/processor.h"
#include "manager/base/stop_point.h"

struct item {
	struct item *next;
	fuse_ino_t ino;
	bool data, expire, written; /* written: by a program in the mount */
	int news;
	char name[]; /* "" for an inode */
};

struct queue {
	struct overlay *o;
	pthread_mutex_t *lock; /* borrowed: invalidate.lock */
	pthread_cond_t more;
	struct item *head, **tail; /* protected by lock, as are the rest; owned items */
	bool running;
};

struct invalidate {
	struct overlay *o;
	pthread_mutex_t lock;
	pthread_cond_t ended;  /* a thread has ended */
	unsigned threads;      /* protected by lock, as are the rest */
	struct queue **queues; /* owned; two a repo, by (index + 1) * 2; the mount's own first */
	unsigned n_queues;
	bool stop;
};

enum {
	IDLE_MS = 1000,
	DROP_MS = 1000, /* how long the answer to a WRITE waits */
	PAGE_MS = 10,   /* the same where its last page may be locked */
};

int invalidate_new(struct overlay *o, struct invalidate **out)
{
	struct invalidate *v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->o = o;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->ended, NULL);
	*out = v;
	return 0;
}

static void drop_items(struct queue *q)
{
	while (q->head) {
		struct item *it = q->head;
		q->head = it->next;
		news_done(q->o->estate, it->news);
		free(it);
	}
	q->tail = &q->head;
}

struct invalidate *invalidate_free(struct invalidate *v)
{
	if (!v)
		return NULL;
	pthread_mutex_lock(&v->lock);
	v->stop = true;
	for (unsigned i = 0; i < v->n_queues; i++)
		if (v->queues[i])
			pthread_cond_signal(&v->queues[i]->more);
	while (v->threads)
		pthread_cond_wait(&v->ended, &v->lock);
	pthread_mutex_unlock(&v->lock);
	for (unsigned i = 0; i < v->n_queues; i++)
		if (v->queues[i]) {
			drop_items(v->queues[i]);
			pthread_cond_destroy(&v->queues[i]->more);
			free(v->queues[i]);
		}
	free(v->queues);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->ended);
	free(v);
	return NULL;
}

/*
 * The kernel let go of a repo's name; for those whose working directory lies in the repo it would have
 * no path (getcwd() fails) until somebody looks it up.
 */
static void look_up_again(struct overlay *o, const char *name)
{
	CLEANUP(freep) char *path = path_join(o->mountpoint, name);
	if (path)
		toucher_touch(&o->toucher, TOUCH_LOOKUP, path, 0);
}

void invalidate_now(struct overlay *o, fuse_ino_t ino)
{
	fuse_lowlevel_notify_inval_inode(o->se, ino, 0, 0);
}

struct dropping {
	struct overlay *o;
	fuse_ino_t ino;
	off_t off, length;
	sem_t done;
	_Atomic int users; /* the last one frees it */
};

static void dropping_put(struct dropping *d)
{
	if (--d->users)
		return;
	sem_destroy(&d->done);
	free(d);
}

static void *drop_now(void *arg)
{
	struct dropping *d = arg;
	struct invalidate *v = d->o->invalidate;
	processor_free();
	fuse_lowlevel_notify_inval_inode(d->o->se, d->ino, d->off, d->length);
	d->o->estate->files_dropped++;
	sem_post(&d->done);
	dropping_put(d);
	LOCK_SCOPE(&v->lock);
	v->threads--;
	pthread_cond_signal(&v->ended);
	return NULL;
}

static bool start_detached(void *(*run)(void *), void *arg)
{
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool started = pthread_create(&thread, &attr, run, arg) == 0;
	pthread_attr_destroy(&attr);
	if (!started)
		log_error("event=invalidate error=\"no thread: %m\"");
	return started;
}

static void wait_for(sem_t *done, long ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (sem_clockwait(done, CLOCK_MONOTONIC, &until) < 0 && errno == EINTR)
		;
}

void invalidate_before_reply(struct overlay *o, fuse_ino_t ino, off_t off, size_t size)
{
	struct invalidate *v = o->invalidate;
	const off_t page = sysconf(_SC_PAGESIZE), end = off + (off_t)size;
	struct dropping *d = malloc(sizeof(*d));
	if (!d || size == 0) {
		free(d); /* the event of the WRITE has it dropped a moment later */
		return;
	}
	*d = (struct dropping){.o = o, .ino = ino, .off = off, .length = (off_t)size, .users = 2};
	sem_init(&d->done, 0, 0);
	pthread_mutex_lock(&v->lock);
	bool started = !v->stop && start_detached(drop_now, d);
	v->threads += started;
	pthread_mutex_unlock(&v->lock);
	if (started)
		wait_for(&d->done,
			 end % page || (off % page && size < (size_t)page) ? PAGE_MS : DROP_MS);
	else
		d->users = 1;
	dropping_put(d);
}

/* With all writers out (invalidate.h). False: the file cannot be had by its name or may not be read. */
static bool drop_in_peace(struct overlay *o, struct node *n)
{
	const struct repos_entry *re = repos_at(o->repos, n->repo);
	char rel[PATH_MAX], path[PATH_MAX];
	if (!re || re->gone || change_path(o, n, NULL, rel) < 0)
		return false;
	if (snprintf(path, sizeof(path), "%s/%s/%s", o->mountpoint, re->info->name, rel) >=
	    (int)sizeof(path))
		return false;
	return toucher_touch(&o->toucher, TOUCH_SYNC, path, n->ino);
}

/* A change under way drops it once more when it ends, and the next one is looked at twice. */
static void drop_data(struct overlay *o, struct node *n)
{
	bool met = n->changing;
	atomic_fetch_and(&n->flags, ~(uint32_t)NODE_REREAD);
	atomic_fetch_or(&n->flags, NODE_DROPPED | NODE_BARE | (met ? NODE_RECHECK : 0));
	fuse_lowlevel_notify_inval_inode(o->se, node_id(n), 0, 0);
	atomic_fetch_or(&n->flags, NODE_DROPPED | NODE_BARE); /* a WRITE may have ended before it */
	if (!met && !n->changing)
		return;
	atomic_fetch_or(&n->flags, NODE_RECHECK);
	if (!n->changing) /* it ended meanwhile and may not have seen the mark */
		coherence_changed(o, n);
}

/* -ENOENT only says that the kernel did not have it. */
static void tell(struct overlay *o, const struct item *it)
{
	if (!o->initialized)
		return;
	if (it->expire) {
		/* A kernel that cannot (before 6.2) still has the name right. */
#ifdef EXPIRE_ENTRY_HAS_FLAGS
		fuse_lowlevel_notify_expire_entry(o->se, it->ino, it->name, strlen(it->name),
						  FUSE_LL_EXPIRE_ONLY);
#else
		fuse_lowlevel_notify_expire_entry(o->se, it->ino, it->name, strlen(it->name));
#endif
		return;
	}
	if (it->name[0]) {
		fuse_lowlevel_notify_inval_entry(o->se, it->ino, it->name, strlen(it->name));
		o->estate->names_dropped++;
		if (it->ino == FUSE_ROOT_ID)
			look_up_again(o, it->name);
		return;
	}
	struct node *n = it->data ? node_hold(o->nodes, it->ino) : NULL;
	if (n && n->flags & NODE_REG) {
		if (!it->written || !drop_in_peace(o, n))
			drop_data(o, n);
		o->estate->files_dropped++;
	} else {
		fuse_lowlevel_notify_inval_inode(o->se, it->ino, it->data ? 0 : -1, 0);
	}
	if (n)
		lookup_forget(o, it->ino, 1);
}

/* Waits up to IDLE_MS for more; false when none came. */
static bool wait_more(struct queue *q)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_MS / 1000;
	while (!q->head && !q->o->invalidate->stop)
		if (pthread_cond_clockwait(&q->more, q->lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT)
			break;
	return q->head && !q->o->invalidate->stop;
}

static void *work(void *arg)
{
	struct queue *q = arg;
	struct invalidate *v = q->o->invalidate;
	processor_free();
	pthread_mutex_lock(&v->lock);
	while (wait_more(q)) {
		struct item *it = q->head;
		q->head = it->next;
		if (!q->head)
			q->tail = &q->head;
		pthread_mutex_unlock(&v->lock);
		stop_point("news-told");
		tell(q->o, it);
		news_done(q->o->estate, it->news);
		free(it);
		pthread_mutex_lock(&v->lock);
	}
	q->running = false;
	v->threads--;
	pthread_cond_signal(&v->ended);
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

static struct queue *queue_locked(struct invalidate *v, uint16_t repo, bool written)
{
	unsigned at = (repo == REPOS_NONE ? 0 : ((unsigned)repo + 1) * 2) + written;
	if (at >= v->n_queues) {
		unsigned n = (at + 16) & ~15u;
		struct queue **grown = realloc(v->queues, n * sizeof(struct queue *));
		if (!grown)
			return NULL;
		memset(grown + v->n_queues, 0, (n - v->n_queues) * sizeof(struct queue *));
		v->queues = grown;
		v->n_queues = n;
	}
	if (!v->queues[at]) {
		struct queue *q = calloc(1, sizeof(*q));
		if (!q)
			return NULL;
		q->o = v->o;
		q->lock = &v->lock;
		q->tail = &q->head;
		pthread_cond_init(&q->more, NULL);
		v->queues[at] = q;
	}
	return v->queues[at];
}

static void start_locked(struct invalidate *v, struct queue *q)
{
	q->running = start_detached(work, q);
	v->threads += q->running;
}

static void enqueue(struct overlay *o, uint16_t repo, struct item what, const char *name)
{
	struct invalidate *v = o->invalidate;
	size_t len = name ? strlen(name) : 0;
	struct item *it = malloc(sizeof(*it) + len + 1);
	if (!it) {
		log_error("event=invalidate error=\"out of memory\"");
		return;
	}
	memcpy(it, &what, sizeof(what));
	memcpy(it->name, name ? name : "", len + 1);
	it->news = news_tell(o->estate, repo, it->ino, it->name, it->data, it->expire);
	LOCK_SCOPE(&v->lock);
	struct queue *q = v->stop ? NULL : queue_locked(v, repo, what.written);
	if (!q) {
		news_done(o->estate, it->news);
		free(it);
		return;
	}
	*q->tail = it;
	q->tail = &it->next;
	if (q->running)
		pthread_cond_signal(&q->more);
	else
		start_locked(v, q);
}

void invalidate_entry(struct overlay *o, uint16_t repo, fuse_ino_t parent, const char *name)
{
	enqueue(o, repo, (struct item){.ino = parent}, name);
}

void invalidate_expire(struct overlay *o, uint16_t repo, fuse_ino_t parent, const char *name)
{
	enqueue(o, repo, (struct item){.ino = parent, .expire = true}, name);
}

void invalidate_inode(struct overlay *o, uint16_t repo, fuse_ino_t ino, bool data)
{
	struct node *n = data ? node_get(o->nodes, ino) : NULL;
	bool written = n && n->flags & NODE_REG && (n->flags & NODE_WRITTEN || n->changing);
	enqueue(o, repo, (struct item){.ino = ino, .data = data, .written = written}, NULL);
}
