#include "fs/change.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs/again.h"
#include "fs/coherence.h"
#include "fs/estate.h"
#include "fs/invalidate.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/base/stop_point.h"

enum mutation_op change_op(const struct change *c)
{
	switch (c->kind) {
	case CHANGE_CREATE:
	case CHANGE_TMPFILE:
		return MUTATION_CREATE;
	case CHANGE_WRITE:
		return c->flags & O_APPEND ? MUTATION_APPEND : MUTATION_WRITE;
	case CHANGE_SETATTR:
		return c->to_set & FUSE_SET_ATTR_SIZE   ? MUTATION_TRUNCATE
		       : c->to_set & FUSE_SET_ATTR_MODE ? MUTATION_CHMOD
		       : change_is_chown(c->to_set)     ? MUTATION_CHOWN
							: MUTATION_UTIMENS;
	case CHANGE_UNLINK:
		return MUTATION_UNLINK;
	case CHANGE_RMDIR:
		return MUTATION_RMDIR;
	case CHANGE_MKDIR:
		return MUTATION_MKDIR;
	case CHANGE_MKNOD:
		return MUTATION_MKNOD;
	case CHANGE_SYMLINK:
		return MUTATION_SYMLINK;
	case CHANGE_LINK:
		return MUTATION_LINK;
	case CHANGE_RENAME:
		return MUTATION_RENAME;
	case CHANGE_SETXATTR:
		return MUTATION_SETXATTR;
	case CHANGE_REMOVEXATTR:
		return MUTATION_REMOVEXATTR;
	case CHANGE_FALLOCATE:
		return MUTATION_FALLOCATE;
	case CHANGE_COPY:
		break;
	}
	return MUTATION_WRITE;
}

/* Name changes mark the directories, others the file. A WRITE was marked as it was received (loop.c). */
static void mark(struct change *c)
{
	if (c->kind != CHANGE_WRITE)
		c->node->changing++;
	if (c->node2)
		c->node2->changing++;
}

void change_unmark(struct overlay *o, struct node *n)
{
	if (n && --n->changing == 0)
		coherence_changed(o, n);
}

static void count_waiting(const struct change *c, int add)
{
	atomic_fetch_add(&c->node->waiting, (uint16_t)add);
	if (c->node2)
		atomic_fetch_add(&c->node2->waiting, (uint16_t)add);
}

void change_begin_content(struct change *c, struct node *n, uint64_t now)
{
	uint32_t doubtful = NODE_CONTENDED | NODE_DROPPED;
	c->out.trusted = now == n->stamp && !(n->flags & doubtful);
	if (n->flags & NODE_DROPPED)
		atomic_fetch_and(&n->flags, ~(uint32_t)NODE_DROPPED);
}

void change_end_content(struct change *c, struct node *n, uint64_t now)
{
	if (c->out.trusted)
		n->stamp = now;
}

void change_names_changed(struct node *n, const struct lookup_stat *before,
			  const struct lookup_stat *now)
{
	const struct stat *a = before ? &before->st : NULL, *b = &now->st;
	if (a && before->stamp == n->stamp && a->st_ino == n->ino && a->st_ino == b->st_ino &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	    a->st_size == b->st_size && a->st_mode == b->st_mode && a->st_uid == b->st_uid &&
	    a->st_gid == b->st_gid)
		n->stamp = now->stamp;
}

void change_name_removed(struct overlay *o, struct node *dir, const char *name,
			 const struct lookup_stat *before)
{
	bool last = false;
	struct fd_hold h;
	struct lookup_stat ls;
	coherence_own_removal(o, dir, name);
	struct node *n = node_name_drop(o->nodes, dir, name, &last);
	if (!n || !fds_path_cached(o->fds, n, &h))
		return;
	if (lookup_statx(h.fd, "", &ls) == 0) {
		if (ls.st.st_nlink == 0)
			atomic_fetch_or(&n->flags, NODE_UNLINKED);
		else
			change_names_changed(n, before, &ls);
	}
	fds_put(o->fds, &h);
}

