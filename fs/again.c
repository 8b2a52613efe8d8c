#include "fs/again.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "fs/estate.h"
#include "fs/loop.h"
#include "manager/base/cleanup.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* leaf; to take or find an intent */
static uint32_t hint;

/* ---- notes ---- */

static void take(struct change *c, uint32_t state, const struct intent *what)
{
	struct estate *es = c->o->estate;
	if (c->unique == 0 || !es->resend)
		return;
	LOCK_SCOPE(&lock);
	for (uint32_t i = 0; !c->intent && i < ESTATE_INTENTS; i++)
		if (es->intents[(hint + i) % ESTATE_INTENTS].state == INTENT_FREE) {
			hint = (hint + i) % ESTATE_INTENTS;
			c->intent = &es->intents[hint];
		}
	if (!c->intent)
		return;
	c->intent->state = INTENT_FREE; /* one that we found, and that is now another kind */
	*c->intent = *what;
	c->intent->unique = c->unique;
	c->intent->server = es->servers;
	c->intent->state = state;
}

void again_begin_home(struct change *c)
{
	struct intent what = {.fd = -1, .size = -1};
	struct timespec now;
	if (c->intent && c->intent->state == INTENT_BEGUN)
		return; /* what it was before the first try is what counts */
	clock_gettime(CLOCK_REALTIME_COARSE,
		      &now); /* as file systems do: no file is born before it */
	what.begun_s = now.tv_sec;
	what.begun_ns = now.tv_nsec;
	if (c->kind == CHANGE_UNLINK || c->kind == CHANGE_RMDIR || c->kind == CHANGE_RENAME)
		what.ino = node_name_ino(c->o->nodes, c->node, c->name);
	if (c->kind == CHANGE_RENAME)
		what.ino2 = node_name_ino(c->o->nodes, c->node2, c->name2);
	take(c, INTENT_BEGUN, &what);
}

void again_begin_foreign(struct change *c)
{
	const struct intent what = {.fd = -1};
	if (!again_was_foreign(c))
		take(c, INTENT_FOREIGN, &what);
}

void again_done(struct change *c)
{
	struct intent *in = c->intent;
	if (!in || in->state != INTENT_BEGUN)
		return;
	in->written = c->out.written;
	in->node = c->out.e.ino;
	in->state = INTENT_DONE;
}

void again_end(struct change *c)
{
	if (c->intent)
		c->intent->state = INTENT_FREE;
	c->intent = NULL;
}

void again_find(struct change *c)
{
	bool again = false;
	c->unique = loop_unique(&again);
	if (!again)
		return;
	struct intent *all = c->o->estate->intents;
	LOCK_SCOPE(&lock);
	for (uint32_t i = 0; i < ESTATE_INTENTS; i++)
		if (all[i].state != INTENT_FREE && all[i].unique == c->unique)
			c->intent = &all[i];
	if (c->intent)
		c->intent->server = c->o->estate->servers;
}

bool again_was_foreign(const struct change *c)
{
	return c->intent && c->intent->state == INTENT_FOREIGN;
}

void again_mutation_id(const struct change *c, unsigned step, char id[MUTATION_ID_MAX])
{
	id[0] = '\0';
	if (c->unique)
		snprintf(id, MUTATION_ID_MAX, "%016llx-%llx.%u",
			 (unsigned long long)c->o->estate->mount, (unsigned long long)c->unique,
			 step);
}

/* ---- what the tree tells ---- */

/* st: of name in dir now. -ENOENT: there is none; what else is negative tells nothing. */
static int look(struct change *c, struct node *dir, const char *name, struct statx *st)
{
	struct fd_hold h;
	int rc = fds_path(c->o->fds, dir, &h);
	if (rc < 0)
		return rc;
	if (statx(h.fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME, st) < 0)
		rc = -errno;
	fds_put(c->o->fds, &h);
	return rc;
}

