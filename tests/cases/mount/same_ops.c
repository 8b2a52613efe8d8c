/*
 * What a file system answers: does each kind of operation below the working directory and prints a line
 * for it, with the result or the errno, and what the file is afterwards. Run in a plain directory, at home
 * in the mount and in a foreign repo of it, the lines must be the same (same_as_a_plain_directory.sh).
 *
 * Nothing that legitimately differs is printed: inode and device numbers, times that were not set here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *section;

__attribute__((format(printf, 2, 3))) static long say(long result, const char *what, ...)
{
	int error = errno;
	va_list ap;
	printf("%s: ", section);
	va_start(ap, what);
	vprintf(what, ap);
	va_end(ap);
	if (result < 0)
		printf(" = %s\n", strerrorname_np(error));
	else
		printf(" = %ld\n", result);
	return result;
}

#define SAY(call) ((void)say((long)(call), "%s", #call))

/* Type, mode, links, size and a checksum of the content, without following a link. */
static void show(const char *path)
{
	struct stat st;
	char target[PATH_MAX];
	if (lstat(path, &st) < 0) {
		printf("%s:   %s: %s\n", section, path, strerrorname_np(errno));
		return;
	}
	printf("%s:   %s: mode %o links %lu uid %u gid %u", section, path, st.st_mode,
	       S_ISDIR(st.st_mode) ? 0UL : (unsigned long)st.st_nlink, st.st_uid, st.st_gid);
	if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(path, target, sizeof(target));
		printf(" -> %zd bytes, begins %.*s", n, n > 20 ? 20 : (int)n, target);
	}
	int fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY) : -1;
	if (fd >= 0 && st.st_size < 1 << 24) {
		unsigned char buf[65536];
		uint64_t sum = 14695981039346656037U;
		ssize_t n;
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			for (ssize_t i = 0; i < n; i++)
				sum = (sum ^ buf[i]) * 1099511628211U;
		printf(" sum %016lx", sum);
	}
	if (S_ISREG(st.st_mode))
		printf(" size %ld", (long)st.st_size);
	if (fd >= 0)
		close(fd);
	puts("");
}

static int make(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		perror(path);
		exit(1);
	}
	return fd;
}

static void put(const char *path, const char *text)
{
	close(make(path, text));
}

static char *fill(char ch, size_t n)
{
	char *s = malloc(n + 1);
	memset(s, ch, n);
	s[n] = '\0';
	return s;
}

static void creating(void)
{
	section = "create";
	int fd = open("new", O_RDWR | O_CREAT | O_EXCL, 0640);
	SAY(write(fd, "hello", 5));
	SAY(open("new", O_RDWR | O_CREAT | O_EXCL, 0640));
	SAY(open("none", O_RDWR));
	SAY(open("none/x", O_RDWR | O_CREAT, 0600));
	SAY(open("new/x", O_RDWR | O_CREAT, 0600));
	SAY(open("new", O_RDONLY | O_DIRECTORY));
	SAY(open(".", O_RDWR));
	SAY(open("", O_RDWR | O_CREAT, 0600));
	SAY(close(open("new", O_WRONLY | O_TRUNC)));
	show("new");
	SAY(close(open("strict", O_WRONLY | O_CREAT, 0444)));
	SAY(write(open("strict2", O_WRONLY | O_CREAT, 0400), "x", 1));
	show("strict2");
	SAY(close(open("sticky", O_WRONLY | O_CREAT, 06755)));
	show("sticky");
	char *n255 = fill('n', 255), *n256 = fill('n', 256);
	say(close(open(n255, O_WRONLY | O_CREAT, 0644)), "a name of 255 bytes");
	say(open(n256, O_WRONLY | O_CREAT, 0644), "a name of 256 bytes");
	say(unlink(n255), "unlink it");
	say(close(open("\xff\xfe \n\t'\"\\", O_WRONLY | O_CREAT, 0644)),
	    "a name that is not UTF-8");
	free(n255);
	free(n256);
	close(fd);
}

