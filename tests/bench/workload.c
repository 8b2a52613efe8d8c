/*
 * Timed work for tests/bench/run.sh, where the start of a program or the loop of a shell would be most of
 * the cost, and the few system calls that the cases need and no shell tool makes. Prints elapsed
 * microseconds, one number; `latency`, `starts` and `seen` the median and the 99th percentile. Fails with a sentence.
 */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static long number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*end || n < 0)
		errx(2, "%s is not a number", text);
	return n;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void write_or_die(int fd, const void *data, size_t len, const char *path)
{
	ssize_t n = write(fd, data, len);
	if (n < 0)
		err(1, "%s", path);
	if ((size_t)n != len)
		errx(1, "%s: %zd of %zu bytes written", path, n, len);
}

/* The same numbers in every run. */
static uint32_t next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 4;
}

/* Microseconds from before the fork until CMD has ended; what it prints is dropped. */
static uint32_t run_us(char **argv)
{
	uint64_t begun = now_us();
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		int null = open_or_die("/dev/null", O_RDWR);
		dup2(null, 0);
		dup2(null, 1);
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0)
		;
	uint64_t us = now_us() - begun;
	/* grep and rg: 1 says that nothing was found */
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		errx(1, "%s failed (status 0x%x)", argv[0], (unsigned)status);
	return (uint32_t)us;
}

/* time CMD... */
static void cmd_time(char **argv)
{
	printf("%u\n", run_us(argv));
}

/* tree DIR FILES: directories of 100 files of 0.5 to 8 KiB of text. */
static void cmd_tree(char **argv)
{
	const char *dir = argv[0];
	long files = number(argv[1]);
	uint32_t seed = 1;
	char path[PATH_MAX], text[8192];
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i % 64 == 63 ? '\n' : 'a' + (int)(next_random(&seed) % 26));
	for (long i = 0; i < files; i++) {
		snprintf(path, sizeof(path), "%s/d%ld", dir, i / 100);
		if (i % 100 == 0 && mkdir(path, 0755) < 0)
			err(1, "%s", path);
		snprintf(path, sizeof(path), "%s/d%ld/f%ld", dir, i / 100, i % 100);
		int fd = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);
		write_or_die(fd, text, 512 + next_random(&seed) % (sizeof(text) - 512), path);
		close(fd);
	}
}

/* --- open, read and close of every file of a tree, by threads --- */

struct reading {
	const char *dir;
	long first, step, files;
};

static void *read_files(void *arg)
{
	const struct reading *r = arg;
	char path[PATH_MAX], buf[16384];
	for (long i = r->first; i < r->files; i += r->step) {
		snprintf(path, sizeof(path), "%s/d%ld/f%ld", r->dir, i / 100, i % 100);
		int fd = open_or_die(path, O_RDONLY);
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		close(fd);
	}
	return NULL;
}

/* read DIR FILES THREADS, of a tree made by `tree` */
static void cmd_read(char **argv)
{
	enum { MAX = 16 };
	long threads = number(argv[2]);
	pthread_t ids[MAX];
	struct reading work[MAX];
	if (threads < 1 || threads > MAX)
		errx(2, "1 to %d threads", MAX);
	uint64_t begun = now_us();
	for (long t = 0; t < threads; t++) {
		work[t] = (struct reading){argv[0], t, threads, number(argv[1])};
		if (pthread_create(&ids[t], NULL, read_files, &work[t]))
			errx(1, "no thread");
	}
	for (long t = 0; t < threads; t++)
		pthread_join(ids[t], NULL);
	printf("%lu\n", (unsigned long)(now_us() - begun));
}

/* create DIR FILES BYTES, then `remove DIR FILES` */
static void cmd_create(char **argv)
{
	char path[PATH_MAX];
	long files = number(argv[1]), bytes = number(argv[2]);
	char *data = calloc(1, (size_t)bytes + 1);
	uint64_t begun = now_us();
	for (long i = 0; i < files; i++) {
		snprintf(path, sizeof(path), "%s/f%ld", argv[0], i);
		int fd = open_or_die(path, O_WRONLY | O_CREAT | O_EXCL);
		write_or_die(fd, data, (size_t)bytes, path);
		close(fd);
	}
	printf("%lu\n", (unsigned long)(now_us() - begun));
	free(data);
}

