#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "router/inner.h"

/*
 * The router with a gateway and a backend of our own making (router_hooks). Callers are forged with
 * tid 0 and `last`: so one process has as many sessions as a test wants.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;

static struct router *r;
static struct router_repo *web;
static struct config config;

/* What the fakes do and saw; protected by lock. */
static int ensure_result, ensures, send_failures, sends;
static bool ensure_blocked, send_blocked, in_send, in_ensure;
static struct sent {
	char id[MUTATION_ID_MAX], path[64], branch[256], session[64];
	uint64_t epoch, wait_us;
} sent[4096];

static int fake_ensure(const struct config *c, const struct repo *repo, struct endpoint *ep,
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

static int fake_send(struct client *c, const struct mutation *m, long timeout_ms,
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
	if (strcmp(m->path, "full") == 0) {
		a->error = ENOSPC;
		snprintf(a->message, sizeof(a->message), "the disk is full");
	}
	return rc ? err_set(e, rc, "reset") : 0;
}

static void set(bool *flag, bool value)
{
	pthread_mutex_lock(&lock);
	*flag = value;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static void await(bool *flag)
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

static void over(struct call *c, int error)
{
	pthread_mutex_lock(&lock);
	c->error = error;
	c->over = true;
	c->order = ++n_over;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static void done(void *arg, int error, const struct mutation_answer *a,
		 const struct router_pass *pass)
{
	struct call *c = arg;

	c->result = a ? a->error : 0;
	over(c, error);
}

static void granted(void *arg, int error, const struct router_pass *pass)
{
	struct call *c = arg;

	c->pass = *pass;
	if (error == 0 && !c->keep)
		router_end(r, pass, NULL);
	over(c, error);
}

static uint32_t session(const char *home, const char *name)
{
	return sessions_intern(r->sessions, home, name);
}

static int begin(uint32_t s, struct router_pass *pass)
{
	const struct router_caller caller = {.tid = 0, .last = s};
	struct err e = ERR_INIT;

	return router_begin(r, web, &caller, 7, pass, &e);
}

static void submit(uint32_t s, const char *path, struct call *c, struct router_ticket **ticket)
{
	struct mutation *m = mutation_new(MUTATION_MKDIR);

	m->path = strdup(path);
	assert_int_equal(begin(s, &c->pass), ROUTER_FOREIGN);
	assert_int_equal(router_submit(r, &c->pass, m, done, c, ticket), 0);
}

/* At home; must have to wait. */
static void wait_home(uint32_t s, struct call *c, struct router_ticket **ticket)
{
	assert_int_equal(begin(s, &c->pass), ROUTER_WAIT);
	assert_int_equal(router_wait(r, &c->pass, granted, c, ticket), 0);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void head(const struct tmp *t, const char *branch)
{
	char path[80], text[80];

	snprintf(path, sizeof(path), "%s/web/.git/HEAD", t->path);
	snprintf(text, sizeof(text), "ref: refs/heads/%s\n", branch);
	unlink(path);
	write_file(path, text);
}

static struct config_repo_policy policies[1];

static void start(const struct tmp *t)
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

static int setup(void **state)
{
	tmp_setup(state);
	config = (struct config){.base = ((struct tmp *)*state)->path,
				 .lock_timeout_ms = 20000,
				 .linger_ms = 10,
				 .max_turn_ms = 200,
				 .start_timeout_ms = 20000};
	pthread_mutex_lock(&lock);
	ensure_result = ensures = send_failures = sends = 0;
	ensure_blocked = send_blocked = in_send = in_ensure = false;
	n_over = 0;
	pthread_mutex_unlock(&lock);
	start(*state);
	return 0;
}

static int teardown(void **state)
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

static void restart(void **state)
{
	r = router_free(r);
	start(*state);
}

/* ---- */

static void a_home_write_begins_at_once_and_a_foreign_one_is_told_so(void **state)
{
	struct router_pass pass;

	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	assert_string_equal(pass.actor.home, "web-1");
	assert_string_equal(pass.actor.session, "s1");
	router_end(r, &pass, NULL);
	assert_int_equal(begin(session("api-2", "s2"), &pass), ROUTER_FOREIGN);
	assert_int_equal(begin(0, &pass), ROUTER_FOREIGN);
}

static void a_second_session_at_home_waits_until_the_first_is_idle(void **state)
{
	struct call c = {.over = false};
	struct router_pass a;

	assert_int_equal(begin(session("web-1", "s1"), &a), ROUTER_HOME);
	wait_home(session("web-1", "s2"), &c, NULL);
	assert_false(c.over);
	router_end(r, &a, NULL);
	await(&c.over);
	assert_int_equal(c.error, 0);
	assert_int_equal(begin(session("web-1", "s2"), &a), ROUTER_HOME);
	router_end(r, &a, NULL);
}

static void a_foreign_change_is_sent_in_its_turn(void **state)
{
	struct call c = {.over = false};

	submit(session("api-2", "s2"), "d", &c, NULL);
	await(&c.over);
	assert_int_equal(c.error, 0);
	assert_int_equal(sends, 1);
	assert_int_equal(ensures, 1);
	assert_string_equal(sent[0].path, "d");
	assert_string_equal(sent[0].branch, "main");
	assert_string_equal(sent[0].session, "s2");
	assert_true(sent[0].epoch > 0);
	assert_true(sent[0].id[0]);
}

static void a_warm_gateway_is_not_ensured_again(void **state)
{
	for (int i = 0; i < 20; i++) {
		struct call c = {.over = false};

		submit(session("api-2", "s2"), "d", &c, NULL);
		await(&c.over);
	}
	assert_int_equal(ensures, 1);
	assert_int_equal(sends, 20);
}

static void an_error_of_the_gateway_is_the_result_and_is_noted(void **state)
{
	struct call c = {.over = false};
	char *text;

	submit(session("api-2", "s2"), "full", &c, NULL);
	await(&c.over);
	assert_int_equal(c.error, 0);
	assert_int_equal(c.result, ENOSPC);
	text = router_errors(r);
	assert_non_null(strstr(text, "mkdir web/full: ENOSPC: the disk is full\n"));
	free(text);
}

static void each_turn_has_a_higher_epoch_and_one_turn_one(void **state)
{
	struct call c[6] = {{.over = false}};

	config.linger_ms = 200; /* so that no pause of the machine ends a turn */
	restart(state);
	for (int i = 0; i < 6; i++) {
		submit(session("api-2", i < 3 ? "s1" : "s2"), "d", &c[i], NULL);
		await(&c[i].over);
	}
	assert_true(sent[0].epoch == sent[1].epoch && sent[1].epoch == sent[2].epoch);
	assert_true(sent[3].epoch > sent[2].epoch);
	assert_true(sent[3].epoch == sent[4].epoch && sent[4].epoch == sent[5].epoch);
}

static void changes_of_one_session_keep_their_order(void **state)
{
	enum { N = 200 };
	static struct call c[N];
	char name[16];

	memset(c, 0, sizeof(c));
	set(&ensure_blocked, true);
	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "d%d", i);
		submit(session("api-2", "s1"), name, &c[i], NULL);
		if (i == N / 2)
			set(&ensure_blocked, false);
	}
	for (int i = 0; i < N; i++) {
		await(&c[i].over);
		snprintf(name, sizeof(name), "d%d", i);
		assert_string_equal(sent[i].path, name);
		assert_int_equal(c[i].order, i + 1);
	}
}

static void a_starting_backend_does_not_hold_up_home_writers(void **state)
{
	struct call foreign = {.over = false}, home = {.over = false};
	struct router_pass a;

	set(&ensure_blocked, true);
	submit(session("api-2", "s2"), "d", &foreign, NULL);
	await(&in_ensure);
	assert_int_equal(begin(session("web-1", "s1"), &a), ROUTER_HOME);
	wait_home(session("web-1", "s3"), &home, NULL);
	router_end(r, &a, NULL);
	await(&home.over);
	assert_int_equal(home.error, 0);
	assert_false(foreign.over);
	set(&ensure_blocked, false);
	await(&foreign.over);
	assert_int_equal(foreign.error, 0);
}

static void no_backend_is_eio_with_its_sentence(void **state)
{
	struct call c = {.over = false};
	char *text;

	ensure_result = -ETIMEDOUT;
	submit(session("api-2", "s2"), "d", &c, NULL);
	await(&c.over);
	assert_int_equal(c.error, -EIO);
	assert_int_equal(sends, 0);
	text = router_errors(r);
	assert_non_null(strstr(text, "web/d: EIO: no backend today"));
	free(text);
}

static void a_dead_gateway_is_replaced_and_the_change_sent_again(void **state)
{
	struct call a = {.over = false}, b = {.over = false}, c = {.over = false};

	submit(session("api-2", "s2"), "a", &a, NULL);
	await(&a.over);
	set(&send_blocked, true);
	submit(session("api-2", "s2"), "b", &b, NULL);
	await(&in_send);
	submit(session("api-2", "s2"), "c", &c, NULL);
	send_failures = 1;
	set(&send_blocked, false);
	await(&b.over);
	await(&c.over);
	assert_int_equal(b.error, 0);
	assert_int_equal(c.error, 0);
	assert_int_equal(ensures, 2);
	assert_int_equal(sends, 4);
	assert_string_equal(sent[1].id, sent[2].id);
	assert_string_equal(sent[2].path, "b");
	assert_string_equal(sent[3].path, "c");
	assert_true(sent[2].epoch >= sent[1].epoch);
}

static void a_gateway_that_never_answers_is_eio_in_the_end(void **state)
{
	struct call c = {.over = false};
	char *text;

	send_failures = 1000;
	submit(session("api-2", "s2"), "d", &c, NULL);
	await(&c.over);
	assert_int_equal(c.error, -EIO);
	assert_int_equal(sends, ROUTER_ATTEMPTS);
	text = router_errors(r);
	assert_non_null(strstr(text, "the backend of web did not answer: reset"));
	free(text);
}

static void a_cancelled_change_ends_at_once_and_is_never_sent(void **state)
{
	struct call blocker = {.over = false}, c = {.over = false}, d = {.over = false};
	struct router_ticket *ticket, *second;

	set(&send_blocked, true);
	submit(session("api-2", "s2"), "a", &blocker, NULL);
	await(&in_send);
	submit(session("api-2", "s3"), "c", &c, &ticket);
	submit(session("api-2", "s4"), "d", &d, &second);
	router_cancel(r, ticket);
	await(&c.over); /* the gateway still hangs */
	assert_int_equal(c.error, -EINTR);
	assert_false(blocker.over);
	set(&send_blocked, false);
	await(&d.over);
	assert_int_equal(sends, 2);
	assert_string_equal(sent[1].path, "d");
}

static void cancelling_what_waits_for_the_backend_works_too(void **state)
{
	struct call c = {.over = false};
	struct router_ticket *ticket;

	set(&ensure_blocked, true);
	submit(session("api-2", "s2"), "c", &c, &ticket);
	await(&in_ensure);
	router_cancel(r, ticket);
	await(&c.over);
	assert_int_equal(c.error, -EINTR);
	set(&ensure_blocked, false);
}

static void cancelling_what_was_sent_lets_it_go_on(void **state)
{
	struct call c = {.over = false};
	struct router_ticket *ticket;

	set(&send_blocked, true);
	submit(session("api-2", "s2"), "c", &c, &ticket);
	await(&in_send);
	router_cancel(r, ticket);
	set(&send_blocked, false);
	await(&c.over);
	assert_int_equal(c.error, 0);
}

static void waiting_behind_a_hung_gateway_is_bounded(void **state)
{
	struct call blocker = {.over = false}, home = {.over = false}, foreign = {.over = false};
	char *text;

	config.lock_timeout_ms = 60;
	restart(state);
	set(&send_blocked, true);
	submit(session("api-2", "s2"), "a", &blocker, NULL);
	await(&in_send);
	wait_home(session("web-1", "s1"), &home, NULL);
	submit(session("api-2", "s3"), "b", &foreign, NULL);
	await(&home.over);
	assert_int_equal(home.error, -EBUSY);
	await(&foreign.over);
	assert_int_equal(foreign.error, -EBUSY);
	text = router_errors(r);
	assert_non_null(
		strstr(text, "web/b: EBUSY: the write turn of web was not free within 60 ms"));
	assert_non_null(strstr(text, "of api-2 has it"));
	free(text);
	set(&send_blocked, false);
	await(&blocker.over);
}

static void a_readonly_repo_refuses_foreigners_with_a_sentence(void **state)
{
	const struct router_caller caller = {.tid = 0};
	struct err e = ERR_INIT;
	struct router_pass pass;
	char name[] = "web", *text;

	policies[0] = (struct config_repo_policy){.repo = name, .policy = CONFIG_POLICY_READONLY};
	config.policies = policies;
	config.n_policies = 1;
	restart(state);
	assert_int_equal(router_begin(r, web, &caller, 1, &pass, &e), -EROFS);
	assert_non_null(strstr(e.text, "readonly"));
	text = router_errors(r);
	assert_non_null(strstr(text, "EROFS"));
	free(text);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	router_end(r, &pass, NULL);
}

static void the_file_lock_is_held_in_the_turn_and_given_back_when_idle(void **state)
{
	struct turnlock *other;
	struct router_pass pass;

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	assert_int_equal(turnlock_try(other, "main", false), -EAGAIN);
	router_end(r, &pass, NULL);
	assert_int_equal(turnlock_wait(other, "main", 10000), 0);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_WAIT);
	turnlock_close(other);
}

static void another_process_is_waited_for(void **state)
{
	struct call home = {.over = false}, foreign = {.over = false};
	struct turnlock *other;
	uint64_t epoch;

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(turnlock_try(other, "main", false), 0);
	assert_int_equal(turnlock_next_epoch(other, &epoch), 0);
	wait_home(session("web-1", "s1"), &home, NULL);
	submit(session("api-2", "s2"), "d", &foreign, NULL);
	while (!turnlock_wanted(other))
		sched_yield();
	assert_false(home.over);
	turnlock_release(other);
	await(&home.over);
	await(&foreign.over);
	assert_int_equal(foreign.error, 0);
	assert_true(sent[0].epoch > epoch);
	turnlock_close(other);
}

static void a_busy_holder_gives_way_to_another_process(void **state)
{
	struct turnlock *other;
	struct router_pass pass;
	uint32_t s = session("web-1", "s1");
	struct call c = {.over = false};

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(begin(s, &pass), ROUTER_HOME);
	assert_int_equal(turnlock_try(other, "main", true), -EAGAIN);
	router_end(r, &pass, NULL);
	/* Changes without a gap, until the mount must let the other one in. */
	while (begin(s, &pass) == ROUTER_HOME)
		router_end(r, &pass, NULL);
	assert_int_equal(router_wait(r, &pass, granted, &c, NULL), 0);
	while (turnlock_try(other, "main", true) != 0)
		sched_yield();
	assert_false(c.over);
	turnlock_release(other);
	await(&c.over);
	assert_int_equal(c.error, 0);
	turnlock_close(other);
}

static void a_waiter_that_gave_up_leaves_no_mark(void **state)
{
	struct call c = {.over = false};
	struct router_ticket *ticket;
	struct turnlock *other;

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(turnlock_try(other, "main", false), 0);
	wait_home(session("web-1", "s1"), &c, &ticket);
	while (!turnlock_wanted(other))
		sched_yield();
	router_cancel(r, ticket);
	await(&c.over);
	assert_int_equal(c.error, -EINTR);
	while (turnlock_wanted(other))
		sched_yield();
	turnlock_close(other);
}

static void a_switched_branch_is_another_turn(void **state)
{
	struct call a = {.over = false}, b = {.over = false};
	struct turnlock *other;

	submit(session("api-2", "s2"), "a", &a, NULL);
	await(&a.over);
	head(*state, "topic");
	usleep(2 * BRANCH_LOOK_MS * 1000); /* HEAD is looked at every 2 ms */
	submit(session("api-2", "s2"), "b", &b, NULL);
	await(&b.over);
	assert_string_equal(sent[0].branch, "main");
	assert_string_equal(sent[1].branch, "topic");
	assert_true(sent[1].epoch > sent[0].epoch);
	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(turnlock_try(other, "main", false), 0);
	turnlock_close(other);
}

static void waiters_are_shown_in_writer_json(void **state)
{
	struct call c = {.over = false};
	struct router_pass a;
	cJSON *j = NULL, *w;
	char path[80];

	snprintf(path, sizeof(path), "%s/writer.json", router_repo_info(web)->state_dir);
	assert_int_equal(begin(session("web-1", "s1"), &a), ROUTER_HOME);
	wait_home(session("web-1", "s2"), &c, NULL);
	while (json_read_file(AT_FDCWD, path, 1 << 20, &j, NULL) < 0)
		usleep(1000);
	assert_string_equal(json_str(j, "branch", ""), "main");
	assert_string_equal(json_str(cJSON_GetObjectItem(j, "holder"), "session", ""), "s1");
	w = cJSON_GetArrayItem(cJSON_GetObjectItem(j, "waiters"), 0);
	assert_string_equal(json_str(w, "session", ""), "s2");
	cJSON_Delete(j);
	router_end(r, &a, NULL);
	await(&c.over);
	while (access(path, F_OK) == 0)
		usleep(1000);
}

static void what_rrm_lock_runs_needs_no_turn_of_its_own(void **state)
{
	struct call c = {.over = false};
	struct turnlock *other;
	struct router_pass pass;
	struct mutation *m = mutation_new(MUTATION_MKDIR);

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(turnlock_try(other, "main", false), 0);
	assert_int_equal(begin(session("api-2", "s2"), &pass), ROUTER_FOREIGN);
	router_pass_borrow(&pass); /* as router_begin() does for a child of rrm lock */
	m->path = strdup("d");
	assert_int_equal(router_submit(r, &pass, m, done, &c, NULL), 0);
	await(&c.over);
	assert_int_equal(c.error, 0);
	assert_string_equal(sent[0].branch, "main");
	assert_true(sent[0].epoch > 0);
	turnlock_close(other);
}

static void home_changes_are_logged(void **state)
{
	struct router_pass pass;
	struct router_note note = {.op = MUTATION_WRITE, .key = 7, .path = "src/a.c", .bytes = 3};
	char path[80], *text = NULL;
	size_t len;

	snprintf(path, sizeof(path), "%s/home.jsonl", router_repo_info(web)->state_dir);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	assert_true(pass.note_path);
	router_end(r, &pass, &note);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	assert_false(pass.note_path);
	note.path = NULL;
	router_end(r, &pass, &note);
	r = router_free(r);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len), 0);
	assert_non_null(strstr(text, "\"path\":\"src/a.c\",\"writes\":2,\"bytes\":6"));
	free(text);
}

