#include "manager/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/proc.h"

int spawn_env_init(struct spawn_env *env, char *const *from)
{
	*env = (struct spawn_env){.room = 1};
	for (char *const *v = from; *v; v++)
		env->room++;
	env->room += 32;
	env->vars = calloc(env->room, sizeof(*env->vars));
	if (!env->vars)
		return -ENOMEM;
	for (char *const *v = from; *v; v++) {
		env->vars[env->n] = strdup(*v);
		if (!env->vars[env->n]) {
			spawn_env_deinit(env);
			return -ENOMEM;
		}
		env->n++;
	}
	return 0;
}

void spawn_env_deinit(struct spawn_env *env)
{
	for (size_t i = 0; i < env->n; i++)
		free(env->vars[i]);
	free(env->vars);
	*env = (struct spawn_env){0};
}

static size_t env_find(const struct spawn_env *env, const char *name)
{
	size_t len = strlen(name), i = 0;
	while (i < env->n && !(strncmp(env->vars[i], name, len) == 0 && env->vars[i][len] == '='))
		i++;
	return i;
}

const char *spawn_env_get(const struct spawn_env *env, const char *name)
{
	size_t i = env_find(env, name);
	return i < env->n ? env->vars[i] + strlen(name) + 1 : NULL;
}

static int env_grow(struct spawn_env *env)
{
	if (env->n + 1 < env->room)
		return 0;
	char **grown = reallocarray(env->vars, env->room * 2, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	env->vars = grown;
	env->room *= 2;
	return 0;
}

int spawn_env_set(struct spawn_env *env, const char *name, const char *value)
{
	char *var = NULL;
	if (value && asprintf(&var, "%s=%s", name, value) < 0)
		return -ENOMEM;
	size_t i = env_find(env, name);
	if (i < env->n) {
		free(env->vars[i]);
		env->vars[i] = var ? var : env->vars[--env->n];
	} else if (var) {
		if (env_grow(env) < 0) {
			free(var);
			return -ENOMEM;
		}
		env->vars[env->n++] = var;
	}
	env->vars[env->n] = NULL;
	return 0;
}

int spawn_noted_nothing(void *arg, pid_t pid, uint64_t start, struct err *e)
{
	return 0;
}

/* What the new process says through the status pipe: first its pid, then a failure or nothing. */
struct report {
	int value; /* pid, or errno */
	enum { STEP_PID, STEP_CHDIR, STEP_STDIO, STEP_EXEC } step;
};

static const char *const step_words[] = {"start", "enter the directory", "set up the output of",
					 "execute"};

/* From here to exec only async-signal-safe calls: the caller may have threads. */

static void keep_only_stdio(void)
{
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	struct rlimit rl;
	rlim_t end = 65536;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < end)
		end = rl.rlim_cur;
	for (int fd = 3; fd < (int)end; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void default_signals(void)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void raise_open_files(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

static int stdio_to(int log_fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, 0) < 0 || dup2(log_fd, 1) < 0 || dup2(log_fd, 2) < 0)
		return -errno;
	return 0;
}

_Noreturn static void fail(int status_fd, int step, int error)
{
	struct report rep = {.value = error, .step = (__typeof__(rep.step))step};
	ssize_t ignored = write(status_fd, &rep, sizeof(rep));
	(void)ignored;
	_exit(127);
}

_Noreturn static void become(const struct spawn_request *rq, int status_fd, int go_fd)
{
	setsid();
	struct report rep = {.value = getpid(), .step = STEP_PID};
	char go;
	if (write(status_fd, &rep, sizeof(rep)) != sizeof(rep) || read(go_fd, &go, 1) != 1)
		_exit(127);
	default_signals();
	raise_open_files();
	if (chdir(rq->cwd) < 0)
		fail(status_fd, STEP_CHDIR, errno);
	/* The pipes may sit on 0, 1 or 2 when the caller had those closed. */
	status_fd = fcntl(status_fd, F_DUPFD_CLOEXEC, 3);
	int log_fd = fcntl(rq->log_fd, F_DUPFD_CLOEXEC, 3);
	int r = log_fd < 0 ? -errno : stdio_to(log_fd);
	if (r < 0)
		fail(status_fd, STEP_STDIO, -r);
	keep_only_stdio();
	/* execve takes char *const[] for historical reasons; it does not change the strings. */
	execve(rq->argv[0], (char *const *)(uintptr_t)rq->argv, rq->env->vars);
	fail(status_fd, STEP_EXEC, errno);
}

static int fork_twice(const struct spawn_request *rq, int status[2], int go[2])
{
	pid_t middle = fork();
	if (middle < 0)
		return -errno;
	if (middle == 0) {
		pid_t child = fork();
		if (child == 0) {
			close(go[1]);
			close(status[0]);
			become(rq, status[1], go[0]);
		}
		_exit(child < 0 ? errno : 0);
	}
	int ws;
	while (waitpid(middle, &ws, 0) < 0)
		if (errno != EINTR)
			return errno == ECHILD ? 0 : -errno; /* the caller ignores SIGCHLD */
	return WIFEXITED(ws) && WEXITSTATUS(ws) ? -WEXITSTATUS(ws) : 0;
}

/* 1: a report; 0: end of file; -ETIMEDOUT. */
static int next_report(int fd, struct report *rep, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = clock_mono_ms();
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int n = poll(&p, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);
		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		ssize_t got = read(fd, rep, sizeof(*rep)); /* below PIPE_BUF: whole or nothing */
		if (got == 0)
			return 0;
		if (got == (ssize_t)sizeof(*rep))
			return 1;
		if (got < 0 && errno != EINTR)
			return -errno;
	}
}

