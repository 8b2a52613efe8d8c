/*
 * A change at home: straight to the real file. Each function does what the system call of its name does
 * on the file system below and gives its errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/again.h"
#include "fs/change.h"
#include "fs/coherence.h"
#include "fs/estate.h"
#include "manager/base/creds.h"
#include "manager/base/stop_point.h"

struct proc_path {
	char text[40];
};

static struct proc_path proc_path(int fd)
{
	struct proc_path p;
	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

/* New files belong to the caller, where we may give them away. */
static void become_caller(struct change *c, struct creds *saved)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
	saved->changed = 0;
	if (c->o->privileged)
		creds_become(saved, ctx->uid, ctx->gid);
}

/*
 * A file that somebody made outside a moment ago is not opened here, with our rights instead of the caller's:
 * ESTALE makes the kernel look again, and then judge and open what is there by itself.
 */
static int open_new(struct change *c, int dir)
{
	int fd = openat(dir, c->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, c->mode);
	if (fd < 0 && errno == EEXIST && !(c->flags & O_EXCL))
		return -ESTALE;
	return fd < 0 ? -errno : fd;
}

void home_keep_created(struct change *c, struct node *n, int fd, mode_t mode)
{
	bool again = c->o->privileged || (mode & 0600) == 0600;
	fds_give_write(c->o->fds, n, fd, mode, !again);
}

int home_created(struct change *c, int fd)
{
	struct lookup_stat ls;
	struct node *n = NULL;
	int rc = lookup_statx(fd, "", &ls);
	if (rc == 0)
		rc = lookup_intern(c->o, c->node, c->name, &ls, true, &c->out.e, &n);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	c->fi.keep_cache = 1;
	home_keep_created(c, n, fd, ls.st.st_mode);
	return 0;
}

static int apply_create(struct change *c, int dir)
{
	struct creds saved;
	coherence_watch(c->o, c->node);
	become_caller(c, &saved);
	int fd = open_new(c, dir);
	creds_restore(&saved);
	if (fd < 0)
		return fd;
	if (c->intent)
		c->intent->fd = fd; /* our successor's, should we be killed now */
	return home_created(c, fd);
}

static int open_nameless(struct change *c, int dir)
{
	struct creds saved;
	become_caller(c, &saved);
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC | (c->flags & O_EXCL),
			c->mode & 07777);
	int rc = fd < 0 ? -errno : fd;
	creds_restore(&saved);
	return rc;
}

/* A file without a name is reached by a descriptor for as long as the kernel knows it. */
static int apply_tmpfile(struct change *c, int dir)
{
	struct overlay *o = c->o;
	struct lookup_stat ls = {.stamp = 0};
	struct node *n = NULL;
	int fd = open_nameless(c, dir);
	if (fd < 0)
		return fd;
	int path = open(proc_path(fd).text, O_PATH | O_CLOEXEC);
	int rc = path < 0 ? -errno : lookup_statx(fd, "", &ls);
	struct node_key key = {.dev = ls.st.st_dev,
			       .ino = ls.st.st_ino,
			       .born = ls.born,
			       .flags = NODE_REG | NODE_WRITTEN,
			       .stamp = ls.stamp,
			       .repo = c->node->repo};
	if (rc == 0)
		rc = node_intern(o->nodes, &key, NULL, NULL, true, &n, NULL);
	if (rc < 0 || !n) {
		close(fd);
		if (path >= 0)
			close(path);
		return rc;
	}
	atomic_fetch_or(&n->flags, NODE_UNLINKED);
	fds_give_path(o->fds, n, path);
	c->out.e = (struct fuse_entry_param){
		.ino = node_id(n), .attr = ls.st, .attr_timeout = LOOKUP_FOREVER};
	c->fi.keep_cache = 1;
	if (c->intent)
		c->intent->fd = fd;
	home_keep_created(c, n, fd, ls.st.st_mode);
	return 0;
}

static int make_named(struct change *c, int dir)
{
	switch (c->kind) {
	case CHANGE_MKDIR:
		return mkdirat(dir, c->name, c->mode);
	case CHANGE_MKNOD:
		return mknodat(dir, c->name, c->mode, c->rdev);
	default:
		return symlinkat(c->name2, dir, c->name);
	}
}

static int apply_make(struct change *c, int dir)
{
	struct creds saved;
	become_caller(c, &saved);
	int rc = make_named(c, dir) < 0 ? -errno : 0;
	creds_restore(&saved);
	return rc < 0 ? rc : change_entry(c, c->node, c->name);
}