static void moved_to(struct overlay *o, struct node *n, struct node *dir, const char *name)
{
	if (n)
		node_name_add(o->nodes, n, dir, name);
}

void change_name_moved(struct change *c, const struct lookup_stat *before,
		       const struct lookup_stat *before2)
{
	struct overlay *o = c->o;
	bool exchange = c->flags & RENAME_EXCHANGE;
	struct node *from = node_name_find(o->nodes, c->node, c->name, NULL);
	struct node *to = node_name_find(o->nodes, c->node2, c->name2, NULL);
	node_name_drop(o->nodes, c->node, c->name, NULL);
	if (exchange) {
		moved_to(o, to, c->node, c->name);
	} else {
		coherence_own_removal(o, c->node, c->name);
		if (to && to != from)
			change_name_removed(o, c->node2, c->name2, NULL);
	}
	moved_to(o, from, c->node2, c->name2);
	struct node *both[2] = {from, exchange ? to : NULL};
	const struct lookup_stat *befores[2] = {before, before2};
	for (int i = 0; i < 2; i++) {
		struct lookup_stat ls;
		if (both[i] && befores[i] && lookup_stat_node(o, both[i], &ls) == 0)
			change_names_changed(both[i], befores[i], &ls);
	}
	/* Unknown: it was never looked up, or what became of its old name was seen (coherence.c) before we came here. */
	if (!from && change_entry(c, c->node2, c->name2) == 0)
		lookup_forget(o, c->out.e.ino, 1);
	if (!to && exchange && change_entry(c, c->node, c->name) == 0)
		lookup_forget(o, c->out.e.ino, 1);
	if (from)
		lookup_forget(o, node_id(from), 1);
	if (to)
		lookup_forget(o, node_id(to), 1);
}

int change_entry(struct change *c, struct node *dir, const char *name)
{
	struct fd_hold h;
	struct lookup_stat ls;
	coherence_watch(c->o, dir);
	int rc = fds_path(c->o->fds, dir, &h);
	if (rc < 0)
		return rc;
	rc = lookup_statx(h.fd, name, &ls);
	fds_put(c->o->fds, &h);
	return rc < 0 ? rc : lookup_intern(c->o, dir, name, &ls, true, &c->out.e, NULL);
}

void change_reply(struct change *c, int rc)
{
	int sent = 0;
	stop_point("before-reply");
	if (rc < 0) {
		reply_err(c->req, rc);
		again_end(c);
		return;
	}
	switch (c->kind) {
	case CHANGE_CREATE:
	case CHANGE_TMPFILE:
		sent = fuse_reply_create(c->req, &c->out.e, &c->fi);
		break;
	case CHANGE_MKDIR:
	case CHANGE_MKNOD:
	case CHANGE_SYMLINK:
	case CHANGE_LINK:
		sent = fuse_reply_entry(c->req, &c->out.e);
		break;
	case CHANGE_WRITE:
	case CHANGE_COPY:
		fuse_reply_write(c->req, c->out.written);
		break;
	case CHANGE_SETATTR:
		fuse_reply_attr(c->req, &c->out.ls.st,
				lookup_attr_timeout(c->o, c->node, &c->out.ls.st));
		break;
	default:
		fuse_reply_err(c->req, 0);
	}
	again_end(c);
	if (sent == -ENOENT) { /* the caller is gone: nobody will ever send FORGET */
		lookup_forget(c->o, c->out.e.ino, 1);
	}
}

/* One number for one file, or for one name in a directory: what home.jsonl writes together. */
static uint64_t key_of(const struct change *c)
{
	uint64_t h = node_id(c->node) * 0x9e3779b97f4a7c15u;
	for (const char *s = c->name && c->node->flags & NODE_DIR ? c->name : ""; *s; s++)
		h = (h ^ (unsigned char)*s) * 0x100000001b3u;
	return h;
}

/* Whether c changes a name in c->node, or c->node itself. */
static bool of_name(const struct change *c)
{
	return c->kind != CHANGE_WRITE && c->kind != CHANGE_SETATTR &&
	       c->kind != CHANGE_FALLOCATE && c->kind != CHANGE_SETXATTR &&
	       c->kind != CHANGE_REMOVEXATTR;
}

