#include "fs/coherence.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <uthash.h>

#include "fs/estate.h"
#include "fs/invalidate.h"
#include "fs/lookup.h"
#include "fs/news.h"
#include "fs/pending.h"
#include "fs/registry_watch.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/stop_point.h"

enum {
	SETTLE_US = 1000, /* events are gathered this long: one waking for many */
	RETRY_MS = 2,     /* how soon an event that waits for a change in hand is looked at again */
	FORCE_MS = 50,    /* a directory that is changed all the time is invalidated all the same */
	WRITE_FD_MS = 20, /* a write descriptor is kept this long after its last use */
	REMOVALS = 4096,
	NODE_MASK = IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
		    IN_CLOSE_WRITE,
	/* Without what becomes of a file that was removed or replaced: its name may be another's by now. */
	DIR_MASK = NODE_MASK | IN_EXCL_UNLINK,
};

struct watch {
	int wd;
	uint64_t node; /* nodeid */
	UT_hash_handle hh;
};

struct coherence {
	struct overlay *o;
	int inotify, wake;
	struct registry_watch *registry; /* owned */
	pthread_t thread;
	bool started;
	_Atomic bool stop, writes, full_told;
	pthread_mutex_t lock;
	struct watch *watches;   /* protected by lock; owned */
	struct pending *posted;  /* protected by lock: by other threads; owned */
	struct pending *pending; /* the thread's own; owned */
	bool reload;             /* the thread's own: the registry changed */
	bool inherited;          /* the thread's own: there may be events from before its server */
	uint64_t removals[REMOVALS]; /* protected by lock: hashes of own removals */
};

static void adopt_watch(struct node *n, void *arg)
{
	struct coherence *c = arg;
	int wd = n->flags & NODE_REPLACED ? -1 : n->wd;
	struct watch *w = wd >= 0 ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		n->wd = -1; /* where there was none to be had, perhaps there is one now */
		return;
	}
	w->wd = wd;
	w->node = node_id(n);
	HASH_ADD_INT(c->watches, wd, w);
}

int coherence_new(struct overlay *o, struct coherence **out, struct err *e)
{
	struct coherence *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->o = o;
	pthread_mutex_init(&c->lock, NULL);
	c->inotify = o->estate->inotify;
	if (c->inotify < 0)
		c->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	o->estate->inotify = c->inotify;
	int made = registry_watch_new(&c->registry);
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->inotify < 0 || made < 0 || c->wake < 0) {
		int rc = err_errno(e, -errno,
				   "making an inotify instance (is "
				   "/proc/sys/fs/inotify/max_user_instances used up?)");
		coherence_free(c);
		return rc;
	}
	nodes_taken(o->nodes, adopt_watch, c);
	*out = c;
	return 0;
}

static void wake(struct coherence *c)
{
	uint64_t one = 1;
	ssize_t n = write(c->wake, &one, sizeof(one));
	(void)n; /* full means that it is awake */
}

void coherence_stop(struct coherence *c)
{
	if (!c || !c->started)
		return;
	c->stop = true;
	wake(c);
	pthread_join(c->thread, NULL);
	c->started = false;
}

