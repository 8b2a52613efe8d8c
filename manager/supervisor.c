#include "manager/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/child.h"
#include "manager/cmd.h"
#include "manager/idle.h"
#include "manager/memlog.h"
#include "manager/policy.h"
#include "manager/registry.h"
#include "manager/repo.h"
#include "manager/statewatch.h"

enum {
	GONE_MS = 1000,    /* another directory may be about to take the place of a root */
	TICK_MS = 1000,    /* between two looks at what cannot be watched */
	SOON_MS = 100,     /* somebody else holds start.lock */
	RELOAD_MS = 10000, /* the list of repos, where it cannot be watched */
	ROOT_MS =
		30000, /* between two looks whether the root of a backend is there: told unless it went with a
			       directory above the one it lies in */
	CLIENTS_MS = 10000, /* between two looks at the connections, at most */
	AGAIN_MS = 1000,    /* after an action that failed */
	END_MS = 2000,
	CHILD_END_MS = 1000,
};

struct watched {
	struct repo repo; /* owned */
	struct stat file; /* registry.json as it was read */
	struct endpoint ep;
	bool known, alive;
	bool watched; /* see policy.h */
	int pidfd;    /* owned; of the living backend, -1: none */
	uint64_t memory_kib;
	uint64_t gone_ms; /* CLOCK_MONOTONIC: since when its root is gone; 0: it is there */
	uint64_t sample_at_ms, clients_at_ms, not_before_ms; /* CLOCK_MONOTONIC */
	struct child *child; /* owned; what is being done about it; NULL: nothing */
	int child_fd;        /* owned; its pidfd */
	enum policy_action doing;
};

struct supervised {
	const struct config *c;
	int64_t begun_ms;
	char *repos_dir;         /* owned */
	struct statewatch *news; /* owned; NULL: none can be had */
	bool told;               /* the list of repos may be another */
	bool blind;              /* not all can be watched: looks are taken by the clock */
	uint64_t reloaded_ms;
	struct watched *all; /* owned */
	size_t n;
	struct pollfd *fds; /* owned; for 2 + 2 n */
	uint64_t wake_ms; /* CLOCK_MONOTONIC: when something is due, whatever happens until then */
};

static void due_at(struct supervised *s, uint64_t mono_ms)
{
	if (mono_ms < s->wake_ms)
		s->wake_ms = mono_ms;
}

static void due_in(struct supervised *s, int64_t ms)
{
	due_at(s, clock_mono_ms() + (ms > 0 ? (uint64_t)ms : 0));
}

static int pidfd_of(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* ---- which repositories ---- */

static void watched_deinit(struct watched *w)
{
	repo_deinit(&w->repo);
	closep(&w->pidfd);
	closep(&w->child_fd);
	free(w->child);
}

static struct watched *find(struct supervised *s, const char *id)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->all[i].repo.id, id) == 0)
			return &s->all[i];
	return NULL;
}

/* What was known goes on to be known. One that is registered no more is forgotten, with its child. */
static int take_list(struct supervised *s, const struct repo_list *l)
{
	struct watched *all = calloc(l->n + 1, sizeof(*all));
	struct pollfd *fds = calloc(2 + 2 * l->n, sizeof(*fds));
	int rc = all && fds ? 0 : -ENOMEM;
	size_t n = 0;
	for (; rc == 0 && n < l->n; n++) {
		all[n] = (struct watched){.pidfd = -1, .child_fd = -1};
		rc = repo_copy(&all[n].repo, &l->items[n]);
	}
	if (rc < 0) {
		for (size_t i = 0; i < n; i++)
			repo_deinit(&all[i].repo);
		free(all);
		free(fds);
		return rc;
	}
	for (size_t i = 0; i < n; i++) {
		struct watched *old = find(s, all[i].repo.id);
		if (!old)
			continue;
		struct repo fresh = all[i].repo;
		all[i] = *old;
		all[i].repo = fresh;
		old->pidfd = old->child_fd = -1;
		old->child = NULL;
	}
	for (size_t i = 0; i < s->n; i++)
		watched_deinit(&s->all[i]);
	free(s->all);
	free(s->fds);
	s->all = all;
	s->fds = fds;
	s->n = n;
	return 0;
}

