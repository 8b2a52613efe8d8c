/*
 * A foreign change: turned into mutations for the owner's gateway, and the answer into a reply.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/again.h"
#include "fs/change.h"
#include "fs/coherence.h"
#include "fs/estate.h"
#include "fs/repos.h"

/* One SETATTR may be several mutations; each is a step with a ticket of its own. */
struct steps {
	struct mutation *m[CHANGE_STEPS];
	unsigned n;
};

static struct mutation *add_step(struct steps *s, enum mutation_op op, const char *path)
{
	struct mutation *m = mutation_new(op);
	if (!m)
		return NULL;
	m->path = strdup(path);
	if (!m->path)
		return mutation_free(m);
	s->m[s->n++] = m;
	return m;
}

static bool set_text(char **at, const char *text)
{
	*at = strdup(text);
	return *at;
}

static bool set_data(struct mutation *m, const void *data, size_t len)
{
	m->data = malloc(len ? len : 1);
	if (!m->data)
		return false;
	if (len)
		memcpy(m->data, data, len);
	m->data_len = len;
	return true;
}

static void set_file(struct change *c, struct mutation *m)
{
	m->ino = c->node->ino;
	m->dev = node_dev(c->o->nodes, c->node);
}

static bool build_setattr(struct change *c, struct steps *s, const char *path)
{
	struct mutation *m = NULL;
	if (change_is_chown(c->to_set)) {
		if (!(m = add_step(s, MUTATION_CHOWN, path)))
			return false;
		m->uid = c->to_set & FUSE_SET_ATTR_UID ? c->attr.st_uid : (uint32_t)-1;
		m->gid = c->to_set & FUSE_SET_ATTR_GID ? c->attr.st_gid : (uint32_t)-1;
	}
	if (c->to_set & FUSE_SET_ATTR_MODE) {
		if (!(m = add_step(s, MUTATION_CHMOD, path)))
			return false;
		m->mode = c->attr.st_mode & 07777;
	}
	if (c->to_set & FUSE_SET_ATTR_SIZE) {
		if (!(m = add_step(s, MUTATION_TRUNCATE, path)))
			return false;
		m->length = c->attr.st_size;
	}
	if (c->to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
			 FUSE_SET_ATTR_MTIME_NOW)) {
		if (!(m = add_step(s, MUTATION_UTIMENS, path)))
			return false;
		m->atime = c->attr.st_atim;
		m->mtime = c->attr.st_mtim;
		if (c->to_set & FUSE_SET_ATTR_ATIME_NOW)
			m->atime.tv_nsec = UTIME_NOW;
		else if (!(c->to_set & FUSE_SET_ATTR_ATIME))
			m->atime.tv_nsec = UTIME_OMIT;
		if (c->to_set & FUSE_SET_ATTR_MTIME_NOW)
			m->mtime.tv_nsec = UTIME_NOW;
		else if (!(c->to_set & FUSE_SET_ATTR_MTIME))
			m->mtime.tv_nsec = UTIME_OMIT;
	}
	for (unsigned i = 0; i < s->n; i++)
		set_file(c, s->m[i]);
	return true;
}

static bool build_file(struct change *c, struct steps *s, const char *path)
{
	struct mutation *m = NULL;
	switch (c->kind) {
	case CHANGE_SETATTR:
		return build_setattr(c, s, path);
	case CHANGE_WRITE:
		m = add_step(s, c->flags & O_APPEND ? MUTATION_APPEND : MUTATION_WRITE, path);
		if (!m || !set_data(m, c->data, c->size))
			return false;
		m->offset = c->flags & O_APPEND ? 0 : c->off;
		m->flags = c->writepage ? MUTATION_WRITEPAGE : 0;
		break;
	case CHANGE_FALLOCATE:
		if (!(m = add_step(s, MUTATION_FALLOCATE, path)))
			return false;
		m->offset = c->off;
		m->length = c->length;
		m->flags = (uint32_t)c->flags;
		break;
	case CHANGE_SETXATTR:
	case CHANGE_REMOVEXATTR:
		m = add_step(s,
			     c->kind == CHANGE_SETXATTR ? MUTATION_SETXATTR : MUTATION_REMOVEXATTR,
			     path);
		if (!m || !set_text(&m->xattr, c->name))
			return false;
		m->flags = (uint32_t)c->flags;
		if (c->kind == CHANGE_SETXATTR && !set_data(m, c->data, c->size))
			return false;
		break;
	default:
		return false;
	}
	set_file(c, m);
	return true;
}