/* Made since we began? On a file system without birth times the last change tells. */
static bool was_made(struct change *c)
{
	struct statx st;
	if (look(c, c->node, c->name, &st) < 0)
		return false;
	const struct statx_timestamp *t = st.stx_mask & STATX_BTIME ? &st.stx_btime : &st.stx_ctime;
	return t->tv_sec > c->intent->begun_s ||
	       (t->tv_sec == c->intent->begun_s && t->tv_nsec >= c->intent->begun_ns);
}

static bool was_removed(struct change *c)
{
	struct statx st;
	int rc = look(c, c->node, c->name, &st);
	return rc == -ENOENT || (rc == 0 && c->intent->ino && st.stx_ino != c->intent->ino);
}

static bool was_renamed(struct change *c)
{
	struct statx from, to;
	int here = look(c, c->node, c->name, &from), there = look(c, c->node2, c->name2, &to);
	uint64_t ino = c->intent->ino;
	if (there < 0 || (ino && to.stx_ino != ino))
		return false;
	if (c->flags & RENAME_EXCHANGE)
		return here == 0 && ino && from.stx_ino == c->intent->ino2 && ino != from.stx_ino;
	return here == -ENOENT || (here == 0 && ino && from.stx_ino != ino);
}

static bool was_linked(struct change *c)
{
	struct statx st;
	return look(c, c->node2, c->name2, &st) == 0 && st.stx_ino == c->node->ino;
}

static bool was_allocated(struct change *c)
{
	struct lookup_stat ls;
	int64_t before = c->intent->size;
	if (before < 0 || lookup_stat_node(c->o, c->node, &ls) < 0)
		return false;
	return (c->flags & FALLOC_FL_COLLAPSE_RANGE && ls.st.st_size == before - c->length) ||
	       (c->flags & FALLOC_FL_INSERT_RANGE && ls.st.st_size == before + c->length);
}

/* Only what would fail the second time: setting one that must not be there, removing one. */
static bool was_xattr_changed(struct change *c)
{
	struct fd_hold h;
	char proc[40];
	if (c->kind == CHANGE_SETXATTR && !(c->flags & XATTR_CREATE))
		return false;
	CLEANUP(freep) char *value = malloc(c->size + 1);
	if (!value || fds_path(c->o->fds, c->node, &h) < 0)
		return false;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h.fd);
	ssize_t len = getxattr(proc, c->name, value, c->size + 1);
	int err = errno;
	fds_put(c->o->fds, &h);
	if (c->kind == CHANGE_REMOVEXATTR)
		return len < 0 && err == ENODATA;
	return len == (ssize_t)c->size && (len == 0 || memcmp(value, c->data, c->size) == 0);
}

size_t again_appended(const struct change *c, int fd, int64_t size_now)
{
	int64_t before = c->intent ? c->intent->size : -1;
	size_t there = 0;
	if (before < 0 || size_now <= before)
		return 0;
	size_t n = (uint64_t)(size_now - before) < c->size ? (size_t)(size_now - before) : c->size;
	CLEANUP(freep) char *bytes = malloc(n);
	if (!bytes || pread(fd, bytes, n, before) != (ssize_t)n)
		return 0;
	while (there < n && bytes[there] == ((const char *)c->data)[there])
		there++;
	/* A part can be gone on with only while it is the end. */
	return there == c->size || (int64_t)there == size_now - before ? there : 0;
}

static bool tree_tells(struct change *c)
{
	switch (c->kind) {
	case CHANGE_CREATE:
	case CHANGE_MKDIR:
	case CHANGE_MKNOD:
	case CHANGE_SYMLINK:
		return was_made(c);
	case CHANGE_UNLINK:
	case CHANGE_RMDIR:
		return was_removed(c);
	case CHANGE_RENAME:
		return was_renamed(c);
	case CHANGE_LINK:
		return was_linked(c);
	case CHANGE_FALLOCATE:
		return was_allocated(c);
	case CHANGE_SETXATTR:
	case CHANGE_REMOVEXATTR:
		return was_xattr_changed(c);
	case CHANGE_WRITE:
	case CHANGE_SETATTR:
	case CHANGE_COPY:
	case CHANGE_TMPFILE:
		break;
	}
	return false;
}

