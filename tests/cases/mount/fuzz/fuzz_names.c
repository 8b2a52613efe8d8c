/* Operations on names and attributes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuzz.h"

static void do_mkdir(struct worker *w, const struct op *op)
{
	const char *path = chance(op->r[1], 50) ? dir_of(w, 0, op->r[0]) : path_of(w, 0, op->r[0]);
	put(w, " %o", mode_of(op->r[2]) | 0700);
	result(w, mkdir(path, mode_of(op->r[2]) | 0700));
}

static void do_rmdir(struct worker *w, const struct op *op)
{
	const char *path = chance(op->r[1], 50) ? dir_of(w, 0, op->r[0]) : path_of(w, 0, op->r[0]);
	result(w, rmdir(path));
}

static void do_unlink(struct worker *w, const struct op *op)
{
	result(w, unlink(path_of(w, 0, op->r[0])));
}

static void do_rename(struct worker *w, const struct op *op)
{
	static const unsigned flags[] = {0,
					 0,
					 0,
					 0,
					 RENAME_NOREPLACE,
					 RENAME_EXCHANGE,
					 RENAME_EXCHANGE | RENAME_NOREPLACE,
					 RENAME_WHITEOUT};
	/* A whiteout needs rights that not every place gives. */
	unsigned f = flags[op->r[2] % 7];
	const char *from = path_of(w, 0, op->r[0]), *to = path_of(w, 1, op->r[1]);
	put(w, " %u", f);
	result(w, renameat2(AT_FDCWD, from, AT_FDCWD, to, f));
}

static void do_link(struct worker *w, const struct op *op)
{
	const char *from = path_of(w, 0, op->r[0]), *to = path_of(w, 1, op->r[1]);
	int flags = chance(op->r[2], 30) ? AT_SYMLINK_FOLLOW : 0;
	put(w, " %x", (unsigned)flags);
	result(w, linkat(AT_FDCWD, from, AT_FDCWD, to, flags));
}

static void do_link_fd(struct worker *w, const struct op *op)
{
	char proc[40];
	int fd = slot_of(w, op->r[0]);
	const char *to = path_of(w, 1, op->r[1]);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	result(w, linkat(AT_FDCWD, proc, AT_FDCWD, to, AT_SYMLINK_FOLLOW));
}

static void do_symlink(struct worker *w, const struct op *op)
{
	static const char *const targets[] = {"f0", "d0",      "d1/f1", "d0/d1", "l1",
					      "l0", "nowhere", "f1/",   "d1/d2", "f2"};
	static char longest[PATH_MAX];
	const char *target = targets[op->r[0] % 10];
	if (chance(op->r[2], 4)) {
		memset(longest, 't', PATH_MAX - 1 - (op->r[2] >> 8) % 2);
		target = longest;
	}
	put(w, " %s", show(target));
	result(w, symlink(target, path_of(w, 0, op->r[1])));
}

static void do_readlink(struct worker *w, const struct op *op)
{
	char buf[PATH_MAX];
	size_t size = chance(op->r[1], 20) ? 3 : sizeof(buf);
	long n = result(w, readlink(path_of(w, 0, op->r[0]), buf, size));
	if (n > 0)
		put(w, " %lx", fuzz_hash(0, buf, (size_t)n));
}

static void do_mknod(struct worker *w, const struct op *op)
{
	static const mode_t types[] = {S_IFIFO, S_IFIFO, S_IFSOCK, S_IFREG, 0, S_IFDIR};
	mode_t mode = types[op->r[1] % 6] | mode_of(op->r[2]);
	const char *path = path_of(w, 0, op->r[0]);
	put(w, " %o", mode);
	result(w, mknod(path, mode, 0));
}

