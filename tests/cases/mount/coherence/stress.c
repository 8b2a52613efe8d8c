/*
 * Do all who look through the mount see what was written, from inside and from outside?
 *
 *	rrm-coherence MOUNTED REAL SECONDS
 *
 * MOUNTED is an empty directory of a repository in the mount, REAL the same one outside. Processes at
 * home there write and read back (pread, mmap, O_APPEND) while another changes the real files at the same
 * time (in place with the same size, by rename, truncate, touch). Counted as stale:
 *   - a program in the mount does not find what it wrote itself, or what another one in the mount had
 *     written before the read began;
 *   - a change from outside is not seen within LIMIT_MS, or a value goes back to an older one;
 *   - at the end, after SETTLE_MS at most, names, attributes or content differ from the real ones.
 * Exit 0 when nothing is.
 */
#include "coherence.h"

#include <err.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	LIMIT_MS = 30000, /* under a sanitizer on a busy machine it took 5 s; else it is a few ms */
	LATE_US = 10000,  /* the goal: 99 of 100 sooner */
	RECORD = 64,
	OUTSIDE = WRITERS, /* its record in the file that all write */
	HOT_SIZE = 8192,
	APPENDED = 16,
};

static const char *const kind_names[] = {"hot file", "same size", "rename", "truncate", "touch"};

struct board *board;
const char *mounted, *real;

uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void stale(const char *fmt, ...)
{
	char text[PATH_MAX + 256];
	va_list ap;
	if (board->stale++ >= 20)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "stale: %s\n", text);
}

static int open_in(const char *dir, const char *name, int flags)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, flags | O_CLOEXEC, 0644);
	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void make(const char *name, size_t size)
{
	int fd = open_in(real, name, O_RDWR | O_CREAT);
	if (ftruncate(fd, (off_t)size) < 0)
		err(1, "%s", name);
	close(fd);
}

static uint64_t number_at(int fd, off_t at)
{
	uint64_t n = 0;
	if (pread(fd, &n, sizeof(n), at) < 0)
		err(1, "pread");
	board->reads++;
	return n;
}

/* ---- inside ---- */

struct writer {
	unsigned id;
	int fd, append, own;
	volatile uint64_t *map, *own_map; /* volatile: others change what lies there */
};

static void read_back(struct writer *w, uint64_t seq)
{
	off_t at = (off_t)w->id * RECORD;
	uint64_t got = number_at(w->fd, at);
	if (got != seq)
		stale("writer %u wrote %lu and read %lu", w->id, seq, got);
	got = w->map[at / 8];
	if (got != seq)
		stale("writer %u wrote %lu and its map has %lu", w->id, seq, got);
}

static void read_others(struct writer *w)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		off_t at = (off_t)i * RECORD;
		uint64_t least = board->written[i];
		uint64_t got = number_at(w->fd, at);
		if (got < least)
			stale("writer %u reads %lu of writer %u, who had written %lu", w->id, got,
			      i, least);
		least = board->written[i];
		got = w->map[at / 8];
		if (got < least)
			stale("writer %u maps %lu of writer %u, who had written %lu", w->id, got, i,
			      least);
	}
}

/* A shared writable map: after msync() everybody reads it, in the real file too. */
static void write_by_map(struct writer *w, uint64_t seq)
{
	char name[32];
	w->own_map[0] = seq;
	if (msync((void *)(uintptr_t)w->own_map, 4096, MS_SYNC) < 0)
		err(1, "msync");
	snprintf(name, sizeof(name), "map%u", w->id);
	int fd = open_in(real, name, O_RDONLY);
	uint64_t got = number_at(fd, 0);
	close(fd);
	if (got != seq)
		stale("writer %u synced %lu from its map, the real file has %lu", w->id, seq, got);
	got = number_at(w->own, 0);
	if (got != seq)
		stale("writer %u synced %lu from its map and read %lu", w->id, seq, got);
}

static void append(int fd, unsigned who, uint64_t seq)
{
	char text[APPENDED + 1];
	snprintf(text, sizeof(text), "%02u %012lu\n", who, seq);
	if (write(fd, text, APPENDED) != APPENDED)
		err(1, "append");
	board->appended++;
}

