/* What those who have a file open need of us: the handles of files that CREATE made (change.h), and pins. */
#include <stdlib.h>
#include <unistd.h>

#include "fs/change.h"
#include "fs/lookup.h"

struct change_handle *change_handle_of(const struct fuse_file_info *fi)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): the kernel gives back what CREATE answered */
	return fi ? (struct change_handle *)(uintptr_t)fi->fh : NULL;
}

int change_made_fd(const struct fuse_file_info *fi)
{
	const struct change_handle *h = change_handle_of(fi);
	return h ? h->fd : -1;
}

void change_handle_free(struct overlay *o, struct change_handle *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&o->handles_lock);
	*h->at = h->next;
	if (h->next)
		h->next->at = h->at;
	pthread_mutex_unlock(&o->handles_lock);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

struct change_handle *change_handle_new(struct change *c, int fd)
{
	struct overlay *o = c->o;
	struct change_handle *h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->fd = fd;
	h->pass = c->pass;
	pthread_mutex_lock(&o->handles_lock);
	h->next = o->handles;
	h->at = &o->handles;
	if (h->next)
		h->next->at = &h->next;
	o->handles = h;
	pthread_mutex_unlock(&o->handles_lock);
	c->fi.fh = (uintptr_t)h;
	return h;
}

void change_handles_free(struct overlay *o)
{
	while (o->handles)
		change_handle_free(o, o->handles);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct overlay *o = overlay_of(req);
	struct change_handle *h = change_handle_of(fi);
	struct node *n = ino & CONTROL_BIT ? NULL : node_get(o->nodes, ino);
	if (n)
		fds_close_write(o->fds, n);
	if (h && n && h->fd < 0)
		foreign_release(o, n, h);
	change_handle_free(o, h);
	fuse_reply_err(req, 0); /* the last: the kernel may forget the node then */
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