/* For what is told to people: by names that we know, for that asks the kernel nothing. */
static bool noted_path(struct overlay *o, struct node *n, const char *name, char path[PATH_MAX])
{
	return node_path(o->nodes, n, name, path) || change_path(o, n, name, path) == 0;
}

static void note_paths(struct change *c, struct router_note *note, char path[PATH_MAX],
		       char path2[PATH_MAX])
{
	if (noted_path(c->o, c->node, of_name(c) ? c->name : NULL, path))
		note->path = path;
	if (c->node2 && noted_path(c->o, c->node2, c->name2, path2))
		note->path2 = path2;
}

static void tell_router(struct change *c, int rc)
{
	char path[PATH_MAX], path2[PATH_MAX];
	path[0] = '\0';
	struct router_note note = {
		.op = change_op(c),
		.key = key_of(c),
		.path = path,
		.bytes = c->out.written,
		.error = -rc,
	};
	if (rc == 0 && (c->pass.note_path || c->node2))
		note_paths(c, &note, path, path2);
	router_end(c->o->router, &c->pass, &note);
}

static void note_session(struct change *c)
{
	if (!c->pass.repo)
		return; /* the router was not asked: done by the server before us, or of a file without a name */
	estate_note_session(c->o->estate, c->pass.session, c->pass.actor.home,
			    c->pass.actor.session);
	c->node->session = c->pass.session;
}

/*
 * The kernel had the bytes in its cache before it sent the WRITE. If they were dropped there meanwhile, and a READ
 * overtook it, the old ones are there now. (Of a mapping no page is dropped before it was written.)
 */
static bool was_overtaken(const struct change *c, int rc)
{
	struct node *n = c->node;
	if (c->kind != CHANGE_WRITE || c->writepage || rc < 0 || !(n->flags & NODE_BARE))
		return false;
	return atomic_fetch_and(&n->flags, ~(uint32_t)(NODE_BARE | NODE_REREAD)) & NODE_REREAD;
}

void change_finish(struct change *c, int rc)
{
	const bool waiting = c->waiting; /* a copy of its own, freed in here */
	stop_point("change-done");
	if (rc == 0 &&
	    (c->kind == CHANGE_WRITE || c->kind == CHANGE_SETATTR || c->kind == CHANGE_FALLOCATE))
		note_session(c);
	if (c->node->flags & NODE_REG && !(c->node->flags & NODE_WRITTEN))
		atomic_fetch_or(&c->node->flags, NODE_WRITTEN);
	if (c->routed)
		tell_router(c, rc);
	if (c->waiting)
		count_waiting(c, -1);
	if (was_overtaken(c, rc))
		invalidate_before_reply(c->o, node_id(c->node), c->off, c->out.written);
	change_unmark(c->o, c->node);
	change_unmark(c->o, c->node2);
	if (!waiting) {
		change_reply(c, rc);
		return;
	}
	/* Let go of the thread that put it in line, and of an interrupt that is being handled. */
	pthread_mutex_lock(&c->lock);
	pthread_mutex_unlock(&c->lock);
	fuse_req_interrupt_func(c->req, NULL, NULL);
	change_reply(c, rc);
	if (c->nameless.node)
		fds_put(c->o->fds, &c->nameless);
	pthread_mutex_destroy(&c->lock);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): only the copy that keep() made waits */
	free(c);
}

static char *copy_into(char *at, const char *text, const char **out)
{
	if (!text)
		return at;
	*out = strcpy(at, text);
	return at + strlen(text) + 1;
}

