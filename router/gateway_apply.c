#include "router/gateway_apply.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/creds.h"
#include "manager/base/stop_point.h"

struct kept {
	dev_t dev;
	ino_t ino;
	int fd; /* owned */
	uint64_t used, used_ms;
};

struct gateway_apply {
	int root; /* owned */
	struct kept kept[GATEWAY_APPLY_KEPT];
	size_t n_kept;
	uint64_t clock;   /* counts uses, for the least recently used */
	uint64_t look_ms; /* when gateway_apply_expire() is to look; 0: never */
};

int gateway_apply_new(struct gateway_apply **out, const char *root, struct err *e)
{
	struct gateway_apply *a = calloc(1, sizeof(*a));
	if (!a)
		return err_errno(e, -ENOMEM, "opening %s", root);
	a->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->root < 0) {
		int r = err_errno(e, -errno, "opening the root %s", root);
		free(a);
		return r;
	}
	*out = a;
	return 0;
}

struct gateway_apply *gateway_apply_free(struct gateway_apply *a)
{
	if (!a)
		return NULL;
	for (size_t i = 0; i < a->n_kept; i++)
		close(a->kept[i].fd);
	close(a->root);
	free(a);
	return NULL;
}

static struct kept *kept_find(struct gateway_apply *a, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < a->n_kept; i++)
		if (a->kept[i].ino == ino && (dev == 0 || a->kept[i].dev == dev)) {
			a->kept[i].used = ++a->clock;
			a->kept[i].used_ms = clock_mono_ms();
			return &a->kept[i];
		}
	return NULL;
}

static void kept_drop(struct gateway_apply *a, uint64_t dev, uint64_t ino)
{
	struct kept *k = kept_find(a, dev, ino);
	if (!k)
		return;
	close(k->fd);
	*k = a->kept[--a->n_kept];
}

enum { LOOK_MS = 10000 };

static void look_soon(struct gateway_apply *a)
{
	uint64_t at = clock_mono_ms() + GATEWAY_APPLY_BRIEF_MS;
	if (a->n_kept && (!a->look_ms || at < a->look_ms))
		a->look_ms = at;
}

/* As long as it is open nobody can run it, or the file system cannot free it. */
static bool is_in_the_way(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 &&
	       (st.st_nlink == 0 || st.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH));
}

int gateway_apply_expire(struct gateway_apply *a, uint64_t now_ms)
{
	if (!a->look_ms || now_ms < a->look_ms)
		return a->look_ms ? (int)(a->look_ms - now_ms) : -1;
	a->look_ms = now_ms + LOOK_MS;
	for (size_t i = a->n_kept; i-- > 0;) {
		struct kept *k = &a->kept[i];
		const uint64_t end = k->used_ms + (is_in_the_way(k->fd) ? GATEWAY_APPLY_BRIEF_MS
									: GATEWAY_APPLY_KEPT_MS);
		if (now_ms < end) {
			a->look_ms = end < a->look_ms ? end : a->look_ms;
			continue;
		}
		close(k->fd);
		*k = a->kept[--a->n_kept];
	}
	if (!a->n_kept)
		a->look_ms = 0;
	return a->look_ms ? (int)(a->look_ms - now_ms) : -1;
}

/* Takes fd over; the least recently used one makes room. */
static void kept_add(struct gateway_apply *a, const struct stat *st, int fd)
{
	struct kept *k = a->kept;
	kept_drop(a, st->st_dev, st->st_ino);
	if (a->n_kept < GATEWAY_APPLY_KEPT) {
		k = &a->kept[a->n_kept++];
	} else {
		for (size_t i = 1; i < a->n_kept; i++)
			if (a->kept[i].used < k->used)
				k = &a->kept[i];
		close(k->fd);
	}
	*k = (struct kept){.dev = st->st_dev,
			   .ino = st->st_ino,
			   .fd = fd,
			   .used = ++a->clock,
			   .used_ms = clock_mono_ms()};
	look_soon(a);
}