static void deep_paths(void)
{
	section = "deep";
	char path[PATH_MAX] = "";
	size_t n = 0;
	/* With "w/" in front of it, 4095 bytes below the root of the repo; parts of 100. */
	enum { LONGEST = 4093 };
	while (n + 101 < LONGEST - 10) {
		memset(path + n, 'd', 100);
		path[n + 100] = '\0';
		if (mkdir(path, 0755) < 0)
			say(-1, "mkdir at %zu", n);
		path[n + 100] = '/';
		n += 101;
	}
	memset(path + n, 'f', LONGEST - n);
	path[LONGEST] = '\0';
	int fd = open(path, O_RDWR | O_CREAT, 0644);
	say(fd < 0 ? -1 : 0, "open a path of 4095 bytes below the root");
	say(write(fd, "deep", 4), "write to it");
	close(fd);
	struct stat st;
	say(stat(path, &st) < 0 ? -1 : (long)st.st_size, "stat of it");
	say(unlink(path), "unlink it");
	while (n > 0) {
		n -= 101;
		path[n + 100] = '\0';
		if (rmdir(path) < 0)
			say(-1, "rmdir at %zu", n);
	}
}

static void writing(void)
{
	section = "write";
	int fd = make("f", "0123456789");
	SAY(pwrite(fd, "abc", 3, 4));
	SAY(pwrite(fd, "end", 3, 100000));
	SAY(pwrite(fd, "x", 1, -1));
	show("f");
	SAY(ftruncate(fd, 5));
	SAY(ftruncate(fd, 8));
	SAY(ftruncate(fd, -1));
	SAY(truncate("f", 3));
	show("f");
	int a = open("f", O_WRONLY | O_APPEND), b = open("f", O_WRONLY | O_APPEND);
	SAY(write(a, "AA", 2));
	SAY(write(b, "BB", 2));
	SAY(write(a, "CC", 2));
	SAY(pwrite(a, "DD", 2, 0));
	SAY(lseek(a, 0, SEEK_CUR));
	show("f");
	int r = open("f", O_RDONLY);
	SAY(write(r, "x", 1));
	SAY(ftruncate(r, 0));
	char buf[64];
	SAY(read(a, buf, 8));
	SAY(pread(r, buf, sizeof(buf), 2));
	SAY(pread(r, buf, sizeof(buf), 1000));
	SAY(lseek(r, 0, SEEK_END));
	char *big = fill('B', 3000001);
	SAY(pwrite(fd, big, 3000001, 12345));
	show("f");
	free(big);
	SAY(fsync(fd));
	SAY(fdatasync(fd));
	SAY(sync_file_range(fd, 0, 0, 7));
	SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	close(a);
	close(b);
	close(r);
	close(fd);
}

static void appenders(void)
{
	section = "append";
	put("log", "");
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			int fd = open("log", O_WRONLY | O_APPEND);
			char line[16];
			for (int k = 0; k < 50; k++) {
				snprintf(line, sizeof(line), "%d %03d\n", i, k);
				if (write(fd, line, strlen(line)) != 6)
					_exit(1);
			}
			_exit(0);
		}
	int ws, bad = 0;
	while (wait(&ws) > 0)
		bad += ws != 0;
	struct stat st;
	SAY(stat("log", &st));
	say(bad, "appenders that failed, size %ld", (long)st.st_size);
}

static void holes(void)
{
	section = "holes";
	int fd = make("sparse", "head");
	SAY(ftruncate(fd, 1L << 40));
	SAY(pwrite(fd, "tail", 4, (1L << 40) - 4));
	struct stat st;
	fstat(fd, &st);
	say(st.st_size == 1L << 40 && st.st_blocks < 10000, "1 TiB takes next to nothing");
	SAY(lseek(fd, 0, SEEK_HOLE));
	SAY(lseek(fd, 1 << 20, SEEK_DATA));
	SAY(lseek(fd, 1L << 40, SEEK_DATA));
	SAY(lseek(fd, -1, SEEK_DATA));
	SAY(ftruncate(fd, 0));
	char *k64 = fill('k', 65536);
	SAY(write(fd, k64, 0));
	SAY(pwrite(fd, k64, 65536, 0));
	SAY(fallocate(fd, 0, 0, 131072));
	SAY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 131072, 65536));
	show("sparse");
	SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
	SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 4096, 8192));
	show("sparse");
	SAY(fallocate(fd, FALLOC_FL_ZERO_RANGE, 20000, 100));
	show("sparse");
	SAY(fallocate(fd, 0, 0, 0));
	SAY(fallocate(open("sparse", O_RDONLY), 0, 0, 10));
	free(k64);
	close(fd);
}

