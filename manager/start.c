#include "manager/start.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "manager/backendlog.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/health.h"
#include "manager/mountstate.h"
#include "manager/opencode.h"
#include "manager/password.h"
#include "manager/port.h"
#include "manager/program.h"
#include "manager/room.h"
#include "manager/scope.h"
#include "manager/spawn.h"
#include "manager/startslot.h"
#include "manager/stop.h"
#include "manager/unheard.h"

enum {
	TAIL_TEXT = 1024 + 64,
	PORT_TRIES = 4,
	PROBE_FIRST_MS =
		100, /* twice as long each time there is no answer: one that is beginning forgets some */
	PROBE_MS = 2000,
	GATEWAY_MS = 10000, /* from the booted instance to the gateway, 12 at once on 2 cores */
	FAILED_GRACE_MS = 2000,
	SCOPE_MS = 5000, /* for systemd to make a scope; then it is done without */
};

/* One start, with all that its steps share. */
struct start {
	const struct config *c;
	const struct repo *r;
	struct endpoint *ep;
	const struct endpoint *before; /* what was known of its predecessor; NULL */
	char *program;                 /* owned */
	char password[PASSWORD_MAX];
	char socket[PATH_MAX];
	int slot; /* of startslot.h, until it is ready */
	int room; /* lock of room_make(), until the process is noted */
	int log_fd;
	off_t log_from; /* where this start's output begins */
	uint64_t deadline_ms;
	bool adopted; /* it was ready before: then a stranger on its port is not its successor */
	int probe_ms; /* for the next probe, at most */
	uint64_t heard_ms; /* when that was asked which it answered first; 0: none yet */
	char why[160];     /* what is still missing */
	bool told;         /* why is what a probe found: an answer, or that nobody listens */
	bool foreign_port; /* its port answered, but as somebody else */
};

static void start_deinit(struct start *s)
{
	free(s->program);
	closep(&s->slot);
	closep(&s->room);
	closep(&s->log_fd);
}

static int left_ms(const struct start *s, int most)
{
	uint64_t now = clock_mono_ms();
	uint64_t left = now < s->deadline_ms ? s->deadline_ms - now : 0;
	return left < (uint64_t)most ? (int)left : most;
}

int start_lock(const struct repo *r, uint64_t deadline_ms, int *fd, struct err *e)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "start.lock");
	CLEANUP(closep) int f = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (f < 0)
		return err_errno(e, path ? -errno : -ENOMEM, "opening %s/start.lock", r->state_dir);
	int nap_ms = 5;
	while (flock(f, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(e, -errno, "locking %s/start.lock", r->state_dir);
		if (clock_mono_ms() >= deadline_ms)
			return err_set(
				e, -ETIMEDOUT,
				"another process has been starting or stopping it all the time "
				"(it holds %s/start.lock)",
				r->state_dir);
		poll(NULL, 0, nap_ms);
		nap_ms = nap_ms < 25 ? nap_ms * 2 : 50;
	}
	*fd = steal_fd(&f);
	return 0;
}

static int choose_program(struct start *s, struct err *e)
{
	enum config_backend want = s->c->backend;
	int rc = -ENOENT;
	if (want != CONFIG_BACKEND_EMBEDDED)
		rc = opencode_find(s->c, &s->program, want == CONFIG_BACKEND_OPENCODE ? e : NULL);
	bool opencode = rc == 0;
	if (!opencode && want != CONFIG_BACKEND_OPENCODE)
		rc = program_find("rrm-backend", &s->program, e);
	snprintf(s->ep->backend, sizeof(s->ep->backend), "%s", opencode ? "opencode" : "embedded");
	return rc;
}

static int start_init(struct start *s, struct err *e)
{
	if (registry_root(s->r, s->ep) == REGISTRY_ROOT_GONE)
		return registry_root_gone(s->r, e);
	int rc = registry_gateway_socket(s->r, s->socket, sizeof(s->socket), e);
	if (rc == 0)
		rc = password_make(s->r, s->password, e);
	if (rc == 0)
		rc = backendlog_open(s->r, &s->log_fd, &s->log_from, e);
	return rc;
}

