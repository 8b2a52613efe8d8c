/* Which times a call moves: of the file, and of the directory that holds it. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "posix.h"

static int fd, other;

static long map_and_write(void)
{
	char *at = mmap(NULL, 10, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return -1;
	at[1] = 'm';
	long rc = msync(at, 10, MS_SYNC);
	munmap(at, 10);
	return rc;
}

static long call(unsigned n)
{
	const struct timespec set[2] = {{.tv_sec = 5}, {.tv_sec = 6}};
	off_t zero = 0, one = 1;
	char buf[8];
	switch (n) {
	case 0:
		return write(fd, "x", 1);
	case 1:
		return write(fd, "x", 0);
	case 2:
		return ftruncate(fd, 4);
	case 3:
		return ftruncate(fd, 100);
	case 4:
		return truncate("t/f", 4);
	case 5:
		return truncate("t/f", 0);
	case 6:
		return close(open("t/f", O_WRONLY | O_TRUNC));
	case 7:
		return close(open("t/f", O_WRONLY | O_CREAT, 0600));
	case 8:
		return chmod("t/f", 0600);
	case 9:
		return fchmod(fd, 0644);
	case 10:
		return chown("t/f", getuid(), getgid());
	case 11:
		return chown("t/f", (uid_t)-1, (gid_t)-1);
	case 12:
		return utimensat(AT_FDCWD, "t/f", set, 0);
	case 13:
		return setxattr("t/f", "user.x", "1", 1, 0);
	case 14:
		return removexattr("t/f", "user.have");
	case 15:
		return fallocate(fd, 0, 0, 10000);
	case 16:
		return fallocate(fd, 3, 0, 2);
	case 17:
		return map_and_write();
	case 18:
		return copy_file_range(other, &zero, fd, &one, 3, 0);
	case 19:
		return link("t/f", "t/l");
	case 20:
		return link("t/f", "u/l");
	case 21:
		return unlink("t/f");
	case 22:
		return unlink("t/have");
	case 23:
		return rename("t/f", "t/g");
	case 24:
		return rename("t/f", "u/g");
	case 25:
		return rename("u/o", "t/f");
	case 26:
		return rename("t/f", "t/have");
	case 27:
		return symlink("x", "t/s");
	case 28:
		return mkdir("t/d", 0755);
	case 29:
		return rmdir("t/e");
	case 30:
		return mkfifo("t/p", 0644);
	case 31:
		return close(open("t/n", O_WRONLY | O_CREAT, 0644));
	case 32:
		return mkdir("t/f", 0755);
	case 33:
		return unlink("t/none");
	case 34:
		return rename("t/none", "t/f");
	case 35:
		return truncate("t/f", -1);
	case 36:
		return rename("t/e", "u/e");
	case 37:
		return renameat2(AT_FDCWD, "t/f", AT_FDCWD, "t/e", 2);
	case 38:
		return pwrite(fd, "abc", 3, 100000);
	case 39:
		return pread(fd, buf, sizeof(buf), 0);
	case 40:
		return close(open("t", O_TMPFILE | O_WRONLY, 0600));
	case 41:
		return fchown(fd, getuid(), (gid_t)-1);
	case 42:
		return rename("t/f", "t/f");
	case 43:
		return fsync(fd);
	default:
		return mknod("t/sock", S_IFSOCK | 0600, 0);
	}
}

enum { CALLS = 45, WATCHED = 4 };

static bool same(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static void set_up(void)
{
	shell("rm -rf t u && mkdir t u t/e");
	put("t/f", "content");
	put("t/have", "have");
	put("u/o", "other");
	setxattr("t/f", "user.have", "1", 1, 0);
	fd = open("t/f", O_RDWR);
	other = open("u/o", O_RDONLY);
}

void posix_times(void)
{
	static const char *const watched[WATCHED] = {"t", "u", "t/f", "t/have"};
	struct stat before[WATCHED], after;
	int fds[WATCHED];
	section("times");
	for (unsigned n = 0; n < CALLS; n++) {
		set_up();
		const struct timespec old[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
		for (unsigned i = 0; i < WATCHED; i++) {
			fds[i] = open(watched[i], O_RDONLY);
			futimens(fds[i], old);
		}
		for (unsigned i = 0; i < WATCHED; i++)
			fstat(fds[i], &before[i]);
		usleep(12000); /* where ctime moves in steps, one of them */
		say(call(n), "call %u", n);
		for (unsigned i = 0; i < WATCHED; i++) {
			fstat(fds[i], &after);
			note("%s:%s%s%s links %lu", watched[i],
			     same(&before[i].st_mtim, &after.st_mtim) ? "" : " mtime",
			     same(&before[i].st_ctim, &after.st_ctim) ? "" : " ctime",
			     n == 39 || same(&before[i].st_atim, &after.st_atim) ? "" : " atime",
			     (unsigned long)after.st_nlink);
			close(fds[i]);
		}
		close(fd);
		close(other);
	}
}