static void reload(struct supervised *s)
{
	struct repo_list l = {0};
	struct err e = ERR_INIT;
	uint64_t now_ms = clock_mono_ms();
	if (s->reloaded_ms && !s->told && !(s->blind && now_ms - s->reloaded_ms >= RELOAD_MS))
		return;
	s->told = false;
	s->reloaded_ms = now_ms;
	s->blind = !s->news || !statewatch_dirs(s->news);
	int rc = repo_list_load(s->c, &l, &e);
	if (rc == 0)
		rc = take_list(s, &l);
	for (size_t i = 0; rc == 0 && s->news && i < s->n; i++)
		s->blind |= !statewatch_root(s->news, &s->all[i].repo);
	if (rc < 0)
		log_warn("event=supervise error=\"%s\"", e.text[0] ? e.text : err_name(-rc));
	repo_list_deinit(&l);
}

/* ---- facts ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool file_of(const struct repo *r, const char *name, struct stat *st)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, name);
	return path && stat(path, st) == 0;
}

static int64_t mtime_ms(const struct stat *st)
{
	return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

static void watch_process(struct watched *w)
{
	if (w->pidfd >= 0)
		close(steal_fd(&w->pidfd));
	if (w->alive)
		w->pidfd = pidfd_of(w->ep.pid);
}

/* Reads the registry when it has changed, and whether the process lives in any case. */
static void look(struct supervised *s, struct watched *w)
{
	struct stat st;
	bool there = file_of(&w->repo, "registry.json", &st);
	bool was_alive = w->alive;
	if (!there || !w->known || !same_file(&st, &w->file)) {
		w->known = there && registry_read(&w->repo, &w->ep, &w->alive, NULL) == 0;
		w->alive = w->known && w->alive;
		w->watched = w->known && (w->alive || w->watched || mtime_ms(&st) >= s->begun_ms);
		w->file = st;
		watch_process(w);
	} else if (was_alive) {
		w->alive = proc_alive(w->ep.pid, w->ep.start_time);
	}
	if (was_alive && !w->alive)
		watch_process(w);
	if (!w->known)
		w->watched = false;
}

/* 0: not measured now. A second mount, and `rrm status`, add lines to memory.jsonl too. */
static uint64_t sample(const struct config *c, struct watched *w)
{
	struct memory_usage use;
	struct stat st;
	uint64_t now_ms = clock_mono_ms(), every_ms = (uint64_t)c->memory_every_s * 1000;
	if (every_ms == 0 || !w->alive || now_ms < w->sample_at_ms)
		return 0;
	w->sample_at_ms = now_ms + every_ms;
	bool fresh = file_of(&w->repo, "memory.jsonl", &st) &&
		     clock_wall_ms() - mtime_ms(&st) < (int64_t)every_ms / 2;
	int rc = fresh ? memory_measure(w->ep.pid, &use) : memory_sample(&w->repo, &w->ep, &use);
	if (rc < 0 && rc != -ESRCH)
		log_warn("event=memory repo=%s error=%s", w->repo.id, err_name(-rc));
	return rc < 0 ? 0 : use.pss_kib ? use.pss_kib : use.rss_kib;
}

/* A client that is attached is a use, for all who ask later. */
static void note_clients(const struct config *c, struct watched *w)
{
	uint64_t now_ms = clock_mono_ms(), every_ms = CLIENTS_MS;
	if ((c->idle_stop_s == 0 && c->max_backends == 0) || !w->alive || now_ms < w->clients_at_ms)
		return;
	if (c->idle_stop_s > 0 && (uint64_t)c->idle_stop_s * 1000 / 8 < every_ms)
		every_ms = (uint64_t)c->idle_stop_s * 1000 / 8;
	w->clients_at_ms = now_ms + every_ms;
	if (idle_clients(&w->ep) > 0)
		idle_touch(&w->repo);
}

static bool is_gone(struct supervised *s, struct watched *w, bool gone)
{
	uint64_t now_ms = clock_mono_ms();
	if (!gone)
		w->gone_ms = 0;
	else if (w->gone_ms == 0)
		w->gone_ms = now_ms;
	if (gone && now_ms - w->gone_ms < GONE_MS)
		due_at(s, w->gone_ms + GONE_MS);
	return gone && now_ms - w->gone_ms >= GONE_MS;
}

