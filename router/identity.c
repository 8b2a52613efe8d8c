/*
 * The chain of ancestors is read first (identity_chain.c), then matched in memory (table_lock). One thread at a
 * time refreshes the table of backends (io_lock); the others use what is there.
 * Lock order: io_lock, table_lock; a shard's lock stands alone.
 */
#include "router/identity.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "router/identity_chain.h"
#include "router/sessions.h"

enum {
	N_SHARDS = 64,
	SHARD_MAX = 64, /* cached threads a shard: next to none shares a bucket of its table */
	RECHECK_MS = 5,
	RESOLVE_MS = 1000, /* environment and comm may change with exec */
	REFRESH_MS = 100,
};

struct backend {
	char repo_id[REPO_ID_MAX];
	uint64_t stamp; /* of registry.json when it was read; 0: none */
	pid_t pid;      /* 0: none */
	uint64_t start;
};

struct known {
	pid_t tid;
	uint64_t start; /* of the thread */
	struct identity who;
	uint64_t checked_ms, resolved_ms;
	uint64_t generation;
	uint64_t anchor_start;
	char *anchor_cwd; /* owned; rule 2 by directory only */
	UT_hash_handle hh;
};

struct shard {
	pthread_mutex_t lock;
	struct known *threads; /* protected by lock */
};

struct identities {
	struct identity_world world;
	char *mountpoint; /* owned; may be NULL */
	struct sessions *sessions;
	struct kin *kin;         /* owned */
	pthread_mutex_t io_lock; /* who changes or refreshes the tables */
	pthread_mutex_t table_lock;
	struct repo_list repos;   /* protected by table_lock; changed only with io_lock held, too */
	struct backend *backends; /* likewise; one for each repo, same index */
	_Atomic uint64_t refreshed_ms;
	_Atomic uint64_t generation; /* of the tables: cached answers of an older one are void */
	struct shard shards[N_SHARDS];
};

int identities_new(struct identities **out, const struct identity_world *w, const char *mountpoint,
		   struct sessions *s)
{
	struct identities *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->world = *w;
	t->sessions = s;
	pthread_mutex_init(&t->io_lock, NULL);
	pthread_mutex_init(&t->table_lock, NULL);
	for (unsigned i = 0; i < N_SHARDS; i++)
		pthread_mutex_init(&t->shards[i].lock, NULL);
	t->mountpoint = mountpoint ? strdup(mountpoint) : NULL;
	if ((mountpoint && !t->mountpoint) || kin_new(&t->kin, &t->world) < 0) {
		identities_free(t);
		return -ENOMEM;
	}
	*out = t;
	return 0;
}

static void known_free(struct known *k)
{
	free(k->anchor_cwd);
	free(k);
}

struct identities *identities_free(struct identities *t)
{
	struct known *k, *next;

	if (!t)
		return NULL;
	for (unsigned i = 0; i < N_SHARDS; i++) {
		HASH_ITER (hh, t->shards[i].threads, k, next) {
			HASH_DEL(t->shards[i].threads, k);
			known_free(k);
		}
		pthread_mutex_destroy(&t->shards[i].lock);
	}
	for (size_t i = 0; i < t->repos.n; i++)
		repo_deinit(&t->repos.items[i]);
	free(t->repos.items);
	free(t->backends);
	free(t->mountpoint);
	kin_free(t->kin);
	pthread_mutex_destroy(&t->io_lock);
	pthread_mutex_destroy(&t->table_lock);
	free(t);
	return NULL;
}

/* ---- the tables ---- */

static struct repo *find_repo(const struct identities *t, const char *repo_id)
{
	for (size_t i = 0; i < t->repos.n; i++)
		if (strcmp(t->repos.items[i].id, repo_id) == 0)
			return &t->repos.items[i];
	return NULL;
}

static void remove_at(struct identities *t, size_t i)
{
	size_t rest = t->repos.n - i - 1;

	repo_deinit(&t->repos.items[i]);
	memmove(&t->repos.items[i], &t->repos.items[i + 1], rest * sizeof(*t->repos.items));
	memmove(&t->backends[i], &t->backends[i + 1], rest * sizeof(*t->backends));
	t->repos.n--;
}

