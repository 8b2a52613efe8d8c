/*
 * What programs do in the mount while its server is killed again and again: no call may fail, nothing may be
 * lost, nothing done twice.
 *
 *	rrm-unnoticed HOME FOREIGN STOP
 *
 * HOME and FOREIGN are directories in the mount, STOP a file outside that ends it. Each worker is a process; what
 * it made stays for the case to compare with the audit: FOREIGN/lines has every line once, and
 * FOREIGN/names.N, N from 0 on without a gap, were made one by one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *home, *foreign, *stop;

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "%s %s: %s\n", what, path, strerror(errno));
	exit(1);
}

static void wrong(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

#define OK(call, path)                                                                             \
	do {                                                                                       \
		if ((call) < 0)                                                                    \
			fail(#call, path);                                                         \
	} while (0)

static bool over(void)
{
	return access(stop, F_OK) == 0;
}

struct path {
	char text[PATH_MAX];
};

__attribute__((format(printf, 2, 3))) static struct path in(const char *dir, const char *fmt, ...)
{
	struct path p;
	char name[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	snprintf(p.text, sizeof(p.text), "%s/%s", dir, name);
	return p;
}

static int open_ok(const char *path, int flags, mode_t mode)
{
	int fd = open(path, flags | O_CLOEXEC, mode);
	if (fd < 0)
		fail("open", path);
	return fd;
}

static void write_ok(int fd, const char *text, const char *path)
{
	ssize_t n = write(fd, text, strlen(text));
	if (n != (ssize_t)strlen(text))
		fail("write", path);
}

static void is_gone(const char *path)
{
	struct stat st;
	if (lstat(path, &st) == 0 || errno != ENOENT)
		wrong("%s is still there", path);
}

static void holds(int fd, off_t at, const char *want, const char *path)
{
	char got[256] = "";
	size_t len = strlen(want);
	if (pread(fd, got, len, at) != (ssize_t)len)
		fail("pread", path);
	if (memcmp(got, want, len) != 0)
		wrong("%s has '%.*s' at %ld, not '%s'", path, (int)len, got, (long)at, want);
}

/* ---- workers ---- */

/* Lines to one file, each once: of several processes. */
static void append(const char *dir, unsigned me)
{
	struct path p = in(dir, "lines");
	int fd = open_ok(p.text, O_WRONLY | O_APPEND, 0);
	for (unsigned i = 0; !over(); i++) {
		char line[64];
		snprintf(line, sizeof(line), "%u %u\n", me, i);
		write_ok(fd, line, p.text);
	}
	OK(close(fd), p.text);
}

static void append_home(unsigned me)
{
	append(home, me);
}

static void append_foreign(unsigned me)
{
	append(foreign, me);
}

/* Each step is one that fails when it is done twice, or was not done before. */
static void one_round_of_names(const char *dir, unsigned me, unsigned i)
{
	struct path a = in(dir, "a.%u.%u", me, i), b = in(dir, "b.%u.%u", me, i);
	struct path d = in(dir, "d.%u.%u", me, i), l = in(dir, "l.%u.%u", me, i);
	struct path s = in(dir, "s.%u.%u", me, i);
	struct path in_d = in(d.text, "file");
	int fd = open_ok(a.text, O_RDWR | O_CREAT | O_EXCL, 0644);
	write_ok(fd, a.text, a.text);
	OK(rename(a.text, b.text), a.text);
	is_gone(a.text);
	OK(mkdir(d.text, 0755), d.text);
	OK(rename(b.text, in_d.text), b.text);
	is_gone(b.text);
	holds(fd, 0, a.text, in_d.text);
	OK(link(in_d.text, l.text), l.text);
	OK(unlink(in_d.text), in_d.text);
	OK(rmdir(d.text), d.text);
	OK(setxattr(l.text, "user.rrm", "x", 1, XATTR_CREATE), l.text);
	OK(removexattr(l.text, "user.rrm"), l.text);
	OK(unlink(l.text), l.text);
	is_gone(l.text);
	OK(symlink("to", s.text), s.text);
	OK(unlink(s.text), s.text);
	holds(fd, 0, a.text, "an unlinked file");
	OK(close(fd), a.text);
}

static void names_home(unsigned me)
{
	for (unsigned i = 0; !over(); i++)
		one_round_of_names(home, me, i);
}

static void names_foreign(unsigned me)
{
	for (unsigned i = 0; !over(); i++) {
		one_round_of_names(foreign, me, i);
		struct path p = in(foreign, "names.%u", i);
		int fd = open_ok(p.text, O_WRONLY | O_CREAT | O_EXCL, 0644);
		OK(close(fd), p.text);
	}
}

