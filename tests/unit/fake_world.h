/*
 * A world for identity.h of its own: processes, backends and a session of rrm run that a test makes up, with the
 * repositories web-1, api-2 and sub-3 (below web's), and the mount at /m. Process 10 is a shell.
 */
#pragma once
#include "tests/unit/unit.h"

#include <errno.h>

#include "router/identity.h"
#include "router/sessions.h"

enum { N_PROCS = 32 };

/* A /proc of our own. */
struct fake {
	pid_t pid, tgid, ppid, pgid;
	uint64_t start;
	const char *cwd;     /* NULL: cannot be read */
	const char *environ; /* words with '\n' between; NULL: cannot be read */
	bool gone;
};

static struct fake procs[N_PROCS];
static unsigned n_procs, n_stats, n_cwds, n_sessions;
static struct {
	const char *repo;
	pid_t pid;
	uint64_t start, stamp;
} backends[2];
static struct {
	pid_t pid;
	uint64_t start;
	const char *repo, *session;
} run_session;

static inline struct fake *add(pid_t pid, pid_t ppid, const char *cwd)
{
	struct fake *p = &procs[n_procs++];

	assert_true(n_procs <= N_PROCS);
	*p = (struct fake){.pid = pid,
			   .tgid = pid,
			   .ppid = ppid,
			   .pgid = pid,
			   .start = 1000 + (uint64_t)pid,
			   .cwd = cwd,
			   .environ = ""};
	return p;
}

static inline struct fake *find(pid_t pid)
{
	for (unsigned i = 0; i < n_procs; i++)
		if (procs[i].pid == pid && !procs[i].gone)
			return &procs[i];
	return NULL;
}

static inline struct fake *at(pid_t pid)
{
	struct fake *p = find(pid);

	if (!p)
		abort();
	return p;
}

static inline void register_backend(const char *repo, pid_t pid, uint64_t start, uint64_t stamp)
{
	backends[0].repo = repo;
	backends[0].pid = pid;
	backends[0].start = start;
	backends[0].stamp = stamp;
}

static inline void register_session(const char *repo, const char *name, pid_t pid, uint64_t start)
{
	run_session.repo = repo;
	run_session.session = name;
	run_session.pid = pid;
	run_session.start = start;
}

static inline int fake_stat(void *arg, pid_t pid, struct proc_stat *out)
{
	const struct fake *p = find(pid);

	n_stats++;
	if (!p)
		return -ESRCH;
	*out = (struct proc_stat){
		.pid = pid, .ppid = p->ppid, .pgid = p->pgid, .state = 'S', .start = p->start};
	snprintf(out->comm, sizeof(out->comm), "p%d", (int)pid);
	return 0;
}

static inline int fake_tgid(void *arg, pid_t tid, pid_t *tgid)
{
	const struct fake *p = find(tid);

	if (!p)
		return -ESRCH;
	*tgid = p->tgid;
	return 0;
}

static inline int fake_cwd(void *arg, pid_t pid, char *buf, size_t size)
{
	const struct fake *p = find(pid);

	n_cwds++;
	if (!p || !p->cwd)
		return p ? -EACCES : -ESRCH;
	snprintf(buf, size, "%s", p->cwd);
	return 0;
}

static inline int fake_environ(void *arg, pid_t pid, char **data, size_t *len)
{
	const struct fake *p = find(pid);

	if (!p || !p->environ)
		return -EACCES;
	*data = strdup(p->environ);
	*len = strlen(p->environ) + 1;
	for (char *c = *data; *c; c++)
		if (*c == '\n')
			*c = '\0';
	return 0;
}

static inline int fake_session(void *arg, pid_t pid, uint64_t start, char *repo_id, char *session)
{
	n_sessions++;
	if (!run_session.repo || run_session.pid != pid || run_session.start != start)
		return -ENOENT;
	snprintf(repo_id, REPO_ID_MAX, "%s", run_session.repo);
	snprintf(session, SESSION_ID_MAX, "%s", run_session.session);
	return 0;
}