static int append_repo(struct identities *t, const struct repo *r)
{
	size_t n = t->repos.n + 1;
	struct repo *items = realloc(t->repos.items, n * sizeof(*items));
	struct backend *backends;

	if (!items)
		return -ENOMEM;
	t->repos.items = items;
	backends = realloc(t->backends, n * sizeof(*backends));
	if (!backends)
		return -ENOMEM;
	t->backends = backends;
	if (repo_copy(&items[n - 1], r) < 0)
		return -ENOMEM;
	backends[n - 1] = (struct backend){.pid = 0};
	snprintf(backends[n - 1].repo_id, REPO_ID_MAX, "%s", r->id);
	t->repos.n = n;
	return 0;
}

int identities_add_repo(struct identities *t, const struct repo *r)
{
	struct repo *old;
	int rc;

	pthread_mutex_lock(&t->io_lock);
	pthread_mutex_lock(&t->table_lock);
	old = find_repo(t, r->id);
	if (old)
		remove_at(t, (size_t)(old - t->repos.items));
	rc = append_repo(t, r);
	pthread_mutex_unlock(&t->table_lock);
	pthread_mutex_unlock(&t->io_lock);
	atomic_store(&t->refreshed_ms, 0);
	atomic_fetch_add(&t->generation, 1);
	return rc;
}

void identities_remove_repo(struct identities *t, const char *repo_id)
{
	struct repo *old;

	pthread_mutex_lock(&t->io_lock);
	pthread_mutex_lock(&t->table_lock);
	old = find_repo(t, repo_id);
	if (old)
		remove_at(t, (size_t)(old - t->repos.items));
	pthread_mutex_unlock(&t->table_lock);
	pthread_mutex_unlock(&t->io_lock);
	atomic_fetch_add(&t->generation, 1);
}

/* io_lock is held, so repos and backends keep their places; others only read them. */
static bool refresh_one_locked(struct identities *t, size_t i)
{
	const struct repo *r = &t->repos.items[i];
	uint64_t stamp = t->world.registry_stamp(t->world.arg, r);
	struct endpoint ep;
	struct backend b = {.stamp = stamp};

	if (stamp == t->backends[i].stamp)
		return false;
	memcpy(b.repo_id, t->backends[i].repo_id, sizeof(b.repo_id));
	if (stamp && t->world.registry(t->world.arg, r, &ep) == 0) {
		b.pid = ep.pid;
		b.start = ep.start_time;
	}
	pthread_mutex_lock(&t->table_lock);
	t->backends[i] = b;
	pthread_mutex_unlock(&t->table_lock);
	return true;
}

static void refresh(struct identities *t, uint64_t now_ms)
{
	uint64_t last = atomic_load(&t->refreshed_ms);
	bool changed = false;

	if (last && now_ms - last < REFRESH_MS)
		return;
	if (pthread_mutex_trylock(&t->io_lock) != 0)
		return;
	for (size_t i = 0; i < t->repos.n; i++)
		changed |= refresh_one_locked(t, i);
	atomic_store(&t->refreshed_ms, now_ms ? now_ms : 1);
	if (changed)
		atomic_fetch_add(&t->generation, 1);
	pthread_mutex_unlock(&t->io_lock);
}

/* start 0: any. */
static bool is_backend(struct identities *t, pid_t pid, uint64_t start, char home[REPO_ID_MAX])
{
	LOCK_SCOPE(&t->table_lock);
	for (size_t i = 0; i < t->repos.n; i++) {
		const struct backend *b = &t->backends[i];

		if (b->pid == pid && pid > 0 && (!start || b->start == start)) {
			memcpy(home, b->repo_id, REPO_ID_MAX);
			return true;
		}
	}
	return false;
}

static bool is_repo(struct identities *t, const char *repo_id)
{
	LOCK_SCOPE(&t->table_lock);
	return find_repo(t, repo_id) != NULL;
}

/* ---- rule 2 ---- */