struct coherence *coherence_free(struct coherence *c)
{
	if (!c)
		return NULL;
	coherence_stop(c);
	struct watch *w = NULL, *tmp = NULL;
	HASH_ITER (hh, c->watches, w, tmp) {
		HASH_DEL(c->watches, w);
		free(w);
	}
	pending_free(&c->pending);
	pending_free(&c->posted);
	c->o->estate->inotify = -1;
	closep(&c->inotify);
	c->registry = registry_watch_free(c->registry);
	closep(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

void coherence_poke(void *coherence)
{
	struct coherence *c = coherence;
	/* While there are some the thread looks by itself, in time. */
	if (!atomic_exchange(&c->writes, true))
		wake(c);
}

/*
 * The lock is held over inotify_add_watch(), so that the thread cannot meet an event of a watch that it
 * does not find; the call touches no file, only the directory's inode, which a descriptor holds.
 */
static int add_watch(struct coherence *c, const char *path, uint32_t mask, uint64_t node)
{
	struct watch *w = calloc(1, sizeof(*w)), *old = NULL;
	if (!w)
		return -ENOMEM;
	LOCK_SCOPE(&c->lock);
	w->wd = inotify_add_watch(c->inotify, path, mask);
	if (w->wd < 0) {
		int rc = -errno;
		free(w);
		return rc;
	}
	w->node = node;
	int wd = w->wd;
	HASH_FIND_INT(c->watches, &wd, old);
	if (old) { /* the same directory under a new node */
		old->node = node;
		free(w);
	} else {
		HASH_ADD_INT(c->watches, wd, w);
	}
	return wd;
}

bool coherence_watch(struct overlay *o, struct node *n)
{
	struct coherence *c = o->coherence;
	struct fd_hold h;
	char proc[40];
	if (n->wd != -1)
		return n->wd >= 0;
	if (fds_path(o->fds, n, &h) < 0)
		return false;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h.fd);
	int wd = add_watch(c, proc, n->flags & NODE_DIR ? DIR_MASK : NODE_MASK, node_id(n));
	fds_put(o->fds, &h);
	n->wd = wd < 0 ? -2 : wd;
	if (wd < 0 && !atomic_exchange(&c->full_told, true))
		log_warn("event=watch error=\"%s\" effect=\"what changes outside the mount is seen "
			 "after 1 s "
			 "in some directories\" help=\"raise fs.inotify.max_user_watches\"",
			 strerror(-wd));
	return wd >= 0;
}

void coherence_unwatch(struct overlay *o, struct node *n)
{
	struct coherence *c = o->coherence;
	int wd = n->wd;
	struct watch *w = NULL;
	if (wd < 0)
		return;
	n->wd = -1;
	/* Held over the call, as in add_watch(): the same directory may be getting a new node now. */
	LOCK_SCOPE(&c->lock);
	HASH_FIND_INT(c->watches, &wd, w);
	if (!w || (uint32_t)w->node != n->index)
		return;
	HASH_DEL(c->watches, w);
	inotify_rm_watch(c->inotify, wd);
	free(w);
}

void coherence_seen(struct overlay *o, struct node *n, uint64_t stamp)
{
	if (stamp != n->stamp && !n->changing)
		coherence_look(o, node_id(n), "");
}

void coherence_look(struct overlay *o, uint64_t node, const char *name)
{
	struct coherence *c = o->coherence;
	pthread_mutex_lock(&c->lock);
	pending_add(&c->posted, o->estate, node, name);
	pthread_mutex_unlock(&c->lock);
	wake(c);
}

void coherence_post(struct overlay *o, struct node *n)
{
	atomic_fetch_or(&n->flags, NODE_RECHECK);
}

void coherence_changed(struct overlay *o, struct node *n)
{
	if (!(n->flags & NODE_RECHECK))
		return;
	/* Noted first: we may be killed in between. */
	int news = news_tell(o->estate, n->repo, node_id(n), "", true, false);
	atomic_fetch_and(&n->flags, ~(uint32_t)NODE_RECHECK);
	invalidate_inode(o, n->repo, node_id(n), true);
	news_done(o->estate, news);
}

static uint64_t removal_hash(const struct node *parent, const char *name)
{
	uint64_t h = 0xcbf29ce484222325u ^ node_id(parent);
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 0x100000001b3u;
	return h ? h : 1;
}

void coherence_own_removal(struct overlay *o, const struct node *parent, const char *name)
{
	uint64_t h = removal_hash(parent, name);
	LOCK_SCOPE(&o->coherence->lock);
	if (parent->wd >= 0) /* else no event will come and take it */
		o->coherence->removals[h % REMOVALS] = h;
}

static bool was_own_removal(struct coherence *c, const struct node *parent, const char *name)
{
	uint64_t h = removal_hash(parent, name);
	LOCK_SCOPE(&c->lock);
	if (c->removals[h % REMOVALS] != h)
		return false;
	c->removals[h % REMOVALS] = 0;
	return true;
}

/*
 * Where ctime moves in steps of some milliseconds (before Linux 6.13, and on some file systems still), two
 * changes may carry the same one. For a file that is not written here alone another look at it costs little.
 */
static bool may_be_another(const struct node *n, const struct lookup_stat *ls)
{
	return (n->flags & (NODE_WRITTEN | NODE_OUTSIDE)) != NODE_WRITTEN &&
	       ls->st.st_ctim.tv_sec + 1 >= clock_wall_ms() / 1000;
}

/* A write descriptor that was not used since then is closed. */
static uint64_t open_since(void)
{
	return clock_coarse_ms() - WRITE_FD_MS;
}

/* True when it is dealt with. */
static bool check_content(struct overlay *o, struct node *n)
{
	struct lookup_stat ls;
	uint64_t believed = n->stamp;
	if (n->changing)
		return false;
	if (!(n->flags & NODE_REG)) {
		invalidate_inode(o, n->repo, node_id(n), false);
		return true;
	}
	if (lookup_stat_node(o, n, &ls) < 0)
		return true; /* gone; the event of its name says so */
	/* It got a second name: from now on it may change through that one. */
	if (ls.st.st_nlink > 1 && n->wd == -1 && coherence_watch(o, n) &&
	    lookup_stat_node(o, n, &ls) < 0)
		return true;
	/* A write of ours that began meanwhile: what was seen may be its work, and belief is about to move. */
	if (n->changing || n->stamp != believed)
		return false;
	bool written = fds_written(o->fds, n, open_since());
	bool doubt = n->flags & NODE_DOUBT; /* only this thread sets it */
	if (ls.stamp == n->stamp && !doubt && (written || !may_be_another(n, &ls)))
		return true;
	atomic_fetch_or(&n->flags, NODE_OUTSIDE); /* before: we may be killed in between */
	atomic_fetch_and(&n->flags, ~(uint32_t)NODE_DOUBT);
	n->stamp = ls.stamp;
	fds_mode(o->fds, n, ls.st.st_mode);
	if (written) {
		atomic_fetch_or(&n->flags, NODE_CONTENDED);
		o->coherence->writes = true; /* fds_expire() takes it back */
	}
	invalidate_inode(o, n->repo, node_id(n), true);
	return true;
}

static int stat_in(struct overlay *o, struct node *dir, const char *name, struct lookup_stat *ls)
{
	struct fd_hold h;
	if (lookup_hidden(o, dir, name))
		return -ENOENT;
	int rc = fds_path(o->fds, dir, &h);
	if (rc < 0)
		return rc;
	rc = lookup_statx(h.fd, name, ls);
	fds_put(o->fds, &h);
	return rc;
}

/*
 * n lost the name under which its directory told of its changes. A program may have it open: it is
 * watched by itself, or kept reachable when this was its last name.
 */
static void lost_name(struct coherence *c, struct node *n)
{
	struct lookup_stat ls;
	if (lookup_stat_node(c->o, n, &ls) < 0)
		return;
	if (ls.st.st_nlink == 0)
		atomic_fetch_or(&n->flags, NODE_UNLINKED);
	else
		coherence_watch(c->o, n);
	pending_add(&c->pending, c->o->estate, node_id(n), "");
}

/* A file got one more name: no event told that under the name by which the kernel knows it. */
static void new_link(struct coherence *c, const struct lookup_stat *ls)
{
	struct node_key key = {.dev = ls->st.st_dev,
			       .ino = ls->st.st_ino,
			       .born = ls->born,
			       .flags = NODE_REG,
			       .stamp = ls->stamp};
	struct node *n = NULL;
	bool made = false;
	if (node_intern(c->o->nodes, &key, NULL, NULL, false, &n, &made) < 0)
		return;
	if (!made)
		pending_add(&c->pending, c->o->estate, node_id(n), "");
	lookup_forget(c->o, node_id(n), 1);
}

/* A name came, went or was replaced: is it what the kernel believes? */
static bool check_name(struct coherence *c, struct node *dir, const char *name, uint64_t since_ms)
{
	struct overlay *o = c->o;
	struct lookup_stat ls = {0};
	bool own = false, removed = false, settled = true;
	/* Who waits for a turn has the directory locked in the kernel: to tell now would wait with him, and
	 * with us all news of his repo. */
	if (dir->waiting || (dir->changing && clock_mono_ms() < since_ms + FORCE_MS))
		return false;
	removed = was_own_removal(c, dir, name);
	struct node *belief = node_name_find(o->nodes, dir, name, &own);
	bool exists = stat_in(o, dir, name, &ls) == 0;
	bool same = belief && exists && belief->ino == ls.st.st_ino && belief->born == ls.born &&
		    node_dev(o->nodes, belief) == ls.st.st_dev;
	bool ours = same ? own : !belief && !exists && removed;
	if (!ours) {
		if (same)
			invalidate_expire(o, dir->repo, node_id(dir), name);
		else
			invalidate_entry(o, dir->repo, node_id(dir), name);
		invalidate_inode(o, dir->repo, node_id(dir), true);
	}
	if (exists && !same && S_ISREG(ls.st.st_mode) && ls.st.st_nlink > 1)
		new_link(c, &ls);
	if (belief && !same) {
		/* Something of ours may have been renamed to it since: then look once more. */
		settled = node_name_drop_of(o->nodes, dir, name, belief);
		if (settled)
			lost_name(c, belief);
	} else if (same && (!own || belief->flags & NODE_REG)) {
		pending_add(&c->pending, o->estate, node_id(belief), "");
	}
	if (belief)
		lookup_forget(o, node_id(belief), 1);
	return settled;
}

static void collect(struct node *n, void *arg)
{
	struct pending **list = arg;
	pending_add(list, NULL, node_id(n), "");
}

/* The queue overflowed: nobody knows what was missed, so everything goes, negative names too (they hang
 * below the directory of their repo). */
static void forget_everything(struct coherence *c)
{
	struct overlay *o = c->o;
	struct pending *all = NULL, *p = NULL, *tmp = NULL;
	log_warn(
		"event=overflow effect=\"all that the kernel has cached of the mount is dropped\"");
	for (uint16_t i = 0; i < repos_count(o->repos); i++)
		invalidate_entry(o, i, FUSE_ROOT_ID, repos_at(o->repos, i)->info->name);
	nodes_each(o->nodes, collect, &all);
	HASH_ITER (hh, all, p, tmp) {
		struct node *n = node_get(o->nodes, p->node);
		if (n && n->index != NODE_ROOT_ID)
			invalidate_inode(o, n->repo, p->node, true);
	}
	pending_free(&all);
	c->reload = true;
}

/*
 * A file changed. A write from outside that fell between the looks before and after a write of ours does
 * not show in the stamp; but its writer closes the file, and ours is still open then.
 */
static void file_event(struct coherence *c, struct node *n, uint32_t mask)
{
	/* The server before us may have had ours open. */
	bool written = fds_written(c->o->fds, n, open_since()) ||
		       (c->inherited && n->flags & NODE_WRITTEN);
	if (mask & IN_CLOSE_WRITE && !written)
		return;
	if (mask & IN_CLOSE_WRITE)
		atomic_fetch_or(&n->flags, NODE_DOUBT);
	pending_add(&c->pending, c->o->estate, node_id(n), "");
}

/*
 * The event of a change of our own, known without a look at the file: what came from outside after it has an
 * event of its own after this one. A file that is renamed over another has no IN_DELETE, hence not for
 * IN_MOVED_TO. What is pending for the name already takes the marks when its turn comes.
 */
static bool is_own(struct coherence *c, struct node *dir, const char *name, uint32_t mask)
{
	bool own = false;
	if (!(mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM)) ||
	    pending_has(c->pending, node_id(dir), name))
		return false;
	struct node *belief =
		node_name_find(c->o->nodes, dir, name, mask & IN_CREATE ? &own : NULL);
	if (belief)
		lookup_forget(c->o, node_id(belief), 1);
	return belief ? own : !(mask & IN_CREATE) && was_own_removal(c, dir, name);
}

