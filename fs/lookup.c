#include "fs/lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fs/coherence.h"
#include "fs/control.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"

void reply_err(fuse_req_t req, int rc)
{
	fuse_reply_err(req, rc < 0 ? -rc : rc);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ (h >> 29);
}

uint64_t lookup_stamp(const struct timespec *ctime, int64_t size)
{
	uint64_t h =
		mix(mix(mix(1, (uint64_t)ctime->tv_sec), (uint64_t)ctime->tv_nsec), (uint64_t)size);
	return h ? h : 1;
}

static struct timespec from_statx(const struct statx_timestamp *t)
{
	return (struct timespec){.tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec};
}

int lookup_statx(int dirfd, const char *name, struct lookup_stat *out)
{
	struct statx x;
	if (statx(dirfd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME, &x) < 0) {
		*out = (struct lookup_stat){.stamp = 0};
		return errno ? -errno : -EIO;
	}
	out->st = (struct stat){
		.st_dev = makedev(x.stx_dev_major, x.stx_dev_minor),
		.st_ino = x.stx_ino,
		.st_mode = x.stx_mode,
		.st_nlink = x.stx_nlink,
		.st_uid = x.stx_uid,
		.st_gid = x.stx_gid,
		.st_rdev = makedev(x.stx_rdev_major, x.stx_rdev_minor),
		.st_size = (off_t)x.stx_size,
		.st_blksize = x.stx_blksize,
		.st_blocks = (blkcnt_t)x.stx_blocks,
		.st_atim = from_statx(&x.stx_atime),
		.st_mtim = from_statx(&x.stx_mtime),
		.st_ctim = from_statx(&x.stx_ctime),
	};
	out->born = 0;
	if (x.stx_mask & STATX_BTIME)
		out->born =
			(uint32_t)mix(mix(7, (uint64_t)x.stx_btime.tv_sec), x.stx_btime.tv_nsec);
	out->stamp = lookup_stamp(&out->st.st_ctim, out->st.st_size);
	return 0;
}

static bool is_node(struct overlay *o, const struct node *n, const struct lookup_stat *ls)
{
	return ls->st.st_ino == n->ino && ls->st.st_dev == node_dev(o->nodes, n) &&
	       ls->born == n->born;
}

int lookup_stat_node(struct overlay *o, struct node *n, struct lookup_stat *out)
{
	struct fd_hold h;
	struct node *parent = NULL;
	char name[NODE_NAME_MAX];
	int rc = 0;
	if (fds_path_cached(o->fds, n, &h)) {
		rc = lookup_statx(h.fd, "", out);
		fds_put(o->fds, &h);
		return rc;
	}
	if (node_name_nth(o->nodes, n, 0, &parent, name) && parent->index != NODE_ROOT_ID &&
	    fds_path(o->fds, parent, &h) == 0) {
		rc = lookup_statx(h.fd, name, out);
		fds_put(o->fds, &h);
		if (rc == 0 && is_node(o, n, out))
			return 0;
	}
	rc = fds_path(o->fds, n, &h);
	if (rc < 0)
		return rc;
	rc = lookup_statx(h.fd, "", out);
	fds_put(o->fds, &h);
	return rc;
}

bool lookup_hidden(struct overlay *o, const struct node *parent, const char *name)
{
	return parent->ino == o->under_ino && strcmp(name, o->under_name) == 0 &&
	       node_dev(o->nodes, parent) == o->under_dev;
}

/*
 * The watch of its directory does not tell all of what becomes of it: the times and the size of a
 * directory change with what is made in it, and a file with several names also changes through those
 * that nobody watches.
 */
static bool needs_watch(const struct stat *st)
{
	return S_ISDIR(st->st_mode) || st->st_nlink > 1;
}

double lookup_attr_timeout(struct overlay *o, struct node *n, const struct stat *st)
{
	struct node *parent = NULL;
	char name[NODE_NAME_MAX];
	if (n->wd >= 0)
		return LOOKUP_FOREVER;
	if (needs_watch(st)) {
		coherence_watch(o, n); /* for the next time: st is older than the watch */
		return LOOKUP_UNWATCHED;
	}
	if (n->flags & NODE_UNLINKED)
		return LOOKUP_FOREVER;
	if (node_name_nth(o->nodes, n, 0, &parent, name) && parent->wd >= 0)
		return LOOKUP_FOREVER;
	return LOOKUP_UNWATCHED;
}

/* What lies in a directory belongs to its repo, but for the root of another one. */
static void inherit_repo(struct overlay *o, const struct node *parent, struct node *n)
{
	if (parent->index == NODE_ROOT_ID || n->flags & NODE_REPO_ROOT)
		return;
	uint16_t repo = parent->repo;
	if (atomic_exchange(&n->repo, repo) != repo && n->flags & NODE_DIR)
		repos_reown(o); /* it was moved here from another repo, with all that lies in it */
}