static void gather(struct supervised *s, struct watched *w, struct policy_facts *f)
{
	*f = (struct policy_facts){.state = POLICY_ABSENT, .now_ms = clock_wall_ms()};
	if (!w->known || !registry_this_boot(&w->ep))
		return;
	f->state = strcmp(w->ep.state, "ready") == 0    ? POLICY_READY
		   : strcmp(w->ep.state, "failed") == 0 ? POLICY_FAILED
							: POLICY_STARTING;
	f->alive = w->alive;
	f->watched = w->watched;
	enum registry_root root = registry_root(&w->repo, &w->ep);
	bool gone = root == REGISTRY_ROOT_GONE;
	f->root_gone = w->alive ? is_gone(s, w, gone) : gone;
	f->root_replaced = root == REGISTRY_ROOT_REPLACED;
	f->retry_at_ms = w->ep.retry_at_ms;
	f->used_ms = idle_used_ms(&w->repo);
	f->restarted_ms = w->ep.restarted_ms;
	f->memory_kib = w->memory_kib;
	f->limit_kib = (uint64_t)s->c->max_memory_mib * 1024;
	f->idle_stop_ms = (uint64_t)s->c->idle_stop_s * 1000;
}

/* When w is to be looked at again though nothing is heard of it. */
static void plan(struct supervised *s, const struct watched *w, const struct policy_facts *f)
{
	uint64_t now_ms = clock_mono_ms();
	if (s->blind || (w->alive && w->pidfd < 0))
		due_in(s, TICK_MS);
	if (w->alive && s->c->memory_every_s)
		due_at(s, w->sample_at_ms);
	if (w->alive && (s->c->idle_stop_s || s->c->max_backends))
		due_at(s, w->clients_at_ms);
	if (w->alive)
		due_in(s, ROOT_MS);
	if (w->alive && f->used_ms + (int64_t)f->idle_stop_ms > f->now_ms)
		due_in(s, f->used_ms + (int64_t)f->idle_stop_ms - f->now_ms);
	if (f->state == POLICY_FAILED && f->watched && f->retry_at_ms > f->now_ms)
		due_in(s, f->retry_at_ms - f->now_ms);
	if (w->not_before_ms > now_ms)
		due_at(s, w->not_before_ms);
}

/* ---- actions ---- */

static const char *const action_words[] = {
	[POLICY_NOTHING] = "none",        [POLICY_RECOVER] = "recover",
	[POLICY_STOP_GONE] = "stop",      [POLICY_REPLACE] = "replace",
	[POLICY_STOP_IDLE] = "stop-idle", [POLICY_RESTART_MEMORY] = "restart",
};

/* Somebody starts or stops it this moment, and will have written down what came of it. */
static bool is_locked(const struct repo *r)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "start.lock");
	CLEANUP(closep) int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static void act(const struct supervised *s, struct watched *w, enum policy_action action)
{
	char idle[48], why[160];
	snprintf(idle, sizeof(idle), "--if-idle=%u", s->c->idle_stop_s);
	snprintf(why, sizeof(why), "--if-quiet=its processes used %llu MiB, max_memory_mib is %u",
		 (unsigned long long)w->memory_kib / 1024, s->c->max_memory_mib);
	const char *const args[][4] = {
		[POLICY_RECOVER] = {"restart", "--if-dead", w->repo.id},
		[POLICY_STOP_GONE] = {"stop", w->repo.id},
		[POLICY_REPLACE] = {"ensure", w->repo.id},
		[POLICY_STOP_IDLE] = {"stop", idle, w->repo.id},
		[POLICY_RESTART_MEMORY] = {"restart", why, w->repo.id},
	};
	struct err e = ERR_INIT;
	w->child = calloc(1, sizeof(*w->child));
	int rc = w->child ? child_start(s->c, args[action], true, w->child, &e) : -ENOMEM;
	if (rc < 0) {
		log_warn("event=supervise repo=%s action=%s error=\"%s\"", w->repo.id,
			 action_words[action], e.text);
		free(steal(&w->child));
		w->not_before_ms = clock_mono_ms() + AGAIN_MS;
		return;
	}
	w->doing = action;
	w->child_fd = pidfd_of(w->child->pid);
}

static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	return pidfd < 0 || poll(&p, 1, 0) != 0;
}

static void reap(struct watched *w)
{
	int status = child_wait(w->child, clock_mono_ms() + CHILD_END_MS);
	const char *said = child_sentence(w->child);
	if (status != CMD_OK)
		w->not_before_ms = clock_mono_ms() + AGAIN_MS;
	if (status == CMD_OK)
		log_info("event=supervise repo=%s action=%s pid=%d", w->repo.id,
			 action_words[w->doing], (int)w->ep.pid);
	else if (status != CMD_FOUND_PROBLEMS) /* in use: that is no failure */
		log_warn("event=supervise repo=%s action=%s status=%d error=\"%s\"", w->repo.id,
			 action_words[w->doing], status, said);
	if (w->child_fd >= 0)
		close(steal_fd(&w->child_fd));
	free(steal(&w->child));
}

