/*
 * The turn's costs, without FUSE: identity of callers, the hand-over within the router, the lock between
 * processes. Each line is a ratio or a median with its goal; no time decides here.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/proc.h"
#include "router/identity.h"
#include "router/sessions.h"
#include "router/turnlock.h"

enum { DEPTH = 10, CALLERS = 300, AGAIN = 200000, ROUNDS = CALLERS };

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double percentile(double *v, size_t n, unsigned p)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[(n - 1) * p / 100];
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void show(const char *what, double v[CALLERS], const char *goal)
{
	double median = percentile(v, CALLERS, 50);

	printf("%-46s median %.1f us, p90 %.1f us, least %.1f us  %s\n", what, median,
	       percentile(v, CALLERS, 90), v[0], goal);
}

/* A chain of processes; the last one makes a child for each byte it reads and says its pid. */
static _Noreturn void chain(int depth, int ask, int tell)
{
	char c;

	while (depth-- > 0) {
		pid_t pid = fork();

		if (pid != 0) {
			close(ask);
			waitpid(pid, NULL, 0);
			_exit(0);
		}
	}
	while (read(ask, &c, 1) == 1) {
		pid_t pid = fork();

		if (pid == 0) {
			pause();
			_exit(0);
		}
		if (write(tell, &pid, sizeof(pid)) != sizeof(pid))
			_exit(1);
		if (read(ask, &c, 1) != 1)
			c = 0;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	_exit(0);
}

static pid_t ask_for(int ask, int tell)
{
	pid_t pid;

	if (write(ask, "x", 1) != 1 || read(tell, &pid, sizeof(pid)) != sizeof(pid))
		err(1, "the chain of processes ended");
	return pid;
}

/* What cannot be spared, of a process that nobody has looked at: its start time and parent, its environment. */
static void read_plainly(pid_t pid)
{
	static const char *const names[] = {"stat", "environ"};
	char path[40], buf[16384];

	for (int i = 0; i < 2; i++) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, buf, sizeof(buf)) < 0)
			err(1, "%s", path);
		close(fd);
	}
}

static void measure_identity(const char *dir)
{
	struct config c = {.base = strdup(dir)};
	struct repo r = {.id = "bench-1"};
	struct identity_world w;
	struct identities *ids = NULL;
	struct sessions *s = NULL;
	struct identity who;
	static double first[CALLERS], rare[CALLERS], plain[CALLERS];
	int ask[2], tell[2];
	double begun;
	pid_t pid, top;

	r.root = strdup(dir), r.name = strdup("bench"), r.state_dir = strdup(dir),
	r.added = strdup("");
	identity_world(&w, &c);
	if (pipe(ask) < 0 || pipe(tell) < 0 || sessions_new(&s) < 0 ||
	    identities_new(&ids, &w, "/nowhere", s) < 0 || identities_add_repo(ids, &r) < 0)
		errx(1, "no identities");
	top = fork();
	if (top == 0) {
		close(ask[1]);
		chain(DEPTH, ask[0], tell[1]);
	}
	for (int i = 0; i < 2 * CALLERS; i++) {
		double *out = i < CALLERS ? first : rare;

		pid = ask_for(ask[1], tell[0]);
		if (i >= CALLERS)
			usleep(6000); /* longer than directories are believed */
		begun = now_us();
		identity_of(ids, pid, clock_mono_ms(), &who);
		out[i % CALLERS] = now_us() - begun;
		if (write(ask[1], "y", 1) != 1)
			err(1, "the chain of processes ended");
	}
	for (int i = 0; i < CALLERS; i++) {
		pid = ask_for(ask[1], tell[0]);
		begun = now_us();
		read_plainly(pid);
		plain[i] = now_us() - begun;
		if (write(ask[1], "y", 1) != 1)
			err(1, "the chain of processes ended");
	}
	pid = ask_for(ask[1], tell[0]);
	show("to compare: stat and environ in its /proc, bare", plain, "");
	show("identity, a process seen first, 10 deep", first, "goal 30");
	show("  6 ms after the one before", rare, "");
	begun = now_us();
	for (int i = 0; i < AGAIN; i++)
		identity_of(ids, pid, clock_mono_ms(), &who);
	printf("%-46s average %.3f us  goal < 1\n", "identity, a process seen before",
	       (now_us() - begun) / AGAIN);
	close(ask[1]);
	waitpid(top, NULL, 0);
	identities_free(ids);
	sessions_free(s);
	repo_deinit(&r);
	free(c.base);
}

/* Another process has the lock, says when it gives it back, and we say when we have it. */
static void measure_wake(const char *dir)
{
	static double took[ROUNDS];
	int ready[2], given[2], over[2];
	double *when;
	pid_t pid;
	char c;

	if (pipe(ready) < 0 || pipe(given) < 0 || pipe(over) < 0)
		err(1, "pipe");
	pid = fork();
	if (pid == 0) {
		struct turnlock *l = NULL;

		if (turnlock_open(&l, dir, NULL) < 0)
			_exit(1);
		for (int i = 0; i < ROUNDS; i++) {
			double at;

			if (turnlock_wait(l, "main", 10000) < 0 || write(ready[1], "x", 1) != 1)
				_exit(1);
			while (!turnlock_wanted(l))
				usleep(100);
			usleep(2000); /* until it sleeps */
			at = now_us();
			turnlock_release(l);
			if (write(given[1], &at, sizeof(at)) != sizeof(at) ||
			    read(over[0], &c, 1) != 1)
				_exit(1);
		}
		_exit(0);
	}
	when = took;
	for (int i = 0; i < ROUNDS; i++) {
		struct turnlock *l = NULL;
		double at, have;

		if (read(ready[0], &c, 1) != 1 || turnlock_open(&l, dir, NULL) < 0 ||
		    turnlock_wait(l, "main", 10000) < 0)
			errx(1, "no lock");
		have = now_us();
		if (read(given[0], &at, sizeof(at)) != sizeof(at))
			err(1, "read");
		*when++ = have - at;
		turnlock_close(l);
		if (write(over[1], "x", 1) != 1)
			err(1, "write");
	}
	waitpid(pid, NULL, 0);
	show("woken after another process gave the turn back", took, "goal < 1000");
}

int main(void)
{
	char dir[] = "/tmp/rrm-bench-turns-XXXXXX";

	if (!mkdtemp(dir))
		err(1, "mkdtemp");
	measure_identity(dir);
	measure_wake(dir);
	file_remove_tree(AT_FDCWD, dir);
	return 0;
}
