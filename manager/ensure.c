/*
 * The order under start.lock: look once more (somebody else may have started it meanwhile), adopt what
 * lives and is only slow or half-started, end everything that is left of a backend which is of no use,
 * start a new one on the old port. The lock is never handed to a child, so it ends with its holder.
 */
#include "manager/ensure.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/health.h"
#include "manager/password.h"
#include "manager/program.h"
#include "manager/spawn.h"
#include "manager/start.h"
#include "manager/stop.h"

enum {
	WARM_MS = 500, /* each probe of a look; a busy backend is looked at again under the lock */
	ADOPT_MS = 10000, /* OpenCode may stall for 5 s on a locked database */
	STOP_GRACE_MS = 5000,
	USELESS_GRACE_MS = 2000,
	STOP_LOCK_MS = 15000, /* on top of start_timeout_ms: a start that fails cleans up */
	CHILD_EXTRA_MS = 20000,
	OUTPUT_MAX = 64 << 10,
};

/* Removed or moved away, perhaps while its backend runs: that one is in no repository any more. */
static bool root_gone(const struct repo *r)
{
	struct stat st;
	return stat(r->root, &st) < 0 ? errno == ENOENT || errno == ENOTDIR : !S_ISDIR(st.st_mode);
}

int ensure_warm(const struct config *c, const struct repo *r, int probe_ms, struct endpoint *ep)
{
	bool alive;
	if (root_gone(r))
		return ENSURE_COLD;
	char password[PASSWORD_MAX], socket[108];
	if (registry_read(r, ep, &alive, NULL) < 0 || !alive || strcmp(ep->state, "ready") != 0)
		return ENSURE_COLD;
	if (password_read(r, password) < 0 ||
	    registry_gateway_socket(r, socket, sizeof(socket), NULL) < 0)
		return ENSURE_COLD;
	if (health_backend(r, ep->backend, ep->port, ep->pid, password, probe_ms, ep->version) !=
	    HEALTH_OK)
		return ENSURE_COLD;
	return health_gateway(r, socket, ep->pid, probe_ms) == HEALTH_OK ? 0 : ENSURE_COLD;
}

/* When registry.json was last written; 0 when there is none. */
static int64_t registry_written_ms(const struct repo *r)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "registry.json");
	struct stat st;
	if (!path || stat(path, &st) < 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

/*
 * The start that we waited for failed while we waited: then its failure is ours. Otherwise 30 callers
 * would try one after the other, each for start_timeout_ms.
 */
static int shared_failure(const struct repo *r, int64_t begun_ms, struct err *e)
{
	struct endpoint ep;
	/* File times come from a clock that ticks every few milliseconds. */
	if (registry_read(r, &ep, NULL, NULL) < 0 || strcmp(ep.state, "failed") != 0 ||
	    registry_written_ms(r) < begun_ms)
		return 0;
	return err_set(e, -EIO, "%s", ep.error);
}

/* Under the lock, and it is not warm. */
static int replace(const struct config *c, const struct repo *r, uint64_t deadline_ms,
		   struct endpoint *ep, struct err *e)
{
	struct endpoint old;
	bool alive = false;
	int known = registry_read(r, &old, &alive, NULL);
	if (known == 0 && alive && !root_gone(r)) {
		struct err why = ERR_INIT;
		uint64_t now_ms = clock_mono_ms();
		uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;
		uint64_t wait_ms = left_ms / 2; /* the other half is for its successor */
		if (strcmp(old.state, "starting") != 0 && wait_ms > ADOPT_MS)
			wait_ms = ADOPT_MS;
		*ep = old;
		if (start_adopt(c, r, now_ms + wait_ms, ep, &why) == 0)
			return 0;
		log_warn("event=ensure repo=%s replaced_pid=%d why=\"%s\"", r->id, (int)old.pid,
			 why.text);
	}
	int rc = stop_processes(r, known == 0 ? &old : NULL, false, USELESS_GRACE_MS, e);
	if (rc < 0)
		return rc;
	return start_backend(c, r, known == 0 ? old.port : 0, deadline_ms, ep, e);
}

int ensure_start(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e)
{
	int64_t begun_ms = clock_wall_ms();
	uint64_t deadline_ms = clock_mono_ms() + c->start_timeout_ms;
	if (ensure_warm(c, r, WARM_MS, ep) == 0)
		return 0;
	CLEANUP(closep) int lock = -1;
	int rc = start_lock(r, deadline_ms, &lock, e);
	if (rc == 0 && ensure_warm(c, r, WARM_MS, ep) == 0)
		return 0;
	if (rc == 0)
		rc = shared_failure(r, begun_ms, e);
	if (rc == 0)
		rc = repo_verify(r, e);
	if (rc == 0)
		rc = replace(c, r, deadline_ms, ep, e);
	return rc < 0 ? err_prefix(e, rc, "starting backend for %s", r->name) : 0;
}

static int stop_locked(const struct config *c, const struct repo *r, int *port, struct err *e)
{
	struct endpoint ep;
	int known = registry_read(r, &ep, NULL, NULL);
	int rc = stop_processes(r, known == 0 ? &ep : NULL, true, STOP_GRACE_MS, e);
	if (rc == 0) {
		rc = registry_clear(r);
		if (rc < 0)
			err_errno(e, rc, "clearing the registry of %s", r->name);
	}
	*port = known == 0 ? ep.port : 0;
	return rc;
}

int ensure_stop(const struct config *c, const struct repo *r, struct err *e)
{
	CLEANUP(closep) int lock = -1;
	int port;
	int rc = start_lock(r, clock_mono_ms() + c->start_timeout_ms + STOP_LOCK_MS, &lock, e);
	if (rc == -ENOENT)
		return 0; /* no state directory, so nothing ever ran */
	if (rc == 0)
		rc = stop_locked(c, r, &port, e);
	return rc;
}

int ensure_restart(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e)
{
	CLEANUP(closep) int lock = -1;
	int port;
	int rc = start_lock(r, clock_mono_ms() + c->start_timeout_ms + STOP_LOCK_MS, &lock, e);
	if (rc == 0)
		rc = stop_locked(c, r, &port, e);
	if (rc == 0)
		rc = start_backend(c, r, port, clock_mono_ms() + c->start_timeout_ms, ep, e);
	return rc < 0 ? err_prefix(e, rc, "restarting backend of %s", r->name) : 0;
}

int ensure_json(const struct repo *r, const struct endpoint *ep, cJSON **out)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	CLEANUP(freep) char *password_file = path_join(r->state_dir, "password");
	if (!j || !password_file || json_add_str(j, "repo_id", r->id) < 0 ||
	    json_add_bytes(j, "name", r->name) < 0 || json_add_bytes(j, "root", r->root) < 0 ||
	    json_add_str(j, "url", ep->url) < 0 || json_add_int(j, "pid", ep->pid) < 0 ||
	    json_add_str(j, "backend", ep->backend) < 0 ||
	    json_add_str(j, "version", ep->version) < 0 ||
	    json_add_str(j, "state", ep->state) < 0 ||
	    json_add_str(j, "username", PASSWORD_USER) < 0 ||
	    json_add_bytes(j, "password_file", password_file) < 0)
		return -ENOMEM;
	*out = steal(&j);
	return 0;
}