static void do_chmod(struct worker *w, const struct op *op)
{
	mode_t mode = mode_of(op->r[1]);
	const char *path = path_of(w, 0, op->r[0]);
	struct stat st;
	/* A directory without rights would end it for those who are not root. */
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		mode |= 0700;
	put(w, " %o", mode);
	result(w, chmod(path, mode));
	if (stat(path, &st) == 0)
		put_stat(w, op, &st);
}

static void do_fchmod(struct worker *w, const struct op *op)
{
	int fd = slot_of(w, op->r[0]);
	struct stat st;
	mode_t mode = mode_of(op->r[1]);
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		mode |= 0700;
	put(w, " %o", mode);
	result(w, fchmod(fd, mode));
}

static const uid_t ids[] = {0, 1001, 1002, 1003, (uid_t)-1, (uid_t)-1, 4000};

static void do_chown(struct worker *w, const struct op *op)
{
	uid_t uid = ids[op->r[1] % 7];
	gid_t gid = ids[op->r[2] % 7];
	struct stat st;
	int flags = chance(op->r[3], 50) ? AT_SYMLINK_NOFOLLOW : 0;
	const char *path = path_of(w, 0, op->r[0]);
	if (uid == (uid_t)-1 && gid == (gid_t)-1 && geteuid() != 0)
		gid = getegid(); /* of nothing, by another than the owner: posix/users.c */
	put(w, " %d:%d %x", (int)uid, (int)gid, (unsigned)flags);
	result(w, fchownat(AT_FDCWD, path, uid, gid, flags));
	if (lstat(path, &st) == 0)
		put_stat(w, op, &st);
}

static void do_fchown(struct worker *w, const struct op *op)
{
	int fd = slot_of(w, op->r[0]);
	uid_t uid = ids[op->r[1] % 7];
	gid_t gid = ids[op->r[2] % 7];
	if (uid == (uid_t)-1 && gid == (gid_t)-1 && geteuid() != 0)
		gid = getegid();
	put(w, " %d:%d", (int)uid, (int)gid);
	result(w, fchown(fd, uid, gid));
}

