/*
 * The same random operations in a plain directory, at home in the mount and in a foreign repo of it.
 *
 *	rrm-fuzzops [-s SEED] [-n OPS] [-t SECONDS] [-l LIST] [-u] PLAIN HOME FOREIGN [REAL-HOME REAL-FOREIGN]
 *
 * Run with a working directory that makes it at home in HOME. Seeds from SEED on until SECONDS are over,
 * OPS operations each. -l 3,7,9-12: only these operations of SEED, once, all shown: the way to see a
 * failure again. -u: the processes are different users (root only). What the trees are is asked in the
 * mount, and in the real directories where they are given.
 *
 * The first difference ends it: the operations are left out by halves as long as there still is one,
 * and what remains is printed with the three answers. Exit 0 when there was none.
 */
#include "fuzz.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MS = 120000, TREE_EVERY = 100, DIRS_MAX = PLACES + 2 };

static const char *const place_names[DIRS_MAX] = {"plain", "home", "foreign", "real home",
						  "real foreign"};
static const char *dirs[DIRS_MAX];
static unsigned n_dirs;
static bool users, verbose;

struct process {
	pid_t pid;
	int fd; /* ours of a pair of sockets */
};

static struct process team[PLACES][WORKERS];

/* What was wrong, and with what kind of operation (none: the trees). */
static char *report;
static unsigned report_kind;

static void __attribute__((format(printf, 1, 2))) found(const char *fmt, ...)
{
	va_list ap;
	free(report);
	va_start(ap, fmt);
	if (vasprintf(&report, fmt, ap) < 0)
		err(1, "found");
	va_end(ap);
}

/* ---- the processes ---- */

static void become_user(unsigned n)
{
	static const gid_t groups[WORKERS][2] = {{0, 0}, {1002, 1003}, {1003, 1003}, {1001, 4000}};
	if (!users || n == 0)
		return;
	uid_t id = 1000 + n;
	if (setgroups(2, groups[n]) < 0 || setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
		err(1, "becoming %u", id);
}

static void __attribute__((noreturn)) serve(const char *dir, int fd, unsigned n)
{
	static struct worker w;
	struct op op;
	become_user(n);
	umask(022);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0 || fchdir(root) < 0)
		err(1, "%s", dir);
	worker_init(&w, root);
	while (read(fd, &op, sizeof(op)) == (ssize_t)sizeof(op)) {
		op_do(&w, &op);
		if (write(fd, w.text, w.len + 1) < 0)
			break;
	}
	_exit(0);
}

static void start_team(void)
{
	for (unsigned p = 0; p < PLACES; p++)
		for (unsigned n = 0; n < WORKERS; n++) {
			int sv[2];
			if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
				err(1, "socketpair");
			team[p][n].pid = fork();
			if (team[p][n].pid == 0)
				serve(dirs[p], sv[1], n);
			team[p][n].fd = sv[0];
			close(sv[1]);
		}
}

static void end_team(void)
{
	for (unsigned p = 0; p < PLACES; p++)
		for (unsigned n = 0; n < WORKERS; n++) {
			shutdown(team[p][n].fd, SHUT_RDWR); /* others have a copy of ours */
			close(team[p][n].fd);
			waitpid(team[p][n].pid, NULL, 0);
		}
}

/* False: no answer. */
static bool answer_of(unsigned place, const struct op *op, char *text)
{
	struct pollfd p = {.fd = team[place][op->worker].fd, .events = POLLIN};
	if (poll(&p, 1, ANSWER_MS) > 0 && read(p.fd, text, TEXT) > 0)
		return true;
	snprintf(text, TEXT, "no answer");
	return false;
}

/* ---- a sequence ---- */

static void first_difference(const char *a, const char *b, const char *where, const char *when)
{
	while (*a && *b) {
		size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
		if (n != m || memcmp(a, b, n) != 0)
			break;
		a += n + (a[n] == '\n');
		b += m + (b[m] == '\n');
	}
	report_kind = UINT_MAX;
	found("the trees differ %s:\n  %-12s %.*s\n  %-12s %.*s\n", when, place_names[0],
	      (int)strcspn(a, "\n"), a, where, (int)strcspn(b, "\n"), b);
}

static bool same_trees(bool times, unsigned n, const char *when)
{
	char *plain = tree_text(dirs[0], times);
	bool same = true;
	for (unsigned p = 1; p < n && same; p++) {
		char *other = tree_text(dirs[p], times);
		same = strcmp(plain, other) == 0;
		if (!same)
			first_difference(plain, other, place_names[p], when);
		free(other);
	}
	free(plain);
	return same;
}

static bool same_answers(const struct op *op)
{
	static char text[PLACES][TEXT];
	bool same = true;
	for (unsigned p = 0; p < PLACES; p++)
		if (write(team[p][op->worker].fd, op, sizeof(*op)) != (ssize_t)sizeof(*op))
			err(1, "asking");
	for (unsigned p = 0; p < PLACES; p++)
		same &= answer_of(p, op, text[p]);
	same = same && strcmp(text[0], text[1]) == 0 && strcmp(text[0], text[2]) == 0;
	if (verbose)
		printf("%5u by %u: %s\n", op->index, op->worker, text[0]);
	if (!same) {
		report_kind = op->kind;
		found("operation %u by process %u:\n  plain    %s\n  home     %s\n  foreign  %s\n",
		      op->index, op->worker, text[0], text[1], text[2]);
	}
	return same;
}

