/* What a file has besides: mode, times, attributes, locks; and running it. */
#include "same.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void attributes(void)
{
	section("attr");
	int fd = put_open("m", "mode");
	SAY(chmod("m", 07654));
	show("m");
	SAY(fchmod(fd, 0604));
	SAY(chmod("none", 0644));
	SAY(chown("m", (uid_t)-1, (gid_t)-1));
	SAY(chown("m", getuid(), getgid()));
	SAY(lchown("m", getuid(), (gid_t)-1));
	show("m");
	struct timespec at[2] = {{.tv_sec = 1000000000, .tv_nsec = 123456789},
				 {.tv_sec = -5, .tv_nsec = 987654321}};
	struct stat st;
	SAY(utimensat(AT_FDCWD, "m", at, 0));
	stat("m", &st);
	note("atime %ld.%09ld mtime %ld.%09ld", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
	     (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	at[0].tv_nsec = UTIME_OMIT;
	at[1] = (struct timespec){.tv_sec = 2000000000, .tv_nsec = 1};
	SAY(futimens(fd, at));
	stat("m", &st);
	note("atime %ld mtime %ld.%09ld", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec,
	     st.st_mtim.tv_nsec);
	at[1].tv_nsec = UTIME_NOW;
	SAY(futimens(fd, at));
	stat("m", &st);
	say(st.st_mtim.tv_sec != 2000000000, "mtime is now");
	SAY(pwrite(fd, "x", 1, 0));
	SAY(symlink("m", "ml"));
	at[0] = at[1] = (struct timespec){.tv_sec = 77};
	SAY(utimensat(AT_FDCWD, "ml", at, AT_SYMLINK_NOFOLLOW));
	lstat("ml", &st);
	say((long)st.st_mtim.tv_sec, "mtime of the link");
	SAY(chmod("m", 06777));
	SAY(pwrite(fd, "y", 1, 0));
	show("m");
	SAY(access("m", X_OK));
	SAY(chmod("m", 0));
	SAY(fchmod(fd, 0644));
	mode_t old = umask(027);
	put("masked", "");
	SAY(mkdir("masked-dir", 0777));
	show("masked");
	show("masked-dir");
	umask(old);
	SAY(flock(fd, LOCK_EX | LOCK_NB));
	close(fd);
}

static void xattrs(void)
{
	section("xattr");
	put("x1", "x");
	char buf[256];
	SAY(setxattr("x1", "user.one", "1", 1, 0));
	SAY(setxattr("x1", "user.two", "zwei", 4, XATTR_CREATE));
	SAY(setxattr("x1", "user.two", "zwei", 4, XATTR_CREATE));
	SAY(setxattr("x1", "user.none", "n", 1, XATTR_REPLACE));
	SAY(getxattr("x1", "user.two", buf, sizeof(buf)));
	SAY(getxattr("x1", "user.two", buf, 1));
	SAY(getxattr("x1", "user.two", NULL, 0));
	SAY(getxattr("x1", "user.none", buf, sizeof(buf)));
	SAY(listxattr("x1", buf, sizeof(buf)));
	SAY(listxattr("x1", buf, 3));
	SAY(setxattr("x1", "user.empty", "", 0, 0));
	SAY(getxattr("x1", "user.empty", buf, sizeof(buf)));
	SAY(removexattr("x1", "user.one"));
	SAY(removexattr("x1", "user.one"));
	SAY(listxattr("x1", buf, sizeof(buf)));
	SAY(setxattr("x1", "nonsense", "1", 1, 0));
	SAY(symlink("x1", "xl"));
	SAY(lsetxattr("xl", "user.l", "1", 1, 0));
	SAY(mkdir("xd", 0755));
	SAY(setxattr("xd", "user.d", "dir", 3, 0));
	SAY(getxattr("xd", "user.d", buf, sizeof(buf)));
	char *big = filled('v', 2000);
	SAY(setxattr("x1", "user.big", big, 2000, 0));
	SAY(getxattr("x1", "user.big", NULL, 0));
	free(big);
}

static int in_child(int (*fn)(void))
{
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(fn());
	int ws;
	waitpid(pid, &ws, 0);
	return WIFEXITED(ws) ? WEXITSTATUS(ws) : 1000 + WTERMSIG(ws);
}

static int try_flock(void)
{
	return flock(open("locked", O_RDONLY), LOCK_SH | LOCK_NB) < 0 ? errno : 0;
}

static int try_fcntl(void)
{
	struct flock fl = {.l_type = F_WRLCK, .l_start = 5, .l_len = 5};
	return fcntl(open("locked", O_RDWR), F_SETLK, &fl) < 0 ? errno : 0;
}

static int see_fcntl(void)
{
	struct flock fl = {.l_type = F_WRLCK, .l_len = 0};
	fcntl(open("locked", O_RDWR), F_GETLK, &fl);
	return fl.l_type == F_UNLCK ? 0 : (int)(fl.l_start * 10 + fl.l_len);
}

static void locks(void)
{
	section("locks");
	int fd = put_open("locked", "0123456789");
	SAY(flock(fd, LOCK_EX));
	SAY(in_child(try_flock));
	SAY(flock(fd, LOCK_UN));
	SAY(in_child(try_flock));
	struct flock fl = {.l_type = F_WRLCK, .l_start = 3, .l_len = 4};
	SAY(fcntl(fd, F_SETLK, &fl));
	SAY(in_child(try_fcntl));
	SAY(in_child(see_fcntl));
	fl.l_type = F_UNLCK;
	SAY(fcntl(fd, F_SETLK, &fl));
	SAY(in_child(try_fcntl));
	SAY(in_child(see_fcntl));
	SAY(fcntl(fd, F_SETLEASE, F_WRLCK) < 0 ? 0 : fcntl(fd, F_SETLEASE, F_UNLCK));
	close(fd);
}

static void running(void)
{
	section("exec");
	put("script", "#!/bin/sh\necho ran with $1\n");
	SAY(chmod("script", 0755));
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		execl("./script", "script", "arg", (char *)NULL);
		_exit(1);
	}
	int ws = 0;
	waitpid(pid, &ws, 0);
	say(WEXITSTATUS(ws), "what it exited with");
	int fd = open("script", O_WRONLY);
	pid = fork();
	if (pid == 0) {
		execl("./script", "script", (char *)NULL);
		_exit(errno == ETXTBSY ? 42 : 1);
	}
	waitpid(pid, &ws, 0);
	say(WEXITSTATUS(ws), "exec of a file that is open for writing");
	close(fd);
	SAY(chmod("script", 0644));
	SAY(access("script", X_OK));
}

static void ioctls(void)
{
	section("ioctl");
	int fd = put_open("i", "ioctl");
	int n = -1;
	SAY(ioctl(fd, FIONREAD, &n));
	say(n, "bytes to read");
	SAY(ioctl(fd, 0x1234, &n));
	struct statvfs v;
	SAY(fstatvfs(fd, &v));
	say((long)v.f_namemax, "namemax, blocks %d", v.f_blocks > 0);
	SAY(pathconf("i", _PC_NAME_MAX));
	SAY(lseek(fd, 10, 99));
	SAY(fcntl(fd, F_GETFL) & O_ACCMODE);
	close(fd);
}

void same_attributes(void)
{
	attributes();
	xattrs();
	locks();
	running();
	ioctls();
}