static void do_utimens(struct worker *w, const struct op *op)
{
	struct timespec ts[2];
	struct stat st;
	for (unsigned i = 0; i < 2; i++)
		ts[i] = (struct timespec){.tv_sec = 1000000000 + op->r[1 + i] % 100000,
					  .tv_nsec = op->r[3 + i] % 1000000000};
	if (chance(op->r[5], 20))
		ts[op->r[6] % 2].tv_nsec = UTIME_OMIT;
	if (chance(op->r[5] >> 8, 20))
		ts[op->r[6] >> 8 & 1].tv_nsec = UTIME_NOW;
	if (chance(op->r[5] >> 16, 3))
		ts[1].tv_nsec = 1000000000;
	bool by_fd = op->r[7] % 3 == 0;
	int fd = by_fd ? slot_of(w, op->r[0]) : AT_FDCWD;
	const char *path = by_fd ? NULL : path_of(w, 0, op->r[0]);
	int flags = !by_fd && op->r[7] % 3 == 1 ? AT_SYMLINK_NOFOLLOW : 0;
	if (result(w, by_fd ? futimens(fd, ts) : utimensat(fd, path, ts, flags)) < 0)
		return;
	if ((by_fd ? fstat(fd, &st) : fstatat(fd, path, &st, flags)) < 0)
		return;
	put_stat(w, op, &st);
	/* One that was set before has moved where reading reached the file, not a cache. */
	if (st.st_atim.tv_sec < SET_BEFORE && ts[0].tv_nsec != UTIME_OMIT)
		put(w, " atime %lld.%09ld", (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec);
}

static const char *const xattrs[] = {"user.a",    "user.b",   "user.c",    "user.",
				     "trusted.t", "nonsense", "security.x"};

static void do_setxattr(struct worker *w, const struct op *op)
{
	static char value[70000];
	size_t len = chance(op->r[2], 10) ? op->r[3] % 70000 : op->r[3] % 200;
	const char *name = xattrs[op->r[4] % (chance(op->r[5] >> 8, 20) ? 6 : 3)];
	int flags = op->r[5] % 4 == 0 ? XATTR_CREATE : op->r[5] % 4 == 1 ? XATTR_REPLACE : 0;
	memset(value, 'a' + (int)(op->r[3] % 26), len);
	if (op->r[1] % 2) {
		int fd = slot_of(w, op->r[0]);
		put(w, " %s %zu %d", name, len, flags);
		result(w, fsetxattr(fd, name, value, len, flags));
	} else {
		const char *path = path_of(w, 0, op->r[0]);
		put(w, " %s %zu %d", name, len, flags);
		result(w, op->r[1] % 4 ? setxattr(path, name, value, len, flags)
				       : lsetxattr(path, name, value, len, flags));
	}
}

static void do_getxattr(struct worker *w, const struct op *op)
{
	static char value[70000];
	const char *name = xattrs[op->r[1] % 3], *path = path_of(w, 0, op->r[0]);
	size_t size = op->r[2] % 5 == 0 ? 0 : op->r[2] % 5 == 1 ? 10 : sizeof(value);
	put(w, " %s %zu", name, size);
	long n = result(w, getxattr(path, name, value, size));
	if (n > 0 && size)
		put(w, " %lx", fuzz_hash(0, value, (size_t)n));
}

static void do_removexattr(struct worker *w, const struct op *op)
{
	const char *name = xattrs[op->r[1] % 4], *path = path_of(w, 0, op->r[0]);
	put(w, " %s", name);
	result(w, removexattr(path, name));
}

/* The kernel's own form of an ACL: version 2, then (tag, rights, id), sorted. */
static size_t make_acl(unsigned char *at, const struct op *op)
{
	struct entry {
		uint16_t tag, perm;
		uint32_t id;
	} e[] = {{1, op->r[2] & 7, ~0U},        {2, op->r[2] >> 3 & 7, 1001},
		 {2, op->r[2] >> 6 & 7, 1002},  {4, op->r[2] >> 9 & 7, ~0U},
		 {8, op->r[2] >> 12 & 7, 1003}, {16, op->r[2] >> 15 & 7, ~0U},
		 {32, op->r[2] >> 18 & 7, ~0U}};
	e[0].perm |= 6; /* its owner goes on */
	memcpy(at, &(uint32_t){2}, 4);
	memcpy(at + 4, e, sizeof(e));
	size_t len = 4 + sizeof(e);
	if (chance(op->r[3], 5))
		len -= 8;
	return len;
}

static void do_acl(struct worker *w, const struct op *op)
{
	unsigned char value[128];
	bool def = op->r[1] % 3 == 0;
	const char *name = def ? "system.posix_acl_default" : "system.posix_acl_access";
	const char *path = chance(op->r[4], 50) ? dir_of(w, 0, op->r[0]) : path_of(w, 0, op->r[0]);
	struct stat st;
	put(w, " %s", name + 17);
	/* A directory that its users may not search would end it for them. */
	if (!def && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return;
	if (op->r[1] % 5 == 0)
		result(w, removexattr(path, name));
	else
		result(w, setxattr(path, name, value, make_acl(value, op), 0));
	long n = result(w, getxattr(path, name, value, sizeof(value)));
	if (n > 0)
		put(w, " %lx", fuzz_hash(0, value, (size_t)n));
	if (stat(path, &st) == 0)
		put_stat(w, op, &st);
}

static void do_stat(struct worker *w, const struct op *op)
{
	struct stat st;
	const char *path = path_of(w, 0, op->r[0]);
	if (result(w, op->r[1] % 2 ? stat(path, &st) : lstat(path, &st)) == 0)
		put_stat(w, op, &st);
}

static void do_access(struct worker *w, const struct op *op)
{
	const char *path = path_of(w, 0, op->r[0]);
	put(w, " %u", op->r[1] % 8);
	result(w, faccessat(AT_FDCWD, path, (int)(op->r[1] % 8), op->r[2] % 2 ? AT_EACCESS : 0));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All of d that is still to come, sorted. */
static void put_names(struct worker *w, DIR *d)
{
	char *list[300] = {NULL};
	size_t n = 0;
	const struct dirent *de;
	errno = 0;
	while (n < 300 && (de = readdir(d)))
		if (asprintf(&list[n], "%s:%d", show(de->d_name), de->d_type) > 0)
			n++;
	if (errno)
		put(w, " %s", strerrorname_np(errno));
	qsort(list, n, sizeof(*list), by_name);
	for (size_t i = 0; i < n; i++) {
		put(w, " %s", list[i]);
		free(list[i]);
	}
}

static void do_readdir(struct worker *w, const struct op *op)
{
	DIR *d = opendir(dir_of(w, 0, op->r[0]));
	result(w, d ? 0 : -1);
	if (!d)
		return;
	put_names(w, d);
	closedir(d);
}

/* One directory stays open over other operations. */
static void do_dir_open(struct worker *w, const struct op *op)
{
	if (w->dir)
		closedir(w->dir);
	w->dir = opendir(dir_of(w, 0, op->r[0]));
	result(w, w->dir ? 0 : -1);
}

static void do_dir_again(struct worker *w, const struct op *op)
{
	if (!w->dir)
		return;
	struct stat st;
	rewinddir(w->dir);
	put_names(w, w->dir);
	if (fstat(dirfd(w->dir), &st) == 0)
		put_stat(w, op, &st);
	result(w, fsync(dirfd(w->dir)));
	const char *path = path_of(w, 0, op->r[0]);
	result(w, fstatat(dirfd(w->dir), path, &st, AT_SYMLINK_NOFOLLOW));
}

static void do_statfs(struct worker *w, const struct op *op)
{
	struct statvfs v;
	if (result(w, statvfs(path_of(w, 0, op->r[0]), &v)) == 0)
		put(w, " %lu %lu %lu %lu", v.f_bsize, (unsigned long)v.f_blocks, v.f_namemax,
		    (unsigned long)v.f_files);
}

static void do_umask(struct worker *w, const struct op *op)
{
	static const mode_t masks[] = {022, 002, 077, 0, 027};
	put(w, " %o", masks[op->r[0] % 5]);
	umask(masks[op->r[0] % 5]);
}

static void do_chdir(struct worker *w, const struct op *op)
{
	if (op->r[1] % 3)
		result(w, fchdir(w->root));
	else
		result(w, chdir(dir_of(w, 0, op->r[0])));
}

const struct fuzz_kind fuzz_name_kinds[] = {
	{"mkdir", 40, do_mkdir},
	{"rmdir", 12, do_rmdir},
	{"unlink", 25, do_unlink},
	{"rename", 40, do_rename},
	{"link", 25, do_link},
	{"link_fd", 10, do_link_fd},
	{"symlink", 15, do_symlink},
	{"readlink", 8, do_readlink},
	{"mknod", 12, do_mknod},
	{"chmod", 15, do_chmod},
	{"fchmod", 8, do_fchmod},
	{"chown", 15, do_chown},
	{"fchown", 5, do_fchown},
	{"utimens", 20, do_utimens},
	{"setxattr", 15, do_setxattr},
	{"getxattr", 10, do_getxattr},
	{"removexattr", 6, do_removexattr},
	{"acl", 12, do_acl},
	{"stat", 40, do_stat},
	{"access", 15, do_access},
	{"readdir", 20, do_readdir},
	{"dir_open", 6, do_dir_open},
	{"dir_again", 10, do_dir_again},
	{"statfs", 3, do_statfs},
	{"umask", 4, do_umask},
	{"chdir", 6, do_chdir},
	{NULL, 0, NULL},
};
