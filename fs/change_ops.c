#include "fs/change.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "fs/again.h"

/*
 * The kernel leaves the umask to us (FUSE_CAP_DONT_MASK): where the directory has a default ACL, that takes
 * its place, as on the file system below.
 */
static void apply_umask(struct change *c)
{
	struct fd_hold h;
	char proc[40];
	if (fds_path(c->o->fds, c->node, &h) < 0)
		return; /* the change will say why */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h.fd);
	if (getxattr(proc, "system.posix_acl_default", NULL, 0) <= 0)
		c->mode &= ~fuse_req_ctx(c->req)->umask;
	fds_put(c->o->fds, &h);
}

/* What is of no repository stays as it is: says why. */
static void tell_refusal(const struct change *c, bool control)
{
	char path[PATH_MAX];
	struct router_note what = {.op = change_op(c), .path = path, .error = EROFS};
	bool names = c->kind != CHANGE_SETXATTR && c->kind != CHANGE_REMOVEXATTR;
	const char *name = c->kind == CHANGE_LINK ? c->name2 : c->name;
	snprintf(path, sizeof(path), "%s%s", control ? ".rrm/" : "", names && name ? name : "");
	router_refused_by_mount(c->o->router, fuse_req_ctx(c->req)->pid, &what,
				control ? "what stands in .rrm is made by rrm-mount"
					: "only registered repositories stand here; make it "
					  "elsewhere, then rrm add PATH");
}

/* Resolves the nodes of a request; replies and returns false when it ends here. */
static bool start(struct change *c, fuse_req_t req, fuse_ino_t ino, fuse_ino_t ino2)
{
	c->o = overlay_of(req);
	c->req = req;
	int rc = 0;
	bool control = ino & CONTROL_BIT || ino2 & CONTROL_BIT;
	if (control || ino == FUSE_ROOT_ID || ino2 == FUSE_ROOT_ID)
		rc = -EROFS; /* the top directory shows the registered repos: rrm add, rrm remove */
	if (rc == 0) {
		c->node = node_get(c->o->nodes, ino);
		c->node2 = ino2 ? node_get(c->o->nodes, ino2) : NULL;
		if (!c->node || (ino2 && !c->node2))
			rc = -ESTALE;
		else if (c->node2 && c->node->repo != c->node2->repo)
			rc = -EXDEV;
	}
	if (rc == 0 && c->name && (c->node->flags & NODE_DIR) &&
	    lookup_hidden(c->o, c->node, c->name))
		rc = -EBUSY;
	if (rc == 0)
		again_find(c);
	if (rc == -EROFS)
		tell_refusal(c, control);
	if (rc < 0) {
		c->node = NULL;
		reply_err(req, rc);
	} else if (c->kind == CHANGE_CREATE || c->kind == CHANGE_MKDIR || c->kind == CHANGE_MKNOD ||
		   c->kind == CHANGE_TMPFILE) {
		apply_umask(c);
	}
	return rc == 0;
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct change c = {
		.kind = CHANGE_CREATE, .name = name, .mode = mode, .flags = fi->flags, .fi = *fi};
	if (start(&c, req, parent, 0))
		change_run(&c);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
static void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	struct change c = {.kind = CHANGE_TMPFILE, .mode = mode, .flags = fi->flags, .fi = *fi};
	if (start(&c, req, parent, 0))
		change_run(&c);
}
#endif

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	struct change c = {
		.kind = CHANGE_WRITE,
		.data = buf,
		.size = size,
		.off = off,
		.flags = fi->writepage ? 0 : fi->flags & O_APPEND,
		.writepage = fi->writepage,
	};
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	c.kill_suidgid = fi->kill_suidgid;
#else
	c.kill_suidgid = fuse_req_ctx(req)->uid != 0;
#endif
	if (start(&c, req, ino, 0))
		change_run(&c);
}

