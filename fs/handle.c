/* What those who have a file open need of us: descriptors that its mode would forbid to open again. */
#include "fs/change.h"
#include "fs/lookup.h"

/* The kernel says so only until it was told once that we know no OPEN: so nothing may depend on it. */
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

void change_keep_for_openers(struct change *c)
{
	const mode_t mode = c->attr.st_mode;
	if (c->o->privileged || !(c->node->flags & NODE_REG))
		return;
	if (!(mode & S_IRUSR))
		fds_pin(c->o->fds, c->node, FD_READ);
	if (!(mode & (S_IWUSR | S_IXUSR | S_IXGRP | S_IXOTH)))
		fds_pin(c->o->fds, c->node, FD_WRITE);
}

void change_keep_reachable(struct overlay *o, struct node *dir, const char *name)
{
	struct fd_hold h;
	struct node *n = node_name_find(o->nodes, dir, name, NULL);
	if (!n)
		return;
	if (fds_path(o->fds, n, &h) == 0)
		fds_put(o->fds, &h);
	lookup_forget(o, node_id(n), 1);
}
