/* Opening, sizes and limits, ioctls, leases, notifications. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "posix.h"

static void opening(void)
{
	section("open");
	put("f", "0123456789");
	mkdir("od", 0755);
	symlink("f", "to-f");
	symlink("made-by-link", "to-new");
	symlink("no/where", "to-none");
	mkfifo("fifo", 0644);
	SAY(close(open("f", O_RDONLY | O_TRUNC)));
	show("f");
	SAY(close(open("to-new", O_WRONLY | O_CREAT, 0640)));
	show("made-by-link");
	SAY(open("to-none", O_WRONLY | O_CREAT, 0640));
	SAY(open("to-f", O_WRONLY | O_CREAT | O_EXCL, 0640));
	SAY(open("to-f", O_RDONLY | O_NOFOLLOW));
	SAY(open("od", O_WRONLY));
	SAY(open("od", O_RDONLY | O_CREAT, 0644));
	SAY(open("od", O_RDONLY | O_TRUNC));
	SAY(open("f", O_RDONLY | O_DIRECTORY));
	SAY(open("fifo", O_WRONLY | O_NONBLOCK));
	SAY(open("f", O_TMPFILE | O_RDWR, 0600));
	SAY(open("none", O_TMPFILE | O_RDWR, 0600));
	SAY(close(open("f", O_RDONLY | O_NOATIME)));
	SAY(close(open("f", O_WRONLY | O_SYNC)));
	SAY(openat(AT_FDCWD, "f/", O_RDONLY));
	int fd = open("od", O_RDONLY);
	char buf[8];
	SAY(read(fd, buf, 1));
	SAY(write(fd, buf, 1));
	SAY(ftruncate(fd, 0));
	SAY(lseek(fd, 0, SEEK_SET));
	SAY(fallocate(fd, 0, 0, 1));
	close(fd);
	/* Without root a foreigner cannot read what its own mode forbids him to: fuzz_ops.c, mode_of(). */
	fd = open("strict", O_RDWR | O_CREAT | O_EXCL, geteuid() == 0 ? 0 : S_IRUSR);
	SAY(write(fd, "mine", 4));
	SAY(pread(fd, buf, 4, 0));
	SAY(ftruncate(fd, 2));
	SAY(fallocate(fd, 0, 0, 20));
	SAY(fsync(fd));
	SAY(fchmod(fd, 0200));
	SAY(pread(fd, buf, 2, 0));
	SAY(copy_file_range(fd, &(loff_t){0}, fd, &(loff_t){10}, 2, 0));
	SAY(lseek(fd, 0, SEEK_HOLE));
	show("strict");
	close(fd);
	fd = open("strict-r", O_RDONLY | O_CREAT | O_EXCL, 0200);
	SAY(read(fd, buf, 1));
	SAY(write(fd, buf, 1));
	close(fd);
}

static void no_signal(int sig)
{
}

static void sizes(void)
{
	struct rlimit old, small = {.rlim_cur = 1000};
	section("sizes");
	put("big", "");
	int fd = open("big", O_RDWR);
	SAY(ftruncate(fd, (off_t)1 << 43));
	SAY(ftruncate(fd, (off_t)1 << 45));
	SAY(truncate("big", INT64_MAX));
	SAY(pwrite(fd, "x", 1, ((off_t)1 << 44) - 4096 - 1));
	SAY(pwrite(fd, "xy", 2, (off_t)1 << 45));
	SAY(pwrite(fd, "x", 1, INT64_MAX));
	SAY(pwrite(fd, "x", 1, INT64_MAX - 1));
	SAY(lseek(fd, (off_t)1 << 43, SEEK_SET));
	SAY(lseek(fd, -1, SEEK_CUR));
	SAY(lseek(fd, -1, SEEK_SET));
	SAY(ftruncate(fd, 0));
	SAY(fallocate(fd, 0, 0, (off_t)1 << 45));
	SAY(fallocate(fd, 0, (off_t)1 << 45, 10));
	SAY(fallocate(fd, 0, -1, 10));
	SAY(fallocate(fd, 0, 0, -1));
	SAY(fallocate(fd, 0, INT64_MAX, 10));
	SAY(fallocate(fd, 0xfff, 0, 10));
	SAY(fallocate(fd, 2, 0, 10));
	SAY(posix_fallocate(fd, 5, 10));
	SAY(posix_fallocate(fd, 5, 0));
	show("big");
	signal(SIGXFSZ, no_signal);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	char buf[600] = "";
	SAY(pwrite(fd, buf, 600, 0));
	SAY(pwrite(fd, buf, 600, 600));
	SAY(pwrite(fd, buf, 600, 1000));
	SAY(ftruncate(fd, 1000));
	SAY(ftruncate(fd, 1001));
	SAY(truncate("big", 2000));
	SAY(fallocate(fd, 0, 0, 2000));
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	show("big");
	close(fd);
	fd = open("fifo", O_RDWR | O_NONBLOCK);
	SAY(fallocate(fd, 0, 0, 1));
	SAY(lseek(fd, 0, SEEK_SET));
	SAY(ftruncate(fd, 0));
	close(fd);
}