static struct {
	bool over;
	int error;
	char url[64];
} endpoint_got;

static void endpoint(void *arg, int error, const struct endpoint *ep, const char *sentence)
{
	pthread_mutex_lock(&lock);
	endpoint_got.error = error;
	snprintf(endpoint_got.url, sizeof(endpoint_got.url), "%s", ep ? ep->url : sentence);
	endpoint_got.over = true;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
}

static void an_endpoint_is_ensured_and_told(void **state)
{
	endpoint_got.over = false;
	assert_int_equal(router_endpoint(r, web, endpoint, NULL), 0);
	await(&endpoint_got.over);
	assert_int_equal(endpoint_got.error, 0);
	assert_string_equal(endpoint_got.url, "http://127.0.0.1:1");
	ensure_result = -ETIMEDOUT;
	endpoint_got.over = false;
	assert_int_equal(router_endpoint(r, web, endpoint, NULL), 0);
	await(&endpoint_got.over);
	assert_int_equal(endpoint_got.error, -ETIMEDOUT);
	assert_string_equal(endpoint_got.url, "no backend today");
}

static void ending_answers_everything_that_waits(void **state)
{
	struct call a = {.over = false}, b = {.over = false}, c = {.over = false};
	struct router_pass held;

	assert_int_equal(begin(session("web-1", "s1"), &held), ROUTER_HOME); /* never ends */
	wait_home(session("web-1", "s2"), &a, NULL);
	set(&ensure_blocked, true);
	submit(session("api-2", "s3"), "b", &b, NULL);
	submit(session("api-2", "s3"), "c", &c, NULL);
	await(&in_ensure);
	r = router_free(r); /* the ensure still hangs */
	assert_true(a.over && b.over && c.over);
	assert_int_equal(a.error, -EIO);
	assert_int_equal(b.error, -EIO);
	assert_int_equal(c.error, -EIO);
	set(&ensure_blocked, false);
}

