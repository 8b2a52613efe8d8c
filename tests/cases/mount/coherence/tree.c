/* A tree that nobody writes inside. */
#include "coherence.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	SETTLE_MS = 30000, /* as LIMIT_MS in stress.c */
	TREE_DIRS = 20,
	TREE_FILES = 100, /* in each */
	TREE_CHANGES = 6000,
};

static void tree_path(char *buf, const char *top, unsigned dir, const char *kind, unsigned file)
{
	snprintf(buf, PATH_MAX, "%s/tree/d%u/%s%u", top, dir, kind, file);
}

static void fill(const char *path, unsigned size, uint64_t seq)
{
	char text[256];
	memset(text, 'a' + (int)(seq % 26), sizeof(text));
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return; /* a directory is called so just now */
	if (write(fd, text, size) < 0)
		err(1, "%s", path);
	close(fd);
}

static void make_tree(void)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/tree", real);
	mkdir(path, 0755);
	for (unsigned d = 0; d < TREE_DIRS; d++) {
		snprintf(path, sizeof(path), "%s/tree/d%u", real, d);
		mkdir(path, 0755);
		for (unsigned f = 0; f < TREE_FILES; f += 2) {
			tree_path(path, real, d, "f", f); /* the odd ones do not exist yet */
			fill(path, 100, f);
		}
	}
}

static void change_tree(unsigned *random, uint64_t seq)
{
	char path[PATH_MAX], other[PATH_MAX];
	struct timespec ts[2] = {{.tv_sec = (time_t)seq}, {.tv_sec = (time_t)seq}};
	tree_path(path, real, (unsigned)rand_r(random) % TREE_DIRS, "f",
		  (unsigned)rand_r(random) % TREE_FILES);
	tree_path(other, real, (unsigned)rand_r(random) % TREE_DIRS, "f",
		  (unsigned)rand_r(random) % TREE_FILES);
	switch (rand_r(random) % 10) {
	case 0:
		unlink(path);
		break;
	case 1:
		rename(path, other); /* also of directories, also over files */
		break;
	case 2:
		chmod(path, 0600 | (mode_t)(seq & 077));
		break;
	case 3:
		utimensat(AT_FDCWD, path, ts, AT_SYMLINK_NOFOLLOW);
		break;
	case 4:
		if (truncate(path, (off_t)(seq % 100)) < 0)
			fill(path, 50, seq);
		break;
	case 5:
		if (mkdir(path, 0755) < 0)
			rmdir(path);
		break;
	case 6:
		if (symlink(seq & 1 ? "one" : "two", path) < 0)
			unlink(path);
		break;
	default:
		fill(path, 100, seq); /* mostly the same size as before */
	}
}

static bool same_stat(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_size == b->st_size && a->st_ino == b->st_ino &&
	       a->st_nlink == b->st_nlink && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static ssize_t content(const char *path, const struct stat *st, char buf[256])
{
	memset(buf, 0, 256);
	if (S_ISLNK(st->st_mode))
		return readlink(path, buf, 256);
	if (!S_ISREG(st->st_mode))
		return 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, 256);
	if (fd >= 0)
		close(fd);
	return n;
}

/* One name: NULL when it is the same inside and outside, else what differs. */
static const char *differs(const char *in, const char *out)
{
	struct stat a, b;
	char text_a[256], text_b[256];
	int ra = lstat(in, &a), ea = errno, rb = lstat(out, &b), eb = errno;
	if (ra != rb || (ra < 0 && ea != eb))
		return "existence";
	if (ra < 0)
		return NULL;
	if (!same_stat(&a, &b))
		return "attributes";
	if (content(in, &a, text_a) != content(out, &b, text_b) || memcmp(text_a, text_b, 256) != 0)
		return "content";
	return NULL;
}

/* How many names a directory lists, and a sum over them. */
static uint64_t listing(const char *top, unsigned dir)
{
	char path[PATH_MAX];
	uint64_t sum = 0;
	snprintf(path, sizeof(path), "%s/tree/d%u", top, dir);
	DIR *d = opendir(path);
	if (!d)
		err(1, "%s", path);
	const struct dirent *e;
	while ((e = readdir(d))) {
		uint64_t h = 5381;
		for (const char *c = e->d_name; *c; c++)
			h = h * 33 + (unsigned char)*c;
		sum += h;
	}
	closedir(d);
	return sum;
}

/* Number of differences; says them when asked. */
static unsigned compare_tree(bool say)
{
	unsigned n = 0;
	for (unsigned d = 0; d < TREE_DIRS; d++) {
		if (listing(mounted, d) != listing(real, d)) {
			n++;
			if (say)
				stale("the listing of d%u", d);
		}
		for (unsigned f = 0; f < TREE_FILES; f++) {
			char in[PATH_MAX], out[PATH_MAX];
			tree_path(in, mounted, d, "f", f);
			tree_path(out, real, d, "f", f);
			const char *what = differs(in, out);
			if (!what)
				continue;
			n++;
			if (say)
				stale("%s of %s", what, in);
		}
	}
	return n;
}

static void read_tree(void)
{
	while (!board->stop)
		compare_tree(false);
}

void whole_tree(void)
{
	unsigned random = 1;
	board->stop = false;
	make_tree();
	compare_tree(false); /* the kernel knows all of it now, also what does not exist */
	pid_t readers[2] = {start(read_tree), start(read_tree)};
	for (uint64_t seq = 0; seq < TREE_CHANGES; seq++)
		change_tree(&random, seq);
	board->stop = true;
	finish(readers[0]);
	finish(readers[1]);
	uint64_t end = now_us() + SETTLE_MS * 1000ull;
	while (compare_tree(false) && now_us() < end)
		;
	compare_tree(true);
}