/* FUSE in the kernel refuses these before it asks anybody. */
static void refused_by_fuse(void)
{
	section = "collapse";
	char *k64 = fill('k', 65536);
	int fd = make("collapse", k64);
	SAY(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
	SAY(fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 4096));
	free(k64);
	close(fd);
	unlink("collapse");
}

static void copying(void)
{
	section = "copy";
	int from = make("from", "The quick brown fox jumps over the lazy dog"),
	    to = make("to", "0123456789");
	off_t a = 4, b = 2;
	SAY(copy_file_range(from, &a, to, &b, 5, 0));
	say(a, "offset in the source");
	say(b, "offset in the target");
	show("to");
	SAY(copy_file_range(from, NULL, to, NULL, 100, 0));
	SAY(lseek(from, 0, SEEK_SET));
	SAY(lseek(to, 0, SEEK_SET));
	SAY(copy_file_range(from, NULL, to, NULL, 100, 0));
	show("to");
	SAY(copy_file_range(from, NULL, to, NULL, 100, 1));
	a = 0, b = 10;
	SAY(copy_file_range(from, &a, from, &b, 20, 0));
	a = 0, b = 50;
	SAY(copy_file_range(from, &a, from, &b, 20, 0));
	show("from");
	int app = open("to", O_WRONLY | O_APPEND);
	a = 0;
	SAY(copy_file_range(from, &a, app, NULL, 5, 0));
	a = 0;
	SAY(sendfile(to, from, &a, 7));
	show("to");
	int p[2];
	SAY(pipe(p));
	SAY(splice(from, &(off_t){3}, p[1], NULL, 6, 0));
	SAY(splice(p[0], NULL, to, &(off_t){60}, 6, 0));
	show("to");
	close(from);
	close(to);
	close(app);
}

static void directories(void)
{
	section = "dirs";
	SAY(mkdir("d", 0751));
	SAY(mkdir("d", 0755));
	SAY(mkdir("d/e", 0700));
	SAY(mkdir("no/e", 0700));
	show("d");
	put("d/f", "f");
	SAY(rmdir("d"));
	SAY(rmdir("d/f"));
	SAY(rmdir("d/."));
	SAY(rmdir("d/.."));
	SAY(unlink("d/e"));
	SAY(unlink("none"));
	SAY(unlink("d/f/"));
	SAY(unlink("d/f"));
	SAY(rmdir("d/e/"));
	SAY(rmdir("d"));
	SAY(mkdir("setgid", 02775));
	SAY(chmod("setgid", 02775));
	SAY(mkdir("setgid/below", 0755));
	show("setgid/below");
	SAY(fsync(open("setgid", O_RDONLY)));
	SAY(mkdir("gone", 0755));
	int fd = open("gone", O_RDONLY | O_DIRECTORY);
	SAY(rmdir("gone"));
	SAY(openat(fd, "x", O_WRONLY | O_CREAT, 0644));
	SAY(mkdirat(fd, "x", 0755));
	struct stat st;
	SAY(fstat(fd, &st));
	say((long)st.st_nlink, "links of a removed directory");
	close(fd);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listing(void)
{
	section = "list";
	char name[32], *names[600] = {NULL};
	SAY(mkdir("many", 0755));
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		put(name, "");
	}
	DIR *d = opendir("many");
	struct dirent *de;
	int n = 0;
	long pos = 0;
	while ((de = readdir(d)) && n < 600) {
		if (n == 100)
			pos = telldir(d);
		names[n++] = strdup(de->d_name);
	}
	say(n, "entries");
	seekdir(d, pos);
	int rest = 0;
	while (readdir(d))
		rest++;
	say(rest, "entries after seekdir");
	put("many/later", "");
	unlink("many/7");
	rewinddir(d);
	int again = 0, types = 0;
	while ((de = readdir(d))) {
		again++;
		types += de->d_type == DT_REG;
	}
	say(again, "entries after rewinddir, regular files: %d", types);
	qsort(names, (size_t)n, sizeof(*names), by_name);
	printf("%s: first %s last %s\n", section, names[2], names[n - 1]);
	closedir(d);
	for (int i = 0; i < n; i++)
		free(names[i]);
}