static void a_repo_that_goes_answers_its_own(void **state)
{
	struct call b = {.over = false};

	set(&ensure_blocked, true);
	submit(session("api-2", "s3"), "b", &b, NULL);
	await(&in_ensure);
	router_repo_put(r, web);
	assert_int_equal(b.error, -EIO);
	set(&ensure_blocked, false);
}

/* ---- many at once ---- */

enum { WORKERS = 8, ROUNDS = 150 };

static _Atomic uint32_t inside; /* session that changes the repo now */
static _Atomic unsigned depth;
static _Atomic int overlaps;

static void enter(uint32_t s)
{
	if (atomic_fetch_add(&depth, 1) > 0 && atomic_load(&inside) != s)
		atomic_fetch_add(&overlaps, 1);
	atomic_store(&inside, s);
}

static int stress_send(struct client *c, const struct mutation *m, long timeout_ms,
		       struct mutation_answer *a, struct err *e)
{
	uint32_t s = sessions_intern(r->sessions, m->actor.home, m->actor.session);

	enter(s);
	sched_yield();
	atomic_fetch_sub(&depth, 1);
	return 0;
}

static void stress_granted(void *arg, int error, const struct router_pass *pass)
{
	struct call *c = arg;

	if (error == 0) {
		enter(pass->session);
		sched_yield();
		atomic_fetch_sub(&depth, 1);
		router_end(r, pass, NULL);
	}
	over(c, error);
}

