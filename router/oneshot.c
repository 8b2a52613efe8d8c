#include "router/oneshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/ensure.h"
#include "manager/mountstate.h"
#include "router/client.h"
#include "router/sessions.h"
#include "router/turnlock.h"
#include "router/writer.h"

enum { ATTEMPTS = 5, BRANCH_NAME_MAX = 256, QUICK_MS = 20 };

struct oneshot_turn {
	struct oneshot_want want;
	struct turnlock *lock; /* owned */
	bool borrowed;         /* rrm lock above us has it */
	bool shown;            /* writer.json names us */
	char branch[BRANCH_NAME_MAX];
	int64_t since_wall_ms;
};

struct oneshot {
	struct oneshot_want want;
	struct identity who;
	struct oneshot_turn *turn; /* owned */
	struct client *client;     /* owned */
	uint64_t epoch, waited_us;
};

/* ---- who we are ---- */

static int identify(const struct config *c, const struct repo_list *l, const char *mountpoint,
		    pid_t pid, struct identity *who)
{
	struct identity_world world;
	struct identities *ids = NULL;
	struct sessions *sessions = NULL;
	int rc = sessions_new(&sessions);

	identity_world(&world, c);
	if (rc == 0)
		rc = identities_new(&ids, &world, mountpoint, sessions);
	for (size_t i = 0; rc == 0 && i < l->n; i++)
		rc = identities_add_repo(ids, &l->items[i]);
	if (rc == 0)
		identity_of(ids, pid, clock_mono_ms(), who);
	identities_free(ids);
	sessions_free(sessions);
	return rc;
}

int oneshot_identity(const struct config *c, const struct repo_list *l, pid_t pid,
		     struct identity *who, const struct repo **home)
{
	struct mountstate m = {.mountpoint = NULL};
	bool mounted = mountstate_read(c, &m) == 0;
	int rc = identify(c, l, mounted ? m.mountpoint : c->mountpoint, pid, who);

	if (mounted)
		mountstate_deinit(&m);
	if (home)
		*home = NULL;
	for (size_t i = 0; rc == 0 && home && i < l->n; i++)
		if (strcmp(l->items[i].id, who->home) == 0)
			*home = &l->items[i];
	return rc;
}

static void actor_from(const struct identity *who, struct actor *a)
{
	a->pid = who->pid;
	a->uid = geteuid();
	a->gid = getegid();
	memcpy(a->comm, who->comm, sizeof(a->comm));
	memcpy(a->home, who->home, sizeof(a->home));
	memcpy(a->session, who->session, sizeof(a->session));
}

/* ---- the turn ---- */

static void show(struct oneshot_turn *t, bool held)
{
	struct writer w = {
		.actor = &t->want.actor, .since_wall_ms = t->since_wall_ms, .path = t->want.path};

	writer_put(t->want.repo->state_dir, t->branch, held ? &w : NULL, &w, held ? 0 : 1);
	t->shown = true;
}

static int timed_out(const struct oneshot_turn *t, struct err *e)
{
	const struct repo *r = t->want.repo;
	char who[300];

	writer_describe(r->state_dir, who, sizeof(who));
	return err_set(e, -ETIMEDOUT,
		       "the write turn of %s (%s) was not free within %u ms: %s has it; try again "
		       "later, see rrm status %s",
		       r->name, t->branch, t->want.timeout_ms,
		       who[0] ? who : "another program (its name is not known)", r->name);
}

static bool held_above(const struct oneshot_turn *t)
{
	const struct identity *who = t->want.who;

	if (!who || strcmp(who->turn_repo, t->want.repo->id) != 0)
		return false;
	return who->turn_offset < 0 ||
	       (!t->want.all && who->turn_offset == turnlock_offset(t->branch));
}