int lookup_intern(struct overlay *o, struct node *parent, const char *name,
		  const struct lookup_stat *ls, bool own, struct fuse_entry_param *e,
		  struct node **node)
{
	struct lookup_stat now = *ls;
	uint32_t type = S_ISDIR(ls->st.st_mode) ? NODE_DIR : S_ISREG(ls->st.st_mode) ? NODE_REG : 0;
	struct node_key key = {
		.dev = ls->st.st_dev,
		.ino = ls->st.st_ino,
		.born = ls->born,
		.flags = type | (own && type == NODE_REG ? NODE_WRITTEN : 0u),
		.stamp = ls->stamp,
		.repo = parent->repo,
	};
	struct node *n = NULL;
	bool made = false;
	int rc = node_intern(o->nodes, &key, parent, name, own, &n, &made);
	if (rc < 0)
		return rc;
	inherit_repo(o, parent, n);
	/* What changed before there was a watch was told to nobody: look again. */
	if (n->wd == -1 && needs_watch(&now.st) && coherence_watch(o, n) &&
	    lookup_stat_node(o, n, &now) < 0)
		now = *ls;
	if (type == NODE_REG && (!made || now.stamp != ls->stamp))
		coherence_seen(o, n, now.stamp);
	*e = (struct fuse_entry_param){
		.ino = node_id(n),
		.attr = now.st,
		.attr_timeout = lookup_attr_timeout(o, n, &now.st),
		.entry_timeout = parent->wd >= 0 ? LOOKUP_FOREVER : LOOKUP_UNWATCHED,
	};
	if (node)
		*node = n;
	return 0;
}

/* The kernel is about to hear that there is no such name: should we believe otherwise, then the event
 * that is on its way is not one of our own changes alone. */
static void disown(struct overlay *o, struct node *parent, const char *name)
{
	bool own = false;
	struct node *n = node_name_find(o->nodes, parent, name, &own);
	if (n)
		lookup_forget(o, node_id(n), 1);
}

/*
 * Who looks a file up is about to open it, and we shall not hear of that: its descriptor is taken now, so
 * that it stays readable when it is replaced outside before the first READ.
 */
