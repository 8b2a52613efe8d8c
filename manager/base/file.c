#include "manager/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "manager/base/cleanup.h"

/* Room for one more byte than have, at most limit; *cap is the size of *data. */
static int grow(char **data, size_t *cap, size_t limit)
{
	size_t want = *cap < 4096 ? 4096 : *cap * 2;
	if (want > limit)
		want = limit;
	char *p = realloc(*data, want);
	if (!p)
		return -ENOMEM;
	*data = p;
	*cap = want;
	return 0;
}

int file_read(int dirfd, const char *name, size_t max_bytes, char **data, size_t *len)
{
	*data = NULL;
	*len = 0;
	/* O_NONBLOCK: a FIFO in the place of a file must not hang us. */
	CLEANUP(closep)
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	CLEANUP(freep) char *buf = NULL;
	struct stat st;
	/* A regular file is read in one go; those of /proc say 0 and are read until the end. */
	size_t cap = 0;
	size_t have = 0;
	if (fstat(fd, &st) == 0 && st.st_size > 0 && (uint64_t)st.st_size <= max_bytes) {
		cap = (size_t)st.st_size + 2; /* the NUL, and a byte to see the end */
		buf = malloc(cap);
		if (!buf)
			return -ENOMEM;
	}
	for (;;) {
		if (have + 1 >= cap) {
			int r = grow(&buf, &cap, max_bytes + 2);
			if (r < 0)
				return r;
		}
		size_t got;
		int r = file_read_full(fd, buf + have, cap - 1 - have, &got);
		if (r < 0)
			return r;
		bool end = got < cap - 1 - have;
		have += got;
		if (have > max_bytes)
			return -EFBIG;
		if (end)
			break;
	}
	buf[have] = '\0';
	*len = have;
	*data = steal(&buf);
	return 0;
}

int file_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_pwrite_all(int fd, const void *data, size_t len, off_t off)
{
	const char *p = data;
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		off += n;
		len -= (size_t)n;
	}
	return 0;
}