static inline uint64_t fake_stamp(void *arg, const struct repo *r)
{
	for (int i = 0; i < 2; i++)
		if (backends[i].repo && strcmp(backends[i].repo, r->id) == 0)
			return backends[i].stamp;
	return 0;
}

static inline int fake_registry(void *arg, const struct repo *r, struct endpoint *ep)
{
	for (int i = 0; i < 2; i++) {
		if (!backends[i].repo || strcmp(backends[i].repo, r->id) != 0)
			continue;
		*ep = (struct endpoint){.pid = backends[i].pid, .start_time = backends[i].start};
		return 0;
	}
	return -ENOENT;
}

static struct identities *ids;
static struct sessions *sessions;
static uint64_t now;

/* Handles: an index into those that were given out. */
static struct {
	pid_t pid;
	uint64_t start;
	bool open;
} handles[512];
static unsigned n_handles, n_open;
static uint64_t session_stamp;

static inline int fake_open(void *arg, pid_t pid)
{
	const struct fake *p = find(pid);

	if (!p)
		return -1;
	assert_true(n_handles < sizeof(handles) / sizeof(handles[0]));
	handles[n_handles].pid = pid;
	handles[n_handles].start = p->start;
	handles[n_handles].open = true;
	n_open++;
	return (int)n_handles++;
}

static inline bool fake_alive(void *arg, const int *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct fake *p = find(handles[h[i]].pid);

		assert_true(handles[h[i]].open);
		if (!p || p->start != handles[h[i]].start)
			return false;
	}
	return true;
}

static inline void fake_close(void *arg, int h)
{
	assert_true(handles[h].open);
	handles[h].open = false;
	n_open--;
}

static inline uint64_t fake_session_stamp(void *arg)
{
	return session_stamp;
}

static const struct identity_world world = {
	.stat = fake_stat,
	.tgid = fake_tgid,
	.cwd = fake_cwd,
	.environ = fake_environ,
	.session = fake_session,
	.session_stamp = fake_session_stamp,
	.open = fake_open,
	.alive = fake_alive,
	.close = fake_close,
	.registry_stamp = fake_stamp,
	.registry = fake_registry,
};

static inline void add_repo(const char *id, const char *root, const char *name)
{
	struct repo r = {.root = strdup(root),
			 .name = strdup(name),
			 .state_dir = strdup("/nowhere"),
			 .added = strdup("")};

	snprintf(r.id, sizeof(r.id), "%s", id);
	assert_int_equal(identities_add_repo(ids, &r), 0);
	repo_deinit(&r);
}

static inline int setup(void **state)
{
	n_procs = n_handles = n_open = 0;
	session_stamp = 0;
	now = 10000;
	memset(backends, 0, sizeof(backends));
	memset(&run_session, 0, sizeof(run_session));
	assert_int_equal(sessions_new(&sessions), 0);
	assert_int_equal(identities_new(&ids, &world, "/m", sessions), 0);
	add_repo("web-1", "/srv/web", "web");
	add_repo("api-2", "/srv/api", "api");
	add_repo("sub-3", "/srv/web/lib/sub", "sub");
	add(1, 0, "/");
	add(10, 1, "/home/ann"); /* a shell */
	return 0;
}

static inline int teardown(void **state)
{
	ids = identities_free(ids);
	sessions = sessions_free(sessions);
	return n_open ? -1 : 0;
}

static inline struct identity who_is(pid_t tid)
{
	struct identity who;

	identity_of(ids, tid, now, &who);
	return who;
}

static inline void is(pid_t tid, int rule, const char *home, const char *session)
{
	struct identity who = who_is(tid);

	assert_int_equal(who.rule, rule);
	assert_string_equal(who.home, home);
	assert_string_equal(who.session, session);
}
