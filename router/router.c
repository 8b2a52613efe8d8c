/*
 * The facade: who is calling, what may begin at once, and the life of repos. inner.h says which
 * threads there are and the order of the locks.
 */
#include "router/router.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/stop_point.h"
#include "router/inner.h"
#include "router/writer.h"

int router_new(struct router **out, const struct config *c, const char *mountpoint, struct err *e)
{
	struct router *r = calloc(1, sizeof(*r));
	int rc = r ? shared_config_new(&r->config, c) : -ENOMEM;

	if (!r)
		return err_errno(e, -ENOMEM, "cannot make the router");
	pthread_mutex_init(&r->lock, NULL);
	r->hooks = (struct router_hooks){.ensure = ensure_running,
					 .send = client_send,
					 .begin = client_begin,
					 .finish = client_finish};
	if (rc == 0)
		rc = sessions_new(&r->sessions);
	if (rc == 0)
		rc = refusals_new(&r->refusals);
	if (rc == 0) {
		identity_world(&r->world, &r->config->c);
		rc = identities_new(&r->ids, &r->world, mountpoint, r->sessions);
	}
	if (rc < 0) {
		router_free(r);
		return err_errno(e, rc, "cannot make the router");
	}
	*out = r;
	return 0;
}

uint32_t router_session(struct router *r, const char *home, const char *session)
{
	return sessions_intern(r->sessions, home, session);
}

/* ---- repos ---- */

static void repo_destroy(struct router_repo *rr)
{
	pthread_mutex_lock(&rr->lock);
	rr->stopping = true;
	pthread_mutex_unlock(&rr->lock);
	summon_abandon(rr);
	await_stop(rr);
	thread_stop(rr, &rr->submit);
	pthread_mutex_lock(&rr->lock);
	submit_fail_all_locked(rr, -EIO, "rrm-mount is ending or the repository was removed");
	pthread_mutex_unlock(&rr->lock);
	thread_stop(rr, &rr->keeper);
	keeper_drain(rr);
	if (rr->log)
		homelog_flush(rr->log, clock_mono_ms(), true);
	if (rr->refused)
		refusedlog_flush(rr->refused, clock_mono_ms());
	if (rr->writer_written)
		writer_put(rr->info.state_dir, rr->branch_held, NULL, NULL, 0);
	client_free(rr->client);
	turnlock_close(rr->file);
	turnlock_close(rr->counter);
	homelog_free(rr->log);
	refusedlog_free(rr->refused);
	free(rr->stuck);
	free(rr->holder_path);
	branch_deinit(&rr->branch);
	repo_deinit(&rr->info);
	thread_deinit(&rr->submit);
	thread_deinit(&rr->keeper);
	thread_deinit(&rr->await);
	pthread_mutex_destroy(&rr->lock);
	free(rr);
}

static int repo_make(struct router *r, const struct repo *repo, struct router_repo **out)
{
	const struct config *c = &r->config->c;
	struct router_repo *rr = calloc(1, sizeof(*rr));
	int rc;

	if (!rr)
		return -ENOMEM;
	rr->router = r;
	rr->refs = 1;
	pthread_mutex_init(&rr->lock, NULL);
	thread_init(&rr->submit);
	rr->submit.spins = true;
	thread_init(&rr->keeper);
	thread_init(&rr->await);
	turn_init(&rr->turn, c->linger_ms, c->max_turn_ms, c->lock_timeout_ms);
	rr->stopped_ms = TURN_NO_DEADLINE;
	rr->policy = config_policy_of(c, repo);
	rc = repo_copy(&rr->info, repo);
	if (rc == 0)
		rc = homelog_new(&rr->log, repo->state_dir);
	if (rc == 0)
		rc = refusedlog_new(&rr->refused, repo->state_dir, repo->id);
	if (rc == 0)
		rc = branch_init(&rr->branch, repo->root);
	if (rc == 0)
		rc = identities_add_repo(r->ids, repo);
	if (rc < 0) {
		repo_destroy(rr);
		return rc;
	}
	*out = rr;
	return 0;
}

int router_repo_get(struct router *r, const struct repo *repo, struct router_repo **out)
{
	struct router_repo *rr;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	DL_FOREACH(r->repos, rr)
	if (strcmp(rr->info.id, repo->id) == 0)
		break;
	if (rr) {
		rr->refs++;
		identities_add_repo(r->ids, repo); /* its name may be new */
	} else {
		rc = repo_make(r, repo, &rr);
		if (rc == 0)
			DL_APPEND(r->repos, rr);
	}
	pthread_mutex_unlock(&r->lock);
	if (rc == 0)
		*out = rr;
	return rc;
}