static void cmd_remove(char **argv)
{
	char path[PATH_MAX];
	long files = number(argv[1]);
	uint64_t begun = now_us();
	for (long i = 0; i < files; i++) {
		snprintf(path, sizeof(path), "%s/f%ld", argv[0], i);
		if (unlink(path) < 0)
			err(1, "%s", path);
	}
	printf("%lu\n", (unsigned long)(now_us() - begun));
}

/* --- one large file: FILE TOTAL-BYTES BLOCK-BYTES --- */

enum large { READ_SEQ, READ_RANDOM, WRITE_SEQ, WRITE_RANDOM };

static void large_file(char **argv, enum large how)
{
	const char *path = argv[0];
	long total = number(argv[1]), block = number(argv[2]);
	uint32_t seed = 7;
	char *data = malloc((size_t)block);
	if (!data)
		err(1, "%ld bytes", block);
	memset(data, 'x',
	       (size_t)block); /* pages that are not there yet would make the kernel split the first write */
	int flags = how <= READ_RANDOM ? O_RDONLY : O_WRONLY | O_CREAT;
	int fd = open_or_die(path, flags | (how == WRITE_SEQ ? O_TRUNC : 0));
	uint64_t begun = now_us();
	for (long off = 0, i = 0; off < total; off += block, i++) {
		off_t at =
			how == READ_SEQ || how == WRITE_SEQ
				? off
				: (off_t)(next_random(&seed) % (uint32_t)(total / block)) * block;
		ssize_t n = how <= READ_RANDOM ? pread(fd, data, (size_t)block, at)
					       : pwrite(fd, data, (size_t)block, at);
		if (n != block)
			err(1, "%s: %zd of %ld bytes at %lld", path, n, block, (long long)at);
	}
	close(fd);
	printf("%lu\n", (unsigned long)(now_us() - begun));
	free(data);
}

static void cmd_read_seq(char **argv)
{
	large_file(argv, READ_SEQ);
}

static void cmd_read_random(char **argv)
{
	large_file(argv, READ_RANDOM);
}

static void cmd_write_seq(char **argv)
{
	large_file(argv, WRITE_SEQ);
}

static void cmd_write_random(char **argv)
{
	large_file(argv, WRITE_RANDOM);
}

/* --- latencies of foreign operations --- */

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static void print_median(uint32_t *us, long n)
{
	qsort(us, (size_t)n, sizeof(*us), by_value);
	printf("%u %u\n", us[n / 2], us[n * 99 / 100]);
}

/* starts N CMD...: median and 99th percentile of one after the other. */
static void cmd_starts(char **argv)
{
	long n = number(argv[0]);
	uint32_t *us = calloc((size_t)n, sizeof(*us));
	for (long i = 0; i < n; i++)
		us[i] = run_us(argv + 1);
	print_median(us, n);
	free(us);
}

static void one_write(const char *path, const char *data, size_t len)
{
	int fd = open_or_die(path, O_WRONLY | O_CREAT | O_TRUNC);
	write_or_die(fd, data, len, path);
	if (close(fd) < 0)
		err(1, "%s", path);
}

/* latency OP DIR N, of each of N in DIR:
 *	write    1 KiB into a file that is there, open with O_TRUNC to close returned
 *	large    the same with 1 MiB
 *	mkdir, rename, unlink    of 2 KiB files that were made before */
enum latency_op { LATENCY_WRITE, LATENCY_LARGE, LATENCY_MKDIR, LATENCY_RENAME, LATENCY_UNLINK };