/* Open for ever: a file that is read, one that is written, one without a name, one that may not be written. */
static void hold_open(unsigned me)
{
	struct path p = in(home, "held.%u", me), gone = in(home, "gone.%u", me);
	struct path ro = in(home, "readonly.%u", me);
	int held = open_ok(p.text, O_RDWR | O_CREAT | O_EXCL, 0644);
	int nameless = open_ok(gone.text, O_RDWR | O_CREAT | O_EXCL, 0644);
	int readonly = open_ok(ro.text, O_RDWR | O_CREAT | O_EXCL, 0444);
	OK(unlink(gone.text), gone.text);
	for (unsigned i = 0; !over(); i++) {
		char text[32];
		off_t at = (off_t)(i % 1000) * 16;
		snprintf(text, sizeof(text), "%015u\n", i);
		int all[] = {held, nameless, readonly};
		for (int k = 0; k < 3; k++) {
			if (pwrite(all[k], text, 16, at) != 16)
				fail("pwrite", p.text);
			holds(all[k], at, text, k == 0 ? p.text : k == 1 ? gone.text : ro.text);
		}
	}
	OK(close(held), p.text);
	OK(close(nameless), gone.text);
	OK(close(readonly), ro.text);
}

static void map(unsigned me)
{
	struct path p = in(home, "mapped.%u", me);
	const size_t size = 16 * 4096;
	int fd = open_ok(p.text, O_RDWR | O_CREAT | O_EXCL, 0644);
	OK(ftruncate(fd, (off_t)size), p.text);
	char *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (m == MAP_FAILED)
		fail("mmap", p.text);
	for (unsigned i = 0; !over(); i++) {
		char *at = m + (i % 16) * 4096;
		snprintf(at, 32, "%u", i);
		OK(msync(at, 4096, MS_SYNC), p.text);
		holds(fd, (i % 16) * 4096, at, p.text);
	}
	OK(munmap(m, size), p.text);
	OK(close(fd), p.text);
}

static void walk(unsigned me)
{
	struct path dir = in(home, "cwd.%u", me);
	char cwd[PATH_MAX];
	OK(mkdir(dir.text, 0755), dir.text);
	OK(chdir(dir.text), dir.text);
	for (unsigned i = 0; !over(); i++) {
		char name[32];
		struct stat st;
		if (!getcwd(cwd, sizeof(cwd)))
			fail("getcwd", dir.text);
		snprintf(name, sizeof(name), "f%u", i % 100);
		int fd = open_ok(name, O_RDWR | O_CREAT, 0644);
		OK(close(fd), name);
		OK(stat(dir.text, &st), dir.text);
		DIR *d = opendir(".");
		unsigned n = 0;
		if (!d)
			fail("opendir", dir.text);
		while (readdir(d))
			n++;
		closedir(d);
		if (n != (i < 100 ? i + 1 : 100) + 2)
			wrong("%u entries after %u files", n, i);
	}
	OK(chdir("/"), "/");
}

static void read_all(unsigned me)
{
	struct path p = in(home, "../src/deep/numbers.txt");
	for (unsigned i = 0; !over(); i++) {
		int fd = open_ok(p.text, O_RDONLY, 0);
		holds(fd, 0, "1\n2\n3\n4\n", p.text);
		struct stat st;
		OK(fstat(fd, &st), p.text);
		OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), p.text);
		OK(close(fd), p.text);
	}
}

/* ---- afterwards ---- */

/* Every line of every writer once, in its order. */
static void check_lines(const char *dir)
{
	struct path p = in(dir, "lines");
	FILE *f = fopen(p.text, "re");
	unsigned next[64] = {0}, who = 0, i = 0, n = 0;
	char line[64];
	if (!f)
		fail("open", p.text);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%u %u", &who, &i) != 2 || who >= 64)
			wrong("%s: line '%s'", p.text, line);
		if (next[who]++ != i)
			wrong("%s: writer %u: line %u, expected %u", p.text, who, i, next[who] - 1);
		n++;
	}
	fclose(f);
	printf("%s %u\n", p.text, n);
}

int main(int argc, char **argv)
{
	static void (*const work[])(unsigned) = {append_home,    append_home, append_foreign,
						 append_foreign, names_home,  names_home,
						 names_foreign,  hold_open,   map,
						 walk,           read_all};
	enum { N = sizeof(work) / sizeof(work[0]) };
	int status = 0, bad = 0;
	if (argc != 4)
		wrong("usage: rrm-unnoticed HOME FOREIGN STOP");
	home = argv[1];
	foreign = argv[2];
	stop = argv[3];
	for (unsigned i = 0; i < N; i++) {
		pid_t pid = fork();
		if (pid < 0)
			fail("fork", "");
		if (pid == 0) {
			work[i](i);
			exit(0);
		}
	}
	for (unsigned i = 0; i < N; i++)
		if (wait(&status) > 0 && status)
			bad++;
	if (bad)
		wrong("%d of %d workers failed", bad, (int)N);
	check_lines(home);
	check_lines(foreign);
	return 0;
}