static int wait_for_lock(struct oneshot_turn *t, struct err *e)
{
	const char *branch = t->want.all ? NULL : t->branch;
	uint32_t quick = t->want.timeout_ms < QUICK_MS ? t->want.timeout_ms : QUICK_MS;
	int rc = turnlock_open(&t->lock, t->want.repo->state_dir, e);

	if (rc < 0)
		return rc;
	rc = turnlock_wait(t->lock, branch, quick);
	if (rc == -ETIMEDOUT && t->want.timeout_ms > quick) {
		show(t, false);
		rc = turnlock_wait(t->lock, branch, t->want.timeout_ms - quick);
	}
	if (rc == -ETIMEDOUT)
		return timed_out(t, e);
	if (rc < 0)
		return err_errno(e, rc, "cannot lock %s/lock", t->want.repo->state_dir);
	t->since_wall_ms = clock_wall_ms();
	show(t, true);
	return 0;
}

int oneshot_turn_take(struct oneshot_turn **out, const struct oneshot_want *w, struct err *e)
{
	struct oneshot_turn *t = calloc(1, sizeof(*t));
	int rc = 0;

	if (!t)
		return -ENOMEM;
	t->want = *w;
	t->since_wall_ms = clock_wall_ms();
	if (w->branch)
		snprintf(t->branch, sizeof(t->branch), "%s", w->branch);
	else
		rc = repo_branch(w->repo->root, t->branch, sizeof(t->branch));
	if (rc < 0)
		rc = err_errno(e, rc, "cannot read the branch of %s", w->repo->root);
	else if (held_above(t))
		t->borrowed = true;
	else
		rc = wait_for_lock(t, e);
	if (rc < 0) {
		oneshot_turn_give(t);
		return rc;
	}
	*out = t;
	return 0;
}

struct oneshot_turn *oneshot_turn_give(struct oneshot_turn *t)
{
	if (!t)
		return NULL;
	if (t->shown)
		writer_put(t->want.repo->state_dir, t->branch, NULL, NULL, 0);
	turnlock_close(t->lock);
	free(t);
	return NULL;
}

int oneshot_turn_text(const struct oneshot_turn *t, char *buf, size_t size)
{
	const struct identity *who = t->want.who;
	struct proc_stat self;
	int rc;

	if (t->borrowed) {
		snprintf(buf, size, "%d-%llu-%lld", (int)who->turn_pid,
			 (unsigned long long)who->turn_start, (long long)who->turn_offset);
		return 0;
	}
	rc = proc_stat(getpid(), &self);
	if (rc == 0)
		snprintf(buf, size, "%d-%llu-%lld", (int)self.pid, (unsigned long long)self.start,
			 t->want.all ? -1LL : (long long)turnlock_offset(t->branch));
	return rc;
}

/* ---- mutations ---- */

/* The backend first, then the turn: a backend that writes at home while it starts would wait for us. */
static int prepare(struct oneshot *o, struct err *e)
{
	uint64_t begun = clock_mono_us();
	struct endpoint ep;
	char path[128];
	int rc = ensure_start(o->want.config, o->want.repo, &ep, e);

	if (rc < 0)
		return err_prefix(e, rc, "the backend of %s", o->want.repo->name);
	if (!o->client) {
		rc = registry_gateway_socket(o->want.repo, path, sizeof(path), e);
		if (rc == 0)
			rc = client_new(&o->client, path);
	} else {
		client_reset(o->client);
	}
	if (rc == 0)
		rc = oneshot_turn_take(&o->turn, &o->want, e);
	if (rc < 0)
		return rc;
	if (o->turn->borrowed)
		rc = turnlock_open(&o->turn->lock, o->want.repo->state_dir, e);
	if (rc == 0)
		rc = turnlock_next_epoch(o->turn->lock, &o->epoch);
	o->waited_us += clock_mono_us() - begun;
	return rc < 0 ? err_errno(e, rc, "cannot count the turn in %s/lock",
				  o->want.repo->state_dir)
		      : 0;
}

int oneshot_begin(struct oneshot **out, const struct config *c, const struct repo_list *l,
		  const struct repo *r, const char *path, struct err *e)
{
	struct oneshot *o = calloc(1, sizeof(*o));
	int rc = o ? oneshot_identity(c, l, getpid(), &o->who, NULL) : -ENOMEM;

	if (rc == 0) {
		o->want = (struct oneshot_want){.config = c,
						.repo = r,
						.path = path,
						.timeout_ms = c->lock_timeout_ms,
						.who = &o->who};
		actor_from(&o->who, &o->want.actor);
		if (config_policy_of(c, r) == CONFIG_POLICY_READONLY &&
		    strcmp(o->who.home, r->id) != 0)
			rc = err_set(e, -EROFS,
				     "%s takes no writes from other repositories (policy readonly "
				     "in config.json)",
				     r->name);
		else
			rc = prepare(o, e);
	}
	if (rc < 0) {
		oneshot_end(o);
		return rc;
	}
	*out = o;
	return 0;
}

