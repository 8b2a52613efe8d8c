#include "router/identity_chain.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "manager/base/cleanup.h"

enum { KIN_MAX = 128, CWD_FRESH_MS = 5 };

struct relative {
	pid_t pid;
	int handle;
	uint64_t used; /* kin.uses when it was last part of a chain */
	struct proc_stat st;
	uint64_t cwd_ms; /* when cwd was read; 0: never */
	int cwd_rc;
	char *cwd;              /* owned */
	uint64_t session_stamp; /* 0: not looked for */
	int session_rc;
	char repo_id[REPO_ID_MAX], session[SESSION_ID_MAX];
	UT_hash_handle hh;
};

struct kin {
	const struct identity_world *world; /* borrowed */
	pthread_mutex_t lock;
	struct relative *table; /* protected by lock */
	uint64_t uses;          /* likewise */
};

int kin_new(struct kin **out, const struct identity_world *w)
{
	struct kin *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->world = w;
	pthread_mutex_init(&k->lock, NULL);
	*out = k;
	return 0;
}

static void forget_locked(struct kin *k, struct relative *r)
{
	HASH_DEL(k->table, r);
	k->world->close(k->world->arg, r->handle);
	free(r->cwd);
	free(r);
}

struct kin *kin_free(struct kin *k)
{
	struct relative *r, *next;

	if (!k)
		return NULL;
	HASH_ITER (hh, k->table, r, next)
		forget_locked(k, r);
	pthread_mutex_destroy(&k->lock);
	free(k);
	return NULL;
}

static struct relative *find_locked(struct kin *k, pid_t pid)
{
	struct relative *r;

	HASH_FIND_INT(k->table, &pid, r);
	return r;
}

/* Appends the ancestors that are known. False: one of them has ended, so all are forgotten. */
static bool append_known(struct kin *k, struct chain *c)
{
	struct relative *found[CHAIN_MAX];
	int handles[CHAIN_MAX];
	unsigned n = 0;

	LOCK_SCOPE(&k->lock);
	while (c->n < CHAIN_MAX) {
		const struct proc_stat *child = &c->procs[c->n - 1];
		struct relative *r = child->ppid > 0 ? find_locked(k, child->ppid) : NULL;

		if (!r || r->st.start > child->start)
			break;
		c->procs[c->n++] = r->st;
		found[n] = r;
		handles[n++] = r->handle;
	}
	if (!n)
		return true;
	if (!k->world->alive(k->world->arg, handles, n)) {
		for (unsigned i = 0; i < n; i++)
			forget_locked(k, found[i]);
		c->n = 1;
		return false;
	}
	k->uses++;
	for (unsigned i = 0; i < n; i++)
		found[i]->used = k->uses;
	return true;
}

static struct relative *longest_unused_locked(struct kin *k)
{
	struct relative *r, *next, *oldest = k->table;

	HASH_ITER (hh, k->table, r, next)
		if (r->used < oldest->used)
			oldest = r;
	return oldest;
}

/* Takes handle over. */
static void remember(struct kin *k, const struct proc_stat *st, int handle)
{
	struct relative *r = calloc(1, sizeof(*r)), *old;

	if (!r) {
		k->world->close(k->world->arg, handle);
		return;
	}
	r->pid = st->pid;
	r->st = *st;
	r->handle = handle;
	LOCK_SCOPE(&k->lock);
	old = find_locked(k, st->pid);
	if (!old && HASH_COUNT(k->table) >= KIN_MAX)
		old = longest_unused_locked(k);
	if (old)
		forget_locked(k, old);
	r->used = ++k->uses;
	HASH_ADD_INT(k->table, pid, r);
}

/* Reads the parent of the last one of c. False: there is none that can be read. */
static bool append_read(struct kin *k, struct chain *c)
{
	const struct identity_world *w = k->world;
	const struct proc_stat *child = &c->procs[c->n - 1];
	struct proc_stat *parent = &c->procs[c->n];
	int handle;

	if (child->ppid <= 0)
		return false;
	/* Before its facts are read: whose they are is who the handle stands for, unless it ended. */
	handle = w->open ? w->open(w->arg, child->ppid) : -1;
	/* One that is younger than its child has a pid that was used again: not the parent. */
	if (w->stat(w->arg, child->ppid, parent) < 0 || parent->start > child->start) {
		if (handle >= 0)
			w->close(w->arg, handle);
		return false;
	}
	if (handle >= 0)
		remember(k, parent, handle);
	c->n++;
	return true;
}

void kin_chain(struct kin *k, struct chain *c)
{
	unsigned known;

	c->n = 1;
	append_known(k, c);
	known = c->n;
	while (c->n < CHAIN_MAX && append_read(k, c))
		;
	/* The first that was not known ended there although a parent was named: that is old news. */
	if (known > 1 && c->n == known && known < CHAIN_MAX && c->procs[known - 1].ppid > 0) {
		for (c->n = 1; c->n < CHAIN_MAX && append_read(k, c);)
			;
	}
}

int kin_cwd(struct kin *k, const struct proc_stat *p, uint64_t now_ms, char buf[CWD_MAX])
{
	struct relative *r;
	int rc;

	{
		LOCK_SCOPE(&k->lock);
		r = find_locked(k, p->pid);
		if (r && r->st.start == p->start && r->cwd_ms &&
		    now_ms - r->cwd_ms < CWD_FRESH_MS) {
			if (r->cwd)
				strcpy(buf, r->cwd);
			return r->cwd_rc;
		}
	}
	rc = k->world->cwd(k->world->arg, p->pid, buf, CWD_MAX);
	LOCK_SCOPE(&k->lock);
	r = find_locked(k, p->pid);
	if (!r || r->st.start != p->start)
		return rc;
	free(r->cwd);
	r->cwd = rc == 0 ? strdup(buf) : NULL;
	r->cwd_rc = rc;
	r->cwd_ms = rc == 0 && !r->cwd ? 0 : now_ms;
	return rc;
}

int kin_session(struct kin *k, const struct proc_stat *p, uint64_t stamp, char repo_id[REPO_ID_MAX],
		char session[SESSION_ID_MAX])
{
	struct relative *r;
	int rc;

	{
		LOCK_SCOPE(&k->lock);
		r = find_locked(k, p->pid);
		if (r && r->st.start == p->start && stamp && r->session_stamp == stamp) {
			memcpy(repo_id, r->repo_id, REPO_ID_MAX);
			memcpy(session, r->session, SESSION_ID_MAX);
			return r->session_rc;
		}
	}
	repo_id[0] = session[0] = '\0';
	if (stamp == IDENTITY_NO_SESSIONS)
		return -ENOENT;
	rc = k->world->session(k->world->arg, p->pid, p->start, repo_id, session);
	LOCK_SCOPE(&k->lock);
	r = find_locked(k, p->pid);
	if (!r || r->st.start != p->start)
		return rc;
	r->session_stamp = stamp;
	r->session_rc = rc;
	memcpy(r->repo_id, repo_id, REPO_ID_MAX);
	memcpy(r->session, session, SESSION_ID_MAX);
	return rc;
}