/* spawn's callback: from now on every rrm knows the process. */
static int note_starting(void *arg, pid_t pid, uint64_t start, struct err *e)
{
	struct start *s = arg;
	s->ep->pid = pid;
	s->ep->start_time = start;
	int rc = registry_write(s->r, s->ep, e);
	if (s->room >= 0)
		close(steal_fd(&s->room)); /* from here on it is counted */
	return rc;
}

static int build_env(struct start *s, struct spawn_env *env, struct err *e)
{
	const struct {
		const char *name, *value;
	} vars[] = {
		{"RRM_SESSION", NULL},
		{"RRM_HOME_REPO", NULL},
		{"OLDPWD", NULL},
		{"PWD", s->r->root},
		{"RRM_HOME", s->c->base},
		{"RRM_REPO_ID", s->r->id},
		{"RRM_BACKEND_OF", s->r->state_dir},
	};
	int rc = spawn_env_init(env, environ);
	if (rc == 0 && strcmp(s->ep->backend, "opencode") == 0)
		rc = opencode_env(s->c, s->r, s->password, env, e);
	for (size_t i = 0; rc == 0 && i < sizeof(vars) / sizeof(vars[0]); i++)
		rc = spawn_env_set(env, vars[i].name, vars[i].value);
	return rc;
}

/*
 * Every backend starts in the real root. A foreign create that waits for this very backend holds the
 * directory locked in the kernel where the mount shows it: whoever looked into it there would wait for
 * itself. OpenCode's plugin moves into the mount once its gateway answers.
 */
static int spawn_in(struct start *s, const char *const *argv, struct err *e)
{
	CLEANUP(spawn_env_deinit) struct spawn_env env = {0};
	int rc = build_env(s, &env, e);
	if (rc < 0)
		return rc;
	struct spawn_request rq = {.argv = argv,
				   .env = &env,
				   .cwd = s->r->root,
				   .log_fd = s->log_fd,
				   .noted = note_starting,
				   .arg = s,
				   .timeout_ms = left_ms(s, INT_MAX)};
	return spawn_detached(&rq, &s->ep->pid, &s->ep->start_time, e);
}

/* In a scope of its own. Anything but 0: there is none to be had now, and no process is left. */
static int spawn_in_scope(struct start *s, const char *const *argv)
{
	CLEANUP(scope_deinit) struct scope scope;
	CLEANUP(freep) const char **all = NULL;
	struct err why = ERR_INIT;
	int rc = scope_init(&scope, s->r, clock_wall_ms());
	if (rc < 0)
		return rc;
	rc = scope_argv(&scope, argv, &all);
	if (rc == 0)
		rc = spawn_in(s, all, &why);
	if (rc == 0) {
		rc = scope_entered(&scope, s->ep->pid, s->ep->start_time, left_ms(s, SCOPE_MS),
				   s->ep->scope, sizeof(s->ep->scope));
		if (rc < 0)
			stop_processes(s->r, s->ep, false, FAILED_GRACE_MS, NULL);
		else
			rc = registry_write(s->r, s->ep, &why);
	}
	if (rc < 0)
		log_warn("event=scope repo=%s program=%s error=%s why=\"%s\" effect=\"it runs "
			 "without "
			 "a scope\"",
			 s->r->id, scope.program, err_name(-rc), why.text);
	return rc;
}

