#include "router/gateway_undo.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/log.h"

enum {
	LEAST_BYTES = 4096,
	AGE_CHECK_MS = 3600 * 1000,
	DAY_MS = 86400 * 1000,
	PIECE_MAX = 64 * 1024, /* content and attributes together */
	PACK_MAX = 1 << 20,
	PACK_MS = 3600 * 1000, /* a pack begun longer ago takes no more */
	NAMES_MAX = 1024,      /* of the attributes of a piece */
};

struct copy {
	uint64_t n;
	uint64_t bytes;
};

struct gateway_undo {
	int state;                  /* borrowed */
	int dir;                    /* owned; -1 until something is kept */
	bool no_clone;              /* not on this file system */
	int pack;                   /* owned; of what takes pieces now; -1: none */
	uint64_t pack_n, pack_size; /* 0 when there is none */
	char *piece;                /* owned; PIECE_MAX bytes, NULL before the first */
	uint64_t max_bytes, total;
	uint32_t days;
	int64_t checked_ms;  /* wall clock: when the ages were looked at */
	struct copy *copies; /* owned; by n */
	size_t first, n, room;
};

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct copy *)a)->n, y = ((const struct copy *)b)->n;
	return x < y ? -1 : x > y;
}

/* What it takes on the disk, about: a limit in bytes must bound small files, too. */
static uint64_t cost(int64_t size)
{
	return size > LEAST_BYTES ? (uint64_t)size : LEAST_BYTES;
}

