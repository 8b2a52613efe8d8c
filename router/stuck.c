#include "router/stuck.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "router/identity.h"

enum { DEPTH_MAX = 32, LOOKS_MAX = 2000, CALL_ARGS = 6, PAGE = 4096 };

/* ---- system calls that take an inode's lock for something other than a moment ---- */

enum { NONE = -1 };

/* Which arguments name a file: by descriptor, by path, or by directory and path in the next one. */
struct call {
	long nr;
	int fd;       /* the file's own lock */
	int path[2];  /* the lock of its directory */
	bool at;      /* path[] is the descriptor of a directory, the path is behind it */
	bool own;     /* the lock of what path[] names, besides */
	int flags;    /* where open's flags are: own with O_TRUNC */
	bool renames; /* both at once: see STUCK_RENAME */
};

#define BY_FD(nr, arg)                                                                             \
	{                                                                                          \
		(nr), (arg), {NONE, NONE}, false, false, NONE, false                               \
	}
#define BY_PATH(nr, arg, own)                                                                      \
	{                                                                                          \
		(nr), NONE, {(arg), NONE}, false, own, NONE, false                                 \
	}
#define BY_AT(nr, arg, own)                                                                        \
	{                                                                                          \
		(nr), NONE, {(arg), NONE}, true, own, NONE, false                                  \
	}

static const struct call calls[] = {
	BY_FD(SYS_write, 0),
	BY_FD(SYS_pwrite64, 0),
	BY_FD(SYS_writev, 0),
	BY_FD(SYS_pwritev, 0),
	BY_FD(SYS_pwritev2, 0),
	BY_FD(SYS_sendfile, 0),
	BY_FD(SYS_copy_file_range, 2),
	BY_FD(SYS_splice, 2),
	BY_FD(SYS_ftruncate, 0),
	BY_FD(SYS_fallocate, 0),
	BY_FD(SYS_fchmod, 0),
	BY_FD(SYS_fchown, 0),
	BY_FD(SYS_fsetxattr, 0),
	BY_FD(SYS_fremovexattr, 0),
	BY_FD(SYS_getdents64, 0),
	BY_FD(SYS_lseek, 0),
	BY_PATH(SYS_truncate, 0, true),
	BY_PATH(SYS_setxattr, 0, true),
	BY_PATH(SYS_lsetxattr, 0, true),
	BY_PATH(SYS_removexattr, 0, true),
	BY_PATH(SYS_lremovexattr, 0, true),
	BY_PATH(SYS_execve, 0, false),
	{SYS_openat, NONE, {0, NONE}, true, false, 2, false},
	BY_AT(SYS_mkdirat, 0, false),
	BY_AT(SYS_mknodat, 0, false),
	BY_AT(SYS_unlinkat, 0, true),
	BY_AT(SYS_symlinkat, 1, false),
	BY_AT(SYS_fchmodat, 0, true),
	BY_AT(SYS_fchownat, 0, true),
	BY_AT(SYS_utimensat, 0, true),
	BY_AT(SYS_faccessat, 0, false),
	BY_AT(SYS_faccessat2, 0, false),
	BY_AT(SYS_statx, 0, false),
	BY_AT(SYS_newfstatat, 0, false),
	BY_AT(SYS_readlinkat, 0, false),
	{SYS_linkat, NONE, {0, 2}, true, false, NONE, false},
	{SYS_renameat2, NONE, {0, 2}, true, true, NONE, true},
#ifdef SYS_renameat
	{SYS_renameat, NONE, {0, 2}, true, true, NONE, true},
#endif
#ifdef SYS_mkdir /* the older ones, where there are any */
	{SYS_link, NONE, {0, 1}, false, false, NONE, false},
	{SYS_rename, NONE, {0, 1}, false, true, NONE, true},
	{SYS_open, NONE, {0, NONE}, false, false, 1, false},
	BY_PATH(SYS_creat, 0, true),
	BY_PATH(SYS_mkdir, 0, false),
	BY_PATH(SYS_rmdir, 0, true),
	BY_PATH(SYS_unlink, 0, true),
	BY_PATH(SYS_mknod, 0, false),
	BY_PATH(SYS_symlink, 1, false),
	BY_PATH(SYS_chmod, 0, true),
	BY_PATH(SYS_chown, 0, true),
	BY_PATH(SYS_lchown, 0, true),
	BY_PATH(SYS_access, 0, false),
	BY_PATH(SYS_stat, 0, false),
	BY_PATH(SYS_lstat, 0, false),
	BY_PATH(SYS_readlink, 0, false),
	BY_PATH(SYS_chdir, 0, false),
	BY_PATH(SYS_utimes, 0, true),
#endif
};