/* A child `rrm ensure` and what it prints. */
struct child {
	pid_t pid;
	int err_fd;
	char text[OUTPUT_MAX];
	size_t len;
};

static int child_spawn(struct child *ch, const char *program, const struct repo *r,
		       const struct spawn_env *env)
{
	const char *const argv[] = {program, "ensure", "--json", r->id, NULL};
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, p[1], 2);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	/* Its own session: a Ctrl-C that ends the mount must not end a start half-way. */
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
					      POSIX_SPAWN_SETSIGDEF);
	int rc =
		posix_spawn(&ch->pid, program, &fa, &at, (char *const *)(uintptr_t)argv, env->vars);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	close(p[1]);
	if (rc != 0)
		close(p[0]);
	else
		ch->err_fd = p[0];
	return -rc;
}

/* Collects its stderr until it ends or deadline_ms. */
static int child_read(struct child *ch, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = clock_mono_ms();
		struct pollfd p = {.fd = ch->err_fd, .events = POLLIN};
		int n = poll(&p, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);
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

/* Its exit status; 0 when the program that we are in reaps all children itself. */
static int child_wait(const struct child *ch)
{
	int ws;
	while (waitpid(ch->pid, &ws, 0) < 0)
		if (errno != EINTR)
			return 0;
	return WIFEXITED(ws) ? WEXITSTATUS(ws) : 128 + WTERMSIG(ws);
}

/* The last line, which is the sentence, without "rrm: " in front. */
static const char *last_line(char *text)
{
	size_t len = strlen(text);
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	char *line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	return strncmp(line, "rrm: ", 5) == 0 ? line + 5 : line;
}

static int run_ensure(const struct config *c, const struct repo *r, struct child *ch, struct err *e)
{
	CLEANUP(freep) char *program = NULL;
	CLEANUP(spawn_env_deinit) struct spawn_env env = {0};
	int rc = program_find("rrm", &program, e);
	if (rc < 0)
		return rc;
	rc = spawn_env_init(&env, environ);
	if (rc == 0)
		rc = spawn_env_set(&env, "RRM_HOME", c->base);
	if (rc == 0)
		rc = child_spawn(ch, program, r, &env);
	if (rc < 0)
		return err_errno(e, rc, "running %s ensure", program);
	rc = child_read(ch, clock_mono_ms() + c->start_timeout_ms + CHILD_EXTRA_MS);
	if (rc < 0)
		kill(ch->pid, SIGKILL);
	close(ch->err_fd);
	int status = child_wait(ch);
	if (rc < 0)
		return err_errno(e, rc, "%s ensure %s did not end", program, r->name);
	if (status != 0)
		return err_set(e, status == 124 ? -ETIMEDOUT : -EIO, "%s",
			       ch->len ? last_line(ch->text)
				       : "rrm ensure failed and did not say why");
	return 0;
}

int ensure_running(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e)
{
	if (ensure_warm(c, r, WARM_MS, ep) == 0)
		return 0;
	CLEANUP(freep) struct child *ch = calloc(1, sizeof(*ch));
	int rc = ch ? run_ensure(c, r, ch, e) : -ENOMEM;
	if (rc == 0)
		rc = registry_read(r, ep, NULL, e);
	if (rc == 0 && strcmp(ep->state, "ready") != 0)
		rc = err_set(e, -ESTALE, "the backend of %s was stopped again at once", r->name);
	return rc;
}