struct oneshot *oneshot_end(struct oneshot *o)
{
	if (!o)
		return NULL;
	oneshot_turn_give(o->turn);
	client_free(o->client);
	free(o);
	return NULL;
}

int oneshot_send(struct oneshot *o, struct mutation *m, struct mutation_answer *a, struct err *e)
{
	struct mutation_answer local = {.error = 0};
	int rc = -EIO;

	a = a ? a : &local;
	mutation_new_id(m);
	m->actor = o->want.actor;
	for (int i = 0; i < ATTEMPTS; i++) {
		m->epoch = o->epoch;
		m->wait_us = o->waited_us;
		snprintf(m->branch, sizeof(m->branch), "%s", o->turn->branch);
		*a = (struct mutation_answer){.error = 0};
		rc = client_send(o->client, m, (long)o->want.config->lock_timeout_ms, a, e);
		if (rc == 0)
			break;
		o->turn = oneshot_turn_give(o->turn);
		rc = prepare(o, e);
		if (rc < 0)
			return rc;
		rc = -EIO;
	}
	if (rc < 0)
		return err_prefix(e, rc, "the backend of %s did not answer", o->want.repo->name);
	if (a->error)
		return err_set(e, -a->error, "%s: %s", o->want.repo->name, a->message);
	return 0;
}

static int send_simple(struct oneshot *o, enum mutation_op op, const char *path, uint32_t mode,
		       struct err *e)
{
	struct mutation *m = mutation_new(op);
	int rc = -ENOMEM;

	if (m)
		m->path = strdup(path);
	if (m && m->path) {
		m->mode = mode;
		rc = oneshot_send(o, m, NULL, e);
	}
	mutation_free(m);
	return rc;
}

static int send_part(struct oneshot *o, const char *path, const void *data, size_t len,
		     int64_t offset, struct err *e)
{
	struct mutation *m = mutation_new(MUTATION_WRITE);
	int rc = -ENOMEM;

	if (m) {
		m->path = strdup(path);
		m->data = malloc(len);
	}
	if (m && m->path && m->data) {
		memcpy(m->data, data, len);
		m->data_len = len;
		m->offset = offset;
		rc = oneshot_send(o, m, NULL, e);
	}
	mutation_free(m);
	return rc;
}

static int send_content(struct oneshot *o, const char *path, int fd, struct err *e)
{
	CLEANUP(freep) char *part = malloc(MUTATION_DATA_MAX);
	int64_t offset = 0;
	int rc = part ? 0 : -ENOMEM;

	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_errno(e, -errno, "cannot read the content again");
	while (rc == 0) {
		size_t got = 0;

		rc = file_read_full(fd, part, MUTATION_DATA_MAX, &got);
		if (rc < 0)
			return err_errno(e, rc, "cannot read the content");
		if (!got)
			break;
		rc = send_part(o, path, part, got, offset, e);
		offset += (int64_t)got;
	}
	return rc;
}

int oneshot_write(struct oneshot *o, const char *path, int fd, struct err *e)
{
	mode_t mask = umask(0);
	int rc;

	umask(mask);
	rc = send_simple(o, MUTATION_CREATE, path, 0666 & ~mask, e);
	if (rc < 0)
		return rc;
	rc = send_simple(o, MUTATION_TRUNCATE, path, 0, e);
	if (rc == 0)
		rc = send_content(o, path, fd, e);
	send_simple(o, MUTATION_RELEASE, path, 0, NULL);
	return rc;
}

int oneshot_remove(struct oneshot *o, const char *path, struct err *e)
{
	return send_simple(o, MUTATION_UNLINK, path, 0, e);
}