/* As openat(root, path, flags), but never out of the root. An fd or a negative errno. */
static int open_beneath(const struct gateway_apply *a, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	/* EAGAIN: something was renamed while a ".." of a symlink was looked up. */
	for (int i = 0; i < 100; i++) {
		long fd = syscall(SYS_openat2, a->root, path, &how, sizeof(how));
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

/* The directory that holds path (a new fd) and the last component ("" for the root itself). */
static int open_parent(const struct gateway_apply *a, const char *path, int *fd, const char **name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!slash) {
		*fd = fcntl(a->root, F_DUPFD_CLOEXEC, 3);
		return *fd < 0 ? -errno : 0;
	}
	size_t len = (size_t)(slash - path);
	if (len >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, len);
	dir[len] = '\0';
	int r = open_beneath(a, dir, O_PATH | O_DIRECTORY);
	*fd = r;
	return r < 0 ? r : 0;
}

/* fstatat() in which absence is no error; "" is the directory itself. */
static int look(int parent, const char *name, bool *exists, struct stat *st)
{
	int flags = AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH);
	*exists = fstatat(parent, name, st, flags) == 0;
	return *exists || errno == ENOENT ? 0 : -errno;
}

int gateway_apply_look(struct gateway_apply *a, const char *path, struct stat *st)
{
	CLEANUP(closep) int parent = -1;
	const char *name;
	bool exists = false;
	int r = open_parent(a, path, &parent, &name);
	if (r == 0)
		r = look(parent, name, &exists, st);
	return r < 0 ? r : exists ? 0 : -ENOENT;
}

int gateway_apply_reader(struct gateway_apply *a, const char *path, uint64_t dev, uint64_t ino,
			 bool *owned)
{
	struct stat st;
	const struct kept *k = kept_find(a, dev, ino);
	*owned = !k;
	if (k)
		return k->fd;
	/* Nobody has read it, so its atime stays, as far as that is ours to say. */
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
	CLEANUP(closep) int fd = open_beneath(a, path, flags | O_NOATIME);
	if (fd == -EPERM)
		fd = open_beneath(a, path, flags);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_dev != dev || st.st_ino != ino)
		return -ESTALE;
	return steal_fd(&fd);
}

static bool is_data_op(enum mutation_op op)
{
	return op == MUTATION_WRITE || op == MUTATION_APPEND || op == MUTATION_TRUNCATE ||
	       op == MUTATION_FALLOCATE || op == MUTATION_FSYNC;
}

static bool makes_path(enum mutation_op op)
{
	return op == MUTATION_CREATE || op == MUTATION_MKDIR || op == MUTATION_MKNOD ||
	       op == MUTATION_SYMLINK;
}

static bool same_inode(const struct mutation *m, const struct stat *st)
{
	return m->ino == 0 || (st->st_ino == m->ino && (m->dev == 0 || st->st_dev == m->dev));
}

/* Write, append, truncate, fallocate, fsync: the content itself, by one open(2) of the whole path. */
static int open_data(struct gateway_apply *a, const struct mutation *m, struct gateway_target *t)
{
	const struct kept *k = m->ino ? kept_find(a, m->dev, m->ino) : NULL;
	bool sync = m->op == MUTATION_FSYNC;
	if (k) {
		t->fd = k->fd;
		t->kept = true;
		t->exists = fstat(t->fd, &t->st) == 0;
		return t->exists ? 0 : -errno;
	}
	int flags = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	const char *path = *m->path ? m->path : ".";
	t->fd = open_beneath(a, path, (sync ? O_RDONLY : O_WRONLY) | flags);
	if (t->fd == -EACCES && sync)
		t->fd = open_beneath(a, path, O_WRONLY | flags);
	if (t->fd < 0)
		return t->fd;
	if (fstat(t->fd, &t->st) < 0)
		return -errno;
	t->exists = true;
	if (!same_inode(m, &t->st))
		return -ESTALE;
	return S_ISREG(t->st.st_mode) || (sync && S_ISDIR(t->st.st_mode)) ? 0 : -EINVAL;
}

/*
 * link of a file that has no name: the program that has it open says by which of its descriptors. It is
 * opened here as ourselves; the actor's right to link it is judged when that is done.
 */