/* True when directory cwd belongs to a repo in the mount; home gets it. */
static bool home_of_dir(struct identities *t, const char *cwd, char home[REPO_ID_MAX])
{
	CLEANUP(freep) char *real = NULL;
	const struct repo *owner;

	if (!t->mountpoint || !path_below(t->mountpoint, cwd, NULL))
		return false;
	LOCK_SCOPE(&t->table_lock);
	real = identity_real_path(&t->repos, t->mountpoint, cwd);
	owner = real ? repo_owner(&t->repos, real, NULL) : NULL;
	if (owner)
		memcpy(home, owner->id, REPO_ID_MAX);
	return owner != NULL;
}

/* ---- reading a caller ---- */

enum env { ENV_SESSION, ENV_HOME, ENV_OPENCODE_PID, ENV_TURN, ENV_HOLDER, N_ENV };

/* What the caller's environment says, NULL where it does not: in one walk, for it may be long. */
static void env_read(const struct chain *c, const char *value[N_ENV])
{
	static const char *const names[] = {
		"RRM_SESSION=", "RRM_HOME_REPO=", "OPENCODE_PID=", "RRM_TURN=", "RRM_TURN_HOLDER="};
	const char *p = c->environ, *end = p ? p + c->environ_len : NULL, *stop;

	memset(value, 0, N_ENV * sizeof(*value));
	for (; p && p < end; p = stop + 1) {
		stop = memchr(p, '\0', (size_t)(end - p));
		if (!stop)
			return; /* cut */
		for (int i = 0; (*p == 'R' || *p == 'O') && i < N_ENV; i++)
			if (!value[i] && strncmp(p, names[i], strlen(names[i])) == 0)
				value[i] = p + strlen(names[i]);
	}
}

/* Copies text that will stand in a JSON record: printable, cut to size. */
static void copy_word(char *dst, size_t size, const char *src)
{
	size_t n = 0;

	for (; src[n] && n + 1 < size; n++)
		dst[n] = src[n] > ' ' && src[n] < 0x7f ? src[n] : '_';
	dst[n] = '\0';
}

static void process_key(char key[SESSION_ID_MAX], pid_t pid, uint64_t start)
{
	snprintf(key, SESSION_ID_MAX, "%d-%llu", (int)pid, (unsigned long long)start);
}

static void decided(struct identity *who, enum identity_by by, int rule, const struct proc_stat *p)
{
	who->by = by;
	who->rule = rule;
	who->anchor = p->pid;
	if (!who->session[0])
		process_key(who->session, p->pid, p->start);
}

static bool rule_registered(struct identities *t, const struct chain *c, struct identity *who)
{
	uint64_t stamp = t->world.session_stamp ? t->world.session_stamp(t->world.arg) : 0;

	for (unsigned i = 0; i < c->n; i++) {
		const struct proc_stat *p = &c->procs[i];
		char session[SESSION_ID_MAX];

		if (is_backend(t, p->pid, p->start, who->home)) {
			decided(who, IDENTITY_BY_BACKEND, 1, p);
			return true;
		}
		if (kin_session(t->kin, p, stamp, who->home, session) == 0) {
			if (!who->session[0])
				memcpy(who->session, session, sizeof(session));
			decided(who, IDENTITY_BY_RUN, 1, p);
			return true;
		}
	}
	return false;
}

static bool rule_environment(struct identities *t, const struct chain *c, const char *env[N_ENV],
			     struct identity *who)
{
	const char *home = env[ENV_HOME], *pid = env[ENV_OPENCODE_PID];

	if (home && is_repo(t, home)) {
		snprintf(who->home, sizeof(who->home), "%s", home);
		decided(who, IDENTITY_BY_ENVIRONMENT, 1, &c->procs[0]);
		return true;
	}
	if (pid && is_backend(t, (pid_t)strtol(pid, NULL, 10), 0, who->home)) {
		struct proc_stat p = {.pid = (pid_t)strtol(pid, NULL, 10)};

		if (t->world.stat(t->world.arg, p.pid, &p) < 0)
			p.start = 0;
		decided(who, IDENTITY_BY_OPENCODE_PID, 1, &p);
		return true;
	}
	return false;
}

