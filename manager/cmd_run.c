/*
 * rrm run registers itself as a session and stays the parent of the command, so that all of the
 * command's descendants find a registered ancestor. The command shares our process group: what the
 * terminal sends (Ctrl-C) reaches it without us, and only what somebody sends to us alone is passed on.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"
#include "manager/place.h"
#include "manager/program.h"
#include "manager/session.h"

enum { EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

/* What the child could not do, sent through a pipe that exec closes. */
struct failure {
	int chdir_errno, exec_errno;
};

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

static _Noreturn void child(const struct place *place, char **cmd, const sigset_t *mask, int report)
{
	struct failure f = {.chdir_errno = -place_enter(place)};

	if (!f.chdir_errno) {
		sigprocmask(SIG_SETMASK, mask, NULL);
		execvp(cmd[0], cmd);
		f.exec_errno = errno;
	}
	if (write(report, &f, sizeof(f)) < 0)
		_exit(CMD_FAILED);
	_exit(f.exec_errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

/* Passes signals on until the child has ended; its wait status. */
static int wait_for(pid_t pid, const sigset_t *set)
{
	int status;

	for (;;) {
		siginfo_t info;
		pid_t got = waitpid(pid, &status, WNOHANG);
		if (got == pid)
			return status;
		if (got < 0 && errno != EINTR)
			return W_EXITCODE(CMD_FAILED, 0);
		if (sigwaitinfo(set, &info) > 0 && info.si_signo != SIGCHLD &&
		    info.si_code != SI_KERNEL)
			kill(pid, info.si_signo);
	}
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* execvp() says EACCES for a name that is nowhere when a directory of PATH may not be searched. */
static bool not_found(const struct failure *f, const char *cmd)
{
	CLEANUP(freep) char *path = NULL;

	return f->exec_errno == ENOENT || (f->exec_errno == EACCES && !strchr(cmd, '/') &&
					   program_on_path(cmd, &path) == -ENOENT);
}

static int explain(const struct failure *f, const char *dir, const char *cmd, struct err *e)
{
	if (f->chdir_errno) {
		err_errno(e, -f->chdir_errno, "entering %s", dir);
		return CMD_FAILED;
	}
	bool nowhere = not_found(f, cmd);
	err_errno(e, nowhere ? -ENOENT : -f->exec_errno, "running %s", cmd);
	return nowhere ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int run_child(const struct place *place, char **cmd, struct err *e)
{
	CLEANUP(closep) int ours = -1;
	sigset_t set, before;
	struct failure f;
	int report[2];

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(forwarded) / sizeof(forwarded[0]); i++)
		sigaddset(&set, forwarded[i]);
	if (pipe2(report, O_CLOEXEC)) {
		err_errno(e, -errno, "running %s", cmd[0]);
		return CMD_FAILED;
	}
	ours = report[0];
	signal(SIGCHLD, SIG_DFL); /* ignored by a parent, it would take the status away */
	sigprocmask(SIG_BLOCK, &set, &before);
	pid_t pid = fork();
	if (!pid)
		child(place, cmd, &before, report[1]);
	int saved = errno;
	close(report[1]);
	if (pid < 0) {
		err_errno(e, -saved, "running %s", cmd[0]);
		return CMD_FAILED;
	}
	int status = wait_for(pid, &set);
	/* whatever the child's own children still hold, the pipe has closed on exec */
	ssize_t n = read(ours, &f, sizeof(f));
	return n == (ssize_t)sizeof(f) ? explain(&f, place->dir, cmd[0], e) : exit_code(status);
}

static int run_in(const struct cmd_context *x, const char *what, char **cmd, struct err *e)
{
	char session[SESSION_ID_MAX];
	const struct repo *r;
	CLEANUP(place_deinit) struct place place = {.dir = NULL};

	if (cmd_find(x, what, &r, e))
		return CMD_FAILED;
	if (place_of(x->config, r, &place) || setenv("RRM_HOME_REPO", r->id, 1)) {
		err_errno(e, -ENOMEM, "running %s", cmd[0]);
		return CMD_FAILED;
	}
	if (session_register(x->config, r, getpid(), session, e))
		return CMD_FAILED;
	setenv("RRM_SESSION", session, 1);
	int code = run_child(&place, cmd, e);
	session_unregister(x->config, getpid());
	return code;
}

int cmd_run(int argc, char **argv, struct err *e)
{
	struct cmd_context x;
	int dashes = 1;

	while (dashes < argc && strcmp(argv[dashes], "--") != 0)
		dashes++;
	if (dashes >= argc - 1)
		return cmd_usage("run", e, "no CMD was given behind --");
	if (dashes > 2)
		return cmd_usage("run", e, "give one REPO before --");
	if (dashes == 2 && argv[1][0] == '-')
		return cmd_usage("run", e, "it has no options");
	if (cmd_context_init(&x, e))
		return CMD_FAILED;
	int code = run_in(&x, dashes == 2 ? argv[1] : NULL, argv + dashes + 1, e);
	cmd_context_deinit(&x);
	return code;
}