static int lookup_open(struct overlay *o, struct node *parent, const char *name,
		       struct fuse_entry_param *e)
{
	struct fd_hold h;
	struct lookup_stat ls;
	struct node *n = NULL;
	int rc = fds_path(o->fds, parent, &h);
	if (rc < 0)
		return rc;
	CLEANUP(closep) int fd = openat(h.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	rc = fd < 0 && errno == ENOENT ? -ENOENT
	     : fd < 0                  ? lookup_statx(h.fd, name, &ls)
				       : lookup_statx(fd, "", &ls);
	fds_put(o->fds, &h);
	if (rc == 0)
		rc = lookup_intern(o, parent, name, &ls, false, e, &n);
	if (rc == 0 && fd >= 0 && n->flags & NODE_REG)
		fds_give_path(o->fds, n, steal_fd(&fd));
	return rc;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct overlay *o = overlay_of(req);
	struct fuse_entry_param e = {0};
	if (parent & CONTROL_BIT || (parent == FUSE_ROOT_ID && strcmp(name, ".rrm") == 0)) {
		control_lookup(req, parent, name);
		return;
	}
	if (parent == FUSE_ROOT_ID) {
		int rc = repos_lookup(o, name, &e);
		if (rc < 0)
			reply_err(req, rc);
		else
			fuse_reply_entry(req, &e);
		return;
	}
	struct node *p = node_get(o->nodes, parent);
	if (!p || lookup_hidden(o, p, name)) {
		reply_err(req, p ? -ENOENT : -ESTALE);
		return;
	}
	/* Watched before looking: a change from outside after that is told. */
	bool watched = coherence_watch(o, p);
	int rc = lookup_open(o, p, name, &e);
	if (rc == -ENOENT) { /* ino 0: the kernel keeps that there is none */
		disown(o, p, name);
		e.entry_timeout = watched ? LOOKUP_FOREVER : LOOKUP_UNWATCHED;
		fuse_reply_entry(req, &e);
	} else if (rc < 0) {
		reply_err(req, rc);
	} else if (fuse_reply_entry(req, &e) == -ENOENT) {
		lookup_forget(o, e.ino, 1);
	}
}

void lookup_forget(struct overlay *o, fuse_ino_t ino, uint64_t count)
{
	struct node *n = node_get(o->nodes, ino);
	if (!n)
		return;
	struct node *dead = node_forget(o->nodes, n, count);
	while (dead) {
		struct node *next = node_next_dead(o->nodes, dead);
		coherence_unwatch(o, dead);
		fds_drop(o->fds, dead);
		node_bury(o->nodes, dead);
		dead = next;
	}
}

static void forget_one(struct overlay *o, fuse_ino_t ino, uint64_t count)
{
	if (ino & CONTROL_BIT)
		control_forget(o, ino, count);
	else
		lookup_forget(o, ino, count);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	forget_one(overlay_of(req), ino, nlookup);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget_one(overlay_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct overlay *o = overlay_of(req);
	struct lookup_stat ls;
	if (ino & CONTROL_BIT) {
		control_getattr(req, ino);
		return;
	}
	if (ino == FUSE_ROOT_ID) {
		repos_root_attr(o, &ls.st);
		fuse_reply_attr(req, &ls.st, LOOKUP_FOREVER);
		return;
	}
	struct node *n = node_get(o->nodes, ino);
	int rc = n ? lookup_stat_node(o, n, &ls) : -ESTALE;
	if (rc < 0) {
		reply_err(req, rc);
		return;
	}
	if (n->flags & NODE_REG)
		coherence_seen(o, n, ls.stamp);
	fuse_reply_attr(req, &ls.st, lookup_attr_timeout(o, n, &ls.st));
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct overlay *o = overlay_of(req);
	char target[PATH_MAX + 1];
	struct fd_hold h;
	struct node *n = ino & CONTROL_BIT ? NULL : node_get(o->nodes, ino);
	int rc = n ? fds_path(o->fds, n, &h) : -ESTALE;
	if (rc < 0) {
		reply_err(req, rc);
		return;
	}
	ssize_t len = readlinkat(h.fd, "", target, PATH_MAX);
	rc = len < 0 ? -errno : 0;
	fds_put(o->fds, &h);
	if (rc < 0) {
		reply_err(req, rc);
		return;
	}
	target[len] = '\0';
	fuse_reply_readlink(req, target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct overlay *o = overlay_of(req);
	struct statvfs sv;
	struct fd_hold h;
	struct node *n = ino & CONTROL_BIT || ino == FUSE_ROOT_ID ? NULL : node_get(o->nodes, ino);
	int rc = 0;
	fds_settle(o->fds, false); /* what was removed is free */
	if (!n) {
		rc = statvfs(o->config->base, &sv) < 0 ? -errno : 0;
	} else {
		rc = fds_path(o->fds, n, &h);
		if (rc == 0) {
			rc = fstatvfs(h.fd, &sv) < 0 ? -errno : 0;
			fds_put(o->fds, &h);
		}
	}
	if (rc < 0)
		reply_err(req, rc);
	else
		fuse_reply_statfs(req, &sv);
}

/*
 * The kernel asks for security.capability at the first write after each look at the attributes: the file is
 * open then. name NULL: the list of names. Length or negative errno.
 */
static ssize_t read_xattr(struct overlay *o, struct node *n, const char *name, char *buf,
			  size_t size)
{
	struct fd_hold h;
	char proc[40];
	ssize_t len;
	bool open = name && fds_write_cached(o->fds, n, &h);
	int rc = open ? 0 : fds_path(o->fds, n, &h);
	if (rc < 0)
		return rc;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h.fd);
	len = open   ? fgetxattr(h.fd, name, buf, size)
	      : name ? getxattr(proc, name, buf, size)
		     : listxattr(proc, buf, size);
	if (len < 0)
		len = -errno;
	fds_put(o->fds, &h);
	return len;
}

/* name NULL: the list of names. */
static void reply_xattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct overlay *o = overlay_of(req);
	if (ino & CONTROL_BIT || ino == FUSE_ROOT_ID) {
		if (name)
			reply_err(req, -ENODATA);
		else if (size)
			fuse_reply_buf(req, NULL, 0);
		else
			fuse_reply_xattr(req, 0);
		return;
	}
	struct node *n = node_get(o->nodes, ino);
	CLEANUP(freep) char *buf = size ? malloc(size) : NULL;
	ssize_t len = !n ? -ESTALE : size && !buf ? -ENOMEM : read_xattr(o, n, name, buf, size);
	int rc = len < 0 ? (int)len : 0;
	/* Without SELinux no file has a label. This errno makes ls -l stop asking for each. */
	if (name && rc == -ENODATA && strcmp(name, "security.selinux") == 0)
		rc = -EOPNOTSUPP;
	if (rc < 0)
		reply_err(req, rc);
	else if (size)
		fuse_reply_buf(req, buf, (size_t)len);
	else
		fuse_reply_xattr(req, (size_t)len);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	reply_xattr(req, ino, name, size);
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	reply_xattr(req, ino, NULL, size);
}
