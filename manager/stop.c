#include "manager/stop.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/opencode.h"
#include "manager/password.h"
#include "manager/scope.h"

enum { KILL_WAIT_MS = 5000, DISPOSE_MS = 3000, POLL_MS = 10 };

/* Processes to end; (pid, start), so that a reused pid is never hit. */
struct victims {
	struct victim {
		pid_t pid;
		uint64_t start;
	} * items;
	size_t n;
	const struct repo *r;
	pid_t backend; /* the dead or living leader; 0: unknown */
	uint64_t backend_start;
	const char *scope; /* borrowed; "": none */
	bool shared;       /* the scope holds somebody who is to live on */
};

static void victims_deinit(struct victims *v)
{
	free(v->items);
}

/*
 * Stricter than proc_alive(): the first thread of a program with many is a zombie while the others
 * still end, and until the last one has, its port is taken. A pidfd says when all of it is over.
 */
static bool lives(pid_t pid, uint64_t start)
{
	struct proc_stat st;
	CLEANUP(closep) int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0 && errno == ESRCH)
		return false;
	if (proc_stat(pid, &st) < 0 || st.start != start)
		return false;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return fd < 0 ? st.state != 'Z' : poll(&p, 1, 0) == 0;
}

static bool spared(pid_t pid)
{
	char exe[PATH_MAX];
	return pid == getpid() || pid == 1 ||
	       (proc_exe(pid, exe, sizeof(exe)) == 0 &&
		strcmp(path_basename(exe), "rrm-mount") == 0);
}

static int add(struct victims *v, pid_t pid)
{
	struct proc_stat st;
	if (spared(pid) || proc_stat(pid, &st) < 0 || !lives(pid, st.start))
		return 0;
	for (size_t i = 0; i < v->n; i++)
		if (v->items[i].pid == pid && v->items[i].start == st.start)
			return 0;
	struct victim *grown = reallocarray(v->items, v->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	v->items = grown;
	v->items[v->n++] = (struct victim){.pid = pid, .start = st.start};
	return 0;
}

static bool environ_is(pid_t pid, const char *name, const char *value)
{
	CLEANUP(freep) char *found = NULL;
	return proc_environ(pid, name, &found) == 0 && strcmp(found, value) == 0;
}

/* proc_each() callback. */
static int add_marked(pid_t pid, void *arg)
{
	struct victims *v = arg;
	bool ours = environ_is(pid, "RRM_BACKEND_OF", v->r->state_dir);
	if (!ours && v->backend > 0) {
		char text[16];
		struct proc_stat st;
		snprintf(text, sizeof(text), "%d", (int)v->backend);
		/* Nobody has the environment of a process that started later than itself. */
		ours = environ_is(pid, "OPENCODE_PID", text) &&
		       environ_is(pid, "RRM_REPO_ID", v->r->id) && proc_stat(pid, &st) == 0 &&
		       st.start >= v->backend_start;
	}
	return ours ? add(v, pid) : 0;
}

static int add_tree(struct victims *v, pid_t pid)
{
	CLEANUP(freep) pid_t *pids = NULL;
	size_t n = 0;
	int rc = proc_tree(pid, &pids, &n);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add(v, pids[i]);
	return rc == -ESRCH ? 0 : rc;
}

/* scope_each() callback: a backend of another repo, or a mount, may have been started from inside. */
static int add_scoped(pid_t pid, void *arg)
{
	struct victims *v = arg;
	CLEANUP(freep) char *repo = NULL;
	bool others = proc_environ(pid, "RRM_REPO_ID", &repo) == 0 && strcmp(repo, v->r->id) != 0;
	if (!others && !spared(pid))
		return add(v, pid);
	v->shared = true;
	return 0;
}

/* What is there now, added to what was seen before. */
static int collect(struct victims *v)
{
	int rc = 0;
	if (v->backend > 0 && lives(v->backend, v->backend_start))
		rc = add_tree(v, v->backend);
	if (rc == 0)
		rc = scope_each(v->scope, v->r, add_scoped, v);
	return rc == 0 ? proc_each(add_marked, v) : rc;
}

static const struct victim *first_alive(const struct victims *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (lives(v->items[i].pid, v->items[i].start))
			return &v->items[i];
	return NULL;
}

static void signal_all(const struct victims *v, int sig)
{
	struct proc_stat st;
	/* The group first: it reaches what was forked since the snapshot. */
	if (v->backend > 0 && lives(v->backend, v->backend_start) &&
	    proc_stat(v->backend, &st) == 0 && st.pgid == v->backend)
		kill(-v->backend, sig);
	for (size_t i = 0; i < v->n; i++)
		if (lives(v->items[i].pid, v->items[i].start))
			kill(v->items[i].pid, sig);
}

static bool wait_gone(const struct victims *v, int timeout_ms)
{
	uint64_t deadline = clock_mono_ms() + (uint64_t)timeout_ms;
	while (first_alive(v)) {
		if (clock_mono_ms() >= deadline)
			return false;
		poll(NULL, 0, POLL_MS);
	}
	return true;
}

static int end_all(struct victims *v, int grace_ms, struct err *e)
{
	/* A second look finds what was started while the first ones were ending. */
	for (int round = 0; round < 3; round++) {
		int rc = collect(v);
		if (rc < 0)
			return err_errno(e, rc, "looking for the processes of %s", v->r->name);
		if (!first_alive(v))
			return 0;
		signal_all(v, SIGTERM);
		if (!wait_gone(v, round == 0 ? grace_ms : grace_ms / 5)) {
			signal_all(v, SIGKILL);
			if (!v->shared)
				scope_kill(v->scope, v->r);
			wait_gone(v, KILL_WAIT_MS);
		}
	}
	const struct victim *left = first_alive(v);
	if (!left)
		return 0;
	char what[128] = "";
	proc_cmdline(left->pid, what, sizeof(what));
	return err_set(e, -EBUSY,
		       "process %d (%s) does not end, even by SIGKILL; it hangs in the kernel",
		       (int)left->pid, what);
}

static void clear_leftovers(const struct repo *r)
{
	CLEANUP(closep) int dir = open(r->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	if (unlinkat(dir, "gateway.sock", 0) < 0 && errno != ENOENT)
		log_warn("event=stop repo=%s unlink=gateway.sock error=\"%m\"", r->id);
	int rc = file_remove_tree(dir, "tmp");
	if (rc < 0)
		log_warn("event=stop repo=%s remove=tmp error=%s", r->id, err_name(-rc));
}

int stop_processes(const struct repo *r, const struct endpoint *ep, bool polite, int grace_ms,
		   struct err *e)
{
	CLEANUP(victims_deinit) struct victims v = {.r = r, .scope = ""};
	char boot_id[40];
	/* After a reboot its pid is somebody else's, whatever the start time says. */
	if (ep && proc_boot_id(boot_id, sizeof(boot_id)) == 0 &&
	    strcmp(boot_id, ep->boot_id) == 0) {
		v.backend = ep->pid;
		v.backend_start = ep->start_time;
		v.scope = ep->scope;
	}
	bool alive = v.backend > 0 && lives(v.backend, v.backend_start);
	char password[PASSWORD_MAX];
	if (alive && polite && strcmp(ep->backend, "opencode") == 0 &&
	    password_read(r, password) == 0) {
		collect(&v); /* who is its child now may be an orphan afterwards */
		opencode_dispose(ep->port, password, DISPOSE_MS);
	}
	int rc = end_all(&v, grace_ms, e);
	if (rc == 0)
		clear_leftovers(r);
	return rc;
}