/* A copy with the names and bytes that the request's buffer holds. NULL when out of memory. */
static struct change *keep(const struct change *c)
{
	size_t extra = (c->name ? strlen(c->name) + 1 : 0) + (c->name2 ? strlen(c->name2) + 1 : 0) +
		       (c->data ? c->size : 0);
	struct change *k = malloc(sizeof(*k) + extra);
	if (!k)
		return NULL;
	memcpy(k, c, sizeof(*c));
	char *at = k->copied;
	at = copy_into(at, c->name, &k->name);
	at = copy_into(at, c->name2, &k->name2);
	if (c->data && c->size)
		k->data = memcpy(at, c->data, c->size);
	k->waiting = true;
	pthread_mutex_init(&k->lock, NULL);
	return k;
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct change *c = data;
	LOCK_SCOPE(&c->lock);
	c->interrupted = true;
	for (unsigned i = c->steps_done; i < c->n_steps; i++)
		if (c->tickets[i])
			router_cancel(c->o->router, c->tickets[i]);
}

static void on_granted(void *arg, int error, const struct router_pass *pass)
{
	struct change *c = arg;
	pthread_mutex_lock(&c->lock);
	c->steps_done = 1; /* the ticket ends here */
	c->pass = *pass;
	pthread_mutex_unlock(&c->lock);
	c->routed = error == 0;
	change_finish(c, error ? error : home_apply(c));
}

static void wait_for_turn(struct change *c)
{
	char path[PATH_MAX], path2[PATH_MAX];
	struct router_note what = {.op = change_op(c)};
	note_paths(c, &what, path, path2);
	pthread_mutex_lock(&c->lock);
	c->n_steps = 1;
	int rc = router_wait(c->o->router, &c->pass, &what, on_granted, c, &c->tickets[0]);
	if (rc == 0 && c->interrupted)
		router_cancel(c->o->router, c->tickets[0]);
	pthread_mutex_unlock(&c->lock);
	if (rc < 0)
		change_finish(c, rc);
}

/* Copies c and puts it in line. */
static void put_in_line(struct change *c, int verdict)
{
	struct change *k = keep(c);
	if (!k) {
		change_finish(c, -ENOMEM);
		return;
	}
	count_waiting(k, 1);
	fuse_req_interrupt_func(k->req, on_interrupt, k);
	if (verdict == ROUTER_WAIT)
		wait_for_turn(k);
	else
		foreign_submit(k);
}

static void refused(struct change *c, int verdict)
{
	char path[PATH_MAX], path2[PATH_MAX];
	struct router_note what = {.op = change_op(c)};
	if (verdict == -EROFS) {
		note_paths(c, &what, path, path2);
		router_refused(c->o->router, &c->pass, &what);
	}
	change_finish(c, verdict);
}

void change_run(struct change *c)
{
	struct overlay *o = c->o;
	struct repos_entry *re = repos_at(o->repos, c->node->repo);
	const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
	struct router_caller caller = {
		.tid = ctx->pid, .uid = ctx->uid, .gid = ctx->gid, .last = c->node->session};
	mark(c);
	stop_point("mount-received");
	if (!re) {
		change_finish(c, -ESTALE);
		return;
	}
	/* No part of the tree any more: nobody's but its users', unless it is given a name. */
	if (c->node->flags & NODE_UNLINKED && c->kind != CHANGE_LINK) {
		change_finish(c, home_apply(c));
		return;
	}
	int rc = 0;
	if (again_was_applied(c, &rc)) {
		change_finish(c, rc);
		return;
	}
	int verdict = router_begin(o->router, re->rr, &caller, key_of(c), &c->pass);
	if (again_was_foreign(c) && verdict == ROUTER_HOME)
		router_end(o->router, &c->pass, NULL);
	if (again_was_foreign(c) && verdict >= 0)
		verdict = ROUTER_FOREIGN;
	if (verdict < 0) {
		refused(c, verdict);
	} else if (verdict == ROUTER_FOREIGN && c->kind == CHANGE_COPY) {
		change_finish(c, -EOPNOTSUPP);
	} else if (verdict == ROUTER_FOREIGN && c->kind == CHANGE_TMPFILE) {
		change_finish(c, home_apply(c)); /* no part of the tree before it is given a name */
	} else if (verdict == ROUTER_HOME) {
		c->routed = true;
		change_finish(c, home_apply(c));
	} else {
		put_in_line(c, verdict);
	}
}