/* *cwd (owned) is the directory that decided, *start the start time of its process. */
static bool rule_directory(struct identities *t, const struct chain *c, uint64_t now_ms,
			   struct identity *who, char **cwd, uint64_t *start)
{
	char dir[CWD_MAX];

	for (unsigned i = c->n; i-- > 0;) {
		if (kin_cwd(t->kin, &c->procs[i], now_ms, dir) < 0)
			continue;
		if (!home_of_dir(t, dir, who->home))
			continue;
		decided(who, IDENTITY_BY_DIRECTORY, 2, &c->procs[i]);
		*cwd = strdup(dir);
		*start = c->procs[i].start;
		return true;
	}
	return false;
}

static void rule_none(struct identities *t, const struct chain *c, struct identity *who)
{
	pid_t pgid = c->procs[0].pgid;
	struct proc_stat leader;

	who->home[0] = '\0';
	for (unsigned i = 0; i < c->n;
	     i++) /* most often an ancestor, which need not be read again */
		if (c->procs[i].pid == pgid)
			return decided(who, IDENTITY_BY_NOTHING, 3, &c->procs[i]);
	if (pgid > 0 && t->world.stat(t->world.arg, pgid, &leader) == 0 && leader.pid == pgid)
		decided(who, IDENTITY_BY_NOTHING, 3, &leader);
	else
		decided(who, IDENTITY_BY_NOTHING, 3, &c->procs[0]);
}

/* The holder of a turn above it may be gone, while its child lives on. */
static void check_turns(struct identities *t, struct identity *who)
{
	struct proc_stat st;

	for (unsigned i = who->held.n; i-- > 0;) {
		const struct held *h = &who->held.items[i];

		if (t->world.stat(t->world.arg, h->pid, &st) < 0 || st.start != h->start ||
		    st.state == 'Z')
			held_remove_at(&who->held, i);
	}
}

static void unreadable(struct identities *t, pid_t tid, struct identity *who)
{
	who->pid = tid;
	who->rule = 3;
	who->by = IDENTITY_BY_NOTHING;
	process_key(who->session, tid, 0);
	who->session_id = sessions_intern(t->sessions, "", who->session);
}

/* Fills k from nothing but its tid. False: the caller cannot be read (k->who is rule 3). */
static bool resolve(struct identities *t, struct known *k)
{
	struct chain c = {.n = 0};
	struct identity *who = &k->who;
	struct proc_stat thread;
	const char *env[N_ENV];

	memset(who, 0, sizeof(*who));
	if (t->world.tgid(t->world.arg, k->tid, &who->pid) < 0 ||
	    t->world.stat(t->world.arg, who->pid, &c.procs[0]) < 0 ||
	    (who->pid != k->tid && t->world.stat(t->world.arg, k->tid, &thread) < 0)) {
		unreadable(t, k->tid, who);
		return false;
	}
	if (who->pid == k->tid)
		thread = c.procs[0];
	kin_chain(t->kin, &c);
	if (t->world.environ(t->world.arg, who->pid, &c.environ, &c.environ_len) < 0)
		c.environ = NULL;
	k->start = thread.start;
	who->start = c.procs[0].start;
	memcpy(who->comm, c.procs[0].comm, sizeof(who->comm));
	env_read(&c, env);
	if (env[ENV_SESSION])
		copy_word(who->session, sizeof(who->session), env[ENV_SESSION]);
	who->named = who->session[0] != '\0';
	if (!rule_registered(t, &c, who) && !rule_environment(t, &c, env, who) &&
	    !rule_directory(t, &c, k->checked_ms, who, &k->anchor_cwd, &k->anchor_start))
		rule_none(t, &c, who);
	held_parse_list(env[ENV_TURN], env[ENV_HOLDER], &who->held);
	check_turns(t, who);
	who->session_id = sessions_intern(t->sessions, who->home, who->session);
	free(c.environ);
	return true;
}

/* ---- the cache ---- */