static const struct call *call_of(long nr)
{
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (calls[i].nr == nr)
			return &calls[i];
	return NULL;
}

/* ---- names ---- */

static uint64_t fnv(uint64_t h, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * 1099511628211U;
	return h;
}

uint64_t stuck_place(const char *real, bool parent)
{
	const char *slash = parent ? strrchr(real, '/') : NULL;

	return fnv(14695981039346656037U, real, slash ? (size_t)(slash - real) : strlen(real));
}

bool stuck_needs(const struct stuck *s, uint64_t place)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->needs[i] == place)
			return true;
	return false;
}

static void add(struct stuck *s, uint64_t place)
{
	if (s->n < STUCK_MAX && !stuck_needs(s, place))
		s->needs[s->n++] = place;
}

/* Takes out ".", ".." and double slashes, as text. */
static void normalise(char *path)
{
	char *out = path;

	for (char *in = path; *in;) {
		size_t len;

		in += strspn(in, "/");
		len = strcspn(in, "/");
		if (len == 2 && in[0] == '.' && in[1] == '.') {
			while (out > path && *--out != '/')
				;
		} else if (len && !(len == 1 && in[0] == '.')) {
			*out++ = '/';
			memmove(out, in, len);
			out += len;
		}
		in += len;
	}
	*out = '\0';
}

/* ---- a thread ---- */

struct look {
	const struct repo_list *repos;
	const char *mountpoint;
	pid_t pid, tid;
	unsigned left; /* processes and threads that may still be looked at */
	struct stuck *out;
};

