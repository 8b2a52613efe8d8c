/*
 * For the tests of the router: the router with a gateway and a backend of our own making (router_hooks). Callers are forged with
 * tid 0 and `last`: so one process has as many sessions as a test wants.
 */
#pragma once
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "router/inner.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static struct router *r;
static struct router_repo *web;
static struct config config;

/* What the fakes do and saw; protected by lock. */
static int ensure_result, ensures, send_failures, sends;
static uint64_t fence; /* the newest epoch that the gateway has seen, from whomever */
static bool ensure_blocked, send_blocked, in_send, in_ensure;
static struct sent {
	char id[MUTATION_ID_MAX], path[64], branch[256], session[64];
	uint64_t epoch, wait_us;
} sent[4096];

static inline int fake_ensure(const struct config *c, const struct repo *repo, struct endpoint *ep,
			      struct err *e)
{
	int rc;

	pthread_mutex_lock(&lock);
	ensures++;
	in_ensure = true;
	pthread_cond_broadcast(&cond);
	while (ensure_blocked)
		pthread_cond_wait(&cond, &lock);
	in_ensure = false;
	rc = ensure_result;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	snprintf(ep->url, sizeof(ep->url), "http://127.0.0.1:1");
	return rc ? err_set(e, rc, "no backend today") : 0;
}

static inline int fake_send(struct client *c, const struct mutation *m, long timeout_ms,
			    struct mutation_answer *a, struct err *e)
{
	struct sent *s;
	int rc = 0;

	pthread_mutex_lock(&lock);
	s = &sent[sends++ % 4096];
	snprintf(s->id, sizeof(s->id), "%s", m->id);
	snprintf(s->path, sizeof(s->path), "%s", m->path);
	snprintf(s->branch, sizeof(s->branch), "%s", m->branch);
	snprintf(s->session, sizeof(s->session), "%s", m->actor.session);
	s->epoch = m->epoch;
	s->wait_us = m->wait_us;
	in_send = true;
	pthread_cond_broadcast(&cond);
	while (send_blocked)
		pthread_cond_wait(&cond, &lock);
	in_send = false;
	if (send_failures && send_failures--)
		rc = -ECONNRESET;
	pthread_mutex_unlock(&lock);
	if (m->epoch < fence || strcmp(m->path, "stale") == 0)
		a->error = ESTALE;
	if (strcmp(m->path, "full") == 0) {
		a->error = ENOSPC;
		snprintf(a->message, sizeof(a->message), "the disk is full");
	}
	return rc ? err_set(e, rc, "reset") : 0;
}

static inline void set(bool *flag, bool value)
{
	pthread_mutex_lock(&lock);
	*flag = value;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static inline void await(bool *flag)
{
	pthread_mutex_lock(&lock);
	while (!*flag)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
}

/* One request of a test and how it ended. */
struct call {
	bool over;
	int error, result;
	bool keep; /* granted(): do not end it at once */
	struct router_pass pass;
	unsigned order;
};

static unsigned n_over;

static inline void over(struct call *c, int error)
{
	pthread_mutex_lock(&lock);
	c->error = error;
	c->over = true;
	c->order = ++n_over;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static inline bool is_over(const struct call *c)
{
	LOCK_SCOPE(&lock);
	return c->over;
}

static inline void done(void *arg, int error, const struct mutation_answer *a,
			const struct router_pass *pass)
{
	struct call *c = arg;

	c->result = a ? a->error : 0;
	over(c, error);
}

static inline void granted(void *arg, int error, const struct router_pass *pass)
{
	struct call *c = arg;

	c->pass = *pass;
	if (error == 0 && !c->keep)
		router_end(r, pass, NULL);
	over(c, error);
}

static inline uint32_t session(const char *home, const char *name)
{
	return sessions_intern(r->sessions, home, name);
}

static inline int begin(uint32_t s, struct router_pass *pass)
{
	const struct router_caller caller = {.tid = 0, .last = s};

	return router_begin(r, web, &caller, 7, pass);
}

static inline void submit(uint32_t s, const char *path, struct call *c,
			  struct router_ticket **ticket)
{
	struct mutation *m = mutation_new(MUTATION_MKDIR);

	m->path = strdup(path);
	assert_int_equal(begin(s, &c->pass), ROUTER_FOREIGN);
	assert_int_equal(router_submit(r, &c->pass, m, done, c, ticket), 0);
}

/* At home; must have to wait. */
static inline void wait_home(uint32_t s, struct call *c, struct router_ticket **ticket)
{
	assert_int_equal(begin(s, &c->pass), ROUTER_WAIT);
	assert_int_equal(router_wait(r, &c->pass,
				     &(struct router_note){.op = MUTATION_WRITE, .path = "f"},
				     granted, c, ticket),
			 0);
}

static inline void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static inline void head(const struct tmp *t, const char *branch)
{
	char path[80], text[80];

	snprintf(path, sizeof(path), "%s/web/.git/HEAD", t->path);
	snprintf(text, sizeof(text), "ref: refs/heads/%s\n", branch);
	unlink(path);
	write_file(path, text);
}

static inline void start(const struct tmp *t)
{
	char root[64], state[64], git[80];
	struct repo repo = {.id = "web-1"};

	snprintf(root, sizeof(root), "%s/web", t->path);
	snprintf(git, sizeof(git), "%s/web/.git", t->path);
	snprintf(state, sizeof(state), "%s/s", t->path);
	mkdir(root, 0700);
	mkdir(git, 0700);
	mkdir(state, 0700);
	head(t, "main");
	repo.root = root, repo.state_dir = state, repo.name = root + strlen(t->path) + 1;
	repo.added = repo.name;
	assert_int_equal(router_new(&r, &config, "/mnt/rrm-test", NULL), 0);
	r->hooks = (struct router_hooks){.ensure = fake_ensure, .send = fake_send};
	assert_int_equal(router_repo_get(r, &repo, &web), 0);
}

static inline int setup(void **state)
{
	tmp_setup(state);
	config = (struct config){.base = ((struct tmp *)*state)->path,
				 .lock_timeout_ms = 600000,
				 .linger_ms = 10,
				 .max_turn_ms = 200,
				 .start_timeout_ms = 600000};
	pthread_mutex_lock(&lock);
	ensure_result = ensures = send_failures = sends = 0;
	ensure_blocked = send_blocked = in_send = in_ensure = false;
	n_over = 0;
	fence = 0;
	pthread_mutex_unlock(&lock);
	start(*state);
	return 0;
}

static inline int teardown(void **state)
{
	set(&ensure_blocked, false);
	set(&send_blocked, false);
	r = router_free(r);
	pthread_mutex_lock(&lock);
	while (in_ensure) /* one that the router left behind */
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	return tmp_teardown(state);
}

static inline void restart(void **state)
{
	r = router_free(r);
	start(*state);
}