static void *write_and_read(void *arg)
{
	struct writer *w = arg;
	uint64_t record[RECORD / 8];
	for (uint64_t seq = 1; !board->stop; seq++) {
		for (size_t i = 0; i < RECORD / 8; i++)
			record[i] = seq;
		if (pwrite(w->fd, record, RECORD, (off_t)w->id * RECORD) != RECORD)
			err(1, "pwrite");
		read_back(w, seq);
		board->written[w->id] = seq;
		read_others(w);
		if (seq % 4 == 0)
			append(w->append, w->id, seq);
		if (seq % 16 == 0)
			write_by_map(w, seq);
	}
	return NULL;
}

static void open_writer(struct writer *w, unsigned id)
{
	char name[32];
	w->id = id;
	w->fd = open_in(".", "hot", O_RDWR);
	w->append = open_in(".", "log", O_WRONLY | O_APPEND);
	snprintf(name, sizeof(name), "map%u", id);
	w->own = open_in(".", name, O_RDWR | O_CREAT);
	if (ftruncate(w->own, 4096) < 0)
		err(1, "%s", name);
	w->map = mmap(NULL, HOT_SIZE, PROT_READ, MAP_SHARED, w->fd, 0);
	w->own_map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, w->own, 0);
	if (w->map == MAP_FAILED || w->own_map == MAP_FAILED)
		err(1, "mmap");
}

static void inside(unsigned process)
{
	struct writer w[THREADS];
	pthread_t threads[THREADS];
	if (chdir(mounted) < 0)
		err(1, "%s", mounted);
	for (unsigned i = 0; i < THREADS; i++) {
		open_writer(&w[i], process * THREADS + i);
		if (pthread_create(&threads[i], NULL, write_and_read, &w[i]) != 0)
			errx(1, "no thread");
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- outside ---- */

static void replace(const char *name, uint64_t seq)
{
	int fd = open_in(real, ".new", O_WRONLY | O_CREAT | O_TRUNC);
	char from[PATH_MAX], to[PATH_MAX];
	if (write(fd, &seq, sizeof(seq)) != sizeof(seq))
		err(1, "write");
	close(fd);
	snprintf(from, sizeof(from), "%s/.new", real);
	snprintf(to, sizeof(to), "%s/%s", real, name);
	if (rename(from, to) < 0)
		err(1, "rename");
}

static void write_number(const char *name, off_t at, uint64_t seq)
{
	int fd = open_in(real, name, O_WRONLY);
	if (pwrite(fd, &seq, sizeof(seq), at) != sizeof(seq))
		err(1, "pwrite");
	close(fd);
}

static void change(enum outside_kind kind, uint64_t seq)
{
	char path[PATH_MAX];
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)seq}};
	snprintf(path, sizeof(path), "%s/%s", real, kind == TRUNCATED ? "truncated" : "touched");
	switch (kind) {
	case HOT:
		write_number("hot", OUTSIDE * RECORD, seq);
		break;
	case SAME_SIZE:
		write_number("same", 0, seq);
		break;
	case RENAMED:
		replace("renamed", seq);
		break;
	case TRUNCATED:
		if (truncate(path, (off_t)seq) < 0)
			err(1, "truncate");
		break;
	default:
		if (utimensat(AT_FDCWD, path, ts, 0) < 0)
			err(1, "utimensat");
	}
}

struct seen {
	int hot, same;
	volatile uint64_t *same_map;
};

static uint64_t look(enum outside_kind kind, const struct seen *s)
{
	char path[PATH_MAX];
	struct stat st;
	uint64_t n = 0, m = 0;
	int fd;
	snprintf(path, sizeof(path), "%s/%s", mounted, kind == TRUNCATED ? "truncated" : "touched");
	switch (kind) {
	case HOT:
		return number_at(s->hot, OUTSIDE * RECORD);
	case SAME_SIZE:
		n = number_at(s->same, 0);
		m = s->same_map[0];
		return n < m ? n : m;
	case RENAMED:
		fd = open_in(mounted, "renamed", O_RDONLY);
		n = number_at(fd, 0);
		close(fd);
		return n;
	default:
		if (stat(path, &st) < 0)
			err(1, "%s", path);
		return (uint64_t)(kind == TRUNCATED ? st.st_size : st.st_mtim.tv_sec);
	}
}