static int link_of(const struct look *k, const char *name, char buf[PATH_MAX])
{
	char link[80];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/task/%d/%s", (int)k->pid, (int)k->tid, name);
	n = readlink(link, buf, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return 0;
}

static int link_of_fd(const struct look *k, int fd, char buf[PATH_MAX])
{
	char name[24];

	snprintf(name, sizeof(name), "fd/%d", fd);
	return link_of(k, fd == AT_FDCWD ? "cwd" : name, buf);
}

/* A string in its memory: page by page, since what is behind its end may not be there. */
static int text_at(const struct look *k, uint64_t address, char buf[PATH_MAX])
{
	size_t have = 0;

	while (have < PATH_MAX) {
		size_t len = PAGE - (size_t)((address + have) % PAGE);
		struct iovec local = {buf + have, len < PATH_MAX - have ? len : PATH_MAX - have};
		struct iovec remote = {(void *)(uintptr_t)(address + have), local.iov_len};
		ssize_t n = process_vm_readv(k->pid, &local, 1, &remote, 1, 0);

		if (n <= 0)
			return n < 0 ? -errno : -EFAULT;
		if (memchr(buf + have, '\0', (size_t)n))
			return 0;
		have += (size_t)n;
	}
	return -ENAMETOOLONG;
}

/* The locks of what path, an absolute one, stands for, and of the directory it is in. */
static void needs_path(struct look *k, char *path, bool own, bool parent)
{
	CLEANUP(freep) char *real = NULL;

	normalise(path);
	real = identity_real_path(k->repos, k->mountpoint, path);
	if (!real)
		return;
	if (own)
		add(k->out, stuck_place(real, false));
	if (parent)
		add(k->out, stuck_place(real, true));
}

static void needs_name(struct look *k, const struct call *c, const uint64_t args[CALL_ARGS],
		       int which)
{
	char name[PATH_MAX], dir[PATH_MAX], path[2 * PATH_MAX];
	int at = c->path[which];
	int fd = c->at ? (int)args[at] : AT_FDCWD;

	if (text_at(k, args[at + c->at], name) < 0)
		return;
	if (name[0] != '/' && link_of_fd(k, fd, dir) < 0)
		return;
	snprintf(path, sizeof(path), "%s/%s", name[0] == '/' ? "" : dir, name);
	needs_path(k, path, c->own || (c->flags != NONE && args[c->flags] & O_TRUNC), true);
}

static void needs_of(struct look *k, const struct call *c, const uint64_t args[CALL_ARGS])
{
	char path[PATH_MAX];

	if (c->fd != NONE && link_of_fd(k, (int)args[c->fd], path) == 0)
		needs_path(k, path, true, false);
	for (int i = 0; i < 2; i++)
		if (c->path[i] != NONE)
			needs_name(k, c, args, i);
	if (c->renames && k->out->n)
		add(k->out, STUCK_RENAME);
}

static void look_at_thread(struct look *k)
{
	char name[64], text[300] = "";
	uint64_t args[CALL_ARGS];
	const struct call *c;
	struct proc_stat st;
	size_t len = 0;
	long nr;

	if (k->out->call || proc_stat(k->tid, &st) < 0 || st.state != 'D')
		return;
	snprintf(name, sizeof(name), "/proc/%d/task/%d/syscall", (int)k->pid, (int)k->tid);
	CLEANUP(closep) int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || file_read_full(fd, text, sizeof(text) - 1, &len) < 0 ||
	    sscanf(text,
		   "%ld 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64 " 0x%" SCNx64
		   " 0x%" SCNx64,
		   &nr, &args[0], &args[1], &args[2], &args[3], &args[4], &args[5]) != 7)
		return;
	c = call_of(nr);
	if (c)
		needs_of(k, c, args);
	if (k->out->n)
		k->out->call = fnv(fnv(14695981039346656037U, name, strlen(name)), text, len) | 1;
}

/* ---- all that it runs ---- */

static void look_below(struct look *k, pid_t pid, int depth);

/* The children of one thread, and of those. */
static void look_at_children(struct look *k, pid_t pid, pid_t tid, int depth)
{
	CLEANUP(freep) char *text = NULL;
	char name[64];
	size_t len;

	snprintf(name, sizeof(name), "/proc/%d/task/%d/children", (int)pid, (int)tid);
	if (file_read(AT_FDCWD, name, 1 << 20, &text, &len) < 0)
		return;
	for (char *at = text, *end;; at = end) {
		pid_t child = (pid_t)strtol(at, &end, 10);

		if (end == at || k->out->call)
			return;
		look_below(k, child, depth + 1);
	}
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by depth */
static void look_below(struct look *k, pid_t pid, int depth)
{
	char name[40];

	if (depth > DEPTH_MAX)
		return;
	snprintf(name, sizeof(name), "/proc/%d/task", (int)pid);
	CLEANUP(closedirp) DIR *d = opendir(name);

	for (struct dirent *de; d && !k->out->call && k->left && (de = readdir(d)); k->left--) {
		pid_t tid = (pid_t)strtol(de->d_name, NULL, 10);

		if (tid <= 0)
			continue;
		k->pid = pid;
		k->tid = tid;
		if (depth)
			look_at_thread(k);
		look_at_children(k, pid, tid, depth);
	}
}

void stuck_find(pid_t pid, const struct repo_list *l, const char *mountpoint, struct stuck *out)
{
	struct look k = {.repos = l, .mountpoint = mountpoint, .left = LOOKS_MAX, .out = out};

	memset(out, 0, sizeof(*out));
	look_below(&k, pid, 0);
}