static int let_go(const struct spawn_request *rq, int status_fd, int *go_fd, pid_t pid,
		  uint64_t deadline_ms, struct err *e)
{
	struct report rep = {0};
	ssize_t n = write(*go_fd, "g", 1);
	close(steal_fd(go_fd));
	int r = n == 1 ? next_report(status_fd, &rep, deadline_ms) : -EPIPE;
	if (r == 0)
		return 0;
	kill(pid, SIGKILL);
	if (r > 0)
		return err_errno(e, -rep.value, "could not %s %s", step_words[rep.step],
				 rep.step == STEP_CHDIR ? rq->cwd : rq->argv[0]);
	return err_errno(e, r, "%s could not be started in %s", rq->argv[0], rq->cwd);
}

int spawn_detached(const struct spawn_request *rq, pid_t *pid, uint64_t *start, struct err *e)
{
	CLEANUP(closep) int status_rd = -1, go_rd = -1;
	CLEANUP(closep) int status_wr = -1, go_wr = -1;
	int status[2], go[2];
	if (pipe2(status, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "no pipe to start %s", rq->argv[0]);
	status_rd = status[0], status_wr = status[1];
	if (pipe2(go, O_CLOEXEC) < 0)
		return err_errno(e, -errno, "no pipe to start %s", rq->argv[0]);
	go_rd = go[0], go_wr = go[1];

	uint64_t deadline_ms = clock_mono_ms() + (uint64_t)rq->timeout_ms;
	int r = fork_twice(rq, status, go);
	if (r < 0)
		return err_errno(e, r, "no process for %s", rq->argv[0]);
	close(steal_fd(&status_wr));
	close(steal_fd(&go_rd));

	struct report rep = {0};
	r = next_report(status_rd, &rep, deadline_ms);
	if (r <= 0)
		return err_errno(e, r < 0 ? r : -EIO, "the process for %s did not come up",
				 rq->argv[0]);
	struct proc_stat st;
	r = proc_stat(rep.value, &st);
	if (r < 0)
		return err_errno(e, r, "the process for %s cannot be seen in /proc", rq->argv[0]);
	r = rq->noted(rq->arg, st.pid, st.start, e);
	if (r < 0)
		return r; /* go_wr is closed on the way out, and with it the waiting process ends */
	*pid = st.pid;
	*start = st.start;
	return let_go(rq, status_rd, &go_wr, st.pid, deadline_ms, e);
}