/* ---- the rest of a change that was made ---- */

/* Its maker may write to it, whatever its mode says: we may have to change that for a moment. */
static int open_made(int dir, const char *name)
{
	struct stat st;
	int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0 || errno != EACCES || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode) || fchmodat(dir, name, 0600, 0) < 0)
		return fd < 0 ? -errno : fd;
	fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	int rc = fd < 0 ? -errno : fd;
	fchmodat(dir, name, st.st_mode & 07777, 0);
	return rc;
}

/* What CREATE opened, if the file is that with the number ino: the cache may have closed it already. */
static int noted_fd(const struct change *c, uint64_t ino)
{
	struct stat st;
	int fd = c->intent->fd;
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == ino ? fd : -1;
}

static int finish_create(struct change *c)
{
	struct fd_hold h;
	struct lookup_stat ls = {.stamp = 0};
	int rc = fds_path(c->o->fds, c->node, &h);
	if (rc < 0)
		return rc;
	(void)lookup_statx(h.fd, c->name, &ls);
	int fd = noted_fd(c, ls.st.st_ino);
	if (fd < 0)
		fd = open_made(h.fd, c->name);
	fds_put(c->o->fds, &h);
	return fd < 0 ? fd : home_created(c, fd);
}

static int finish_tmpfile(struct change *c)
{
	struct lookup_stat ls;
	struct node *n = node_get(c->o->nodes, c->intent->node);
	int rc = n ? lookup_stat_node(c->o, n, &ls) : -ESTALE;
	if (rc < 0)
		return rc;
	c->out.e = (struct fuse_entry_param){
		.ino = node_id(n), .attr = ls.st, .attr_timeout = LOOKUP_FOREVER};
	c->fi.keep_cache = 1;
	int fd = noted_fd(c, n->ino);
	if (fd >= 0)
		home_keep_created(c, n, fd, ls.st.st_mode);
	return 0;
}

/* The dead server may have taken the old name from what was renamed, and not yet given it the new one. */
static int finish_rename(struct change *c)
{
	struct fuse_entry_param e;
	struct statx st;
	change_name_moved(c, NULL, NULL);
	uint64_t known = node_name_ino(c->o->nodes, c->node2, c->name2);
	if (look(c, c->node2, c->name2, &st) == 0 && st.stx_ino != known) {
		e = c->out.e;
		if (change_entry(c, c->node2, c->name2) == 0)
			lookup_forget(c->o, c->out.e.ino, 1);
		c->out.e = e;
	}
	return 0;
}

static int finish(struct change *c)
{
	switch (c->kind) {
	case CHANGE_CREATE:
		return finish_create(c);
	case CHANGE_TMPFILE:
		return finish_tmpfile(c);
	case CHANGE_MKDIR:
	case CHANGE_MKNOD:
	case CHANGE_SYMLINK:
		return change_entry(c, c->node, c->name);
	case CHANGE_LINK:
		return change_entry(c, c->node2, c->name2);
	case CHANGE_UNLINK:
	case CHANGE_RMDIR:
		change_name_removed(c->o, c->node, c->name, NULL);
		return 0;
	case CHANGE_RENAME:
		return finish_rename(c);
	case CHANGE_WRITE:
	case CHANGE_COPY:
		c->out.written = c->intent->written;
		return 0;
	case CHANGE_SETATTR:
		return lookup_stat_node(c->o, c->node, &c->out.ls);
	case CHANGE_SETXATTR:
	case CHANGE_REMOVEXATTR:
	case CHANGE_FALLOCATE:
		break;
	}
	return 0;
}

bool again_was_applied(struct change *c, int *rc)
{
	if (!c->intent || again_was_foreign(c))
		return false;
	if (c->intent->state != INTENT_DONE && !tree_tells(c))
		return false;
	*rc = finish(c);
	return true;
}