static void supervise(struct supervised *s, struct watched *w)
{
	struct policy_facts f;
	look(s, w);
	if (w->child && has_ended(w->child_fd)) {
		reap(w);
		look(s, w);
	}
	w->memory_kib = sample(s->c, w);
	note_clients(s->c, w);
	gather(s, w, &f);
	enum policy_action action = w->child ? POLICY_NOTHING : policy_decide(&f);
	if (!w->child)
		plan(s, w, &f);
	if (action == POLICY_NOTHING || clock_mono_ms() < w->not_before_ms)
		return;
	if (is_locked(&w->repo)) {
		due_in(s, SOON_MS);
		return;
	}
	/* It may have been stopped since the look. */
	look(s, w);
	gather(s, w, &f);
	action = policy_decide(&f);
	if (action != POLICY_NOTHING)
		act(s, w, action);
	if (w->not_before_ms > clock_mono_ms())
		due_at(s, w->not_before_ms);
}

/* ---- the process ---- */

static int wait_ms(const struct supervised *s)
{
	uint64_t now_ms = clock_mono_ms();
	if (s->wake_ms == UINT64_MAX)
		return -1;
	uint64_t ms = s->wake_ms > now_ms ? s->wake_ms - now_ms : 0;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* True when what was told needs no look: a state directory has other files, too. */
static bool is_noise(struct supervised *s, int got)
{
	if (!s->fds[1].revents)
		return false;
	int told = statewatch_read(s->news);
	s->told |= told == STATEWATCH_LIST;
	return told == 0 && got == 1;
}

/* Until something ended, changed or is due; false when the mount is gone. */
static bool wait_for_news(struct supervised *s)
{
	nfds_t n = 2;
	s->fds[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	s->fds[1] = (struct pollfd){.fd = s->news ? statewatch_fd(s->news) : -1, .events = POLLIN};
	for (size_t i = 0; i < s->n; i++) {
		if (s->all[i].pidfd >= 0 && !s->all[i].child)
			s->fds[n++] = (struct pollfd){.fd = s->all[i].pidfd, .events = POLLIN};
		if (s->all[i].child_fd >= 0)
			s->fds[n++] = (struct pollfd){.fd = s->all[i].child_fd, .events = POLLIN};
	}
	if (s->blind)
		due_in(s, TICK_MS);
	int got = 0;
	do
		got = poll(s->fds, n, wait_ms(s));
	while (got > 0 && is_noise(s, got));
	return got <= 0 || s->fds[0].revents == 0;
}

_Noreturn static void run(const struct config *c)
{
	struct supervised s = {.c = c, .begun_ms = clock_wall_ms()};
	s.repos_dir = path_join(c->base, "repos");
	s.fds = calloc(2, sizeof(*s.fds));
	if (!s.repos_dir || !s.fds)
		_exit(1);
	(void)statewatch_new(&s.news, s.repos_dir); /* without it: by the clock */
	do {
		s.wake_ms = UINT64_MAX;
		reload(&s);
		for (size_t i = 0; i < s.n; i++)
			supervise(&s, &s.all[i]);
	} while (wait_for_news(&s));
	_exit(0);
}

int supervisor_start(struct supervisor *s, const struct config *c)
{
	int ends[2];
	s->lifeline = -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	s->pid = fork();
	if (s->pid == 0) {
		sigset_t none;
		dup2(ends[0], STDIN_FILENO);
		close_range(3, ~0u, 0);
		prctl(PR_SET_NAME, "rrm-supervise");
		signal(SIGINT, SIG_IGN); /* a ^C is for the server, which ends us */
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (chdir("/") < 0)
			_exit(1);
		run(c);
	}
	int rc = s->pid < 0 ? -errno : 0;
	close(ends[0]);
	if (rc == 0)
		s->lifeline = ends[1];
	else
		close(ends[1]);
	return rc;
}

void supervisor_stop(struct supervisor *s)
{
	if (s->lifeline < 0)
		return;
	close(steal_fd(&s->lifeline));
	CLEANUP(closep) int fd = pidfd_of(s->pid);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	if (poll(&p, 1, END_MS) <= 0)
		kill(s->pid, SIGKILL);
	/* One that hangs in the kernel is left to init. */
	poll(&p, 1, END_MS);
	waitpid(s->pid, NULL, WNOHANG);
}