static int add_copy(struct gateway_undo *u, uint64_t n, int64_t size)
{
	if (u->n == u->room && u->first > u->n / 2) {
		u->n -= u->first;
		memmove(u->copies, u->copies + u->first, u->n * sizeof(*u->copies));
		u->first = 0;
	}
	if (u->n == u->room) {
		size_t room = u->room ? u->room * 2 : 64;
		struct copy *grown = reallocarray(u->copies, room, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		u->copies = grown;
		u->room = room;
	}
	u->copies[u->n++] = (struct copy){.n = n, .bytes = cost(size)};
	u->total += cost(size);
	return 0;
}

static const char *name_of(uint64_t n, char buf[32])
{
	snprintf(buf, 32, "%llu", (unsigned long long)n);
	return buf;
}

static void close_pack(struct gateway_undo *u)
{
	closep(&u->pack);
	u->pack = -1;
	u->pack_n = u->pack_size = 0;
}

static void drop_first(struct gateway_undo *u)
{
	char name[32];
	const struct copy *c = &u->copies[u->first];
	if (unlinkat(u->dir, name_of(c->n, name), 0) < 0 && errno != ENOENT)
		log_warn("event=undo remove=%s error=\"%m\"", name);
	if (c->n == u->pack_n)
		close_pack(u);
	u->total -= c->bytes;
	u->first++;
}

/* n is the wall clock at the time, or next to it; the last piece of a pack may be that much newer. */
static void drop_old(struct gateway_undo *u, int64_t now_ms)
{
	int64_t oldest_ms = now_ms - (int64_t)u->days * DAY_MS - PACK_MS;
	u->checked_ms = now_ms;
	while (u->days && u->first < u->n && (int64_t)u->copies[u->first].n < oldest_ms)
		drop_first(u);
}

static int scan(struct gateway_undo *u)
{
	int fd = openat(u->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd); /* takes fd over */
	if (!d) {
		int r = -errno;
		closep(&fd);
		return r;
	}
	for (const struct dirent *de; (de = readdir(d));) {
		struct stat st;
		char *end;
		uint64_t n = strtoull(de->d_name, &end, 10);
		if (de->d_name[0] < '0' || de->d_name[0] > '9' ||
		    fstatat(u->dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (*end) /* a copy that a kill cut short */
			unlinkat(u->dir, de->d_name, 0);
		else if (add_copy(u, n, st.st_size) < 0)
			return -ENOMEM;
	}
	if (u->n)
		qsort(u->copies, u->n, sizeof(*u->copies), by_number);
	return 0;
}

int gateway_undo_new(struct gateway_undo **out, int dirfd, uint64_t max_bytes, uint32_t days,
		     struct err *e)
{
	struct gateway_undo *u = calloc(1, sizeof(*u));
	if (!u)
		return err_errno(e, -ENOMEM, "opening undo/");
	u->state = dirfd;
	u->max_bytes = max_bytes;
	u->days = days;
	u->pack = -1;
	u->dir = openat(dirfd, "undo", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r = u->dir >= 0 ? scan(u) : errno == ENOENT ? 0 : -errno;
	if (r < 0) {
		gateway_undo_free(u);
		return err_errno(e, r, "opening undo/ in the state directory");
	}
	drop_old(u, clock_wall_ms());
	while (u->first < u->n && u->total > max_bytes)
		drop_first(u);
	*out = u;
	return 0;
}

struct gateway_undo *gateway_undo_free(struct gateway_undo *u)
{
	if (!u)
		return NULL;
	closep(&u->dir);
	closep(&u->pack);
	free(u->piece);
	free(u->copies);
	free(u);
	return NULL;
}

static uint64_t next_number(const struct gateway_undo *u, int64_t now_ms)
{
	uint64_t last = u->n ? u->copies[u->n - 1].n : 0;
	return (uint64_t)now_ms > last ? (uint64_t)now_ms : last + 1;
}

/* The state directory is on a file system of another kind, or one that does not know the call. */
static bool no_range(int error)
{
	return error == EXDEV || error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
}

static int copy_bytes(int from, int to, int64_t size)
{
	enum { PART = 64 * 1024 };
	CLEANUP(freep) char *part = malloc(PART);
	if (!part)
		return -ENOMEM;
	for (int64_t at = 0; at < size;) {
		ssize_t n = pread(from, part, PART, at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		int r = file_write_all(to, part, (size_t)n);
		if (r < 0)
			return r;
		at += n;
	}
	return 0;
}

static int copy_content(struct gateway_undo *u, int from, int to, int64_t size)
{
	if (!u->no_clone && ioctl(to, FICLONE, from) == 0)
		return 0;
	u->no_clone = u->no_clone || errno == EOPNOTSUPP || errno == ENOTTY;
	if (size == 0)
		return 0;
	if (size > GATEWAY_UNDO_COPY_MAX)
		return -EFBIG;
	loff_t at = 0;
	while (at < size) {
		ssize_t n = copy_file_range(from, &at, to, NULL, (size_t)(size - at), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && at == 0 && no_range(errno))
			return copy_bytes(from, to, size);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
	}
	return 0;
}

/* Attributes and ACL go with the content; that one cannot be kept is no reason to keep nothing. */
static void copy_xattrs(int from, int to)
{
	CLEANUP(freep) char *names = malloc(XATTR_LIST_MAX);
	CLEANUP(freep) char *value = NULL;
	ssize_t len = names ? flistxattr(from, names, XATTR_LIST_MAX) : -1;
	if (len <= 0 || !(value = malloc(XATTR_SIZE_MAX)))
		return;
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		ssize_t n = fgetxattr(from, name, value, XATTR_SIZE_MAX);
		if (n >= 0 && fsetxattr(to, name, value, (size_t)n, 0) < 0)
			log_warn("event=undo xattr=%s kept=no error=\"%m\"", name);
	}
}

static int open_dir(struct gateway_undo *u)
{
	if (u->dir >= 0)
		return 0;
	if (mkdirat(u->state, "undo", 0700) < 0 && errno != EEXIST)
		return -errno;
	u->dir = openat(u->state, "undo", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return u->dir < 0 ? -errno : 0;
}

/* As a file of its own. */
static int store_as(struct gateway_undo *u, uint64_t n, int source, const void *bytes, int64_t size)
{
	char name[32], temp[40];
	name_of(n, name);
	snprintf(temp, sizeof(temp), "%s.new", name);
	CLEANUP(closep)
	int to = openat(u->dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (to < 0)
		return -errno;
	int r = source >= 0 ? copy_content(u, source, to, size)
			    : file_write_all(to, bytes, (size_t)size);
	if (r == 0 && source >= 0)
		copy_xattrs(source, to);
	if (r == 0 && renameat(u->dir, temp, u->dir, name) < 0)
		r = -errno;
	if (r == 0)
		r = add_copy(u, n, size);
	if (r < 0)
		unlinkat(u->dir, temp, 0);
	return r;
}

/* ---- pieces: what is small is appended to a file that has many, for to make a file costs far more ---- */

/* As docs/FORMATS-gateway.md has them, at to; their length, -EFBIG when room is not enough. */
static ssize_t gather_xattrs(int from, char *to, size_t room)
{
	char names[NAMES_MAX];
	ssize_t len = flistxattr(from, names, sizeof(names));
	size_t used = 0;
	if (len < 0)
		return errno == ERANGE ? -EFBIG : 0;
	for (const char *name = names; name < names + len; name += strlen(name) + 1) {
		size_t head = strlen(name) + 1 + sizeof(uint32_t);
		/* With no room at all the call would tell the size and write nothing. */
		if (used + head >= room)
			return -EFBIG;
		ssize_t n = fgetxattr(from, name, to + used + head, room - used - head);
		if (n < 0 && errno == ERANGE)
			return -EFBIG;
		if (n < 0)
			continue;
		uint32_t le = htole32((uint32_t)n);
		memcpy(to + used, name, strlen(name) + 1);
		memcpy(to + used + head - sizeof(le), &le, sizeof(le));
		used += head + (size_t)n;
	}
	return (ssize_t)used;
}

/* Into u->piece; k says how much it is. -EFBIG: it needs a file of its own. */
static int gather(struct gateway_undo *u, int source, const void *bytes, int64_t size,
		  struct gateway_kept *k)
{
	*k = (struct gateway_kept){.len = 0};
	if (size > PIECE_MAX)
		return -EFBIG;
	if (!u->piece && !(u->piece = malloc(PIECE_MAX)))
		return -ENOMEM;
	if (source < 0) {
		memcpy(u->piece, bytes, (size_t)size);
		k->len = (uint32_t)size;
		return 0;
	}
	while (k->len < size) {
		ssize_t n = pread(source, u->piece + k->len, (size_t)size - k->len, k->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		k->len += (uint32_t)n;
	}
	ssize_t attrs = gather_xattrs(source, u->piece + k->len, PIECE_MAX - k->len);
	if (attrs < 0)
		return (int)attrs;
	k->attrs = (uint32_t)attrs;
	return 0;
}

/* The newest one, so that the oldest can go first; and somebody may have removed it. */
static bool pack_takes(const struct gateway_undo *u, uint64_t len, int64_t now_ms)
{
	uint64_t limit = u->max_bytes / 4 < PACK_MAX ? u->max_bytes / 4 : PACK_MAX;
	struct stat st;
	return u->pack >= 0 && u->copies[u->n - 1].n == u->pack_n &&
	       (u->pack_size == 0 || u->pack_size + len <= limit) &&
	       now_ms - (int64_t)u->pack_n < PACK_MS && fstat(u->pack, &st) == 0 && st.st_nlink > 0;
}

static int begin_pack(struct gateway_undo *u, int64_t now_ms)
{
	char name[32];
	uint64_t n = next_number(u, now_ms);
	close_pack(u);
	int fd = openat(u->dir, name_of(n, name),
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int r = add_copy(u, n, 0);
	if (r < 0) {
		unlinkat(u->dir, name, 0);
		close(fd);
		return r;
	}
	u->pack = fd;
	u->pack_n = n;
	return 0;
}

/* A kill in between leaves a piece that no record names. */
static int append_piece(struct gateway_undo *u, int64_t now_ms, struct gateway_kept *k)
{
	uint64_t len = (uint64_t)k->len + k->attrs;
	int r = pack_takes(u, len, now_ms) ? 0 : begin_pack(u, now_ms);
	if (r == 0)
		r = file_pwrite_all(u->pack, u->piece, len, (off_t)u->pack_size);
	if (r < 0)
		return r;
	k->n = u->pack_n;
	k->at = u->pack_size;
	u->pack_size += len;
	struct copy *c = &u->copies[u->n - 1];
	u->total -= c->bytes;
	c->bytes = cost((int64_t)u->pack_size);
	u->total += c->bytes;
	return 0;
}

/* ---- both ---- */

static bool can_drop(const struct gateway_undo *u)
{
	return u->first < u->n && (u->copies[u->first].n != u->pack_n || u->pack_size > 0);
}

static int store_once(struct gateway_undo *u, bool piece, int source, const void *bytes,
		      int64_t size, int64_t now_ms, struct gateway_kept *k)
{
	int r = open_dir(u);
	if (r < 0)
		return r;
	if (piece)
		return append_piece(u, now_ms, k);
	k->n = next_number(u, now_ms);
	return store_as(u, k->n, source, bytes, size);
}

/* Somebody has removed undo/ with all that was in it. False: nobody has. */
static bool begin_anew(struct gateway_undo *u)
{
	struct stat st;
	if (u->dir < 0 || fstat(u->dir, &st) < 0 || st.st_nlink > 0)
		return false;
	close_pack(u);
	closep(&u->dir);
	u->dir = -1;
	u->first = u->n = 0;
	u->total = 0;
	return true;
}

/*
 * source: an fd of the content, or -1 and the bytes. The oldest copies make room where the disk has none, as
 * they do where the limit is reached.
 */
static int store(struct gateway_undo *u, int source, const void *bytes, int64_t size,
		 struct gateway_kept *kept)
{
	struct gateway_kept k;
	int64_t now_ms = clock_wall_ms();
	if (now_ms - u->checked_ms > AGE_CHECK_MS)
		drop_old(u, now_ms);
	int r = gather(u, source, bytes, size, &k);
	bool piece = r == 0;
	if (piece && k.len == 0 && k.attrs == 0)
		return 0; /* nothing is lost with it */
	if (r == -EFBIG) {
		k = (struct gateway_kept){.len = 0};
		r = 0;
	}
	if (r < 0)
		return r;
	while ((r = store_once(u, piece, source, bytes, size, now_ms, &k)) < 0) {
		if (r == -ENOENT && begin_anew(u))
			continue;
		if ((r != -ENOSPC && r != -EDQUOT) || !can_drop(u))
			return r;
		drop_first(u);
	}
	*kept = k;
	while (u->n - u->first > 1 && u->total > u->max_bytes)
		drop_first(u);
	return 0;
}

static int keep_content(struct gateway_undo *u, struct gateway_apply *a, const char *path,
			const struct stat *st, struct gateway_kept *kept)
{
	bool owned = false;
	if (cost(st->st_size) > u->max_bytes)
		return -EFBIG;
	int fd = gateway_apply_reader(a, path, st->st_dev, st->st_ino, &owned);
	if (fd < 0)
		return fd;
	int r = store(u, fd, NULL, st->st_size, kept);
	if (owned)
		close(fd);
	return r;
}

static int keep_link(struct gateway_undo *u, int parent, const char *name,
		     struct gateway_kept *kept)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(parent, name, text, sizeof(text));
	return n < 0 ? -errno : store(u, -1, text, n, kept);
}

static int keep_xattr(struct gateway_undo *u, int fd, const char *xattr, struct gateway_kept *kept)
{
	char path[32];
	CLEANUP(freep) char *value = malloc(XATTR_SIZE_MAX);
	if (!value)
		return -ENOMEM;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ssize_t n = getxattr(path, xattr, value, XATTR_SIZE_MAX);
	return n < 0 ? -errno : store(u, -1, value, n, kept);
}

static bool loses_content(const struct mutation *m, const struct stat *st)
{
	switch (m->op) {
	case MUTATION_WRITE:
		return m->offset < st->st_size && m->data_len > 0;
	case MUTATION_TRUNCATE:
		return m->length < st->st_size;
	case MUTATION_FALLOCATE:
		return m->flags & ~(uint32_t)FALLOC_FL_KEEP_SIZE && m->offset < st->st_size;
	case MUTATION_CREATE:
		return m->flags & O_TRUNC && st->st_size > 0;
	case MUTATION_UNLINK:
	case MUTATION_RENAME:
		return true;
	default:
		return false;
	}
}

/* Keeps what m will make away with; 0 also when that is nothing. */
static int keep_lost(struct gateway_undo *u, struct gateway_apply *a, const struct mutation *m,
		     const struct gateway_target *t, const struct stat *st,
		     struct gateway_kept *kept)
{
	bool replaces = m->op == MUTATION_RENAME;
	bool xattr = m->op == MUTATION_SETXATTR || m->op == MUTATION_REMOVEXATTR;
	if (xattr ? !t->had_xattr : !loses_content(m, st))
		return 0;
	if (u->max_bytes == 0)
		return -EDQUOT;
	if (xattr)
		return keep_xattr(u, t->fd, m->xattr, kept);
	if (S_ISREG(st->st_mode))
		return keep_content(u, a, replaces ? m->path2 : m->path, st, kept);
	if (S_ISLNK(st->st_mode))
		return keep_link(u, replaces ? t->parent2 : t->parent,
				 replaces ? t->name2 : t->name, kept);
	return 0;
}

static void fill(struct gateway_undo_note *note, const struct mutation *m,
		 const struct gateway_target *t, const struct stat *st)
{
	note->before = 1;
	note->mode = st->st_mode;
	note->uid = st->st_uid;
	note->gid = st->st_gid;
	note->rdev = st->st_rdev;
	note->size = st->st_size;
	note->atime = st->st_atim;
	note->mtime = st->st_mtim;
	note->had_xattr = t->had_xattr;
	if (m->xattr)
		snprintf(note->xattr, sizeof(note->xattr), "%s", m->xattr);
}

void gateway_undo_keep(struct gateway_undo *u, struct gateway_apply *a, const struct mutation *m,
		       const struct gateway_target *t, const struct gateway_undo_note *before,
		       struct gateway_undo_note *note)
{
	bool rename = m->op == MUTATION_RENAME;
	const struct stat *st = rename ? &t->st2 : &t->st;
	if (before) {
		*note = *before;
		if (!note->before || note->kept.n || note->why[0])
			return; /* made in this record, or kept already */
	} else {
		*note = (struct gateway_undo_note){.before = 0};
		note->exchange = rename && m->flags & RENAME_EXCHANGE;
		if (m->op == MUTATION_LINK || !(rename ? t->exists2 : t->exists) ||
		    note->exchange ||
		    (rename && t->st2.st_ino == t->st.st_ino && t->st2.st_dev == t->st.st_dev))
			return;
		fill(note, m, t, st);
	}
	int r = keep_lost(u, a, m, t, st, &note->kept);
	if (r == -EFBIG)
		snprintf(note->why, sizeof(note->why), "%lld bytes are more than is kept",
			 (long long)st->st_size);
	else if (r == -EDQUOT && u->max_bytes == 0)
		snprintf(note->why, sizeof(note->why), "undo_keep_mib is 0");
	else if (r < 0)
		snprintf(note->why, sizeof(note->why), "it could not be kept: %s", err_name(-r));
}