/* It changed under one of its names in a watched directory. */
static void child_event(struct coherence *c, struct node *dir, const char *name, uint32_t mask)
{
	struct node *child = node_name_find(c->o->nodes, dir, name, NULL);
	if (!child)
		return; /* the kernel does not know it */
	file_event(c, child, mask);
	lookup_forget(c->o, node_id(child), 1);
}

static void take_event(struct coherence *c, const struct inotify_event *ev)
{
	struct watch *w = NULL;
	if (ev->mask & IN_Q_OVERFLOW) {
		forget_everything(c);
		return;
	}
	pthread_mutex_lock(&c->lock);
	HASH_FIND_INT(c->watches, &ev->wd, w);
	uint64_t id = w ? w->node : 0;
	pthread_mutex_unlock(&c->lock);
	if (id == 0 || ev->mask & IN_IGNORED)
		return;
	const char *name = ev->len ? ev->name : "";
	struct node *n = node_hold(c->o->nodes, id);
	if (!n)
		return;
	if (!name[0]) {
		file_event(c, n, ev->mask);
	} else if (!(ev->mask & (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO))) {
		child_event(c, n, name, ev->mask);
	} else if (!is_own(c, n, name, ev->mask)) {
		pending_add(&c->pending, c->o->estate, id, name);
	}
	lookup_forget(c->o, id, 1);
}