/* Does the chosen operations; the number done when there is no difference, else how many it took. */
static bool play(uint64_t seed, const unsigned *chosen, unsigned n, unsigned *took)
{
	bool same = true;
	struct op op;
	op_make(&op, seed, 0);
	for (unsigned p = 0; p < PLACES; p++)
		tree_wipe(dirs[p]);
	start_team();
	for (*took = 0; *took < n && same; (*took)++) {
		op_make(&op, seed, chosen[*took]);
		same = same_answers(&op);
		if (same && op.index % TREE_EVERY == TREE_EVERY - 1)
			same = same_trees(!op.loose, PLACES, "meanwhile");
	}
	if (same)
		same = same_trees(!op.loose, PLACES, "at the end");
	end_team();
	return same && same_trees(!op.loose, n_dirs, "when all have ended");
}

/* ---- shrinking ---- */

/* Leaves out what is not needed for a difference: parts of half the length, then of a quarter, ... */
static unsigned shrink(uint64_t seed, unsigned *chosen, unsigned n)
{
	unsigned *fewer = malloc((n + 1) * sizeof(*fewer)), took, kind = report_kind;
	if (!fewer)
		err(1, "shrinking");
	for (unsigned part = (n + 1) / 2; part > 0; part = part > 1 ? (part + 1) / 2 : 0)
		for (unsigned at = 0; at < n;) {
			unsigned left = 0;
			for (unsigned i = 0; i < n; i++)
				if (i < at || i >= at + part)
					fewer[left++] = chosen[i];
			if (left < n && !play(seed, fewer, left, &took) && report_kind == kind) {
				memcpy(chosen, fewer, took * sizeof(*chosen));
				n = took;
			} else {
				at += part;
			}
		}
	free(fewer);
	return n;
}

static void print_failure(uint64_t seed, unsigned *chosen, unsigned n, bool again)
{
	unsigned took = n;
	printf("seed %lu, after %u operations: %s", seed, n, report);
	fflush(stdout);
	unsigned small = again ? shrink(seed, chosen, n) : n;
	verbose = again;
	printf("\nof these %u operations %u are enough:\n", n, small);
	if (play(seed, chosen, small, &took))
		printf("(not this time: it depends on the time that things take)\n");
	else
		printf("%s", report);
	printf("\nsee it again: rrm-fuzzops%s -s %lu -l ", users ? " -u" : "", seed);
	for (unsigned i = 0; i < small; i++)
		printf("%s%u", i ? "," : "", chosen[i]);
	printf(" PLAIN HOME FOREIGN\n");
	fflush(stdout);
}

/* ---- the whole ---- */

static bool races(uint64_t seed)
{
	bool same = true;
	char *text[PLACES];
	for (unsigned p = 0; p < PLACES; p++) {
		tree_wipe(dirs[p]);
		text[p] = race_text(dirs[p], seed);
	}
	for (unsigned p = 1; p < PLACES; p++)
		if (strcmp(text[0], text[p]) != 0) {
			same = false;
			printf("processes at once, seed %lu, in plain:\n%s\nin %s:\n%s\n", seed,
			       text[0], place_names[p], text[p]);
		}
	for (unsigned p = 0; p < PLACES; p++)
		free(text[p]);
	return same;
}

static bool sequence(uint64_t seed, unsigned n)
{
	unsigned took, *chosen = malloc((n + 1) * sizeof(*chosen));
	if (!chosen)
		err(1, "seed %lu", seed);
	for (unsigned i = 0; i < n; i++)
		chosen[i] = i;
	bool same = play(seed, chosen, n, &took);
	if (!same)
		print_failure(seed, chosen, took, true);
	free(chosen);
	return same;
}

/* "3,7,9-12" */
static int replay(uint64_t seed, const char *list)
{
	unsigned *chosen = calloc(1 << 16, sizeof(*chosen)), n = 0, took;
	if (!chosen)
		err(1, "list");
	for (char *end; *list && n < 1 << 16; list = *end ? end + 1 : end) {
		unsigned from = (unsigned)strtoul(list, &end, 10), to = from;
		if (*end == '-')
			to = (unsigned)strtoul(end + 1, &end, 10);
		while (from <= to && n < 1 << 16)
			chosen[n++] = from++;
	}
	verbose = true;
	bool same = play(seed, chosen, n, &took);
	printf("%s", same ? "the same everywhere\n" : report);
	free(chosen);
	return !same;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1;
	unsigned n = 300, done = 0;
	long seconds = 10;
	const char *list = NULL;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int c; (c = getopt(argc, argv, "s:n:t:l:u")) != -1;) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			n = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 't')
			seconds = strtol(optarg, NULL, 10);
		else if (c == 'l')
			list = optarg;
		else if (c == 'u')
			users = true;
		else
			errx(2, "usage: see the top of fuzz.c");
	}
	for (; optind < argc && n_dirs < DIRS_MAX; optind++)
		dirs[n_dirs++] = argv[optind];
	if (n_dirs < PLACES)
		errx(2, "three directories are needed");
	if (list)
		return replay(seed, list);
	time_t end = time(NULL) + seconds;
	printf("seeds from %lu\n", seed);
	do {
		if (!sequence(seed, n) || (seed % 4 == 0 && !users && !races(seed)))
			return 1;
		seed++;
		done++;
	} while (time(NULL) < end);
	printf("%u sequences of %u operations, all the same; next seed %lu\n", done, n, seed);
	return 0;
}
