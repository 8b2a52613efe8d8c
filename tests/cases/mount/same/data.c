/* Making files, what is in them, and files without a name. */
#include "same.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void creating(void)
{
	section("create");
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
	char *n255 = filled('n', 255), *n256 = filled('n', 256);
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
	section("deep");
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
	section("write");
	int fd = put_open("f", "0123456789");
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
	char *big = filled('B', 3000001);
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
	section("append");
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
	section("holes");
	int fd = put_open("sparse", "head");
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
	char *k64 = filled('k', 65536);
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
	section("collapse");
	char *k64 = filled('k', 65536);
	int fd = put_open("collapse", k64);
	SAY(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096));
	SAY(fallocate(fd, FALLOC_FL_INSERT_RANGE, 4096, 4096));
	free(k64);
	close(fd);
	unlink("collapse");
}

static void copying(void)
{
	section("copy");
	int from = put_open("from", "The quick brown fox jumps over the lazy dog"),
	    to = put_open("to", "0123456789");
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

static void unlinked(void)
{
	section("unlinked");
	int fd = put_open("u", "still here");
	SAY(unlink("u"));
	struct stat st;
	SAY(fstat(fd, &st));
	say((long)st.st_nlink, "links");
	SAY(pwrite(fd, "STILL", 5, 0));
	char buf[32] = "";
	SAY(pread(fd, buf, sizeof(buf) - 1, 0));
	note("content %s", buf);
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
	note("content %.3s", buf);
	munmap(m, 100);
	close(fd);
	put("u", "another");
	show("u");
}

static void nameless(void)
{
	section("tmpfile");
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
	fd = open(".", O_TMPFILE | O_WRONLY, 0440);
	SAY(write(fd, "x", 1));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	SAY(linkat(AT_FDCWD, path, AT_FDCWD, "read-only", AT_SYMLINK_FOLLOW));
	SAY(write(fd, "+more", 5)); /* by whoever has it open, and never could by its mode */
	SAY(ftruncate(fd, 3));
	close(fd);
	show("read-only");
	SAY(open(".", O_TMPFILE | O_RDONLY, 0600));
}

static void mapping(void)
{
	section("mmap");
	char *text = filled('m', 10000);
	int fd = put_open("map", text);
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
	note("seen in the map: %.16s, private: %.7s", s + 100, p + 100);
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

void same_data(bool tmpfile)
{
	creating();
	deep_paths();
	writing();
	appenders();
	holes();
	refused_by_fuse();
	copying();
	unlinked();
	if (tmpfile)
		nameless();
	mapping();
}
