#include "fs/recheck.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/coherence.h"
#include "fs/estate.h"
#include "fs/invalidate.h"
#include "fs/lookup.h"
#include "fs/news.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/mountstate.h"

#define NOTIFY_INC_EPOCH 8 /* Linux 6.16; newer than the headers that we may be built with */

enum {
	CHUNK = 1024,
	DOUBTFUL = NODE_OUTSIDE | NODE_RECHECK | NODE_DOUBT | NODE_CONTENDED | NODE_DROPPED
};

struct recheck {
	struct overlay *o;
	pthread_t thread;
	_Atomic bool stop;
	bool all;            /* not only what is in doubt */
	uint64_t ids[CHUNK]; /* nodeids */
	unsigned n;
};

static void collect(struct node *n, void *arg)
{
	struct recheck *r = arg;
	if (n->index != NODE_ROOT_ID && (r->all || (n->flags & NODE_REG && n->flags & DOUBTFUL)))
		r->ids[r->n++] = node_id(n);
}

/* All names at once, also those of which the kernel keeps that there are none. False: it cannot. */
static bool expire_all_names(struct overlay *o)
{
	struct fuse_out_header out = {.len = sizeof(out), .error = NOTIFY_INC_EPOCH};
	return write(fuse_session_fd(o->se), &out, sizeof(out)) > 0;
}

static void expire_names(struct overlay *o, struct node *n)
{
	char name[NODE_NAME_MAX];
	struct node *parent = NULL;
	for (unsigned i = 0; node_name_nth(o->nodes, n, i, &parent, name); i++)
		invalidate_expire(o, n->repo, node_id(parent), name);
}

static void look(struct overlay *o, struct node *n, bool names)
{
	struct lookup_stat ls;
	if (names)
		expire_names(o, n);
	if (!(n->flags & NODE_REG))
		invalidate_inode(o, n->repo, node_id(n), n->flags & NODE_DIR);
	else if (n->flags & DOUBTFUL)
		invalidate_inode(o, n->repo, node_id(n), true);
	else if (lookup_stat_node(o, n, &ls) == 0)
		coherence_seen(o, n, ls.stamp);
}

static void look_at_nodes(struct recheck *r, bool names)
{
	struct overlay *o = r->o;
	uint32_t from = NODE_ROOT_ID;
	for (bool more = true; more && !r->stop;) {
		r->n = 0;
		more = nodes_some(o->nodes, &from, CHUNK, collect, r);
		for (unsigned i = 0; i < r->n && !r->stop; i++) {
			struct node *n = node_hold(o->nodes, r->ids[i]);
			if (!n)
				continue;
			look(o, n, names);
			lookup_forget(o, r->ids[i], 1);
		}
	}
}

/* Those that came or went while there was no server: the kernel may keep that there is none. */
static void look_at_repos(struct overlay *o, bool names)
{
	for (uint16_t i = 0; i < repos_count(o->repos); i++) {
		const char *name = repos_at(o->repos, i)->info->name;
		if (names || !repos_named(o->repos, name))
			invalidate_entry(o, i, FUSE_ROOT_ID, name);
		else
			invalidate_expire(o, i, FUSE_ROOT_ID, name);
	}
	invalidate_inode(o, REPOS_NONE, FUSE_ROOT_ID, true);
}

static void do_again(struct overlay *o, const struct estate_news *w)
{
	if (w->kind == NEWS_LOOK)
		coherence_look(o, w->node, w->name);
	else if (!w->name[0])
		invalidate_inode(o, w->repo, w->node, w->data);
	else if (w->expire)
		invalidate_expire(o, w->repo, w->node, w->name);
	else
		invalidate_entry(o, w->repo, w->node, w->name);
}

static void *work(void *arg)
{
	struct recheck *r = arg;
	struct overlay *o = r->o;
	struct estate_news w;
	struct err e = ERR_INIT;
	for (int at = 0; news_left(o->estate, &at, &w); news_done(o->estate, at))
		do_again(o, &w);
	r->all = o->estate->news_all;
	bool names = r->all && !expire_all_names(o);
	look_at_repos(o, names);
	if (mountstate_write(o->config, o->mountpoint, o->estate->guard, o->estate->resend, &e) < 0)
		log_warn("event=take_over error=\"%s\"", e.text);
	look_at_nodes(r, names);
	if (!r->stop)
		o->estate->news_all = false;
	return NULL;
}

int recheck_new(struct overlay *o, struct recheck **out)
{
	struct recheck *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->o = o;
	int rc = -pthread_create(&r->thread, NULL, work, r);
	if (rc < 0) {
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

struct recheck *recheck_free(struct recheck *r)
{
	if (!r)
		return NULL;
	r->stop = true;
	pthread_join(r->thread, NULL);
	free(r);
	return NULL;
}