static bool has_two_names(struct overlay *o, const struct node *n)
{
	struct node *parent = NULL;
	char name[NODE_NAME_MAX];
	return node_name_nth(o->nodes, n, 1, &parent, name);
}

/* Something whose ctime is about to move, for its names change. */
struct moving {
	struct node *n; /* held, and marked as being changed; NULL: nothing that we know of */
	struct lookup_stat before;
	const struct lookup_stat *known; /* before, or NULL */
};

/* always: also what has no other name. */
static void begin_moving(struct overlay *o, struct node *dir, const char *name, bool always,
			 struct moving *m)
{
	m->known = NULL;
	m->n = node_name_find(o->nodes, dir, name, NULL);
	if (!m->n)
		return;
	m->n->changing++;
	if ((always || has_two_names(o, m->n)) && lookup_stat_node(o, m->n, &m->before) == 0)
		m->known = &m->before;
}

static void end_moving(struct overlay *o, const struct moving *m)
{
	if (!m->n)
		return;
	change_unmark(o, m->n);
	lookup_forget(o, node_id(m->n), 1);
}

static int apply_remove(struct change *c, int dir)
{
	struct moving m;
	int rc = 0;
	change_keep_reachable(c->o, c->node, c->name);
	begin_moving(c->o, c->node, c->name, false, &m);
	if (unlinkat(dir, c->name, c->kind == CHANGE_RMDIR ? AT_REMOVEDIR : 0) < 0)
		rc = -errno;
	else
		change_name_removed(c->o, c->node, c->name, m.known);
	end_moving(c->o, &m);
	return rc;
}

static int apply_rename(struct change *c, int dir)
{
	struct fd_hold to;
	struct moving m, m2 = {.n = NULL, .known = NULL};
	int rc = fds_path(c->o->fds, c->node2, &to);
	if (rc < 0)
		return rc;
	change_keep_reachable(c->o, c->node2, c->name2);
	begin_moving(c->o, c->node, c->name, true, &m);
	if (c->flags & RENAME_EXCHANGE)
		begin_moving(c->o, c->node2, c->name2, true, &m2);
	if (renameat2(dir, c->name, to.fd, c->name2, (unsigned)c->flags) < 0)
		rc = -errno;
	fds_put(c->o->fds, &to);
	if (rc == 0)
		change_name_moved(c, m.known, m2.known);
	end_moving(c->o, &m);
	end_moving(c->o, &m2);
	return rc;
}

static int apply_link(struct change *c, int fd)
{
	struct fd_hold dir;
	struct lookup_stat before, ls;
	int rc = fds_path(c->o->fds, c->node2, &dir);
	if (rc < 0)
		return rc;
	const bool known = lookup_statx(fd, "", &before) == 0;
	if (linkat(AT_FDCWD, proc_path(fd).text, dir.fd, c->name2, AT_SYMLINK_FOLLOW) < 0)
		rc = -errno;
	fds_put(c->o->fds, &dir);
	if (rc == 0 && known && lookup_statx(fd, "", &ls) == 0)
		change_names_changed(c->node, &before, &ls);
	return rc < 0 ? rc : change_entry(c, c->node2, c->name2);
}

/* Root keeps setuid and setgid bits when it writes; the caller may not. */
static void drop_suid(struct change *c, int fd)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
	struct stat st;
	if (c->o->privileged && c->kill_suidgid && fstat(fd, &st) == 0)
		(void)creds_drop_suid(fd, &st, ctx->pid, ctx->gid);
}

/* Where an append begins; one that was begun before may have written a part. */
static void note_end(struct change *c, int fd, off_t size)
{
	c->out.written = again_appended(c, fd, size);
	if (c->intent && c->out.written == 0)
		c->intent->size = size;
}

/* What was removed just now may still have its room (fds_settle()). */
static bool is_full(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT;
}

static int write_all(struct change *c, int fd)
{
	struct iovec iov = {.iov_base = (char *)(uintptr_t)c->data + c->out.written,
			    .iov_len = c->size - c->out.written};
	while (iov.iov_len) {
		/* With RWF_APPEND the offset is not looked at, but it may not be negative. */
		struct iovec part = {iov.iov_base, stop_point_part("home-half", iov.iov_len)};
		ssize_t n = pwritev2(fd, &part, 1, c->off + (off_t)c->out.written,
				     c->flags & O_APPEND ? RWF_APPEND : 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && is_full(-errno) && fds_settle(c->o->fds, true))
			continue;
		if (n < 0)
			return c->out.written ? 0 : -errno;
		c->out.written += (size_t)n;
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
		stop_point("home-half");
	}
	return 0;
}