void router_repo_put(struct router *r, struct router_repo *rr)
{
	bool last;

	if (!rr)
		return;
	pthread_mutex_lock(&r->lock);
	last = --rr->refs == 0;
	if (last) {
		DL_DELETE(r->repos, rr);
		identities_remove_repo(r->ids, rr->info.id);
	}
	pthread_mutex_unlock(&r->lock);
	if (last)
		repo_destroy(rr);
}

const struct repo *router_repo_info(const struct router_repo *rr)
{
	return &rr->info;
}

struct router *router_free(struct router *r)
{
	struct router_repo *rr, *next;

	if (!r)
		return NULL;
	/* All are told to stop before the first is waited for. */
	pthread_mutex_lock(&r->lock);
	DL_FOREACH(r->repos, rr)
	{
		pthread_mutex_lock(&rr->lock);
		rr->stopping = true;
		thread_wake_locked(&rr->submit, 0);
		pthread_mutex_unlock(&rr->lock);
	}
	pthread_mutex_unlock(&r->lock);
	DL_FOREACH_SAFE(r->repos, rr, next)
	repo_destroy(rr);
	identities_free(r->ids);
	sessions_free(r->sessions);
	refusals_free(r->refusals);
	shared_config_put(r->config);
	pthread_mutex_destroy(&r->lock);
	free(r);
	return NULL;
}

/* ---- begin and end ---- */

/* A writeback belongs to the last session that changed the file by a call of its own. */
static void kernel_identity(struct router *r, uint32_t last, struct identity *who)
{
	if (last && sessions_lookup(r->sessions, last, who->home, who->session) == 0)
		who->session_id = last;
}

/* The turn above the caller that it may change rr in, or NULL. */
static const struct held *borrows(struct router_repo *rr, const struct identity *who)
{
	char name[BRANCH_MAX];

	if (!who->held.n)
		return NULL;
	branch_name(&rr->branch, name);
	return held_find(&who->held, rr->info.id, turnlock_offset(name));
}

static void fill_pass(struct router *r, struct router_repo *rr, const struct router_caller *caller,
		      uint64_t now_ms, struct router_pass *pass)
{
	const struct held *above;
	struct identity who;

	identity_of(r->ids, caller->tid, now_ms, &who);
	if (caller->tid <= 0)
		kernel_identity(r, caller->last, &who);
	identity_announced(&r->world, r->config->c.base, rr->info.id, r->sessions, &who);
	pass->repo = rr;
	pass->session = who.session_id;
	pass->actor.pid = who.pid;
	pass->actor.uid = caller->uid;
	pass->actor.gid = caller->gid;
	memcpy(pass->actor.comm, who.comm, sizeof(pass->actor.comm));
	memcpy(pass->actor.home, who.home, sizeof(pass->actor.home));
	memcpy(pass->actor.session, who.session, sizeof(pass->actor.session));
	pass->begun_us = clock_mono_us();
	pass->note_path = false;
	above = borrows(rr, &who);
	pass->borrowed = above != NULL;
	pass->holder_pid = above ? above->pid : 0;
	pass->holder_start = above ? above->start : 0;
	pass->epoch = above ? above->epoch : 0;
	pass->in_turn = who.held.n > 0;
	pass->tid = caller->tid;
}

static int begin_home(struct router_repo *rr, struct router_pass *pass, uint64_t now_ms)
{
	uint64_t version = branch_poll(&rr->branch, now_ms);
	int verdict = ROUTER_WAIT;

	pthread_mutex_lock(&rr->lock);
	if (rr->stopping) {
		verdict = -EIO;
	} else if (keeper_start_locked(rr) < 0) {
		verdict = -ENOMEM; /* nobody would give the turn back */
	} else if (turn_would(&rr->turn, pass->session, now_ms) &&
		   grant_ready_locked(rr, version, false, now_ms) &&
		   turn_try(&rr->turn, pass->session, now_ms)) {
		grant_begun_locked(rr, &pass->actor, NULL);
		verdict = ROUTER_HOME;
	}
	pthread_mutex_unlock(&rr->lock);
	return verdict;
}

int router_begin(struct router *r, struct router_repo *rr, const struct router_caller *caller,
		 uint64_t key, struct router_pass *pass)
{
	uint64_t now_ms = clock_mono_ms();

	fill_pass(r, rr, caller, now_ms, pass);
	stop_point("identity-known");
	if (strcmp(pass->actor.home, rr->info.id) != 0)
		return rr->policy == CONFIG_POLICY_READONLY ? -EROFS : ROUTER_FOREIGN;
	pass->note_path = !homelog_knows(rr->log, pass->session, key);
	if (pass->borrowed)
		return ROUTER_HOME;
	return begin_home(rr, pass, now_ms);
}

