/* Every call that takes a path, with every kind of path; every rename, of anything over anything. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "posix.h"

static long close_ok(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

static long open_dir(const char *path)
{
	DIR *d = opendir(path);
	if (d)
		closedir(d);
	return d ? 0 : -1;
}

static long call(unsigned n, const char *path)
{
	struct stat st;
	struct statvfs vfs;
	char buf[16];
	switch (n) {
	case 0:
		return close_ok(open(path, O_RDONLY | O_NONBLOCK));
	case 1:
		return close_ok(open(path, O_RDWR | O_NONBLOCK));
	case 2:
		return close_ok(open(path, O_WRONLY | O_CREAT | O_NONBLOCK, 0644));
	case 3:
		return close_ok(open(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
	case 4:
		return close_ok(open(path, O_WRONLY | O_TRUNC | O_NONBLOCK));
	case 5:
		return close_ok(open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
	case 6:
		return close_ok(open(path, O_RDONLY | O_DIRECTORY));
	case 7:
		return close_ok(open(path, O_PATH));
	case 8:
		return mkdir(path, 0755);
	case 9:
		return rmdir(path);
	case 10:
		return unlink(path);
	case 11:
		return symlink("f", path);
	case 12:
		return link("f", path);
	case 13:
		return link(path, "linked");
	case 14:
		return rename("f", path);
	case 15:
		return rename(path, "renamed");
	case 16:
		return mkfifo(path, 0644);
	case 17:
		return mknod(path, S_IFREG | 0644, 0);
	case 18:
		return chmod(path, 0700);
	case 19:
		return chown(path, (uid_t)-1, getegid());
	case 20:
		return lchown(path, getuid(), (gid_t)-1);
	case 21:
		return truncate(path, 3);
	case 22:
		return utimensat(AT_FDCWD, path, NULL, 0);
	case 23:
		return stat(path, &st);
	case 24:
		return lstat(path, &st);
	case 25:
		return readlink(path, buf, sizeof(buf));
	case 26:
		return access(path, R_OK | W_OK);
	case 27:
		return open_dir(path);
	case 28:
		return statvfs(path, &vfs);
	case 29:
		return setxattr(path, "user.x", "1", 1, 0);
	case 30:
		return getxattr(path, "user.x", buf, sizeof(buf)) >= 0 ? 0 : -1;
	case 31:
		return truncate(path, -1);
	case 32:
		return rename("d", path);
	case 33:
		return mknod(path, S_IFSOCK | 0644, 0);
	default:
		return chdir(path);
	}
}

enum { CALLS = 35 };

static void set_up(void)
{
	static unsigned n;
	char dir[32];
	snprintf(dir, sizeof(dir), "m%u", n++);
	if (mkdir(dir, 0755) < 0 || chdir(dir) < 0)
		abort();
	put("f", "file");
	mkdir("d", 0755);
	mkdir("full", 0755);
	put("full/x", "x");
	symlink("f", "to-f");
	symlink("d", "to-d");
	symlink("nowhere", "dangling");
	symlink("no/where", "deep-dangling");
	symlink("loop", "loop");
	mkfifo("fifo", 0644);
}

void posix_errors(void)
{
	char *n255 = filled('n', 255), *n256 = filled('n', 256), *below = filled('n', 258),
	     *longest = filled('/', 4096), *longer = filled('/', 4097);
	memcpy(below, "d/", 2);
	memcpy(longest, ".", 1);
	memcpy(longer, ".", 1);
	memcpy(longest + 4094, "f", 2);
	memcpy(longer + 4095, "f", 2);
	const char *const paths[] = {
		"f",         "d",      "full",  "to-f",   "to-d",      "dangling", "deep-dangling",
		"loop",      "fifo",   "none",  "f/x",    "f/",        "d/",       "none/",
		"none/x",    "loop/x", "to-f/", "to-d/",  "dangling/", "to-d/x",   ".",
		"..",        "d/.",    "d/..",  "full/.", "full/..",   "",         "fifo/x",
		"to-d/../f", n255,     n256,    below,    longest,     longer,     "./f",
		"full/x",
	};
	section("errors");
	int top = open(".", O_RDONLY | O_DIRECTORY);
	bool fresh = false;
	for (size_t p = 0; p < sizeof(paths) / sizeof(paths[0]); p++)
		for (unsigned n = 0; n < CALLS; n++) {
			if (!fresh)
				set_up();
			long rc = call(n, paths[p]);
			say(rc, "call %u of %.20s (%zu)", n, paths[p], strlen(paths[p]));
			/* What failed, and what only looks, leaves it as it was. */
			fresh = rc < 0 || (n <= 7 && n != 2 && n != 3 && n != 4) ||
				(n >= 23 && n <= 28) || n == 30;
			if (!fresh && fchdir(top) < 0)
				abort();
		}
	if (fchdir(top) < 0)
		abort();
	fchmod(top, 0755); /* it was ".." to some of them */
	close(top);
	free(n255);
	free(n256);
	free(below);
	free(longest);
	free(longer);
}

static void make(const char *name, unsigned kind)
{
	char inside[64];
	snprintf(inside, sizeof(inside), "%s/x", name);
	switch (kind) {
	case 1:
		put(name, name);
		break;
	case 2:
		mkdir(name, 0755);
		break;
	case 3:
		mkdir(name, 0755);
		put(inside, "x");
		break;
	case 4:
		symlink("r/a", name);
		break;
	case 5:
		mkfifo(name, 0644);
		break;
	case 6:
		link("other", name);
		break;
	default:
		break;
	}
}

void posix_renames(void)
{
	static const unsigned flags[] = {0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	section("renames");
	for (unsigned a = 0; a < 7; a++)
		for (unsigned b = 0; b < 7; b++)
			for (unsigned f = 0; f < 3; f++) {
				char dir[32];
				snprintf(dir, sizeof(dir), "r%u%u%u", a, b, f);
				if (mkdir(dir, 0755) < 0 || chdir(dir) < 0)
					abort();
				mkdir("s", 0755);
				put("other", "other");
				make("a", a);
				make("s/b", b);
				say(renameat2(AT_FDCWD, "a", AT_FDCWD, "s/b", flags[f]),
				    "%u over %u by %u", a, b, flags[f]);
				show("a");
				show("s/b");
				show("s/b/x");
				show("other");
				show("s");
				if (chdir("..") < 0)
					abort();
			}
	mkdir("r", 0755);
	mkdir("r/up", 0755);
	SAY(rename("r", "r/up/in"));
	SAY(rename("r/up", "r/up/in"));
	SAY(rename("r/up", "r"));
	SAY(rename("r/up", "r/up"));
	SAY(rename("r/.", "q"));
	SAY(rename("r/up/..", "q"));
	SAY(renameat2(AT_FDCWD, "r", AT_FDCWD, "r/up", RENAME_EXCHANGE));
	SAY(rename("r/up/", "r/moved/"));
	show("r/moved");
	put("r/file", "f");
	SAY(rename("r/file", "r/file2/"));
	SAY(rename("r/file/", "r/file2"));
	SAY(rename("r/moved", "r/file"));
	SAY(rename("r/file", "r/moved"));
}