static int open_nameless(const struct mutation *m, struct gateway_target *t)
{
	char path[64];
	int pid, number, end = 0;
	if (sscanf(m->target, "%d:%d%n", &pid, &number, &end) != 2 || m->target[end] || pid <= 0 ||
	    number < 0 || !m->ino)
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
	t->name = "";
	t->fd = open(path, O_PATH | O_CLOEXEC);
	if (t->fd < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	if (fstat(t->fd, &t->st) < 0)
		return -errno;
	t->exists = true;
	return S_ISREG(t->st.st_mode) && t->st.st_nlink == 0 ? 0 : -ESTALE;
}

/* Everything else: the name, and the object by O_PATH where it must not change in between. */
static int open_name(struct gateway_apply *a, const struct mutation *m, struct gateway_target *t)
{
	int r;
	if (m->op == MUTATION_LINK && m->target) {
		r = open_nameless(m, t);
	} else {
		r = open_parent(a, m->path, &t->parent, &t->name);
		if (r == 0)
			r = look(t->parent, t->name, &t->exists, &t->st);
	}
	if (r == 0 && m->path2) {
		r = open_parent(a, m->path2, &t->parent2, &t->name2);
		if (r == 0)
			r = look(t->parent2, t->name2, &t->exists2, &t->st2);
	}
	if (r < 0 || makes_path(m->op))
		return r;
	if (!t->exists)
		return -ENOENT;
	if (!same_inode(m, &t->st))
		return -ESTALE;
	if (m->op < MUTATION_CHMOD)
		return 0;
	if (*t->name)
		t->fd = openat(t->parent, t->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	else
		t->fd = fcntl(t->parent, F_DUPFD_CLOEXEC, 3);
	if (t->fd < 0 || fstat(t->fd, &t->st) < 0)
		return -errno;
	return same_inode(m, &t->st) ? 0 : -ESTALE;
}

/* The calls that take a path only, for an O_PATH fd: the magic link names the object itself. */
static const char *fd_path(int fd, char buf[32])
{
	snprintf(buf, 32, "/proc/self/fd/%d", fd);
	return buf;
}

int gateway_apply_open(struct gateway_apply *a, const struct mutation *m, struct gateway_target *t,
		       bool *outside, struct err *e)
{
	char buf[32];
	*t = (struct gateway_target){.parent = -1, .parent2 = -1, .fd = -1};
	*outside = false;
	int r = is_data_op(m->op) ? open_data(a, m, t) : open_name(a, m, t);
	if (r == 0 && (m->op == MUTATION_SETXATTR || m->op == MUTATION_REMOVEXATTR))
		t->had_xattr = getxattr(fd_path(t->fd, buf), m->xattr, NULL, 0) >= 0;
	if (r == 0)
		return 0;
	gateway_target_close(t);
	if (r == -EXDEV) {
		*outside = true;
		return err_set(e, -EACCES,
			       "%s %s: the path leads out of the repository by a symlink; write to "
			       "where it leads instead",
			       mutation_op_name(m->op), m->path);
	}
	if (r == -ESTALE)
		return err_set(e, r, "%s %s: another file has taken its place; look again",
			       mutation_op_name(m->op), m->path);
	return err_errno(e, r, "%s %s", mutation_op_name(m->op), m->path);
}

void gateway_target_close(struct gateway_target *t)
{
	closep(&t->parent);
	closep(&t->parent2);
	if (!t->kept)
		closep(&t->fd);
	t->parent = t->parent2 = t->fd = -1;
}

static int do_create(struct gateway_apply *a, const struct mutation *m, struct gateway_target *t,
		     struct mutation_answer *answer)
{
	struct creds saved;
	int flags = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
	creds_become(&saved, m->actor.uid, m->actor.gid);
	int fd = openat(t->parent, t->name, O_RDWR | O_CREAT | O_EXCL | flags, m->mode);
	int r = fd < 0 ? -errno : 0;
	creds_restore(&saved);
	if (r == -EEXIST && !(m->flags & O_EXCL)) {
		/* It is there already: create(2) without O_EXCL is then an open for writing. */
		fd = openat(t->parent, t->name, O_WRONLY | flags | ((int)m->flags & O_TRUNC));
		r = fd < 0 ? -errno : 0;
	}
	if (r < 0)
		return r;
	if (fstat(fd, &answer->attr) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	answer->has_attr = true;
	/* Only what could not be opened for writing again: an open descriptor makes execve() fail. */
	if (S_ISREG(answer->attr.st_mode) && !(answer->attr.st_mode & S_IWUSR))
		kept_add(a, &answer->attr, fd);
	else
		close(fd);
	return 0;
}

/* Creates a name as the actor, so that it gets the right owner. */
static int do_make(const struct mutation *m, const struct gateway_target *t)
{
	struct creds saved;
	char buf[32];
	int r = -1;
	creds_become(&saved, m->actor.uid, m->actor.gid);
	if (m->op == MUTATION_MKDIR)
		r = mkdirat(t->parent, t->name, m->mode);
	else if (m->op == MUTATION_MKNOD)
		r = mknodat(t->parent, t->name, m->mode, m->rdev);
	else if (m->op == MUTATION_SYMLINK)
		r = symlinkat(m->target, t->parent, t->name);
	else if (t->fd >= 0)
		r = linkat(AT_FDCWD, fd_path(t->fd, buf), t->parent2, t->name2, AT_SYMLINK_FOLLOW);
	else
		r = linkat(t->parent, t->name, t->parent2, t->name2, 0);
	r = r < 0 ? -errno : 0;
	creds_restore(&saved);
	return r;
}

/* Like write(2): what was written before an error counts, and the error comes with the next call. */
static int do_write(const struct mutation *m, const struct gateway_target *t,
		    struct mutation_answer *answer)
{
	const char *data = m->data;
	size_t done = 0;
	answer->offset = m->offset;
	while (done < m->data_len) {
		size_t len = stop_point_part("half-applied", m->data_len - done);
		ssize_t n = pwrite(t->fd, data + done, len, m->offset + (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (done == 0)
				return n < 0 ? -errno : -EIO;
			break;
		}
		done += (size_t)n;
		stop_point("half-applied");
	}
	answer->bytes = (int64_t)done;
	return 0;
}

/* The kernel picks the end at the moment of writing, so appenders outside lose nothing. */
static int do_append(const struct mutation *m, const struct gateway_target *t,
		     struct mutation_answer *answer)
{
	struct iovec iov = {m->data, stop_point_part("half-applied", m->data_len)};
	ssize_t n;
	do
		n = pwritev2(t->fd, &iov, 1, -1, RWF_APPEND);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	stop_point("half-applied");
	off_t end = lseek(t->fd, 0, SEEK_CUR);
	answer->bytes = n;
	answer->offset = end < n ? t->st.st_size : end - n;
	return 0;
}

static int do_change(const struct mutation *m, const struct gateway_target *t)
{
	char buf[32];
	const char *path = t->fd >= 0 ? fd_path(t->fd, buf) : "";
	const struct timespec times[] = {m->atime, m->mtime};
	switch (m->op) {
	case MUTATION_TRUNCATE:
		return ftruncate(t->fd, m->length) < 0 ? -errno : 0;
	case MUTATION_FALLOCATE:
		return fallocate(t->fd, (int)m->flags, m->offset, m->length) < 0 ? -errno : 0;
	case MUTATION_FSYNC:
		return (m->flags & 1 ? fdatasync(t->fd) : fsync(t->fd)) < 0 ? -errno : 0;
	case MUTATION_UNLINK:
		return unlinkat(t->parent, t->name, 0) < 0 ? -errno : 0;
	case MUTATION_RMDIR:
		return unlinkat(t->parent, t->name, AT_REMOVEDIR) < 0 ? -errno : 0;
	case MUTATION_RENAME:
		return renameat2(t->parent, t->name, t->parent2, t->name2, m->flags) < 0 ? -errno
											 : 0;
	case MUTATION_CHMOD:
		return chmod(path, m->mode) < 0 ? -errno : 0;
	case MUTATION_CHOWN:
		return fchownat(t->fd, "", m->uid, m->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
	case MUTATION_UTIMENS:
		return utimensat(t->fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
	case MUTATION_SETXATTR:
		return setxattr(path, m->xattr, m->data, m->data_len, (int)m->flags) < 0 ? -errno
											 : 0;
	case MUTATION_REMOVEXATTR:
		return removexattr(path, m->xattr) < 0 ? -errno : 0;
	default:
		return -EINVAL;
	}
}

/*
 * Who has the file open for writing goes on when its mode no longer lets him open it, or when it gets its first
 * name and never did: without root we need a descriptor for that, too. Not of a program, which could not be
 * run as long as we have one. Nobody else can open what has no name: its mode gives way for a moment.
 */
static void keep_for_writers(struct gateway_apply *a, const struct mutation *m,
			     const struct gateway_target *t)
{
	bool nameless = m->op == MUTATION_LINK && m->target;
	mode_t mode = (nameless ? t->st.st_mode : m->mode) & 07777;
	char buf[32];
	const char *path = fd_path(t->fd, buf);
	if ((m->op != MUTATION_CHMOD && !nameless) || geteuid() == 0 || !S_ISREG(t->st.st_mode) ||
	    mode & (S_IWUSR | S_IXUSR | S_IXGRP | S_IXOTH) ||
	    kept_find(a, t->st.st_dev, t->st.st_ino))
		return;
	bool widened = nameless && chmod(path, mode | S_IRUSR | S_IWUSR) == 0;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	if (widened)
		(void)chmod(path, mode);
	if (fd >= 0)
		kept_add(a, &t->st, fd);
}

/* The stat after the change. That it cannot be had is no failure of the change. */
static void fill_attr(const struct mutation *m, const struct gateway_target *t,
		      struct mutation_answer *answer)
{
	int r;
	if (answer->has_attr || m->op == MUTATION_UNLINK || m->op == MUTATION_RMDIR)
		return;
	if (t->fd >= 0)
		r = fstat(t->fd, &answer->attr);
	else if (m->path2)
		r = fstatat(t->parent2, t->name2, &answer->attr, AT_SYMLINK_NOFOLLOW);
	else
		r = fstatat(t->parent, t->name, &answer->attr, AT_SYMLINK_NOFOLLOW);
	answer->has_attr = r == 0;
}

static bool is_writepage(const struct mutation *m)
{
	return m->op == MUTATION_WRITE && m->flags & MUTATION_WRITEPAGE;
}

/* What the kernel does by itself, had the actor made the change. */
static void drop_suid(const struct mutation *m, const struct gateway_target *t)
{
	bool changes = m->op == MUTATION_WRITE || m->op == MUTATION_APPEND ||
		       m->op == MUTATION_TRUNCATE || m->op == MUTATION_FALLOCATE ||
		       m->op == MUTATION_CHOWN;
	if (changes && m->actor.uid != 0 && !is_writepage(m))
		(void)creds_drop_suid(t->fd, &t->st, m->actor.pid, m->actor.gid);
}

int gateway_apply_commit(struct gateway_apply *a, const struct mutation *m,
			 struct gateway_target *t, struct mutation_answer *answer, struct err *e)
{
	int r;
	drop_suid(m, t);
	keep_for_writers(a, m, t);
	if (m->op == MUTATION_CREATE)
		r = do_create(a, m, t, answer);
	else if (m->op == MUTATION_WRITE)
		r = do_write(m, t, answer);
	else if (m->op == MUTATION_APPEND)
		r = do_append(m, t, answer);
	else if (makes_path(m->op) || m->op == MUTATION_LINK)
		r = do_make(m, t);
	else
		r = do_change(m, t);
	if (is_writepage(m))
		(void)creds_keep_suid(t->fd, &t->st);
	if (r == 0)
		fill_attr(m, t, answer);
	if (m->op == MUTATION_UNLINK || m->op == MUTATION_RENAME || m->op == MUTATION_CHMOD)
		look_soon(a);
	if (r < 0 && m->path2)
		return err_errno(e, r, "%s %s to %s", mutation_op_name(m->op), m->path, m->path2);
	return r < 0 ? err_errno(e, r, "%s %s", mutation_op_name(m->op), m->path) : 0;
}

void gateway_apply_release(struct gateway_apply *a, const struct mutation *m)
{
	if (m->ino)
		kept_drop(a, m->dev, m->ino);
}