/* k is a private copy. True when its answer still holds. */
static bool still_true(struct identities *t, struct known *k, const char *cwd, uint64_t now_ms)
{
	struct proc_stat st;
	char dir[CWD_MAX];

	if (k->generation != atomic_load(&t->generation) || k->who.rule == 3 ||
	    now_ms - k->resolved_ms >= RESOLVE_MS)
		return false;
	if (t->world.stat(t->world.arg, k->tid, &st) < 0 || st.start != k->start)
		return false;
	check_turns(t, &k->who);
	if (k->who.by != IDENTITY_BY_DIRECTORY)
		return true;
	return t->world.stat(t->world.arg, k->who.anchor, &st) == 0 &&
	       st.start == k->anchor_start &&
	       t->world.cwd(t->world.arg, k->who.anchor, dir, sizeof(dir)) == 0 && cwd &&
	       strcmp(dir, cwd) == 0;
}

static struct shard *shard_of(struct identities *t, pid_t tid)
{
	return &t->shards[(unsigned)tid % N_SHARDS];
}

/* True: *out is the answer. False: *k is a private copy to check, *cwd its directory (owned); *k has
 * checked_ms 0 when nothing is known. */
static bool cached(struct identities *t, pid_t tid, uint64_t now_ms, struct identity *out,
		   struct known *k, char **cwd)
{
	struct shard *s = shard_of(t, tid);
	struct known *found;

	LOCK_SCOPE(&s->lock);
	HASH_FIND_INT(s->threads, &tid, found);
	if (!found)
		return false;
	if (now_ms - found->checked_ms < RECHECK_MS &&
	    found->generation == atomic_load_explicit(&t->generation, memory_order_relaxed)) {
		*out = found->who;
		return true;
	}
	*k = *found;
	k->anchor_cwd = NULL;
	*cwd = found->anchor_cwd ? strdup(found->anchor_cwd) : NULL;
	return false;
}

static void touch(struct identities *t, const struct known *k, uint64_t now_ms)
{
	struct shard *s = shard_of(t, k->tid);
	struct known *found;

	LOCK_SCOPE(&s->lock);
	HASH_FIND_INT(s->threads, &k->tid, found);
	if (!found || found->start != k->start)
		return;
	found->checked_ms = now_ms;
	found->who = k->who;
}

/* Takes k->anchor_cwd over. */
static void store(struct identities *t, const struct known *k)
{
	struct shard *s = shard_of(t, k->tid);
	struct known *found, *fresh = malloc(sizeof(*fresh));

	LOCK_SCOPE(&s->lock);
	HASH_FIND_INT(s->threads, &k->tid, found);
	if (!found && HASH_COUNT(s->threads) >= SHARD_MAX)
		found = s->threads; /* the oldest makes room */
	if (found) {
		HASH_DEL(s->threads, found);
		known_free(found);
	}
	if (!fresh) {
		free(k->anchor_cwd);
		return;
	}
	memcpy(fresh, k, sizeof(*fresh));
	HASH_ADD_INT(s->threads, tid, fresh);
}

void identity_of(struct identities *t, pid_t tid, uint64_t now_ms, struct identity *out)
{
	struct known k = {.tid = tid};
	CLEANUP(freep) char *cwd = NULL;

	if (tid <= 0) {
		memset(out, 0, sizeof(*out));
		out->rule = 3;
		out->by = IDENTITY_BY_KERNEL;
		snprintf(out->session, sizeof(out->session), "kernel");
		out->session_id = sessions_intern(t->sessions, "", out->session);
		return;
	}
	if (cached(t, tid, now_ms, out, &k, &cwd))
		return;
	refresh(t, now_ms);
	if (k.start && still_true(t, &k, cwd, now_ms)) {
		touch(t, &k, now_ms);
		*out = k.who;
		return;
	}
	k = (struct known){.tid = tid, .checked_ms = now_ms, .resolved_ms = now_ms};
	k.generation = atomic_load(&t->generation);
	if (resolve(t, &k))
		store(t, &k);
	*out = k.who;
}