/*
 * chown(2) of nothing by somebody else than the owner, or the kernel's word that he is about to write, which
 * looks the same: the set-id bits are not his to take by the one, and go with the write itself.
 */
static bool only_looks(struct change *c)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(c->req);
	if (!change_is_chown(c->to_set) || c->to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		return false;
	return ctx->uid != 0 && lookup_stat_node(c->o, c->node, &c->out.ls) == 0 &&
	       c->out.ls.st.st_uid != ctx->uid;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	struct change c = {.kind = CHANGE_SETATTR, .attr = *attr, .to_set = to_set};
	c.kill_suidgid = fuse_req_ctx(req)->uid != 0;
	if (!start(&c, req, ino, 0))
		return;
	if (only_looks(&c))
		change_reply(&c, 0);
	else
		change_run(&c);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct change c = {.kind = CHANGE_UNLINK, .name = name};
	if (start(&c, req, parent, 0))
		change_run(&c);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct change c = {.kind = CHANGE_RMDIR, .name = name};
	if (start(&c, req, parent, 0))
		change_run(&c);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct change c = {.kind = CHANGE_MKDIR, .name = name, .mode = mode};
	if (start(&c, req, parent, 0))
		change_run(&c);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct change c = {.kind = CHANGE_MKNOD, .name = name, .mode = mode, .rdev = rdev};
	if (start(&c, req, parent, 0))
		change_run(&c);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct change c = {.kind = CHANGE_SYMLINK, .name = name, .name2 = target};
	if (start(&c, req, parent, 0))
		change_run(&c);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct change c = {.kind = CHANGE_LINK, .name2 = name};
	if (start(&c, req, ino, parent))
		change_run(&c);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned int flags)
{
	struct change c = {
		.kind = CHANGE_RENAME, .name = name, .name2 = newname, .flags = (int)flags};
	if (start(&c, req, parent, newparent))
		change_run(&c);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	struct change c = {
		.kind = CHANGE_SETXATTR, .name = name, .data = value, .size = size, .flags = flags};
	if (start(&c, req, ino, 0))
		change_run(&c);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct change c = {.kind = CHANGE_REMOVEXATTR, .name = name};
	if (start(&c, req, ino, 0))
		change_run(&c);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t length,
			 struct fuse_file_info *fi)
{
	struct change c = {.kind = CHANGE_FALLOCATE, .off = off, .length = length, .flags = mode};
	c.kill_suidgid = fuse_req_ctx(req)->uid != 0;
	if (start(&c, req, ino, 0))
		change_run(&c);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t off_from,
			       struct fuse_file_info *fi_from, fuse_ino_t to, off_t off_to,
			       struct fuse_file_info *fi_to, size_t len, int flags)
{
	struct change c = {.kind = CHANGE_COPY,
			   .source = from & CONTROL_BIT ? NULL
							: node_get(overlay_of(req)->nodes, from),
			   .from = off_from,
			   .off = off_to,
			   .length = (off_t)len,
			   .flags = flags};
	c.kill_suidgid = fuse_req_ctx(req)->uid != 0;
	if (!c.source)
		reply_err(req, -EOPNOTSUPP); /* the kernel then reads and writes itself */
	else if (start(&c, req, to, 0))
		change_run(&c);
}

void change_ops(struct fuse_lowlevel_ops *ops)
{
	ops->create = op_create;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	ops->tmpfile = op_tmpfile;
#endif
	ops->write = op_write;
	ops->setattr = op_setattr;
	ops->unlink = op_unlink;
	ops->rmdir = op_rmdir;
	ops->mkdir = op_mkdir;
	ops->mknod = op_mknod;
	ops->symlink = op_symlink;
	ops->link = op_link;
	ops->rename = op_rename;
	ops->setxattr = op_setxattr;
	ops->removexattr = op_removexattr;
	ops->fallocate = op_fallocate;
	ops->copy_file_range = op_copy_file_range;
}