int file_read_full(int fd, void *data, size_t len, size_t *got)
{
	char *p = data;
	*got = 0;
	while (*got < len) {
		ssize_t n = read(fd, p + *got, len - *got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return 0;
}

/* Opens the directory that holds name; *base points at its last component. */
static int open_parent(int dirfd, const char *name, const char **base)
{
	const char *slash = strrchr(name, '/');
	*base = slash ? slash + 1 : name;
	if (**base == '\0')
		return -EISDIR;
	if (!slash) {
		int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	/* With its slash: "/" for a file in the root. */
	CLEANUP(freep) char *dir = strndup(name, (size_t)(*base - name));
	if (!dir)
		return -ENOMEM;
	int fd = openat(dirfd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* A new file beside the one to be replaced. Not named after that one: its name may have 255 bytes. */
static int open_temp(int dir, char name[64])
{
	static atomic_ulong counter;
	for (int tries = 0; tries < 1000; tries++) {
		unsigned long n = atomic_fetch_add(&counter, 1);
		snprintf(name, 64, ".rrm-tmp-%d-%lu", (int)getpid(), n);
		int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
				0600);
		if (fd >= 0)
			return fd;
		/* Left by a crashed process with our pid, or by one of another pid namespace. */
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

static int fill_temp(int fd, const void *data, size_t len, mode_t mode)
{
	int r = file_write_all(fd, data, len);
	if (r < 0)
		return r;
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int file_replace(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	const char *base;
	CLEANUP(closep) int dir = open_parent(dirfd, name, &base);
	if (dir < 0)
		return dir;
	char temp[64];
	CLEANUP(closep) int fd = open_temp(dir, temp);
	if (fd < 0)
		return fd;
	int r = fill_temp(fd, data, len, mode);
	/* NFS and quotas report late, at close. */
	if (close(steal_fd(&fd)) < 0 && r == 0 && errno != EINTR)
		r = -errno;
	if (r == 0 && renameat(dir, temp, dir, base) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir, temp, 0);
		return r;
	}
	/* EINVAL: a file system whose directories cannot be synced has nothing to sync. */
	if (fsync(dir) < 0 && errno != EINVAL)
		return -errno;
	return 0;
}

/* Takes back the first part of a record whose rest did not fit, if nobody appended after it. */
static void take_back(int fd, off_t written)
{
	struct stat st;
	off_t end = lseek(fd, 0, SEEK_CUR);
	if (end >= written && fstat(fd, &st) == 0 && st.st_size == end &&
	    ftruncate(fd, end - written) < 0)
		return; /* the half line stays; its reader reports it */
}

int file_append(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	CLEANUP(closep)
	int fd = openat(dirfd, name,
			O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
	if (fd < 0)
		return -errno;
	ssize_t n;
	do {
		n = write(fd, data, len);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n == len)
		return 0;
	/* A short write says that something is wrong, the next one says what. */
	const char *rest = (const char *)data + n;
	ssize_t m = write(fd, rest, len - (size_t)n);
	if (m == (ssize_t)(len - (size_t)n))
		return 0;
	int r = m < 0 ? -errno : -ENOSPC;
	take_back(fd, n + (m > 0 ? m : 0));
	return r;
}

int file_append_bounded(const char *dir, const char *name, const char *old, off_t max_bytes,
			const void *data, size_t len)
{
	CLEANUP(closep) int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (dirfd < 0)
		return -errno;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size >= max_bytes)
		renameat(dirfd, name, dirfd, old);
	return file_append(dirfd, name, data, len, 0600);
}

static int make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0)
		return 0;
	int r = -errno;
	struct stat st;
	/* An automounter or a read-only parent may say something else than EEXIST. */
	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	return r == -EEXIST ? -ENOTDIR : r; /* a symlink to nowhere */
}

int file_mkdirs(const char *path, mode_t mode)
{
	if (path[0] == '\0')
		return -ENOENT;
	int r = make_dir(path, mode);
	if (r != -ENOENT)
		return r;
	CLEANUP(freep) char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	for (char *s = copy + 1; *s; s++) {
		if (*s != '/' || s[-1] == '/')
			continue;
		*s = '\0';
		r = make_dir(copy, mode);
		*s = '/';
		if (r < 0)
			return r;
	}
	return make_dir(path, mode);
}

/*
 * Removing a tree. It may be deeper than there are file descriptors, so nothing recurses: a directory
 * found in a directory of the top is first moved up into the top, and the top is read again until it
 * is empty. Two descriptors are enough for any depth.
 */
struct removal {
	int top;
	dev_t dev;
	unsigned long moved; /* names given out so far */
};

static int open_below(int dirfd, const char *name, dev_t dev)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	/* It also stops at a bind mount of the same device, which st_dev does not show. */
	int fd = (int)syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_dev != dev) {
		close(fd);
		return -EXDEV;
	}
	return fd;
}

/* Go's module cache and the like: directories that their owner may not write. Root needs no bit. */
static int open_writable(int dirfd, const char *name, const struct stat *st)
{
	if ((st->st_mode & 0700) != 0700 && geteuid() != 0 && st->st_uid == geteuid()) {
		CLEANUP(closep) int fd = openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		struct stat now;
		char proc[64];
		snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
		if (fd >= 0 && fstat(fd, &now) == 0 && S_ISDIR(now.st_mode) &&
		    now.st_dev == st->st_dev && chmod(proc, now.st_mode | 0700) < 0)
			return -errno;
	}
	return open_below(dirfd, name, st->st_dev);
}

static int move_up(struct removal *rm, int dir, const char *name)
{
	for (int tries = 0; tries < 100000; tries++) {
		char to[64];
		snprintf(to, sizeof(to), ".rrm-rm-%lu", rm->moved++);
		if (renameat2(dir, name, rm->top, to, RENAME_NOREPLACE) == 0)
			return 0;
		/* EINVAL: a file system without NOREPLACE; a full directory there says ENOTEMPTY. */
		if (errno == EINVAL && renameat(dir, name, rm->top, to) == 0)
			return 0;
		if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
			return -errno;
	}
	return -EEXIST;
}

static bool dot_name(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int empty_dir(struct removal *rm, const char *name, const struct stat *st);

/* One entry of dir: gone, or (a full directory below the top) moved into the top. */
static int remove_entry(struct removal *rm, int dir, const char *name)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST && errno != EACCES)
		return -errno;
	if (st.st_dev != rm->dev)
		return -EXDEV;
	if (dir != rm->top) {
		/* Moving a directory changes its "..": it must be writable. */
		CLEANUP(closep) int fd = open_writable(dir, name, &st);
		return fd < 0 ? fd : move_up(rm, dir, name);
	}
	int r = empty_dir(rm, name, &st);
	if (r < 0)
		return r;
	return unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* Calls remove_entry for all of fd (which it closes); *seen counts them. */
static int each_entry(struct removal *rm, int fd, bool is_top, size_t *seen)
{
	CLEANUP(closedirp) DIR *d = fdopendir(fd);
	if (!d) {
		int r = -errno;
		close(fd);
		return r;
	}
	for (;;) {
		errno = 0;
		struct dirent *de = readdir(d);
		if (!de)
			return -errno;
		if (dot_name(de->d_name))
			continue;
		++*seen;
		int r = remove_entry(rm, is_top ? rm->top : dirfd(d), de->d_name);
		if (r < 0)
			return r;
	}
}

static int empty_dir(struct removal *rm, const char *name, const struct stat *st)
{
	int fd = open_writable(rm->top, name, st);
	if (fd < 0)
		return fd;
	size_t seen = 0;
	return each_entry(rm, fd, false, &seen);
}

int file_remove_tree(int dirfd, const char *name)
{
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	const char *base;
	CLEANUP(closep) int parent = open_parent(dirfd, name, &base);
	if (parent < 0)
		return parent;
	if (dot_name(base))
		return -EINVAL;
	CLEANUP(closep) int top = open_writable(parent, base, &st);
	if (top < 0)
		return top;
	struct removal rm = {.top = top, .dev = st.st_dev};
	size_t seen;
	do {
		/* Not a dup: its file position would be shared. */
		int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		seen = 0;
		int r = each_entry(&rm, fd, true, &seen);
		if (r < 0)
			return r;
	} while (seen > 0);
	return unlinkat(parent, base, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* renameat() that replaces nothing, also where the file system has no such flag. */
static int rename_new(int dir, const char *from, const char *to)
{
	if (renameat2(dir, from, dir, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	struct stat st;
	if (fstatat(dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return renameat(dir, from, dir, to) < 0 ? -errno : 0;
}

int file_move_aside(int dirfd, const char *name, char *moved)
{
	const char *base;
	CLEANUP(closep) int dir = open_parent(dirfd, name, &base);
	if (dir < 0)
		return dir;
	for (int n = 1; n <= 100000; n++) {
		char suffix[32];
		int len = snprintf(suffix, sizeof(suffix), ".corrupt-%d", n);
		char to[NAME_MAX + 1];
		snprintf(to, sizeof(to), "%.*s%s", NAME_MAX - len, base, suffix);
		int r = rename_new(dir, base, to);
		if (r == -EEXIST)
			continue;
		if (r == 0 && moved)
			memcpy(moved, to, strlen(to) + 1);
		return r;
	}
	return -EEXIST;
}
