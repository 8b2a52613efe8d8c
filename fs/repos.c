#include "fs/repos.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fs/coherence.h"
#include "fs/estate.h"
#include "fs/invalidate.h"
#include "fs/lookup.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/base/path.h"

enum { OWNER_DEPTH = 4096 };

/* Entries are added and marked gone, never removed or moved: what reads them needs no lock after it has
 * the pointer. */
struct repos {
	pthread_rwlock_t lock;
	struct repos_entry *items[REPOS_MAX]; /* protected by lock; owned */
	uint16_t n;                           /* protected by lock */
	pthread_mutex_t reload;               /* one reload at a time; outermost */
	_Atomic int64_t changed_s; /* wall clock of the last change: mtime of the top directory */
};

int repos_new(struct repos **out)
{
	struct repos *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	pthread_rwlock_init(&r->lock, NULL);
	pthread_mutex_init(&r->reload, NULL);
	*out = r;
	return 0;
}

static void entry_free(struct repos_entry *re)
{
	if (re)
		repo_free(re->info);
	free(re);
}

struct repos *repos_free(struct repos *r)
{
	if (!r)
		return NULL;
	for (uint16_t i = 0; i < r->n; i++)
		entry_free(r->items[i]);
	pthread_rwlock_destroy(&r->lock);
	pthread_mutex_destroy(&r->reload);
	free(r);
	return NULL;
}

struct repos_entry *repos_at(struct repos *r, uint16_t index)
{
	pthread_rwlock_rdlock(&r->lock);
	struct repos_entry *e = index < r->n ? r->items[index] : NULL;
	pthread_rwlock_unlock(&r->lock);
	return e;
}

uint16_t repos_count(struct repos *r)
{
	pthread_rwlock_rdlock(&r->lock);
	uint16_t n = r->n;
	pthread_rwlock_unlock(&r->lock);
	return n;
}

struct repos_entry *repos_named(struct repos *r, const char *name)
{
	struct repos_entry *found = NULL;
	pthread_rwlock_rdlock(&r->lock);
	for (uint16_t i = 0; i < r->n && !found; i++)
		if (!r->items[i]->gone && r->items[i]->root &&
		    strcmp(r->items[i]->info->name, name) == 0)
			found = r->items[i];
	pthread_rwlock_unlock(&r->lock);
	return found;
}

bool repos_root_called(struct repos *r, const char *name)
{
	bool found = false;
	pthread_rwlock_rdlock(&r->lock);
	for (uint16_t i = 0; i < r->n && !found; i++) {
		const char *slash = strrchr(r->items[i]->info->root, '/');
		found = strcmp(slash ? slash + 1 : "", name) == 0;
	}
	pthread_rwlock_unlock(&r->lock);
	return found;
}

/* ---- whose is what ---- */

struct id_list {
	uint64_t *ids; /* owned */
	size_t n, max;
};

static void collect_id(struct node *n, void *arg)
{
	struct id_list *l = arg;
	if (l->n == l->max) {
		size_t max = l->max ? l->max * 2 : 1024;
		uint64_t *grown = realloc(l->ids, max * sizeof(*grown));
		if (!grown)
			return;
		l->ids = grown;
		l->max = max;
	}
	l->ids[l->n++] = node_id(n);
}

/* The repo of the nearest root above n; what it has when there is none. */
static uint16_t owner_of(struct overlay *o, struct node *n)
{
	char name[NODE_NAME_MAX];
	struct node *at = n;
	for (unsigned depth = 0; depth < OWNER_DEPTH; depth++) {
		if (at->flags & NODE_REPO_ROOT)
			return at->repo;
		if (!node_name_nth(o->nodes, at, 0, &at, name) || at->index == NODE_ROOT_ID)
			break;
	}
	return n->repo;
}

void repos_reown(struct overlay *o)
{
	/* Twice: a node made meanwhile took the repo that its directory had before. */
	for (int pass = 0; pass < 2; pass++) {
		struct id_list l = {0};
		nodes_each(o->nodes, collect_id, &l);
		for (size_t i = 0; i < l.n; i++) {
			struct node *n = node_hold(o->nodes, l.ids[i]);
			if (!n)
				continue;
			n->repo = owner_of(o, n);
			lookup_forget(o, l.ids[i], 1);
		}
		free(l.ids);
	}
}

/* ---- the top directory ---- */

void repos_root_attr(struct overlay *o, struct stat *st)
{
	time_t changed = o->repos->changed_s;
	*st = (struct stat){
		.st_ino = FUSE_ROOT_ID,
		.st_mode = S_IFDIR | 0555,
		.st_nlink = 2,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_size = 4096,
		.st_blksize = 4096,
		.st_mtim.tv_sec = changed,
		.st_ctim.tv_sec = changed,
		.st_atim.tv_sec = changed,
	};
}

