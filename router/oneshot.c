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
#include "router/standoff.h"
#include "router/turnlock.h"
#include "router/writer.h"

enum { ATTEMPTS = 5, BRANCH_NAME_MAX = 256, QUICK_MS = 20 };

struct oneshot_turn {
	struct oneshot_want want;
	struct turnlock *lock; /* owned */
	bool borrowed;         /* rrm lock above us has it */
	bool shown;            /* writer.json names us */
	bool claimed;          /* turns.json names us */
	struct claim claim;    /* of what we want or have */
	struct held_list held; /* above us, and ours in front once we have it */
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

/* Waits only when that would not be for ever. */
static int wait_in_line(struct oneshot_turn *t, const char *branch, uint32_t timeout_ms,
			struct err *e)
{
	int rc;

	show(t, false);
	if (t->held.n) {
		t->claim.waits = true;
		rc = standoff_claim(t->want.config->base, &t->claim, STANDOFF_PATIENT_MS, e);
		if (rc == -EDEADLK)
			return rc;
		t->claimed = rc == 0;
	}
	return turnlock_wait(t->lock, branch, timeout_ms);
}

static int wait_for_lock(struct oneshot_turn *t, struct err *e)
{
	const char *branch = t->want.all ? NULL : t->branch;
	uint32_t quick = t->want.timeout_ms < QUICK_MS ? t->want.timeout_ms : QUICK_MS;
	int rc = turnlock_open(&t->lock, t->want.repo->state_dir, e);

	if (rc < 0)
		return rc;
	rc = turnlock_wait(t->lock, branch, quick);
	if (rc == -ETIMEDOUT && t->want.timeout_ms > quick)
		rc = wait_in_line(t, branch, t->want.timeout_ms - quick, e);
	if (rc == -EDEADLK)
		return rc;
	if (rc == -ETIMEDOUT)
		return timed_out(t, e);
	if (rc < 0)
		return err_errno(e, rc, "cannot lock %s/lock", t->want.repo->state_dir);
	t->since_wall_ms = clock_wall_ms();
	show(t, true);
	return 0;
}

static int claim(struct oneshot_turn *t, unsigned patience_ms)
{
	int rc = standoff_claim(t->want.config->base, &t->claim, patience_ms, NULL);

	t->claimed = t->claimed || rc == 0;
	return rc;
}

/* What is ours now: for those below us, and for whoever would wait for us for ever. */
static int have(struct oneshot_turn *t, struct err *e)
{
	int rc;

	if (!t->want.explicit)
		return 0;
	rc = turnlock_next_epoch(t->lock, &t->claim.turn.epoch);
	if (rc < 0)
		return err_errno(e, rc, "cannot count the turn in %s/lock",
				 t->want.repo->state_dir);
	if (!held_push(&t->held, &t->claim.turn))
		return err_set(e, -EMLINK, "more than %d write turns inside one another", HELD_MAX);
	t->claim.waits = false;
	claim(t, STANDOFF_PATIENT_MS);
	return 0;
}

static int begin_turn(struct oneshot_turn *t)
{
	const struct oneshot_want *w = &t->want;
	struct proc_stat self;
	int rc = 0;

	t->since_wall_ms = clock_wall_ms();
	if (w->branch)
		snprintf(t->branch, sizeof(t->branch), "%s", w->branch);
	else
		rc = repo_branch(w->repo->root, t->branch, sizeof(t->branch));
	if (rc == 0)
		rc = proc_stat(getpid(), &self);
	if (rc < 0)
		return rc;
	if (w->who)
		t->held = w->who->held;
	t->claim = (struct claim){
		.turn = {.pid = self.pid,
			 .start = self.start,
			 .offset = w->all ? HELD_ALL : turnlock_offset(t->branch)},
		.above = t->held,
		.who = w->actor.pid,
	};
	memcpy(t->claim.turn.repo, w->repo->id, sizeof(t->claim.turn.repo));
	memcpy(t->claim.comm, w->actor.comm, sizeof(t->claim.comm));
	snprintf(t->claim.name, sizeof(t->claim.name), "%s", w->repo->name);
	return 0;
}

int oneshot_turn_take(struct oneshot_turn **out, const struct oneshot_want *w, struct err *e)
{
	struct oneshot_turn *t = calloc(1, sizeof(*t));
	const struct held *above;
	int rc;

	if (!t)
		return -ENOMEM;
	t->want = *w;
	rc = begin_turn(t);
	above = held_find(&t->held, w->repo->id, t->claim.turn.offset);
	if (rc < 0) {
		rc = err_errno(e, rc, "cannot read the branch of %s", w->repo->root);
	} else if (above) {
		t->borrowed = true;
		t->claim.turn = *above;
		held_push(&t->held, above);
	} else {
		rc = wait_for_lock(t, e);
		if (rc == 0)
			rc = have(t, e);
	}
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
	if (t->claimed)
		standoff_drop(t->want.config->base, &t->claim);
	if (t->shown)
		writer_put(t->want.repo->state_dir, t->branch, NULL, NULL, 0);
	turnlock_close(t->lock);
	free(t);
	return NULL;
}

bool oneshot_turn_wanted(struct oneshot_turn *t)
{
	if (!t->lock || !turnlock_wanted(t->lock))
		return false;
	return t->claimed || claim(t, STANDOFF_SOON_MS) == 0;
}

int oneshot_turn_stuck(struct oneshot_turn *t, const struct stuck *s)
{
	t->claim.stuck = *s;
	return claim(t, STANDOFF_SOON_MS);
}

const struct held_list *oneshot_turn_held(const struct oneshot_turn *t)
{
	return &t->held;
}

/* ---- mutations ---- */

static int count(struct oneshot *o, struct err *e)
{
	struct oneshot_turn *t = o->turn;
	int rc;

	if (!t->borrowed)
		return turnlock_next_epoch(t->lock, &o->epoch);
	rc = turnlock_open(&t->lock, t->want.repo->state_dir, e);
	o->epoch = t->claim.turn.epoch;
	return rc < 0 ? rc : turnlock_renew_epoch(t->lock, &o->epoch);
}

static int reach(struct oneshot *o, struct err *e)
{
	struct endpoint ep;
	char path[128];
	int rc = ensure_start(o->want.config, o->want.repo, &ep, e);

	if (rc < 0)
		return err_prefix(e, rc, "the backend of %s", o->want.repo->name);
	if (o->client) {
		client_reset(o->client);
		return 0;
	}
	rc = registry_gateway_socket(o->want.repo, path, sizeof(path), e);
	return rc < 0 ? rc : client_new(&o->client, path);
}

/* The backend first, then the turn: a backend that writes at home while it starts would wait for us. */
static int prepare(struct oneshot *o, struct err *e)
{
	uint64_t begun = clock_mono_us();
	int rc = reach(o, e);

	if (rc == 0)
		rc = oneshot_turn_take(&o->turn, &o->want, e);
	if (rc < 0)
		return rc;
	rc = count(o, e);
	o->waited_us += clock_mono_us() - begun;
	return rc < 0 ? err_errno(e, rc, "cannot count the turn in %s/lock",
				  o->want.repo->state_dir)
		      : 0;
}

int oneshot_allowed(const struct config *c, const struct repo *r, const struct identity *who,
		    struct err *e)
{
	if (config_policy_of(c, r) != CONFIG_POLICY_READONLY || strcmp(who->home, r->id) == 0)
		return 0;
	return err_set(e, -EROFS,
		       "%s takes no writes from other repositories (policy readonly in "
		       "config.json); make this change from an agent at home there",
		       r->name);
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
		rc = oneshot_allowed(c, r, &o->who, e);
	}
	if (rc == 0)
		rc = prepare(o, e);
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
	m->wait_us = o->waited_us;
	o->waited_us = 0; /* it is the wait of the first one, and of no other */
	for (int i = 0; i < ATTEMPTS; i++) {
		m->epoch = o->epoch;
		snprintf(m->branch, sizeof(m->branch), "%s", o->turn->branch);
		*a = (struct mutation_answer){.error = 0};
		rc = client_send(o->client, m, (long)o->want.config->lock_timeout_ms, a, e);
		if (rc == 0)
			break;
		/* It may be half done: the turn stays ours until it is answered. */
		rc = reach(o, e);
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