static int spawn_backend(struct start *s, struct err *e)
{
	char port[16];
	snprintf(port, sizeof(port), "%d", s->ep->port);
	const char *const opencode[] = {s->program, "serve", "--hostname", "127.0.0.1",
					"--port",   port,    NULL};
	const char *const embedded[] = {s->program,      "--serve", "--root", s->r->root, "--state",
					s->r->state_dir, "--port",  port,     NULL};
	bool is_opencode = strcmp(s->ep->backend, "opencode") == 0;
	int rc = is_opencode ? opencode_prepare(s->c, s->r, e) : 0;
	if (rc < 0)
		return rc;
	const char *const *argv = is_opencode ? opencode : embedded;
	rc = room_make(s->c, s->r, s->deadline_ms, &s->room, e);
	if (rc < 0 || spawn_in_scope(s, argv) == 0)
		return rc;
	/* The room went to the systemd-run that failed. */
	if (s->room < 0)
		rc = room_make(s->c, s->r, s->deadline_ms, &s->room, e);
	return rc < 0 ? rc : spawn_in(s, argv, e);
}

/* Returns after ms, or at once when the process ends. */
static void nap(const struct start *s, int ms)
{
	CLEANUP(closep) int pidfd = (int)syscall(SYS_pidfd_open, s->ep->pid, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	poll(&p, 1, left_ms(s, ms));
}

/* One look. 0: ready; -EAGAIN: s->why says what is missing; other: it will never be. */
static int look(struct start *s, uint64_t *booted_ms)
{
	struct endpoint *ep = s->ep;
	bool opencode = strcmp(ep->backend, "opencode") == 0;
	int ms = left_ms(s, s->probe_ms);
	uint64_t asked_ms = clock_mono_ms();
	enum health h =
		health_backend(s->r, ep->backend, ep->port, ep->pid, s->password, ms, ep->version);
	/* A probe that the end of the time cut short knows less than the one before it. */
	if (h == HEALTH_SILENT && ms < s->probe_ms && s->told)
		return -EAGAIN;
	s->told = h != HEALTH_SILENT;
	if (h == HEALTH_SILENT) {
		s->probe_ms = s->probe_ms < PROBE_MS / 2 ? 2 * s->probe_ms : PROBE_MS;
	} else if (h != HEALTH_DOWN && s->heard_ms == 0) {
		s->heard_ms = asked_ms;
		s->probe_ms = PROBE_MS; /* from here on it forgets nothing */
	}
	s->foreign_port = h == HEALTH_LOCKED || h == HEALTH_STRANGER;
	if (h != HEALTH_OK) {
		snprintf(s->why, sizeof(s->why), "port %d %s", ep->port, health_words(h));
		return s->adopted && (s->foreign_port || h == HEALTH_DOWN) ? -ESTALE : -EAGAIN;
	}
	if (opencode && opencode_too_old(ep->version)) {
		snprintf(s->why, sizeof(s->why), OPENCODE_TOO_OLD, ep->version);
		return -ENOTSUP;
	}
	if (opencode && *booted_ms == 0) {
		snprintf(s->why, sizeof(s->why),
			 "it does not answer for %.80s; does a plugin or an MCP server of yours "
			 "hang?",
			 s->r->root);
		if (opencode_boot(ep->port, s->password, s->r->root, left_ms(s, INT_MAX)) < 0)
			return -EAGAIN;
	}
	if (*booted_ms == 0)
		*booted_ms = clock_mono_ms();
	h = health_gateway(s->r, s->socket, ep->pid, left_ms(s, PROBE_MS));
	if (h == HEALTH_OK)
		return 0;
	snprintf(s->why, sizeof(s->why), "its gateway (gateway.sock) %s%s", health_words(h),
		 opencode ? "; the plugin rrm.js was not loaded, or rrm-backend failed" : "");
	return clock_mono_ms() - *booted_ms > GATEWAY_MS ? -ENOENT : -EAGAIN;
}

static void end_unheard(const struct start *s)
{
	int n = unheard_end(s->ep->pid, s->ep->port, s->heard_ms);
	if (n > 0)
		dprintf(s->log_fd, "rrm: level=info event=unheard callers=%d\n", n);
	else if (n < 0)
		dprintf(s->log_fd, "rrm: level=warn event=unheard error=\"%s\"\n", strerror(-n));
}

static int wait_ready(struct start *s)
{
	uint64_t booted_ms = 0;
	int nap_ms = 10;
	s->probe_ms = PROBE_FIRST_MS;
	s->heard_ms = 0;
	snprintf(s->why, sizeof(s->why), "there was no time left");
	for (;;) {
		if (!proc_alive(s->ep->pid, s->ep->start_time))
			return -ECHILD;
		if (left_ms(s, INT_MAX) == 0)
			return -ETIMEDOUT;
		int rc = look(s, &booted_ms);
		if (rc == 0 && !s->adopted)
			end_unheard(s);
		if (rc != -EAGAIN)
			return rc;
		nap(s, nap_ms);
		nap_ms = nap_ms < 50 ? nap_ms + 10 : 50;
	}
}

static int failure(const struct start *s, int rc, uint64_t begun_ms, struct err *e)
{
	char tail[TAIL_TEXT];
	backendlog_tail(s->log_fd, s->log_from, tail, sizeof(tail));
	unsigned long took_ms = (unsigned long)(clock_mono_ms() - begun_ms);
	if (rc == -ECHILD)
		return err_set(e, rc, "%s ended after %lu ms; %s", s->program, took_ms, tail);
	char who[64], holder[96] = "";
	if (s->foreign_port)
		snprintf(holder, sizeof(holder), " (listening there: %s)",
			 port_holder(s->ep->port, who, sizeof(who)));
	return err_set(e, rc, "%s was not ready after %lu ms: %s%s; %s", s->program, took_ms,
		       s->why, holder, tail);
}

static void fill_endpoint(struct start *s)
{
	struct endpoint *ep = s->ep;
	snprintf(ep->repo_id, sizeof(ep->repo_id), "%s", s->r->id);
	snprintf(ep->url, sizeof(ep->url), "http://127.0.0.1:%d", ep->port);
	snprintf(ep->state, sizeof(ep->state), "starting");
	clock_iso(ep->started, clock_wall_ms());
	proc_boot_id(ep->boot_id, sizeof(ep->boot_id));
}

/* What does not change from one try to the next. */
static void note_facts(struct start *s)
{
	struct endpoint *ep = s->ep;
	struct stat st;
	if (stat(s->r->root, &st) == 0) {
		ep->root_dev = st.st_dev;
		ep->root_ino = st.st_ino;
	}
	if (s->program)
		start_note_program(s->program, &ep->program);
	if (!s->before)
		return;
	memcpy(ep->deaths_ms, s->before->deaths_ms, sizeof(ep->deaths_ms));
	ep->n_deaths = s->before->n_deaths;
	ep->restarted_ms = s->before->restarted_ms;
	memcpy(ep->restarted_why, s->before->restarted_why, sizeof(ep->restarted_why));
}

int start_note_program(const char *path, struct endpoint_program *out)
{
	CLEANUP(freep) char *real = NULL;
	struct stat st = {.st_dev = 0};
	*out = (struct endpoint_program){.dev = 0};
	int rc = path_canonical(path, &real, NULL);
	if (rc == 0 && stat(real, &st) < 0)
		rc = -errno;
	if (rc < 0 || strlen(real) >= sizeof(out->path))
		return rc < 0 ? rc : -ENAMETOOLONG;
	strcpy(out->path, real);
	out->dev = st.st_dev;
	out->ino = st.st_ino;
	out->size = st.st_size;
	out->mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	return 0;
}

/* One try on one port. What it started is gone again when it fails. */
static int try_port(struct start *s, struct err *e)
{
	uint64_t begun_ms = clock_mono_ms();
	s->ep->pid = 0;
	s->ep->start_time = 0;
	s->ep->scope[0] = '\0';
	fill_endpoint(s);
	int rc = spawn_backend(s, e);
	if (rc == 0) {
		rc = wait_ready(s);
		if (rc < 0)
			failure(s, rc, begun_ms, e);
	}
	if (rc < 0)
		stop_processes(s->r, s->ep, false, FAILED_GRACE_MS, NULL);
	return rc;
}

/* The wait for others that are starting is not part of its own time. */
static void take_slot(struct start *s)
{
	uint64_t begun_ms = clock_mono_ms();
	if (strcmp(s->ep->backend, "opencode") != 0)
		return;
	startslot_take(s->c, begun_ms + s->c->start_timeout_ms, &s->slot);
	s->deadline_ms += clock_mono_ms() - begun_ms;
}

static int try_ports(struct start *s, int preferred, struct err *e)
{
	take_slot(s);
	for (int i = 0; i < PORT_TRIES; i++) {
		int rc = port_choose(preferred, &s->ep->port, e);
		if (rc < 0)
			return rc;
		rc = try_port(s, e);
		if (rc != -ECHILD || port_is_free(s->ep->port))
			return rc;
		/* Somebody took it between our choice and the start. */
		char who[64];
		port_holder(s->ep->port, who, sizeof(who));
		log_warn("event=start repo=%s port=%d taken_by=\"%s\"", s->r->id, s->ep->port, who);
		err_prefix(e, rc, "port %d is taken by %s", s->ep->port, who);
		if (left_ms(s, INT_MAX) == 0)
			return rc;
		preferred = 0;
	}
	return -EADDRINUSE;
}

static void note_failed(struct start *s, const struct err *e)
{
	s->ep->pid = 0;
	s->ep->start_time = 0;
	snprintf(s->ep->state, sizeof(s->ep->state), "failed");
	backendlog_copy(s->ep->error, sizeof(s->ep->error), e->text);
	struct err ignored;
	if (registry_write(s->r, s->ep, &ignored) < 0)
		log_warn("event=start repo=%s error=\"%s\"", s->r->id, ignored.text);
}

static int note_ready(struct start *s, struct err *e)
{
	snprintf(s->ep->state, sizeof(s->ep->state), "ready");
	s->ep->error[0] = '\0';
	s->ep->died = false;
	s->ep->retry_at_ms = 0;
	return registry_write(s->r, s->ep, e);
}

int start_backend(const struct config *c, const struct repo *r, const struct endpoint *before,
		  uint64_t deadline_ms, struct endpoint *ep, struct err *e)
{
	struct err local = ERR_INIT;
	int preferred = before ? before->port : 0;
	if (!e)
		e = &local;
	*ep = (struct endpoint){0};
	CLEANUP(start_deinit)
	struct start s = {.c = c,
			  .r = r,
			  .ep = ep,
			  .before = before,
			  .slot = -1,
			  .room = -1,
			  .log_fd = -1,
			  .deadline_ms = deadline_ms};
	fill_endpoint(&s);
	int rc = start_init(&s, e);
	if (rc == 0)
		rc = choose_program(&s, e);
	note_facts(&s);
	if (rc == 0)
		rc = try_ports(&s, preferred, e);
	if (rc == 0) {
		rc = note_ready(&s, e);
		if (rc < 0)
			stop_processes(r, ep, false, FAILED_GRACE_MS, NULL);
	}
	if (rc < 0) {
		if (!e->text[0])
			err_errno(e, rc, "it could not be started");
		/* Its port is wished for again next time. */
		if (ep->port == 0)
			ep->port = preferred;
		note_failed(&s, e);
	}
	return rc;
}

int start_adopt(const struct config *c, const struct repo *r, uint64_t deadline_ms,
		struct endpoint *ep, struct err *e)
{
	CLEANUP(start_deinit)
	struct start s = {.c = c,
			  .r = r,
			  .ep = ep,
			  .slot = -1,
			  .room = -1,
			  .log_fd = -1,
			  .deadline_ms = deadline_ms};
	s.adopted = strcmp(ep->state, "ready") == 0;
	int rc = registry_gateway_socket(r, s.socket, sizeof(s.socket), e);
	if (rc == 0)
		rc = password_read(r, s.password);
	if (rc == 0)
		rc = wait_ready(&s);
	if (rc < 0)
		return err_set(e, rc, "the running backend (pid %d) is of no use: %s", (int)ep->pid,
			       rc == -ECHILD ? "it ended" : s.why);
	return note_ready(&s, e);
}
