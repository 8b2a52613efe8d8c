/*
 * The turn's costs, without FUSE: identity of callers, the hand-over within the router, the lock between
 * processes. Each line is a ratio or a median with its goal; no time decides here.
 */
#include <err.h>
#include <fcntl.h>
#include <limits.h>
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

/* DEPTH processes below one another in a directory; the last one makes the callers. */
struct family {
	pid_t top;
	int ask, tell;
};

static void family_start(struct family *f, const char *dir)
{
	int ask[2], tell[2];

	if (pipe2(ask, O_CLOEXEC) < 0 || pipe2(tell, O_CLOEXEC) < 0)
		err(1, "pipe2");
	f->top = fork();
	if (f->top == 0) {
		close(ask[1]);
		if (chdir(dir) < 0)
			_exit(1);
		chain(DEPTH, ask[0], tell[1]);
	}
	close(ask[0]);
	close(tell[1]);
	f->ask = ask[1];
	f->tell = tell[0];
}

static void family_end(struct family *f)
{
	close(f->ask);
	close(f->tell);
	waitpid(f->top, NULL, 0);
}

static void caller_end(const struct family *f)
{
	if (write(f->ask, "y", 1) != 1)
		err(1, "the chain of processes ended");
}

/* How long the first look at a new process takes. ids NULL: the bare reading. */
static double first_look(const struct family *f, struct identities *ids, enum identity_by by)
{
	pid_t pid = ask_for(f->ask, f->tell);
	struct identity who;
	double begun, took;

	begun = now_us();
	if (ids)
		identity_of(ids, pid, clock_mono_ms(), &who);
	else
		read_plainly(pid);
	took = now_us() - begun;
	if (ids && who.by != by)
		errx(1, "%d was identified by %d, not by %d", (int)pid, who.by, by);
	caller_end(f);
	return took;
}

static struct endpoint backend; /* what the registry says */

static uint64_t bench_registry_stamp(void *arg, const struct repo *r)
{
	return 1;
}

static int bench_registry(void *arg, const struct repo *r, struct endpoint *ep)
{
	*ep = backend;
	return 0;
}

/* Each kind after another, so that what else the machine does meets all of them. */
static void measure_first_looks(struct identities *ids, const struct family f[3], const char *dir)
{
	static double plain[CALLERS], tool[CALLERS], shell[CALLERS], none[CALLERS], rare[CALLERS],
		rare_plain[CALLERS], fresh[CALLERS];

	for (int i = 0; i < CALLERS; i++) {
		plain[i] = first_look(&f[2], NULL, IDENTITY_BY_NOTHING);
		tool[i] = first_look(&f[0], ids, IDENTITY_BY_BACKEND);
		shell[i] = first_look(&f[1], ids, IDENTITY_BY_DIRECTORY);
		none[i] = first_look(&f[2], ids, IDENTITY_BY_NOTHING);
	}
	for (int i = 0; i < CALLERS; i++) {
		struct family new;

		usleep(6000); /* longer than directories are believed */
		rare_plain[i] = first_look(&f[2], NULL, IDENTITY_BY_NOTHING);
		usleep(6000);
		rare[i] = first_look(&f[1], ids, IDENTITY_BY_DIRECTORY);
		family_start(&new, dir);
		fresh[i] = first_look(&new, ids, IDENTITY_BY_DIRECTORY);
		family_end(&new);
	}
	show("to compare: stat and environ in its /proc, bare", plain, "");
	show("first look, parents known, of a backend's tool", tool, "goal 30");
	show("first look, parents known, in a shell at home", shell, "goal 30");
	show("first look, parents known, no home", none, "");
	show("6 ms after the one before: bare", rare_plain, "");
	show("  the first look of one in a shell at home", rare, "");
	show("first look, 10 parents as new as it", fresh, "");
}

static void measure_identity(const char *dir)
{
	struct config c = {.base = strdup(dir)};
	struct repo r = {.id = "bench-1"};
	struct identity_world w;
	struct identities *ids = NULL;
	struct sessions *s = NULL;
	struct family f[3];
	struct proc_stat top;
	struct identity who;
	char home[PATH_MAX];
	double begun;
	pid_t pid;

	r.root = strdup(dir), r.name = strdup("bench"), r.state_dir = strdup(dir),
	r.added = strdup("");
	snprintf(home, sizeof(home), "%s/bench", dir);
	identity_world(&w, &c);
	w.registry_stamp = bench_registry_stamp;
	w.registry = bench_registry;
	if (mkdir(home, 0700) < 0 || sessions_new(&s) < 0 || identities_new(&ids, &w, dir, s) < 0)
		errx(1, "no identities");
	family_start(&f[0], home);
	family_start(&f[1], home);
	family_start(&f[2], "/");
	if (proc_stat(f[0].top, &top) < 0)
		errx(1, "no backend");
	backend = (struct endpoint){.pid = f[0].top, .start_time = top.start};
	if (identities_add_repo(ids, &r) < 0)
		errx(1, "no repository");
	measure_first_looks(ids, f, home);
	pid = ask_for(f[1].ask, f[1].tell);
	begun = now_us();
	for (int i = 0; i < AGAIN; i++)
		identity_of(ids, pid, clock_mono_ms(), &who);
	printf("%-46s average %.3f us  goal < 1\n", "identity, a process seen before",
	       (now_us() - begun) / AGAIN);
	caller_end(&f[1]);
	for (int i = 3; i-- > 0;) /* the later ones have the pipes of those before them */
		family_end(&f[i]);
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