static int apply_write(struct change *c)
{
	struct fd_hold h;
	struct lookup_stat ls;
	int rc = fds_open(c->o->fds, c->node, FD_WRITE, &h);
	if (rc < 0)
		return rc;
	const int fd = h.fd;
	const bool believed = lookup_statx(fd, "", &ls) == 0;
	if (believed) {
		change_begin_content(c, c->node, ls.stamp);
		if (c->flags & O_APPEND)
			note_end(c, fd, ls.st.st_size);
	}
	drop_suid(c, fd);
	rc = write_all(c, fd);
	if (c->writepage && believed)
		(void)creds_keep_suid(fd, &ls.st);
	if (lookup_statx(fd, "", &ls) == 0) {
		change_end_content(c, c->node, ls.stamp);
		/* The kernel cached the bytes where it believed the end to be. */
		if (c->flags & O_APPEND && ls.st.st_size != c->off + (off_t)c->out.written)
			coherence_post(c->o, c->node);
	}
	fds_put(c->o->fds, &h);
	return rc;
}

static int set_size(struct change *c)
{
	struct fd_hold h;
	int rc = fds_open(c->o->fds, c->node, FD_WRITE, &h);
	if (rc < 0)
		return rc;
	drop_suid(c, h.fd);
	rc = ftruncate(h.fd, c->attr.st_size) < 0 ? -errno : 0;
	fds_put(c->o->fds, &h);
	return rc;
}