/* The buffer lies in the estate: what is in it when we are killed our successor takes. */
static void take_heard(struct coherence *c, char *heard)
{
	size_t at = 0;
	while (at + sizeof(struct inotify_event) <= ESTATE_HEARD) {
		const struct inotify_event *ev = (const void *)(heard + at);
		if (ev->wd == 0 || ev->len > ESTATE_HEARD - at - sizeof(*ev))
			break;
		take_event(c, ev);
		at += sizeof(*ev) + ev->len;
	}
	*(_Atomic int *)(void *)heard = 0; /* the first wd: first of all */
	memset(heard, 0, at);
}

static void read_events(struct coherence *c)
{
	char *heard = c->o->estate->heard;
	while (read(c->inotify, heard, ESTATE_HEARD) > 0) {
		stop_point("news-heard");
		take_heard(c, heard);
		stop_point("news-taken");
	}
	c->inherited = false;
}

static void look_at_pending(struct coherence *c)
{
	struct pending *p = NULL, *tmp = NULL;
	HASH_ITER (hh, c->pending, p, tmp) {
		struct node *n = node_hold(c->o->nodes, p->node);
		const char *name = pending_name(p);
		bool done = !n || (name[0] ? check_name(c, n, name, p->since_ms)
					   : check_content(c->o, n));
		if (n)
			lookup_forget(c->o, p->node, 1);
		if (done)
			pending_done(&c->pending, p);
	}
}