static void unlinked(void)
{
	section = "unlinked";
	int fd = make("u", "still here");
	SAY(unlink("u"));
	struct stat st;
	SAY(fstat(fd, &st));
	say((long)st.st_nlink, "links");
	SAY(pwrite(fd, "STILL", 5, 0));
	char buf[32] = "";
	SAY(pread(fd, buf, sizeof(buf) - 1, 0));
	printf("%s: content %s\n", section, buf);
	SAY(ftruncate(fd, 3));
	SAY(fchmod(fd, 0600));
	SAY(fchown(fd, (uid_t)-1, getgid()));
	SAY(futimens(fd, NULL));
	SAY(fsetxattr(fd, "user.u", "v", 1, 0));
	SAY(fallocate(fd, 0, 0, 100));
	SAY(fstat(fd, &st));
	say((long)st.st_size, "size, mode %o", st.st_mode);
	char *m = mmap(NULL, 100, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	say(m == MAP_FAILED ? -1 : 0, "mmap of it");
	m[1] = 'M';
	SAY(msync(m, 100, MS_SYNC));
	SAY(pread(fd, buf, 3, 0));
	printf("%s: content %.3s\n", section, buf);
	munmap(m, 100);
	close(fd);
	put("u", "another");
	show("u");
}

static void nameless(void)
{
	section = "tmpfile";
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	say(fd < 0 ? -1 : 0, "O_TMPFILE");
	SAY(write(fd, "nameless", 8));
	struct stat st;
	SAY(fstat(fd, &st));
	say((long)st.st_nlink, "links, mode %o size %ld", st.st_mode, (long)st.st_size);
	char path[64];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	SAY(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	show("named");
	SAY(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	SAY(write(fd, "+more", 5));
	show("named");
	close(fd);
	fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	SAY(linkat(AT_FDCWD, path, AT_FDCWD, "excl", AT_SYMLINK_FOLLOW));
	close(fd);
	fd = open(".", O_TMPFILE | O_WRONLY, 0400);
	SAY(write(fd, "x", 1));
	close(fd);
	SAY(open(".", O_TMPFILE | O_RDONLY, 0600));
}

static int rename2(const char *a, const char *b, unsigned flags)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void renaming(void)
{
	section = "rename";
	put("a", "a");
	put("b", "b");
	SAY(mkdir("x", 0755));
	SAY(mkdir("y", 0755));
	put("y/full", "");
	int open_b = open("b", O_RDWR);
	SAY(rename("a", "b"));
	show("a");
	show("b");
	char ch = '?';
	SAY(pread(open_b, &ch, 1, 0));
	printf("%s: the replaced one holds %c\n", section, ch);
	SAY(pwrite(open_b, "z", 1, 0));
	show("b");
	SAY(rename("none", "b"));
	SAY(rename("b", "x"));
	SAY(rename("x", "b"));
	SAY(rename("x", "y"));
	SAY(rename("y", "x"));
	show("x/full");
	SAY(rename("x", "x/inside"));
	SAY(rename("b", "b"));
	put("c", "c");
	SAY(rename2("b", "c", RENAME_NOREPLACE));
	SAY(rename2("b", "d", RENAME_NOREPLACE));
	SAY(rename2("c", "d", RENAME_EXCHANGE));
	show("c");
	show("d");
	SAY(rename2("c", "x", RENAME_EXCHANGE));
	show("c/full");
	show("x");
	SAY(rename2("c", "none", RENAME_EXCHANGE));
	SAY(rename2("c", "d", RENAME_EXCHANGE | RENAME_NOREPLACE));
	SAY(link("x", "x-link"));
	SAY(rename("x", "x-link"));
	show("x");
	int fd = open("d", O_RDWR);
	SAY(rename("d", "moved"));
	SAY(write(fd, "after", 5));
	show("moved");
	SAY(mkdir("p", 0755));
	SAY(mkdir("q", 0755));
	SAY(rename("moved", "p/m"));
	SAY(rename("p", "q/p"));
	SAY(write(fd, " the dir", 8));
	show("q/p/m");
	close(fd);
	close(open_b);
}

static void linking(void)
{
	section = "link";
	put("l", "linked");
	SAY(link("l", "l2"));
	SAY(link("l", "l2"));
	SAY(link(".", "dirlink"));
	SAY(link("none", "l3"));
	put("l2", "changed by the other name");
	show("l");
	SAY(unlink("l"));
	show("l2");
	char *t4095 = fill('t', 4095);
	say(symlink(t4095, "long"), "a link to 4095 bytes");
	show("long");
	say(symlink("", "empty"), "a link to nothing");
	free(t4095);
	SAY(symlink("l2", "s"));
	SAY(symlink("s", "s"));
	show("s");
	SAY(symlink("loop2", "loop1"));
	SAY(symlink("loop1", "loop2"));
	SAY(open("loop1", O_RDONLY));
	SAY(open("s", O_RDONLY | O_NOFOLLOW));
	SAY(linkat(AT_FDCWD, "s", AT_FDCWD, "s-hard", 0));
	show("s-hard");
	SAY(linkat(AT_FDCWD, "s", AT_FDCWD, "l-hard", AT_SYMLINK_FOLLOW));
	show("l-hard");
	SAY(readlink("l2", (char[10]){0}, 10));
	SAY(chmod("s", 0600));
	show("l2");
}

static void nodes(void)
{
	section = "mknod";
	SAY(mknod("fifo", S_IFIFO | 0640, 0));
	show("fifo");
	int r = open("fifo", O_RDONLY | O_NONBLOCK);
	int w = open("fifo", O_WRONLY | O_NONBLOCK);
	SAY(write(w, "through", 7));
	SAY(read(r, (char[8]){0}, 8));
	close(r);
	close(w);
	SAY(mknod("plain", S_IFREG | 0600, 0));
	show("plain");
	SAY(mknod("plain", S_IFREG | 0600, 0));
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "sock"};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	SAY(bind(s, (struct sockaddr *)&un, sizeof(un)));
	SAY(listen(s, 1));
	show("sock");
	int c = socket(AF_UNIX, SOCK_STREAM, 0);
	SAY(connect(c, (struct sockaddr *)&un, sizeof(un)));
	SAY(bind(c, (struct sockaddr *)&un, sizeof(un)));
	close(c);
	close(s);
	SAY(unlink("sock"));
}

static void attributes(void)
{
	section = "attr";
	int fd = make("m", "mode");
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
	printf("%s: atime %ld.%09ld mtime %ld.%09ld\n", section, (long)st.st_atim.tv_sec,
	       st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	at[0].tv_nsec = UTIME_OMIT;
	at[1] = (struct timespec){.tv_sec = 2000000000, .tv_nsec = 1};
	SAY(futimens(fd, at));
	stat("m", &st);
	printf("%s: atime %ld mtime %ld.%09ld\n", section, (long)st.st_atim.tv_sec,
	       (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
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
	section = "xattr";
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
	char *big = fill('v', 2000);
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
	section = "locks";
	int fd = make("locked", "0123456789");
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

static void mapping(void)
{
	section = "mmap";
	char *text = fill('m', 10000);
	int fd = make("map", text);
	char *p = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	p[0] = 'P';
	SAY(msync(p, 10000, MS_SYNC));
	show("map");
	char *s = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	s[1] = 'S';
	s[9999] = 'E';
	SAY(msync(s, 10000, MS_SYNC));
	show("map");
	SAY(pwrite(fd, "through the file", 16, 100));
	printf("%s: seen in the map: %.16s, private: %.7s\n", section, s + 100, p + 100);
	SAY(munmap(p, 10000));
	close(fd);
	s[5] = 'L';
	SAY(munmap(s, 10000));
	show("map");
	int ro = open("map", O_RDONLY);
	void *bad = mmap(NULL, 100, PROT_WRITE, MAP_SHARED, ro, 0);
	say(bad == MAP_FAILED ? -1 : 0, "a shared map to write of a file opened to read");
	close(ro);
	free(text);
}

static void running(void)
{
	section = "exec";
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
	section = "ioctl";
	int fd = make("i", "ioctl");
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

/* With an argument: without O_TMPFILE, which the mount has not with a libfuse older than 3.17. */
int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGALRM, SIG_DFL);
	alarm(100);
	umask(022);
	creating();
	deep_paths();
	writing();
	appenders();
	holes();
	refused_by_fuse();
	copying();
	directories();
	listing();
	unlinked();
	if (argc == 1)
		nameless();
	renaming();
	linking();
	nodes();
	attributes();
	xattrs();
	locks();
	mapping();
	running();
	ioctls();
	return 0;
}