static void ioctls(void)
{
	section("ioctl");
	put("io", "ioctl");
	put("io2", "other");
	int fd = open("io", O_RDWR), from = open("io2", O_RDONLY), n = 0;
	SAY(ioctl(fd, FICLONE, from));
	SAY(ioctl(fd, FIONREAD, &n));
	note("%d", n);
	SAY(ioctl(fd, FIGETBSZ, &n));
	note("%d", n);
	SAY(ioctl(fd, 0x5401, &n));
	SAY(readahead(fd, 0, 100));
	SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
	SAY(posix_fadvise(fd, 0, 0, 77));
	SAY(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	SAY(fcntl(fd, F_SETPIPE_SZ, 4096));
	close(fd);
	close(from);
}

static volatile sig_atomic_t broken;

static void on_break(int sig)
{
	broken = sig;
}

static void leases(void)
{
	section("lease");
	put("lf", "leased");
	int fd = open("lf", O_RDONLY);
	SAY(fcntl(fd, F_GETLEASE));
	SAY(fcntl(fd, F_SETLEASE, F_RDLCK));
	SAY(fcntl(fd, F_GETLEASE));
	signal(SIGIO, on_break);
	SAY(fcntl(fd, F_SETLEASE, F_WRLCK));
	broken = 0;
	SAY(open("lf", O_WRONLY | O_NONBLOCK));
	note("told %d", broken == SIGIO);
	SAY(fcntl(fd, F_SETLEASE, F_UNLCK));
	SAY(close(open("lf", O_WRONLY | O_NONBLOCK)));
	close(fd);
	signal(SIGIO, SIG_DFL);
}

static void watching(void)
{
	union {
		char bytes[8192];
		struct inotify_event align;
	} buf;
	section("inotify");
	mkdir("wd", 0755);
	int in = inotify_init1(IN_NONBLOCK);
	SAY(inotify_add_watch(in, "wd",
			      IN_ALL_EVENTS & ~(IN_OPEN | IN_CLOSE_NOWRITE | IN_ACCESS)) >= 0);
	put("wd/a", "a");
	int fd = open("wd/a", O_RDWR);
	SAY(write(fd, "x", 1));
	SAY(ftruncate(fd, 0));
	close(fd);
	chmod("wd/a", 0600);
	rename("wd/a", "wd/b");
	link("wd/b", "wd/c");
	unlink("wd/b");
	mkdir("wd/d", 0755);
	rmdir("wd/d");
	symlink("c", "wd/s");
	truncate("wd/c", 10);
	unlink("wd/c");
	unlink("wd/s");
	rmdir("wd");
	/* The last one comes when nobody looks at the directory any more. */
	struct pollfd p = {.fd = in, .events = POLLIN};
	bool last = false;
	while (!last && poll(&p, 1, 60000) > 0) {
		ssize_t n = read(in, buf.bytes, sizeof(buf.bytes));
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *ev = (const void *)(buf.bytes + at);
			note("%x %s", ev->mask, ev->len ? ev->name : "");
			last = ev->mask & IN_IGNORED;
			at += (ssize_t)(sizeof(*ev) + ev->len);
		}
	}
	close(in);
}

void posix_files(void)
{
	opening();
	sizes();
	ioctls();
	leases();
	watching();
}