static bool build_name(struct change *c, struct steps *s, const char *path, const char *path2)
{
	static const enum mutation_op ops[] = {
		[CHANGE_CREATE] = MUTATION_CREATE, [CHANGE_UNLINK] = MUTATION_UNLINK,
		[CHANGE_RMDIR] = MUTATION_RMDIR,   [CHANGE_MKDIR] = MUTATION_MKDIR,
		[CHANGE_MKNOD] = MUTATION_MKNOD,   [CHANGE_SYMLINK] = MUTATION_SYMLINK,
		[CHANGE_LINK] = MUTATION_LINK,     [CHANGE_RENAME] = MUTATION_RENAME,
	};
	struct mutation *m = add_step(s, ops[c->kind], path);
	if (!m)
		return false;
	if (c->nameless.node) {
		char source[48];
		/* The guard has the same descriptors, also when we are killed before the gateway looks. */
		snprintf(source, sizeof(source), "%d:%d", (int)c->o->estate->guard, c->nameless.fd);
		set_file(c, m);
		if (!set_text(&m->target, source))
			return false;
	}
	m->mode = c->kind == CHANGE_MKNOD ? c->mode : c->mode & 07777;
	m->rdev = c->rdev;
	if (c->kind == CHANGE_CREATE) /* of what is there already: home.c, open_new() */
		m->flags = O_EXCL;
	if (c->kind == CHANGE_RENAME)
		m->flags = (uint32_t)c->flags;
	if (c->kind == CHANGE_SYMLINK)
		return set_text(&m->target, c->name2);
	return c->node2 ? set_text(&m->path2, path2) : true;
}

static int build(struct change *c, struct steps *s)
{
	char path[PATH_MAX], path2[PATH_MAX] = "";
	bool file = c->kind == CHANGE_WRITE || c->kind == CHANGE_SETATTR ||
		    c->kind == CHANGE_FALLOCATE || c->kind == CHANGE_SETXATTR ||
		    c->kind == CHANGE_REMOVEXATTR;
	int rc = 0;
	if (c->kind == CHANGE_LINK && c->node->flags & NODE_UNLINKED) {
		path[0] = '\0';
		rc = fds_path(c->o->fds, c->node, &c->nameless);
	} else {
		rc = change_path(c->o, c->node, file ? NULL : c->name, path);
	}
	if (rc == 0 && c->node2)
		rc = change_path(c->o, c->node2, c->name2, path2);
	if (rc < 0)
		return rc;
	return (file ? build_file(c, s, path) : build_name(c, s, path, path2)) ? 0 : -ENOMEM;
}

static int finish_create(struct change *c)
{
	c->fi.keep_cache = 1;
	return change_entry(c, c->node, c->name);
}

static void see_content(struct change *c, const struct mutation_answer *a)
{
	if (!a->has_attr || !a->before.exists)
		return;
	change_begin_content(c, c->node, lookup_stamp(&a->before.ctime, a->before.size));
	change_end_content(c, c->node, lookup_stamp(&a->attr.st_ctim, a->attr.st_size));
}

/* Whose mode or owner somebody changed as well this moment looks as if he had not: the gateway tells no more. */
static void moved(struct change *c, const struct mutation_answer *a)
{
	struct lookup_stat before = {.st = a->attr};
	before.st.st_ino = a->before.ino;
	before.st.st_size = a->before.size;
	before.st.st_mtim = a->before.mtime;
	before.stamp = lookup_stamp(&a->before.ctime, a->before.size);
	change_name_moved(c, a->has_attr && a->before.exists ? &before : NULL, NULL);
}