static int set_times(struct change *c, int fd)
{
	struct timespec ts[2] = {c->attr.st_atim, c->attr.st_mtim};
	if (c->to_set & FUSE_SET_ATTR_ATIME_NOW)
		ts[0].tv_nsec = UTIME_NOW;
	else if (!(c->to_set & FUSE_SET_ATTR_ATIME))
		ts[0].tv_nsec = UTIME_OMIT;
	if (c->to_set & FUSE_SET_ATTR_MTIME_NOW)
		ts[1].tv_nsec = UTIME_NOW;
	else if (!(c->to_set & FUSE_SET_ATTR_MTIME))
		ts[1].tv_nsec = UTIME_OMIT;
	return utimensat(fd, "", ts, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_mode(struct change *c, int fd)
{
	change_keep_for_openers(c);
	if (chmod(proc_path(fd).text, c->attr.st_mode & 07777) < 0)
		return -errno;
	fds_mode(c->o->fds, c->node, c->attr.st_mode);
	return 0;
}

static int set_owner(struct change *c, int fd)
{
	uid_t uid = c->to_set & FUSE_SET_ATTR_UID ? c->attr.st_uid : (uid_t)-1;
	gid_t gid = c->to_set & FUSE_SET_ATTR_GID ? c->attr.st_gid : (gid_t)-1;
	drop_suid(c, fd);
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int apply_setattr(struct change *c, int fd)
{
	int rc = lookup_statx(fd, "", &c->out.ls);
	if (rc < 0)
		return rc;
	change_begin_content(c, c->node, c->out.ls.stamp);
	if (change_is_chown(c->to_set))
		rc = set_owner(c, fd);
	if (rc == 0 && c->to_set & FUSE_SET_ATTR_MODE)
		rc = set_mode(c, fd);
	if (rc == 0 && c->to_set & FUSE_SET_ATTR_SIZE)
		rc = set_size(c);
	if (rc == 0 && c->to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
				    FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW))
		rc = set_times(c, fd);
	if (lookup_statx(fd, "", &c->out.ls) == 0)
		change_end_content(c, c->node, c->out.ls.stamp);
	return rc;
}

static int apply_xattr(struct change *c, int fd)
{
	struct lookup_stat ls;
	struct proc_path p = proc_path(fd);
	if (lookup_statx(fd, "", &ls) == 0)
		change_begin_content(c, c->node, ls.stamp);
	int rc = c->kind == CHANGE_SETXATTR ? setxattr(p.text, c->name, c->data, c->size, c->flags)
					    : removexattr(p.text, c->name);
	rc = rc < 0 ? -errno : 0;
	if (lookup_statx(fd, "", &ls) == 0)
		change_end_content(c, c->node, ls.stamp);
	return rc;
}

static int apply_fallocate(struct change *c)
{
	struct fd_hold h;
	struct lookup_stat ls;
	struct stat before;
	int rc = fds_open(c->o->fds, c->node, FD_WRITE, &h);
	if (rc < 0)
		return rc;
	const int fd = h.fd;
	if (lookup_statx(fd, "", &ls) == 0)
		change_begin_content(c, c->node, ls.stamp);
	if (c->intent && c->intent->size < 0)
		c->intent->size = fstat(fd, &before) == 0 ? before.st_size : -1;
	drop_suid(c, fd);
	rc = fallocate(fd, c->flags, c->off, c->length) < 0 ? -errno : 0;
	if (lookup_statx(fd, "", &ls) == 0)
		change_end_content(c, c->node, ls.stamp);
	fds_put(c->o->fds, &h);
	return rc;
}

/*
 * What cannot be copied so (another file system, a file that we may not read) is -EOPNOTSUPP, and the
 * kernel copies with reads and writes. Less than asked for is fine: no turn should last for gigabytes.
 */
static int copy_from(struct change *c, int to)
{
	enum { COPY_MAX = 64 << 20 };
	struct fd_hold source;
	off_t from = c->from, at = c->off;
	size_t len = c->length < COPY_MAX ? (size_t)c->length : COPY_MAX;
	if (fds_open(c->o->fds, c->source, FD_READ, &source) < 0)
		return -EOPNOTSUPP;
	ssize_t n = copy_file_range(source.fd, &from, to, &at, len, 0);
	int rc = n >= 0                                                 ? 0
		 : errno == EXDEV || errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP
									: -errno;
	fds_put(c->o->fds, &source);
	c->out.written = n > 0 ? (size_t)n : 0;
	return rc;
}

static int apply_copy(struct change *c)
{
	struct fd_hold h;
	struct lookup_stat ls;
	int rc = fds_open(c->o->fds, c->node, FD_WRITE, &h);
	if (rc < 0)
		return rc;
	const int fd = h.fd;
	if (lookup_statx(fd, "", &ls) == 0)
		change_begin_content(c, c->node, ls.stamp);
	drop_suid(c, fd);
	rc = copy_from(c, fd);
	if (lookup_statx(fd, "", &ls) == 0)
		change_end_content(c, c->node, ls.stamp);
	fds_put(c->o->fds, &h);
	return rc;
}

static int apply_with_fd(struct change *c, int fd)
{
	switch (c->kind) {
	case CHANGE_CREATE:
		return apply_create(c, fd);
	case CHANGE_TMPFILE:
		return apply_tmpfile(c, fd);
	case CHANGE_MKDIR:
	case CHANGE_MKNOD:
	case CHANGE_SYMLINK:
		return apply_make(c, fd);
	case CHANGE_UNLINK:
	case CHANGE_RMDIR:
		return apply_remove(c, fd);
	case CHANGE_RENAME:
		return apply_rename(c, fd);
	case CHANGE_LINK:
		return apply_link(c, fd);
	case CHANGE_SETATTR:
		return apply_setattr(c, fd);
	case CHANGE_SETXATTR:
	case CHANGE_REMOVEXATTR:
		return apply_xattr(c, fd);
	case CHANGE_WRITE:
	case CHANGE_FALLOCATE:
	case CHANGE_COPY:
		break;
	}
	return -EINVAL;
}

static int apply(struct change *c)
{
	struct fd_hold h;
	stop_point("home-granted");
	if (c->kind == CHANGE_WRITE)
		return apply_write(c);
	if (c->kind == CHANGE_FALLOCATE)
		return apply_fallocate(c);
	if (c->kind == CHANGE_COPY)
		return apply_copy(c);
	int rc = fds_path(c->o->fds, c->node, &h);
	if (rc < 0)
		return rc;
	rc = apply_with_fd(c, h.fd);
	fds_put(c->o->fds, &h);
	return rc;
}

int home_apply(struct change *c)
{
	int rc = 0;
	if (again_was_applied(c, &rc))
		return rc;
	again_begin_home(c);
	rc = apply(c);
	if (is_full(rc) && fds_settle(c->o->fds, true))
		rc = apply(c);
	if (rc == 0)
		again_done(c);
	return rc;
}
