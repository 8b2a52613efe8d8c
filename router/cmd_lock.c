#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"
#include "manager/mountstate.h"
#include "router/cmd.h"
#include "router/oneshot.h"

enum { EXIT_NOT_FOUND = 127, EXIT_NOT_RUNNABLE = 126, EXIT_SIGNAL = 128 };
enum { LOOK_MS = 50, LOOK_AGAIN_MS = 20 };

struct lock_options {
	const char *branch; /* NULL: the present one */
	bool all;
	double timeout_s; /* negative: lock_timeout_ms */
	char **cmd;
};

static volatile sig_atomic_t child_pid;

static void forward(int sig)
{
	if (child_pid > 0)
		kill(child_pid, sig);
}

static void run_child(char **cmd, const sigset_t *mask, const struct oneshot_turn *t)
{
	char repos[HELD_TEXT_MAX], holders[HELD_TEXT_MAX];
	int code;

	held_text(oneshot_turn_held(t), repos, holders);
	setenv("RRM_TURN", repos, 1);
	setenv("RRM_TURN_HOLDER", holders, 1);
	signal(SIGINT, SIG_DFL);
	signal(SIGQUIT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(cmd[0], cmd);
	code = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE;
	fprintf(stderr, "rrm: cannot run %s: %m\n", cmd[0]);
	_exit(code);
}

/* While others want the turn: says when what we run is stuck in a lock of theirs, at two looks in the same. */
static void watch(const struct cmd_context *x, struct oneshot_turn *t, struct stuck *seen,
		  struct stuck *said)
{
	struct mountstate m = {.mountpoint = NULL};
	struct stuck now = {.n = 0};
	bool settled;

	if (oneshot_turn_wanted(t) && mountstate_read(x->config, &m) == 0) {
		stuck_find(getpid(), &x->repos, m.mountpoint, &now);
		mountstate_deinit(&m);
	}
	settled = now.call && now.call == seen->call;
	if (settled ? said->call != now.call : said->call && said->call != now.call) {
		const struct stuck say = settled ? now : (struct stuck){.n = 0};

		if (oneshot_turn_stuck(t, &say) == 0) /* else at the next look */
			*said = say;
	}
	*seen = now;
}

static int wait_child(const struct cmd_context *x, struct oneshot_turn *t, pid_t pid)
{
	CLEANUP(closep) int end = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd fd = {.fd = end, .events = POLLIN};
	struct stuck seen = {.n = 0}, said = {.n = 0};
	int status, rc = end < 0;

	while (!rc || (rc < 0 && errno == EINTR)) {
		rc = poll(&fd, 1, seen.call ? LOOK_AGAIN_MS : LOOK_MS);
		if (!rc)
			watch(x, t, &seen, &said);
	}

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return CMD_FAILED;
	return WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_holding(const struct cmd_context *x, char **cmd, struct oneshot_turn *t,
		       struct err *e)
{
	struct sigaction sa = {.sa_handler = forward};
	sigset_t block, before;
	pid_t pid;

	/* The terminal tells the child itself; others tell us, and we pass it on. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&block);
	sigaddset(&block, SIGTERM);
	sigaddset(&block, SIGHUP);
	sigprocmask(SIG_BLOCK, &block, &before);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		run_child(cmd, &before, t);
	if (pid < 0) {
		err_errno(e, -errno, "cannot run %s", cmd[0]);
		return CMD_FAILED;
	}
	child_pid = pid;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return wait_child(x, t, pid);
}

static int hold(const struct cmd_context *x, const char *what, const struct lock_options *o,
		struct err *e)
{
	struct oneshot_want w = {
		.config = x->config, .branch = o->branch, .all = o->all, .explicit = true};
	struct oneshot_turn *t = NULL;
	struct identity who;
	int rc = cmd_find(x, what, &w.repo, e), code;

	if (rc == 0)
		rc = oneshot_identity(x->config, &x->repos, getpid(), &who, NULL);
	/* Who is at no home may go on in the real tree, by his own right. */
	if (rc == 0 && who.home[0])
		rc = oneshot_allowed(x->config, w.repo, &who, e);
	if (rc < 0)
		return cmd_exit(rc);
	w.who = &who;
	w.timeout_ms = o->timeout_s < 0 ? x->config->lock_timeout_ms
					: (uint32_t)(o->timeout_s * 1000 + 0.5);
	w.actor = (struct actor){.pid = who.pid, .uid = geteuid(), .gid = getegid()};
	snprintf(w.actor.comm, sizeof(w.actor.comm), "%s", o->cmd[0]);
	memcpy(w.actor.home, who.home, sizeof(w.actor.home));
	memcpy(w.actor.session, who.session, sizeof(w.actor.session));
	rc = oneshot_turn_take(&t, &w, e);
	if (rc < 0)
		return cmd_exit(rc);
	code = run_holding(x, o->cmd, t, e);
	oneshot_turn_give(t);
	return code;
}

static bool seconds(const char *text, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return *text && !*end && *out >= 0 && *out <= 4000000;
}

/* Options stand before "--"; 0, or CMD_USAGE. */
static int parse(int argc, char **argv, struct lock_options *o, struct err *e)
{
	static const struct option longs[] = {{"branch", required_argument, NULL, 'b'},
					      {"all", no_argument, NULL, 'a'},
					      {"timeout", required_argument, NULL, 't'},
					      {NULL, 0, NULL, 0}};

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":b:at:", longs, e)) != -1;) {
		if (opt == 'b')
			o->branch = optarg;
		else if (opt == 'a')
			o->all = true;
		else if (opt != 't')
			return CMD_USAGE;
		else if (!seconds(optarg, &o->timeout_s))
			return cmd_usage("lock", e, "--timeout takes seconds");
	}
	if (o->branch && (!o->branch[0] || strlen(o->branch) > 255))
		return cmd_usage("lock", e, "that is no name of a branch");
	if (o->branch && o->all)
		return cmd_usage("lock", e, "--branch and --all exclude each other");
	return 0;
}

int cmd_lock(int argc, char **argv, struct err *e)
{
	struct lock_options o = {.timeout_s = -1};
	struct cmd_context x;
	int dashes = 1, code;

	while (dashes < argc && strcmp(argv[dashes], "--") != 0)
		dashes++;
	if (dashes >= argc - 1)
		return cmd_usage("lock", e, "no CMD was given behind --");
	o.cmd = argv + dashes + 1;
	argv[dashes] = NULL;
	if (parse(dashes, argv, &o, e))
		return CMD_USAGE;
	if (dashes - optind != 1)
		return cmd_usage("lock", e, "give one REPO before --");
	code = cmd_context_init(&x, e) < 0 ? CMD_FAILED : hold(&x, argv[optind], &o, e);
	cmd_context_deinit(&x);
	return code;
}