static void one_change(uint32_t s, bool home)
{
	struct call c = {.over = false};
	struct router_ticket *ticket = NULL;
	struct mutation *m;

	switch (begin(s, &c.pass)) {
	case ROUTER_HOME:
		enter(s);
		sched_yield();
		atomic_fetch_sub(&depth, 1);
		router_end(r, &c.pass, NULL);
		return;
	case ROUTER_WAIT:
		assert_true(home);
		assert_int_equal(router_wait(r, &c.pass, stress_granted, &c, &ticket), 0);
		break;
	default:
		m = mutation_new(MUTATION_MKDIR);
		m->path = strdup("d");
		assert_int_equal(router_submit(r, &c.pass, m, done, &c, &ticket), 0);
	}
	await(&c.over);
	assert_int_equal(c.error, 0);
}

static void *worker(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;
	char name[16];
	uint32_t s;

	snprintf(name, sizeof(name), "s%u", n);
	s = session(n % 2 ? "web-1" : "api-2", name);
	for (int i = 0; i < ROUNDS; i++)
		one_change(s, n % 2);
	return NULL;
}

static void writers_of_many_sessions_never_overlap(void **state)
{
	pthread_t threads[WORKERS];

	config.linger_ms = 1;
	config.max_turn_ms = 5;
	config.lock_timeout_ms = 60000;
	restart(state);
	r->hooks.send = stress_send;
	atomic_store(&overlaps, 0);
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)i), 0);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&overlaps), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_home_write_begins_at_once_and_a_foreign_one_is_told_so),
		T(a_second_session_at_home_waits_until_the_first_is_idle),
		T(a_foreign_change_is_sent_in_its_turn),
		T(a_warm_gateway_is_not_ensured_again),
		T(an_error_of_the_gateway_is_the_result_and_is_noted),
		T(each_turn_has_a_higher_epoch_and_one_turn_one),
		T(changes_of_one_session_keep_their_order),
		T(a_starting_backend_does_not_hold_up_home_writers),
		T(no_backend_is_eio_with_its_sentence),
		T(a_dead_gateway_is_replaced_and_the_change_sent_again),
		T(a_gateway_that_never_answers_is_eio_in_the_end),
		T(a_cancelled_change_ends_at_once_and_is_never_sent),
		T(cancelling_what_waits_for_the_backend_works_too),
		T(cancelling_what_was_sent_lets_it_go_on),
		T(waiting_behind_a_hung_gateway_is_bounded),
		T(a_readonly_repo_refuses_foreigners_with_a_sentence),
		T(the_file_lock_is_held_in_the_turn_and_given_back_when_idle),
		T(another_process_is_waited_for),
		T(a_busy_holder_gives_way_to_another_process),
		T(a_waiter_that_gave_up_leaves_no_mark),
		T(a_switched_branch_is_another_turn),
		T(waiters_are_shown_in_writer_json),
		T(what_rrm_lock_runs_needs_no_turn_of_its_own),
		T(home_changes_are_logged),
		T(an_endpoint_is_ensured_and_told),
		T(ending_answers_everything_that_waits),
		T(a_repo_that_goes_answers_its_own),
		T(writers_of_many_sessions_never_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
