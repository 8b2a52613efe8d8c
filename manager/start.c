#include "manager/start.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/health.h"
#include "manager/mountstate.h"
#include "manager/opencode.h"
#include "manager/password.h"
#include "manager/port.h"
#include "manager/program.h"
#include "manager/spawn.h"
#include "manager/stop.h"

enum {
	LOG_MAX = 4 << 20,
	TAIL_BYTES = 4096,
	TAIL_LINES = 12,
	TAIL_TEXT = 1024,
	PORT_TRIES = 4,
	PROBE_MS = 2000,
	GATEWAY_MS = 10000, /* from the booted instance to the gateway, 12 at once on 2 cores */
	FAILED_GRACE_MS = 2000,
};

/* One start, with all that its steps share. */
struct start {
	const struct config *c;
	const struct repo *r;
	struct endpoint *ep;
	char *program; /* owned */
	char password[PASSWORD_MAX];
	char socket[PATH_MAX];
	int log_fd;
	off_t log_from; /* where this start's output begins */
	uint64_t deadline_ms;
	bool adopted;  /* it was ready before: then a stranger on its port is not its successor */
	char why[160]; /* what is still missing */
	bool foreign_port; /* its port answered, but as somebody else */
};

static void start_deinit(struct start *s)
{
	free(s->program);
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

static int open_log(struct start *s, struct err *e)
{
	CLEANUP(freep) char *path = path_join(s->r->state_dir, "backend.log");
	CLEANUP(freep) char *old = path_join(s->r->state_dir, "backend.log.1");
	if (!path || !old)
		return -ENOMEM;
	struct stat st;
	if (stat(path, &st) == 0 && st.st_size > LOG_MAX && rename(path, old) < 0)
		return err_errno(e, -errno, "moving %s to %s", path, old);
	/* Read back for the tail, so O_RDWR. */
	s->log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (s->log_fd < 0)
		return err_errno(e, -errno, "opening %s", path);
	s->log_from = lseek(s->log_fd, 0, SEEK_END);
	return 0;
}

/* Copies text, cut to size between characters. Bytes that are no UTF-8 become '?', for the registry. */
static void copy_text(char *out, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);
	memcpy(out, text, n);
	for (int cut = 0; cut < 3 && n > 0 && !json_utf8_valid(out, n); cut++)
		n--;
	out[n] = '\0';
	for (size_t i = 0; !json_utf8_valid(out, n) && i < n; i++)
		if ((unsigned char)out[i] >= 0x80)
			out[i] = '?';
}

/* Terminal control sequences and control bytes out, lines joined by " | ". */
static void one_line(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i < len && n + 4 < size; i++) {
		unsigned char ch = (unsigned char)text[i];
		if (ch == 0x1b && i + 1 < len && text[i + 1] == '[') {
			for (i += 2; i < len && !isalpha((unsigned char)text[i]); i++)
				;
		} else if (ch == '\n') {
			if (n > 0 && i + 1 < len)
				n += (size_t)snprintf(out + n, size - n, " | ");
		} else if (ch >= 0x20 && ch != 0x7f) {
			out[n++] = text[i];
		}
	}
	out[n] = '\0';
}

/* "it printed: ..." with the last lines of this start's output. */
static void output_tail(const struct start *s, char *out, size_t size)
{
	char buf[TAIL_BYTES];
	off_t end = lseek(s->log_fd, 0, SEEK_END);
	off_t from = end - s->log_from > TAIL_BYTES ? end - TAIL_BYTES : s->log_from;
	ssize_t n = end > from ? pread(s->log_fd, buf, sizeof(buf), from) : 0;
	while (n > 0 && isspace((unsigned char)buf[n - 1]))
		n--;
	ssize_t begin = n;
	for (int lines = 0; begin > 0 && n - begin < TAIL_TEXT; begin--)
		if (buf[begin - 1] == '\n' && ++lines == TAIL_LINES)
			break;
	if (n <= 0) {
		snprintf(out, size, "it printed nothing");
		return;
	}
	int k = snprintf(out, size, "it printed: ");
	one_line(buf + begin, (size_t)(n - begin), out + k, size - (size_t)k);
}

static int start_init(struct start *s, struct err *e)
{
	struct stat st;
	if (stat(s->r->root, &st) < 0)
		return err_set(
			e, -errno,
			"%s cannot be looked at (%s); if it was moved, run rrm add where it is "
			"now; rrm remove %s forgets it",
			s->r->root, err_name(errno), s->r->name);
	int rc = registry_gateway_socket(s->r, s->socket, sizeof(s->socket), e);
	if (rc == 0)
		rc = password_make(s->r, s->password, e);
	if (rc == 0)
		rc = open_log(s, e);
	return rc;
}

/* spawn's callback: from now on every rrm knows the process. */
static int note_starting(void *arg, pid_t pid, uint64_t start, struct err *e)
{
	struct start *s = arg;
	s->ep->pid = pid;
	s->ep->start_time = start;
	return registry_write(s->r, s->ep, e);
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
	return spawn_in(s, is_opencode ? opencode : embedded, e);
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
	enum health h = health_backend(s->r, ep->backend, ep->port, ep->pid, s->password,
				       left_ms(s, PROBE_MS), ep->version);
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

static int wait_ready(struct start *s)
{
	uint64_t booted_ms = 0;
	int nap_ms = 10;
	snprintf(s->why, sizeof(s->why), "there was no time left");
	for (;;) {
		if (!proc_alive(s->ep->pid, s->ep->start_time))
			return -ECHILD;
		if (left_ms(s, INT_MAX) == 0)
			return -ETIMEDOUT;
		int rc = look(s, &booted_ms);
		if (rc != -EAGAIN)
			return rc;
		nap(s, nap_ms);
		nap_ms = nap_ms < 50 ? nap_ms + 10 : 50;
	}
}

static int failure(const struct start *s, int rc, uint64_t begun_ms, struct err *e)
{
	char raw[TAIL_TEXT + 64], tail[sizeof(raw)];
	output_tail(s, raw, sizeof(raw));
	copy_text(tail, sizeof(tail), raw);
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

/* One try on one port. What it started is gone again when it fails. */
static int try_port(struct start *s, struct err *e)
{
	uint64_t begun_ms = clock_mono_ms();
	s->ep->pid = 0;
	s->ep->start_time = 0;
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

static int try_ports(struct start *s, int preferred, struct err *e)
{
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
	copy_text(s->ep->error, sizeof(s->ep->error), e->text);
	struct err ignored;
	if (registry_write(s->r, s->ep, &ignored) < 0)
		log_warn("event=start repo=%s error=\"%s\"", s->r->id, ignored.text);
}

static int note_ready(struct start *s, struct err *e)
{
	snprintf(s->ep->state, sizeof(s->ep->state), "ready");
	s->ep->error[0] = '\0';
	return registry_write(s->r, s->ep, e);
}

int start_backend(const struct config *c, const struct repo *r, int preferred, uint64_t deadline_ms,
		  struct endpoint *ep, struct err *e)
{
	struct err local = ERR_INIT;
	if (!e)
		e = &local;
	*ep = (struct endpoint){0};
	CLEANUP(start_deinit)
	struct start s = {.c = c, .r = r, .ep = ep, .log_fd = -1, .deadline_ms = deadline_ms};
	fill_endpoint(&s);
	int rc = start_init(&s, e);
	if (rc == 0)
		rc = choose_program(&s, e);
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
	struct start s = {.c = c, .r = r, .ep = ep, .log_fd = -1, .deadline_ms = deadline_ms};
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
