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
#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/mountstate.h"

#define NOTIFY_INC_EPOCH 8 /* Linux 6.16; newer than the headers that we may be built with */

struct recheck {
	struct overlay *o;
	pthread_t thread;
	_Atomic bool stop;
	uint64_t *ids; /* owned; nodeids */
	size_t n, max;
};

static void collect(struct node *n, void *arg)
{
	struct recheck *r = arg;
	if (n->index == NODE_ROOT_ID)
		return;
	if (r->n == r->max) {
		size_t max = r->max ? r->max * 2 : 1024;
		uint64_t *grown = realloc(r->ids, max * sizeof(*grown));
		if (!grown)
			return;
		r->ids = grown;
		r->max = max;
	}
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
	const uint32_t doubtful =
		NODE_OUTSIDE | NODE_RECHECK | NODE_DOUBT | NODE_CONTENDED | NODE_DROPPED;
	struct lookup_stat ls;
	if (names)
		expire_names(o, n);
	if (!(n->flags & NODE_REG))
		invalidate_inode(o, n->repo, node_id(n), n->flags & NODE_DIR);
	else if (n->flags & doubtful)
		invalidate_inode(o, n->repo, node_id(n), true);
	else if (lookup_stat_node(o, n, &ls) == 0)
		coherence_seen(o, n, ls.stamp);
}

static void *work(void *arg)
{
	struct recheck *r = arg;
	struct overlay *o = r->o;
	struct err e = ERR_INIT;
	if (mountstate_write(o->config, o->mountpoint, o->estate->guard, &e) < 0)
		log_warn("event=take_over error=\"%s\"", e.text);
	bool names = !expire_all_names(o);
	for (uint16_t i = 0; names && i < repos_count(o->repos); i++)
		invalidate_entry(o, i, FUSE_ROOT_ID, repos_at(o->repos, i)->info->name);
	for (size_t i = 0; i < r->n && !r->stop; i++) {
		struct node *n = node_hold(o->nodes, r->ids[i]);
		if (!n)
			continue;
		look(o, n, names);
		lookup_forget(o, r->ids[i], 1);
	}
	return NULL;
}

int recheck_new(struct overlay *o, struct recheck **out)
{
	struct recheck *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->o = o;
	nodes_each(o->nodes, collect, r);
	int rc = -pthread_create(&r->thread, NULL, work, r);
	if (rc < 0) {
		free(r->ids);
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
	free(r->ids);
	free(r);
	return NULL;
}
