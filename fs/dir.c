#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/coherence.h"
#include "fs/control.h"
#include "fs/lookup.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"

/*
 * OPENDIR is never sent, so a request carries nothing but an offset: the cookie that the file system below
 * gave with the entry before. Each request opens the directory anew and seeks there.
 */

enum { RAW_SIZE = 32768 };

struct dirent_raw { /* struct linux_dirent64 */
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

struct reply {
	fuse_req_t req;
	struct overlay *o;
	struct node *dir;
	char *buf; /* owned */
	size_t size, len;
	bool plus;
	int fd; /* of the directory */
};

/* Appends an entry; false when it does not fit any more. */
static bool add(struct reply *r, const char *name, const struct fuse_entry_param *e, off_t next)
{
	size_t left = r->size - r->len;
	size_t need =
		r->plus ? fuse_add_direntry_plus(r->req, r->buf + r->len, left, name, e, next)
			: fuse_add_direntry(r->req, r->buf + r->len, left, name, &e->attr, next);
	if (need > left)
		return false;
	r->len += need;
	return true;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* False: the buffer is full. An entry that vanished meanwhile is left out. */
static bool add_real(struct reply *r, const struct dirent_raw *d)
{
	struct fuse_entry_param e = {.attr = {.st_ino = d->ino, .st_mode = (mode_t)d->type << 12}};
	if (lookup_hidden(r->o, r->dir, d->name))
		return true;
	if (!r->plus || is_dot(d->name))
		return add(r, d->name, &e, d->off);
	/* Does it fit? Before a lookup is counted that nobody would hear of. */
	if (fuse_add_direntry_plus(r->req, NULL, 0, d->name, NULL, 0) > r->size - r->len)
		return false;
	struct lookup_stat ls;
	int rc = lookup_statx(r->fd, d->name, &ls);
	if (rc == -EACCES) /* a directory that may be read but not searched: its names only */
		return add(r, d->name, &e, d->off);
	if (rc < 0)
		return true;
	if (lookup_intern(r->o, r->dir, d->name, &ls, false, &e, NULL) < 0)
		return true;
	return add(r, d->name, &e, d->off);
}

static int fill_real(struct reply *r, off_t off)
{
	union {
		char bytes[RAW_SIZE];
		struct dirent_raw align;
	} raw;
	if (off && lseek(r->fd, off, SEEK_SET) < 0)
		return -errno;
	for (;;) {
		long n = syscall(SYS_getdents64, r->fd, raw.bytes, sizeof(raw.bytes));
		if (n < 0)
			return r->len ? 0 : -errno;
		if (n == 0)
			return 0;
		for (long at = 0; at < n;) {
			const struct dirent_raw *d = (const void *)(raw.bytes + at);
			if (!add_real(r, d))
				return 0;
			at += d->reclen;
		}
	}
}

static int open_dir(struct overlay *o, struct node *n)
{
	struct fd_hold h;
	char proc[40];
	int rc = fds_path(o->fds, n, &h);
	if (rc < 0)
		return rc;
	/* Not by ".": that would take the right to search it. */
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h.fd);
	int fd = open(proc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = fd < 0 ? -errno : fd;
	fds_put(o->fds, &h);
	return rc;
}

/* ".", "..", ".rrm", then the repos by index: offset i + 1 follows entry i. */
static int fill_top(struct reply *r, off_t off)
{
	static const char *const fixed[] = {".", "..", ".rrm"};
	struct repos *repos = r->o->repos;
	off_t end = 3 + repos_count(repos);
	for (off_t i = off; i < end; i++) {
		struct fuse_entry_param e = {.attr = {.st_ino = FUSE_ROOT_ID, .st_mode = S_IFDIR}};
		const char *name = NULL;
		if (i < 3) {
			name = fixed[i];
		} else {
			struct repos_entry *re = repos_at(repos, (uint16_t)(i - 3));
			if (re->gone)
				continue;
			name = re->info->name;
			e.attr.st_ino = re->ino;
		}
		if (!add(r, name, &e, i + 1))
			return 0;
	}
	return 0;
}

/* The top directory tells names only: a nodeid of 0 makes the kernel look each up when it needs it. */
static void readdir_top(fuse_req_t req, size_t size, off_t off, bool plus)
{
	struct reply r = {.req = req, .o = overlay_of(req), .size = size, .plus = plus};
	CLEANUP(freep) char *buf = malloc(size);
	r.buf = buf;
	if (!buf) {
		reply_err(req, -ENOMEM);
		return;
	}
	fill_top(&r, off);
	fuse_reply_buf(req, buf, r.len);
}

static void readdir_any(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct overlay *o = overlay_of(req);
	if (ino & CONTROL_BIT) {
		control_readdir(req, ino, size, off, plus);
		return;
	}
	if (ino == FUSE_ROOT_ID) {
		readdir_top(req, size, off, plus);
		return;
	}
	struct reply r = {
		.req = req, .o = o, .dir = node_get(o->nodes, ino), .size = size, .plus = plus};
	CLEANUP(freep) char *buf = malloc(size);
	CLEANUP(closep) int fd = -1;
	if (!r.dir || !buf) {
		reply_err(req, buf ? -ESTALE : -ENOMEM);
		return;
	}
	r.buf = buf;
	coherence_watch(o, r.dir);
	int rc = fd = open_dir(o, r.dir);
	r.fd = fd;
	if (rc >= 0)
		rc = fill_real(&r, off);
	if (rc < 0)
		reply_err(req, rc);
	else
		fuse_reply_buf(req, buf, r.len);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	readdir_any(req, ino, size, off, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	readdir_any(req, ino, size, off, true);
}