static void change_and_look(enum outside_kind kind, const struct seen *s, uint64_t seq)
{
	uint64_t before = now_us(), got = 0;
	bool last = false; /* a look after the time is over: we may have been stopped before it */
	change(kind, seq);
	while ((got = look(kind, s)) != seq && !last) {
		uint64_t waited = now_us() - before;
		struct statvfs sv;
		/* Of a dead mount the kernel shows what it has cached. */
		if (waited > 1000000 && statvfs(mounted, &sv) < 0)
			err(1, "%s", mounted);
		last = waited >= LIMIT_MS * 1000ull;
	}
	uint64_t took = now_us() - before;
	board->changes[kind]++;
	board->late += took > LATE_US;
	if (took > board->slowest_us[kind])
		board->slowest_us[kind] = took;
	if (got != seq)
		stale("%s: %lu changed outside, still %lu in the mount", kind_names[kind], seq,
		      got);
}

static void outside(void)
{
	struct seen s = {.hot = open_in(mounted, "hot", O_RDONLY),
			 .same = open_in(mounted, "same", O_RDONLY)};
	int log = open_in(real, "log", O_WRONLY | O_APPEND);
	s.same_map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, s.same, 0);
	if (s.same_map == MAP_FAILED)
		err(1, "mmap");
	for (uint64_t seq = 1; !board->stop; seq++) {
		for (enum outside_kind k = 0; k < KINDS && !board->stop; k++)
			change_and_look(k, &s, seq);
		append(log, OUTSIDE, seq);
	}
}

/* Every record that was appended is there once. */
static bool log_is_right(bool say)
{
	struct stat st = {0};
	int fd = open_in(mounted, "log", O_RDONLY);
	uint64_t last[WRITERS + 1] = {0}, wanted = board->appended * APPENDED;
	char text[APPENDED + 1] = "";
	bool right = fstat(fd, &st) == 0 && (uint64_t)st.st_size == wanted;
	if (!right && say)
		stale("the log has %ld bytes, %lu were to be appended", (long)st.st_size, wanted);
	while (read(fd, text, APPENDED) == APPENDED) {
		unsigned who = 0;
		uint64_t seq = 0;
		if (sscanf(text, "%2u %lu", &who, &seq) == 2 && who <= WRITERS && seq > last[who]) {
			last[who] = seq;
			continue;
		}
		right = false;
		if (say)
			stale("the log has \"%.15s\" after %lu of the same", text,
			      who > WRITERS ? 0 : last[who]);
	}
	close(fd);
	return right;
}

/* The last of all may have come from outside. */
static void check_log(void)
{
	uint64_t until = now_us() + LIMIT_MS * 1000ull;
	while (!log_is_right(false) && now_us() < until)
		usleep(1000);
	log_is_right(true);
}

pid_t start(void (*run)(void))
{
	pid_t pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run();
		_exit(0);
	}
	return pid;
}

void finish(pid_t pid)
{
	int status = 0;
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		stale("a process ended with status %d", status);
}

static unsigned next_process;

static void inside_next(void)
{
	inside(next_process);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "usage: rrm-coherence MOUNTED REAL SECONDS");
	signal(SIGBUS, SIG_DFL); /* no report of a sanitizer when the mount is killed under us */
	mounted = argv[1];
	real = argv[2];
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (board == MAP_FAILED)
		err(1, "mmap");
	make("hot", HOT_SIZE);
	make("same", 4096);
	make("truncated", 0);
	make("touched", 0);
	make("log", 0);
	replace("renamed", 0);
	pid_t pids[PROCESSES + 1];
	for (next_process = 0; next_process < PROCESSES; next_process++)
		pids[next_process] = start(inside_next);
	pids[PROCESSES] = start(outside);
	sleep((unsigned)atoi(argv[3]));
	board->stop = true;
	for (int i = 0; i <= PROCESSES; i++)
		finish(pids[i]);
	check_log();
	uint64_t writes = 0;
	for (int i = 0; i < WRITERS; i++)
		writes += board->written[i];
	printf("writes %lu, reads %lu, appends %lu\n", writes, board->reads, board->appended);
	for (int k = 0; k < KINDS; k++)
		printf("outside, %s: %lu changes, the slowest seen after %lu us\n", kind_names[k],
		       board->changes[k], board->slowest_us[k]);
	uint64_t changes = 0;
	for (int k = 0; k < KINDS; k++)
		changes += board->changes[k];
	printf("outside: %.2f %% of %lu seen within %d ms\n",
	       changes ? 100.0 * (double)(changes - board->late) / (double)changes : 0.0, changes,
	       LATE_US / 1000);
	whole_tree();
	printf("stale: %u\n", board->stale);
	return board->stale != 0;
}
