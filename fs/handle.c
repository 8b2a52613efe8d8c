/* What those who have a file open need of us: the handles of files that CREATE made (change.h), and pins. */
#include <stdlib.h>
#include <unistd.h>

#include "fs/change.h"
#include "fs/estate.h"
#include "fs/lookup.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"

struct change_handle *change_handle_of(struct overlay *o, const struct fuse_file_info *fi)
{
	struct change_handle *h = NULL;
	if (!fi || !fi->fh)
		return NULL;
	uint64_t id = fi->fh;
	LOCK_SCOPE(&o->handles_lock);
	HASH_FIND(hh, o->handles, &id, sizeof(id), h);
	return h;
}

int change_made_fd(struct overlay *o, const struct fuse_file_info *fi)
{
	const struct change_handle *h = change_handle_of(o, fi);
	return h ? h->fd : -1;
}

void change_handle_free(struct overlay *o, struct change_handle *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&o->handles_lock);
	HASH_DEL(o->handles, h);
	pthread_mutex_unlock(&o->handles_lock);
	estate_drop(o->estate, h->kept);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

static struct change_handle *add(struct overlay *o, uint64_t id, int fd, int kept)
{
	struct change_handle *h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->id = id;
	h->fd = fd;
	h->kept = kept;
	pthread_mutex_lock(&o->handles_lock);
	HASH_ADD(hh, o->handles, id, sizeof(h->id), h);
	pthread_mutex_unlock(&o->handles_lock);
	return h;
}

struct change_handle *change_handle_new(struct change *c, int fd)
{
	struct overlay *o = c->o;
	uint64_t id = ++o->estate->handles;
	struct change_handle *h = add(o, id, fd, estate_keep(o->estate, ESTATE_HANDLE, id, fd));
	if (!h)
		return NULL;
	h->pass = c->pass;
	c->fi.fh = id;
	return h;
}

/* The CREATE that made it was not answered: it comes again, and makes one of the descriptor in its intent. */
static bool unanswered(struct estate *es, int fd)
{
	for (int i = 0; i < ESTATE_INTENTS; i++)
		if (fd >= 0 && es->intents[i].state != INTENT_FREE && es->intents[i].fd == fd)
			return true;
	return false;
}

void change_handles_adopt(struct overlay *o)
{
	for (int i = 0; i < ESTATE_KEPT; i++) {
		const struct estate_fd *k = &o->estate->kept[i];
		if (k->kind == ESTATE_HANDLE && unanswered(o->estate, k->fd))
			estate_drop(o->estate, i);
		else if (k->kind == ESTATE_HANDLE && !add(o, k->key, k->fd, i))
			log_error("event=adopt error=\"out of memory\"");
	}
}

void change_handles_free(struct overlay *o)
{
	struct change_handle *h = NULL, *tmp = NULL;
	HASH_ITER (hh, o->handles, h, tmp)
		change_handle_free(o, h);
}

void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct overlay *o = overlay_of(req);
	struct change_handle *h = change_handle_of(o, fi);
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