void coherence_watch_registry(struct overlay *o)
{
	registry_watch_base(o->coherence->registry, o->config->base);
}

void coherence_watch_root(struct overlay *o, const char *root)
{
	registry_watch_root(o->coherence->registry, root);
}

static void reload(struct coherence *c)
{
	struct err e = ERR_INIT;
	c->reload = false;
	/* Watched first: a repo.json that comes after that is told. */
	coherence_watch_registry(c->o);
	if (repos_reload(c->o, &e) < 0)
		log_error("event=reload error=\"%s\"", e.text);
}

static void *work(void *arg)
{
	struct coherence *c = arg;
	struct pollfd fds[3] = {{.fd = c->inotify, .events = POLLIN},
				{.fd = c->wake, .events = POLLIN},
				{.fd = registry_watch_fd(c->registry), .events = POLLIN}};
	uint64_t count;
	c->inherited = c->o->taken_over;
	take_heard(c, c->o->estate->heard);
	memset(c->o->estate->heard, 0, ESTATE_HEARD);
	while (!c->stop) {
		int timeout = c->pending ? RETRY_MS : c->writes ? WRITE_FD_MS : -1;
		if (poll(fds, 3, timeout) < 0 && errno != EINTR)
			break;
		if (read(c->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
			break;
		if (fds[0].revents & POLLIN)
			usleep(SETTLE_US);
		/* Posts first: an event of theirs is then merged. */
		pthread_mutex_lock(&c->lock);
		pending_move(&c->pending, &c->posted);
		pthread_mutex_unlock(&c->lock);
		read_events(c);
		c->reload |= registry_watch_read(c->registry, c->o->repos);
		look_at_pending(c);
		if (c->reload)
			reload(c);
		if (c->writes) {
			c->writes = false;
			if (fds_expire(c->o->fds, open_since()))
				c->writes = true;
			/* What that told is read before somebody writes there again, and it looks like another's. */
			read_events(c);
		}
	}
	return NULL;
}

int coherence_start(struct overlay *o, struct err *e)
{
	struct coherence *c = o->coherence;
	fds_on_write(o->fds, coherence_poke, c);
	int rc = pthread_create(&c->thread, NULL, work, c);
	if (rc)
		return err_errno(e, -rc, "starting the coherence thread");
	c->started = true;
	return 0;
}
