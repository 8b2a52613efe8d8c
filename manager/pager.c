#include "manager/pager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/program.h"
#include "manager/term.h"

/* What is said about the output stands in the output while there is a pager, else it would garble it. */
static int own_stderr = -1;

/* NULL: none. */
static const char *wanted(void)
{
	const char *p = getenv("RRM_PAGER");

	if (!p)
		p = getenv("PAGER");
	if (!p)
		p = "less";
	if (!*p || !strcmp(p, "cat"))
		return NULL;
	/* a name that is not there is no reason to show nothing */
	if (!strpbrk(p, " \t|&;<>()$`\\\"'*?[#~=%")) {
		CLEANUP(freep) char *path = NULL;
		if (program_on_path(p, &path))
			return NULL;
	}
	return p;
}

static void become(const char *command, int in)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_DFL);
	dup2(in, STDIN_FILENO);
	setenv("LESS", "FRX", 0);
	setenv("LESSCHARSET", "utf-8", 0); /* names are shown as such, also in the C locale */
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

pid_t pager_begin(void)
{
	struct term t = term_of(STDOUT_FILENO);
	const char *command = t.smart ? wanted() : NULL;
	CLEANUP(closep) int from = -1, to = -1;
	int fds[2];

	if (!command || pipe2(fds, O_CLOEXEC))
		return 0;
	from = fds[0];
	to = fds[1];
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		return 0;
	if (!pid)
		become(command, from);
	/* Ctrl-C is for the pager; when that ends, our next write ends us, also where our parent ignores SIGPIPE. */
	signal(SIGINT, SIG_IGN);
	signal(SIGPIPE, SIG_DFL);
	dup2(to, STDOUT_FILENO);
	if (isatty(STDERR_FILENO) && (own_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) >= 0)
		dup2(to, STDERR_FILENO);
	return pid;
}

void pager_end(pid_t pid)
{
	if (pid <= 0)
		return;
	fflush(stdout);
	close(STDOUT_FILENO);
	if (own_stderr >= 0)
		dup2(own_stderr, STDERR_FILENO);
	closep(&own_stderr);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