static int root_stat(struct overlay *o, struct repos_entry *re, struct lookup_stat *ls)
{
	struct fd_hold h;
	int rc = fds_path(o->fds, re->root, &h);
	if (rc < 0)
		return rc;
	rc = lookup_statx(h.fd, "", ls);
	fds_put(o->fds, &h);
	return rc;
}

int repos_lookup(struct overlay *o, const char *name, struct fuse_entry_param *e)
{
	struct repos_entry *re = repos_named(o->repos, name);
	struct lookup_stat ls;
	struct node *top = node_at(o->nodes, NODE_ROOT_ID);
	if (!re) {
		*e = (struct fuse_entry_param){.entry_timeout = LOOKUP_FOREVER};
		return 0;
	}
	coherence_watch(o, re->root);
	int rc = root_stat(o, re, &ls);
	if (rc == 0)
		rc = lookup_intern(o, top, name, &ls, true, e, NULL);
	if (rc < 0)
		return rc;
	e->entry_timeout = LOOKUP_FOREVER;
	e->attr_timeout = re->root->wd >= 0 ? LOOKUP_FOREVER : LOOKUP_UNWATCHED;
	return 0;
}

/* Opens the root and makes its node, held by one lookup of our own. */
static int open_root(struct overlay *o, struct repos_entry *re, uint16_t index)
{
	int fd = open(re->info->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct lookup_stat ls;
	struct node *n = NULL;
	if (fd < 0)
		return -errno;
	int rc = lookup_statx(fd, "", &ls);
	struct node_key key = {
		.dev = ls.st.st_dev,
		.ino = ls.st.st_ino,
		.born = ls.born,
		.flags = NODE_DIR,
		.stamp = ls.stamp,
		.repo = index,
	};
	if (rc == 0)
		rc = node_intern(o->nodes, &key, node_at(o->nodes, NODE_ROOT_ID), re->info->name,
				 true, &n, NULL);
	if (rc < 0 || !n) {
		close(fd);
		return rc;
	}
	/* It may be known already, as a directory of the repo around it, or held by the server before us. */
	if (atomic_fetch_or(&n->flags, NODE_REPO_ROOT) & NODE_REPO_ROOT)
		lookup_forget(o, node_id(n), 1);
	n->repo = index;
	fds_give_path(o->fds, n, fd);
	re->dev = ls.st.st_dev;
	re->ino = ls.st.st_ino;
	re->root = n;
	return 0;
}

static void note_entry(struct overlay *o, uint16_t index, const struct repo *info)
{
	struct estate_repo *er = &o->estate->repos[index];
	er->state = 0;
	snprintf(er->id, sizeof(er->id), "%s", info->id);
	snprintf(er->name, sizeof(er->name), "%s", info->name);
	snprintf(er->root, sizeof(er->root), "%s", info->root);
	er->state = 1;
}

static struct repos_entry *find_id(struct repos *r, const char *id)
{
	for (uint16_t i = 0; i < r->n; i++)
		if (!r->items[i]->gone && strcmp(r->items[i]->info->id, id) == 0)
			return r->items[i];
	return NULL;
}

static void show(struct overlay *o, const char *name)
{
	o->repos->changed_s = time(NULL);
	if (!o->se)
		return; /* not mounted yet: nothing to forget */
	invalidate_entry(o, REPOS_NONE, FUSE_ROOT_ID, name);
	invalidate_inode(o, REPOS_NONE, FUSE_ROOT_ID, true);
}

static struct repos_entry *entry_new(struct overlay *o, const struct repo *info)
{
	struct repos_entry *re = calloc(1, sizeof(*re));
	if (!re)
		return NULL;
	re->info = calloc(1, sizeof(*re->info));
	if (re->info && repo_copy(re->info, info) == 0 &&
	    router_repo_get(o->router, info, &re->rr) == 0)
		return re;
	entry_free(re);
	return NULL;
}

/* The same repo was there before: it gets its index back, for there are only so many. */
static uint16_t find_gone(struct repos *r, const struct repo *info)
{
	uint16_t i = 0;
	for (; i < r->n; i++)
		if (r->items[i]->gone && strcmp(r->items[i]->info->id, info->id) == 0 &&
		    strcmp(r->items[i]->info->root, info->root) == 0 &&
		    strcmp(r->items[i]->info->name, info->name) == 0)
			break;
	return i;
}

static void add_entry(struct overlay *o, const struct repo *info)
{
	struct repos *r = o->repos;
	uint16_t index = find_gone(r, info);
	struct repos_entry *re = index < r->n        ? r->items[index]
				 : index < REPOS_MAX ? entry_new(o, info)
						     : NULL;
	if (!re) {
		log_error("event=repo_add repo=%s error=\"no memory or more than %d repositories\"",
			  info->id, REPOS_MAX);
		return;
	}
	int rc = open_root(o, re, index);
	if (rc < 0) {
		log_warn("event=repo_add repo=%s root=\"%s\" error=\"%s\"", info->id, info->root,
			 strerror(-rc));
		if (index == r->n) {
			router_repo_put(o->router, re->rr);
			entry_free(re);
		}
		return;
	}
	pthread_rwlock_wrlock(&r->lock);
	if (index == r->n)
		r->items[r->n++] = re;
	re->gone = false;
	pthread_rwlock_unlock(&r->lock);
	note_entry(o, index, info);
	repos_reown(o);
	show(o, re->info->name);
}

static void remove_entry(struct overlay *o, struct repos_entry *re)
{
	struct node *top = node_at(o->nodes, NODE_ROOT_ID);
	pthread_rwlock_wrlock(&o->repos->lock);
	re->gone = true;
	pthread_rwlock_unlock(&o->repos->lock);
	for (uint16_t i = 0; i < o->repos->n; i++)
		if (o->repos->items[i] == re)
			o->estate->repos[i].state = 2;
	atomic_fetch_and(&re->root->flags, ~(uint32_t)NODE_REPO_ROOT);
	node_name_drop(o->nodes, top, re->info->name, NULL);
	repos_reown(o);
	show(o, re->info->name);
	lookup_forget(o, node_id(re->root), 1);
}

/* Of one that cannot be had any more the index is kept, for those whose files are open. */
static struct repos_entry *restore_entry(struct overlay *o, const struct estate_repo *er,
					 uint16_t index)
{
	char id[ESTATE_ID], name[256], root[ESTATE_ROOT], added[] = "";
	snprintf(id, sizeof(id), "%s", er->id);
	snprintf(name, sizeof(name), "%s", er->name);
	snprintf(root, sizeof(root), "%s", er->root);
	CLEANUP(freep) char *repos = path_join(o->config->base, "repos");
	CLEANUP(freep) char *dir = repos ? path_join(repos, id) : NULL;
	struct repo info = {.root = root, .name = name, .state_dir = dir, .added = added};
	memcpy(info.id, id, sizeof(info.id));
	struct repos_entry *re = dir ? entry_new(o, &info) : NULL;
	if (re)
		re->gone = er->state != 1 || open_root(o, re, index) < 0;
	return re;
}

void repos_restore(struct overlay *o)
{
	struct repos *r = o->repos;
	for (; r->n < REPOS_MAX && o->estate->repos[r->n].state; r->n++) {
		r->items[r->n] = restore_entry(o, &o->estate->repos[r->n], r->n);
		if (!r->items[r->n])
			return;
	}
	o->repos->changed_s = time(NULL);
}

static bool same_place(const struct repos_entry *re, const struct repo *now)
{
	struct stat st;
	return strcmp(re->info->name, now->name) == 0 && strcmp(re->info->root, now->root) == 0 &&
	       stat(now->root, &st) == 0 && st.st_ino == re->ino && st.st_dev == re->dev;
}

int repos_reload(struct overlay *o, struct err *e)
{
	struct repos *r = o->repos;
	struct repo_list list = {0};
	LOCK_SCOPE(&r->reload);
	int rc = repo_list_load(o->config, &list, e);
	if (rc < 0)
		return rc;
	for (uint16_t i = 0; i < r->n; i++) {
		struct repos_entry *re = r->items[i];
		const struct repo *now = NULL;
		for (size_t k = 0; k < list.n && !now && !re->gone; k++)
			if (strcmp(list.items[k].id, re->info->id) == 0)
				now = &list.items[k];
		if (!re->gone && (!now || !same_place(re, now)))
			remove_entry(o, re);
	}
	for (size_t k = 0; k < list.n; k++)
		coherence_watch_root(o, list.items[k].root);
	for (size_t k = 0; k < list.n; k++)
		if (!find_id(r, list.items[k].id))
			add_entry(o, &list.items[k]);
	repo_list_deinit(&list);
	return 0;
}

int repos_load(struct overlay *o, struct err *e)
{
	struct err why = ERR_INIT;
	coherence_watch_registry(o);
	if (!o->taken_over)
		return repos_reload(o, e);
	if (repos_reload(o, &why) < 0)
		log_error("event=reload error=\"%s\"", why.text);
	return 0;
}