/* The last answer is in: what the reply needs. */
static int finish(struct change *c, const struct mutation_answer *a)
{
	struct overlay *o = c->o;
	switch (c->kind) {
	case CHANGE_CREATE:
		return finish_create(c);
	case CHANGE_MKDIR:
	case CHANGE_MKNOD:
	case CHANGE_SYMLINK:
		return change_entry(c, c->node, c->name);
	case CHANGE_LINK:
		return change_entry(c, c->node2, c->name2);
	case CHANGE_UNLINK:
	case CHANGE_RMDIR:
		change_name_removed(o, c->node, c->name, NULL);
		return 0;
	case CHANGE_RENAME:
		moved(c, a);
		return 0;
	case CHANGE_WRITE:
		c->out.written = (size_t)a->bytes;
		if (c->flags & O_APPEND && a->offset != c->off)
			coherence_post(o, c->node);
		return 0;
	case CHANGE_SETATTR:
		if (c->to_set & FUSE_SET_ATTR_MODE)
			fds_mode(o->fds, c->node, c->attr.st_mode);
		return lookup_stat_node(o, c->node, &c->out.ls);
	default:
		return 0;
	}
}

static void on_done(void *arg, int error, const struct mutation_answer *a,
		    const struct router_pass *pass)
{
	struct change *c = arg;
	pthread_mutex_lock(&c->lock);
	c->pass = *pass;
	if (c->error == 0)
		c->error = error ? error : -a->error;
	if (c->kind == CHANGE_CREATE && c->error == -EEXIST && !(c->flags & O_EXCL))
		c->error = -ESTALE;
	if (c->error == 0 &&
	    (c->kind == CHANGE_WRITE || c->kind == CHANGE_SETATTR || c->kind == CHANGE_FALLOCATE ||
	     c->kind == CHANGE_SETXATTR || c->kind == CHANGE_REMOVEXATTR))
		see_content(c, a);
	/* Without the lock c is the last one's, which may come on another thread (an expired step). */
	bool last = ++c->steps_done == c->n_steps;
	pthread_mutex_unlock(&c->lock);
	if (!last)
		return;
	change_finish(c, c->error ? c->error : finish(c, a));
}

void foreign_submit(struct change *c)
{
	struct steps s = {.n = 0};
	int rc = build(c, &s);
	if (rc < 0) {
		for (unsigned i = 0; i < s.n; i++)
			mutation_free(s.m[i]);
		change_finish(c, rc);
		return;
	}
	again_begin_foreign(c);
	if (c->kind != CHANGE_UNLINK && c->kind != CHANGE_RMDIR)
		fds_settle(c->o->fds, false); /* else the gateway may find no room */
	if (c->kind == CHANGE_UNLINK || c->kind == CHANGE_RMDIR || c->kind == CHANGE_RENAME)
		change_keep_reachable(c->o, c->node, c->name);
	if (c->kind == CHANGE_RENAME)
		change_keep_reachable(c->o, c->node2, c->name2);
	if (c->kind == CHANGE_SETATTR && c->to_set & FUSE_SET_ATTR_MODE)
		change_keep_for_openers(c);
	/* on_done() may run before this is over: it waits for the lock, then for the last step. */
	pthread_mutex_lock(&c->lock);
	for (unsigned i = 0; i < s.n; i++) {
		if (rc < 0) { /* one failed: what comes after it is not to be applied either */
			mutation_free(s.m[i]);
			continue;
		}
		again_mutation_id(c, i, s.m[i]->id);
		rc = router_submit(c->o->router, &c->pass, s.m[i], on_done, c, &c->tickets[i]);
		if (rc < 0) {
			c->error = rc;
			continue;
		}
		c->n_steps++;
		if (c->interrupted)
			router_cancel(c->o->router, c->tickets[i]);
	}
	bool none = c->n_steps == 0;
	pthread_mutex_unlock(&c->lock);
	if (none)
		change_finish(c, c->error);
}