static enum latency_op latency_op(const char *name)
{
	static const char *const names[] = {"write", "large", "mkdir", "rename", "unlink"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return (enum latency_op)i;
	errx(2, "%s: no such operation", name);
}

static int do_latency(enum latency_op op, const char *path, const char *other, const char *data)
{
	switch (op) {
	case LATENCY_MKDIR:
		return mkdir(path, 0755);
	case LATENCY_RENAME:
		return rename(path, other);
	case LATENCY_UNLINK:
		return unlink(path);
	case LATENCY_WRITE:
	case LATENCY_LARGE:
		break;
	}
	one_write(path, data, op == LATENCY_LARGE ? 1 << 20 : 1024);
	return 0;
}

static void cmd_latency(char **argv)
{
	enum latency_op op = latency_op(argv[0]);
	const bool writes = op == LATENCY_WRITE || op == LATENCY_LARGE;
	long n = number(argv[2]);
	uint32_t *us = calloc((size_t)n, sizeof(*us));
	char path[PATH_MAX], other[PATH_MAX + 2], *data = malloc(1 << 20);
	if (!us || !data)
		errx(1, "no memory");
	memset(data, 'x', 1 << 20);
	for (long i = 0; i < n && op != LATENCY_MKDIR; i++) {
		snprintf(path, sizeof(path), "%s/%s-%ld", argv[1], argv[0], writes ? 0 : i);
		one_write(path, data, 2048); /* the backend is up, the turn is ours */
	}
	for (long i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s-%ld", argv[1], argv[0], writes ? 0 : i);
		snprintf(other, sizeof(other), "%s.", path);
		uint64_t begun = now_us();
		if (do_latency(op, path, other, data) < 0)
			err(1, "%s", path);
		us[i] = (uint32_t)(now_us() - begun);
	}
	print_median(us, n);
	free(us);
	free(data);
}

/* Change number i in the real directory; whether the mount tells it. 0: content, 1: a new name, 2: another
 * file under a name, 3: a name goes. */
static void change_outside(const char *dir, long i)
{
	char path[PATH_MAX], other[PATH_MAX], text[24];
	snprintf(path, sizeof(path), "%s/seen-%ld", dir, i % 4 ? i / 4 : 0);
	snprintf(other, sizeof(other), "%s/seen-other", dir);
	snprintf(text, sizeof(text), "%023ld", i);
	if (i % 4 == 3) {
		if (unlink(path) < 0)
			err(1, "%s", path);
		return;
	}
	const char *to = i % 4 == 2 ? other : path;
	int fd = open_or_die(to, O_WRONLY | O_CREAT);
	write_or_die(fd, text, sizeof(text), to);
	close(fd);
	if (to == other && rename(other, path) < 0)
		err(1, "%s", other);
}

static bool is_seen(const char *dir, long i)
{
	char path[PATH_MAX], text[24] = "";
	snprintf(path, sizeof(path), "%s/seen-%ld", dir, i % 4 ? i / 4 : 0);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	return i % 4 == 3 ? fd < 0 : n > 0 && strtol(text, NULL, 10) == i;
}

/* seen REAL MOUNTED N: until a change made in REAL is seen in MOUNTED, which has what was there before in its
 * caches: median, 99th percentile and longest. */
static void cmd_seen(char **argv)
{
	enum { GIVE_UP_US = 10000000 };
	long n = number(argv[2]);
	uint32_t *us = calloc((size_t)n, sizeof(*us));
	/* numbers from 4 on: each change has another text, and seen-0 is the file whose content changes */
	change_outside(argv[0], 0);
	for (long i = 4; i < n + 4; i++) {
		(void)is_seen(argv[1], i);
		usleep(3000 + (useconds_t)(i * 997 % 4000));
		change_outside(argv[0], i);
		uint64_t begun = now_us();
		while (!is_seen(argv[1], i)) {
			if (now_us() - begun > GIVE_UP_US)
				errx(1, "change %ld in %s is not seen in %s", i, argv[0], argv[1]);
			usleep(100);
		}
		us[i - 4] = (uint32_t)(now_us() - begun);
	}
	print_median(us, n);
	printf("%u\n", us[n - 1]);
	free(us);
}

static long write_until(const char *dir, uint64_t end_us)
{
	char path[PATH_MAX], data[1024];
	long n = 0;
	memset(data, 'y', sizeof(data));
	snprintf(path, sizeof(path), "%s/rate", dir);
	int fd = open_or_die(path, O_WRONLY | O_CREAT);
	for (; now_us() < end_us; n++)
		if (pwrite(fd, data, sizeof(data), 0) != sizeof(data))
			err(1, "%s", path);
	close(fd);
	return n;
}

/* rate MILLISECONDS DIR...: one process in each DIR, at home there, writes 1 KiB at a time into the next
 * one; prints the writes a second of all. */
static void cmd_rate(char **argv)
{
	enum { MAX = 64 };
	long ms = number(argv[0]), n = 0, sum = 0;
	int pipes[MAX][2];
	while (argv[1 + n] && n < MAX)
		n++;
	uint64_t end = now_us() + (uint64_t)ms * 1000;
	for (long i = 0; i < n; i++) {
		if (pipe(pipes[i]) < 0)
			err(1, "pipe");
		pid_t pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (pid == 0) {
			if (chdir(argv[1 + i]) < 0)
				err(1, "%s", argv[1 + i]);
			long done = write_until(argv[1 + (i + 1) % n], end);
			write_or_die(pipes[i][1], &done, sizeof(done), "pipe");
			_exit(0);
		}
		close(pipes[i][1]);
	}
	for (long i = 0; i < n; i++) {
		long done;
		if (read(pipes[i][0], &done, sizeof(done)) != sizeof(done))
			errx(1, "a writer failed");
		sum += done;
	}
	while (wait(NULL) > 0)
		;
	printf("%ld\n", sum * 1000 / ms);
}

/* mmap FILE OFFSET TEXT: through a shared mapping; returns when it is written back. */
static void cmd_mmap(char **argv)
{
	int fd = open_or_die(argv[0], O_RDWR);
	size_t offset = (size_t)number(argv[1]), len = strlen(argv[2]);
	struct stat st;
	if (fstat(fd, &st) < 0 || offset + len > (size_t)st.st_size)
		errx(1, "%s: no %zu bytes at %zu", argv[0], len, offset);
	char *p = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err(1, "mmap %s", argv[0]);
	memcpy(p + offset, argv[2], len);
	if (msync(p, (size_t)st.st_size, MS_SYNC) < 0)
		err(1, "msync %s", argv[0]);
	munmap(p, (size_t)st.st_size);
	close(fd);
}

/* pause PID DIR: kills the process, then makes and removes a directory in DIR: how long a program waits that
 * asks the mount at the worst moment. */
static void cmd_pause(char **argv)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/rrm-workload.%d", argv[1], (int)getpid());
	uint64_t begun = now_us();
	if (kill((pid_t)number(argv[0]), SIGKILL) < 0)
		err(1, "kill %s", argv[0]);
	if (mkdir(path, 0755) < 0 || rmdir(path) < 0)
		err(1, "%s", path);
	printf("%llu\n", (unsigned long long)(now_us() - begun));
}

static const struct {
	const char *name;
	int args; /* at least */
	void (*run)(char **argv);
} commands[] = {
	{"time", 1, cmd_time},           {"starts", 2, cmd_starts},
	{"tree", 2, cmd_tree},           {"read", 3, cmd_read},
	{"create", 3, cmd_create},       {"remove", 2, cmd_remove},
	{"read-seq", 3, cmd_read_seq},   {"read-random", 3, cmd_read_random},
	{"write-seq", 3, cmd_write_seq}, {"write-random", 3, cmd_write_random},
	{"latency", 3, cmd_latency},     {"rate", 2, cmd_rate},
	{"mmap", 3, cmd_mmap},           {"pause", 2, cmd_pause},
	{"seen", 3, cmd_seen},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		if (argc - 2 < commands[i].args)
			break;
		commands[i].run(argv + 2);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	errx(2, "usage: rrm-workload COMMAND ARGS...; the commands are at the functions");
}
