#include "manager/child.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/cmd.h"
#include "manager/program.h"
#include "manager/spawn.h"

enum { ARGS_MAX = 8 };

static int spawn(struct child *ch, const char *const *argv, const struct spawn_env *env, int err_wr)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (err_wr >= 0)
		posix_spawn_file_actions_adddup2(&fa, err_wr, 2);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
					      POSIX_SPAWN_SETSIGDEF);
	int rc =
		posix_spawn(&ch->pid, argv[0], &fa, &at, (char *const *)(uintptr_t)argv, env->vars);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return -rc;
}

int child_start(const struct config *c, const char *const *args, bool listen, struct child *ch,
		struct err *e)
{
	CLEANUP(freep) char *program = NULL;
	CLEANUP(spawn_env_deinit) struct spawn_env env = {0};
	CLEANUP(closep) int rd = -1, wr = -1;
	const char *argv[ARGS_MAX] = {NULL};
	int p[2];
	ch->pid = 0;
	ch->err_fd = -1;
	ch->len = 0;
	ch->text[0] = '\0';
	int rc = program_find("rrm", &program, e);
	if (rc < 0)
		return rc;
	argv[0] = program;
	for (int i = 0; args[i] && i + 2 < ARGS_MAX; i++)
		argv[i + 1] = args[i];
	rc = spawn_env_init(&env, environ);
	if (rc == 0)
		rc = spawn_env_set(&env, "RRM_HOME", c->base);
	if (rc == 0 && listen && pipe2(p, O_CLOEXEC) < 0)
		rc = -errno;
	if (rc == 0 && listen)
		rd = p[0], wr = p[1];
	if (rc == 0)
		rc = spawn(ch, argv, &env, wr);
	if (rc < 0)
		return err_errno(e, rc, "running %s %s", program, args[0]);
	ch->err_fd = steal_fd(&rd);
	return 0;
}

/* Collects its stderr until it ends or deadline_ms. */
static int read_all(struct child *ch, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = clock_mono_ms();
		uint64_t left = now < deadline_ms ? deadline_ms - now : 0;
		struct pollfd p = {.fd = ch->err_fd, .events = POLLIN};
		int n = poll(&p, 1, left < INT_MAX ? (int)left : INT_MAX);
		if (n == 0)
			return -ETIMEDOUT;
		char chunk[4096];
		ssize_t got = n < 0 ? -1 : read(ch->err_fd, chunk, sizeof(chunk));
		if (got == 0)
			return 0;
		if (got < 0 && errno != EINTR)
			return -errno;
		for (ssize_t i = 0; i < got && ch->len + 1 < sizeof(ch->text); i++)
			ch->text[ch->len++] = chunk[i];
		ch->text[ch->len] = '\0';
	}
}

int child_wait(struct child *ch, uint64_t deadline_ms)
{
	int rc = ch->err_fd >= 0 ? read_all(ch, deadline_ms) : 0;
	int ws = 0;
	if (rc < 0)
		kill(ch->pid, SIGKILL);
	if (ch->err_fd >= 0)
		close(steal_fd(&ch->err_fd));
	while (waitpid(ch->pid, &ws, 0) < 0)
		if (errno != EINTR)
			return rc; /* the program that we are in reaps all children itself */
	if (rc < 0)
		return rc;
	return WIFEXITED(ws) ? WEXITSTATUS(ws) : 128 + WTERMSIG(ws);
}

const char *child_sentence(struct child *ch)
{
	size_t len = strlen(ch->text);
	while (len > 0 && ch->text[len - 1] == '\n')
		ch->text[--len] = '\0';
	char *line = strrchr(ch->text, '\n');
	line = line ? line + 1 : ch->text;
	return strncmp(line, "rrm: ", 5) == 0 ? line + 5 : line;
}

int child_run(const struct config *c, const char *const *args, uint64_t timeout_ms, struct err *e)
{
	CLEANUP(freep) struct child *ch = calloc(1, sizeof(*ch));
	int rc = ch ? child_start(c, args, true, ch, e) : -ENOMEM;
	if (rc < 0)
		return rc;
	int status = child_wait(ch, clock_mono_ms() + timeout_ms);
	if (status < 0)
		return err_errno(e, status, "rrm %s did not end", args[0]);
	if (status == CMD_OK)
		return 0;
	return err_set(e, status == CMD_TIMED_OUT ? -ETIMEDOUT : -EIO, "%s",
		       ch->len ? child_sentence(ch) : "rrm ended and did not say why");
}
