/* A tree as text, a line for each name in it. */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuzz.h"

struct tree {
	FILE *out;
	bool times;
};

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *de)
{
	return strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
}

/* Of what is large, which is sparse here, both ends. */
static void put_content(const struct tree *t, int dir, const char *name, off_t size)
{
	enum { END = 1 << 20 };
	static char buf[END];
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	uint64_t h = 0;
	if (fd < 0) {
		fprintf(t->out, " %s", strerrorname_np(errno));
		return;
	}
	(void)fsync(fd); /* what was stored in a map and not written yet */
	for (off_t at = 0; at < size; at += END) {
		if (at >= END && size - at > END)
			at = size - size % END;
		ssize_t n = pread(fd, buf, END, at);
		if (n < 0)
			fprintf(t->out, " %s", strerrorname_np(errno));
		h = fuzz_hash(h, buf, n > 0 ? (size_t)n : 0);
	}
	fprintf(t->out, " size %lld %lx", (long long)size, h);
	close(fd);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_xattrs(const struct tree *t, int dir, const char *name)
{
	static char list[65536], value[65536];
	char proc[64];
	char *names[64] = {NULL};
	size_t n = 0;
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	ssize_t len = fd < 0 ? 0 : listxattr(proc, list, sizeof(list));
	for (char *at = list; at < list + len && n < 64; at += strlen(at) + 1)
		names[n++] = at;
	qsort(names, n, sizeof(*names), by_text);
	for (size_t i = 0; i < n; i++) {
		ssize_t size = getxattr(proc, names[i], value, sizeof(value));
		fprintf(t->out, " %s=%zd:%lx", names[i], size,
			fuzz_hash(0, value, size > 0 ? (size_t)size : 0));
	}
	if (fd >= 0)
		close(fd);
}

static void put_entry(const struct tree *t, int dir, const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	fprintf(t->out, " %o links %lu %u:%u", st->st_mode, (unsigned long)st->st_nlink, st->st_uid,
		st->st_gid);
	if (t->times && !S_ISFIFO(st->st_mode) && st->st_mtim.tv_sec < SET_BEFORE)
		fprintf(t->out, " mtime %lld.%09ld", (long long)st->st_mtim.tv_sec,
			st->st_mtim.tv_nsec);
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(dir, name, target, sizeof(target));
		fprintf(t->out, " to %zd:%lx", n, fuzz_hash(0, target, n > 0 ? (size_t)n : 0));
	} else if (S_ISREG(st->st_mode)) {
		put_content(t, dir, name, st->st_size);
	}
	if (!S_ISLNK(st->st_mode))
		put_xattrs(t, dir, name);
}

static void walk(const struct tree *t, int dir, const char *path)
{
	struct dirent **list = NULL;
	int n = scandirat(dir, ".", &list, no_dots, by_name);
	if (n < 0)
		fprintf(t->out, "%s: %s\n", path, strerrorname_np(errno));
	for (int i = 0; i < n; i++) {
		char *below = NULL;
		struct stat st;
		const char *name = list[i]->d_name;
		if (asprintf(&below, "%s/%s", path, show(name)) < 0)
			err(1, "walk");
		fputs(below, t->out);
		bool there = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
		if (there)
			put_entry(t, dir, name, &st);
		fputs(there ? "\n" : " is not there\n", t->out);
		int fd = there && S_ISDIR(st.st_mode)
				 ? openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
				 : -1;
		if (fd >= 0) {
			walk(t, fd, below);
			close(fd);
		}
		free(below);
		free(list[i]);
	}
	free(list);
}

char *tree_text(const char *dir, bool times)
{
	char *text = NULL;
	size_t len = 0;
	struct tree t = {.out = open_memstream(&text, &len), .times = times};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!t.out || fd < 0)
		err(1, "%s", dir);
	walk(&t, fd, ".");
	close(fd);
	fclose(t.out);
	return text;
}

static void wipe(int dir)
{
	struct dirent **list = NULL;
	int n = scandirat(dir, ".", &list, no_dots, NULL);
	for (int i = 0; i < n; i++) {
		const char *name = list[i]->d_name;
		if (unlinkat(dir, name, 0) < 0 && (errno == EISDIR || errno == EPERM)) {
			(void)fchmodat(dir, name, 0700, 0);
			int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd >= 0) {
				wipe(fd);
				close(fd);
			}
			if (unlinkat(dir, name, AT_REMOVEDIR) < 0)
				err(1, "removing %s", name);
		}
		free(list[i]);
	}
	free(list);
}

void tree_wipe(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", dir);
	wipe(fd);
	(void)fremovexattr(fd, "system.posix_acl_default");
	close(fd);
}