void router_end(struct router *r, const struct router_pass *pass, const struct router_note *note)
{
	struct router_repo *rr = pass->repo;
	uint64_t now_ms = clock_mono_ms();
	bool look = false;

	if (note && !note->error) {
		struct homelog_change c = {
			.session = pass->session,
			.key = note->key,
			.op = note->op,
			/* Only asked for then; a name that was not filled in must not replace one. */
			.path = pass->note_path || note->path2 ? note->path : NULL,
			.path2 = note->path2,
			.bytes = note->bytes,
			.actor = &pass->actor,
		};

		look = homelog_note(rr->log, &c, now_ms, clock_wall_ms());
	}
	if (pass->borrowed && !look)
		return;
	pthread_mutex_lock(&rr->lock);
	if (!pass->borrowed && !rr->holder_path && note && pass->note_path)
		grant_path_locked(rr, note->path);
	if (!pass->borrowed)
		grant_end_locked(rr, now_ms);
	if (look) {
		keeper_start_locked(rr);
		thread_wake_locked(&rr->keeper, 0);
	}
	pthread_mutex_unlock(&rr->lock);
}

/* ---- requests that wait ---- */

static struct router_ticket *ticket_new(enum ticket_kind kind, const struct router_pass *pass,
					void *arg)
{
	struct router_ticket *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->kind = kind;
	t->arg = arg;
	t->submitted_us = clock_mono_us();
	t->since_wall_ms = clock_wall_ms();
	if (pass) {
		t->pass = *pass;
		t->borrowed = pass->borrowed;
	}
	return t;
}

/* Takes t over in any case. */
static int enqueue(struct router_repo *rr, struct router_ticket *t, struct router_ticket **ticket)
{
	const struct config *c = &rr->router->config->c;
	uint64_t version = branch_poll(&rr->branch, t->submitted_us / 1000);
	int rc;

	t->give_up_ms = t->submitted_us / 1000 + c->lock_timeout_ms + c->start_timeout_ms;
	pthread_mutex_lock(&rr->lock);
	rc = rr->stopping ? -EIO : submit_start_locked(rr);
	if (rc == 0) {
		if (ticket)
			*ticket = t;
		stop_point("turn-asked");
		if (!submit_now_locked(rr, t, version))
			submit_place_locked(rr, t);
	}
	pthread_mutex_unlock(&rr->lock);
	if (rc < 0)
		ticket_free(t);
	return rc;
}

int router_wait(struct router *r, const struct router_pass *pass, const struct router_note *what,
		router_granted_fn granted, void *arg, struct router_ticket **ticket)
{
	struct router_ticket *t = ticket_new(TICKET_HOME, pass, arg);

	if (!t)
		return -ENOMEM;
	t->fn.granted = granted;
	t->op = what->op;
	t->path = what->path ? strdup(what->path) : NULL;
	t->path2 = what->path2 ? strdup(what->path2) : NULL;
	circle_locks(t, what->op, what->path, what->path2);
	return enqueue(pass->repo, t, ticket);
}

int router_submit(struct router *r, const struct router_pass *pass, struct mutation *m,
		  router_done_fn done, void *arg, struct router_ticket **ticket)
{
	struct router_ticket *t = ticket_new(TICKET_MUTATION, pass, arg);

	if (!t) {
		mutation_free(m);
		return -ENOMEM;
	}
	t->fn.done = done;
	t->m = m;
	t->op = m->op;
	m->actor = pass->actor;
	if (!m->id[0])
		mutation_new_id(m);
	circle_locks(t, m->op, m->path, m->path2);
	return enqueue(pass->repo, t, ticket);
}

void router_cancel(struct router *r, struct router_ticket *t)
{
	struct router_repo *rr = t->pass.repo;

	pthread_mutex_lock(&rr->lock);
	submit_interrupt_locked(rr, t);
	pthread_mutex_unlock(&rr->lock);
}

int router_endpoint(struct router *r, struct router_repo *rr, router_endpoint_fn fn, void *arg)
{
	struct router_ticket *t = ticket_new(TICKET_ENDPOINT, NULL, arg);

	if (!t)
		return -ENOMEM;
	t->fn.endpoint = fn;
	t->pass.repo = rr;
	return enqueue(rr, t, NULL);
}

/* ---- what people ask ---- */

int router_whoami(struct router *r, pid_t tid, cJSON **out)
{
	struct identity who;

	identity_of(r->ids, tid, clock_mono_ms(), &who);
	return identity_json(&who, NULL, out);
}

char *router_errors(struct router *r)
{
	return refusals_text(r->refusals);
}
