/* The router and what is beside it: other processes, other branches, files, its end, many threads. */
#include "tests/unit/fake_gateway.h"

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
	assert_false(is_over(&home));
	turnlock_release(other);
	await(&home.over);
	await(&foreign.over);
	assert_int_equal(foreign.error, 0);
	assert_true(sent[0].epoch > epoch);
	turnlock_close(other);
}

/* The mount gave the lock back after since_ms at the earliest: is it still for the other process? */
static bool in_time(uint64_t since_ms)
{
	return clock_mono_ms() - since_ms < ROUTER_LOCK_AWAY_TIMES * ROUTER_LOCK_AWAY_MS;
}

static void a_busy_holder_gives_way_to_another_process(void **state)
{
	struct turnlock *other;
	struct router_pass pass;
	uint32_t s = session("web-1", "s1");
	struct call c = {.over = false};
	uint64_t asked_ms;

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(begin(s, &pass), ROUTER_HOME);
	assert_int_equal(turnlock_try(other, "main", true), -EAGAIN);
	router_end(r, &pass, NULL);
	/* Changes without a gap, until the mount must let the other one in. */
	while (asked_ms = clock_mono_ms(), begin(s, &pass) == ROUTER_HOME)
		router_end(r, &pass, NULL);
	assert_int_equal(router_wait(r, &pass,
				     &(struct router_note){.op = MUTATION_WRITE, .path = "f"},
				     granted, &c, NULL),
			 0);
	while (turnlock_try(other, "main", true) != 0)
		sched_yield();
	/* Who is stopped here comes too late. */
	assert_true(!is_over(&c) || !in_time(asked_ms));
	turnlock_release(other);
	await(&c.over);
	assert_int_equal(c.error, 0);
	turnlock_close(other);
}

static _Atomic bool enough;

static void *write_without_end(void *arg)
{
	uint32_t s = session("web-1", "s1");

	while (!atomic_load(&enough)) {
		struct call c = {.over = false};
		int verdict = begin(s, &c.pass);

		if (verdict == ROUTER_HOME) {
			router_end(r, &c.pass, NULL);
			continue;
		}
		assert_int_equal(verdict, ROUTER_WAIT);
		assert_int_equal(router_wait(r, &c.pass,
					     &(struct router_note){.op = MUTATION_WRITE}, granted,
					     &c, NULL),
				 0);
		await(&c.over);
	}
	return NULL;
}

/* It was told that the turn is free, and the machine let it run 100 ms later: the turn is still free. */
static void who_was_given_way_to_is_waited_for(void **state)
{
	uint64_t taken_ms, now_ms;
	struct turnlock *other;
	unsigned tries = 0;
	pthread_t writer;
	bool got;

	config.max_turn_ms = 100;
	restart(state);
	enough = false;
	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, write_without_end, NULL), 0);
	while (turnlock_try(other, "main", true) == 0) {
		turnlock_release(other);
		sched_yield();
	}
	do {
		/* taken_ms: of the last look that found it taken; 0: who knows when it was given back */
		taken_ms = 0;
		while (now_ms = clock_mono_ms(), turnlock_taken(other, "main")) {
			taken_ms = now_ms;
			usleep(100);
		}
		usleep(100000);
		got = turnlock_try(other, "main", true) == 0;
		if (!got && in_time(taken_ms))
			tries++;
	} while (!got && tries < 100);
	assert_in_range(tries, 0, 2);
	enough = true;
	turnlock_close(other);
	pthread_join(writer, NULL);
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

/* No thread of web is at work: one that was stopped in the middle of a look at HEAD would find the old one. */
static void await_rest(void)
{
	bool rest = false;

	while (!rest) {
		usleep(1000);
		pthread_mutex_lock(&web->lock);
		rest = web->submit.wake_at && web->keeper.wake_at;
		pthread_mutex_unlock(&web->lock);
	}
}

static void a_switched_branch_is_another_turn(void **state)
{
	struct call a = {.over = false}, b = {.over = false};
	struct turnlock *other;

	config.linger_ms = config.max_turn_ms = 600000; /* the turn ends by nothing else */
	restart(state);
	submit(session("api-2", "s2"), "a", &a, NULL);
	await(&a.over);
	await_rest();
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

/* HEAD named another branch for a while, whose writer counted; the turn of this one is as good as before. */
static void a_turn_that_another_branch_outran_counts_anew(void **state)
{
	struct call a = {.over = false}, b = {.over = false}, stale = {.over = false};
	struct turnlock *other;
	uint64_t between;

	config.linger_ms = 600000;
	restart(state);
	submit(session("api-2", "s2"), "a", &a, NULL);
	await(&a.over);
	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(turnlock_next_epoch(other, &between), 0);
	assert_true(between > sent[0].epoch);
	fence = between;
	submit(session("api-2", "s2"), "b", &b, NULL);
	await(&b.over);
	assert_int_equal(b.error, 0);
	assert_int_equal(b.result, 0);
	assert_int_equal(sends, 3);
	assert_int_equal(sent[1].epoch, sent[0].epoch);
	assert_true(sent[2].epoch > between);
	assert_string_equal(sent[1].id, sent[2].id);
	/* The gateway's ESTALE for another reason is the call's result. */
	submit(session("api-2", "s2"), "stale", &stale, NULL);
	await(&stale.over);
	assert_int_equal(stale.result, ESTALE);
	assert_int_equal(sends, 4);
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

/* In the explicit turn of that epoch, which this process holds. */
static void lend(struct router_pass *pass, uint64_t epoch)
{
	struct proc_stat self;

	assert_int_equal(proc_stat(getpid(), &self), 0);
	pass->borrowed = true;
	pass->holder_pid = self.pid;
	pass->holder_start = self.start;
	pass->epoch = epoch;
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
	lend(&pass, 0); /* as router_begin() does for a child of rrm lock */
	m->path = strdup("d");
	assert_int_equal(router_submit(r, &pass, m, done, &c, NULL), 0);
	await(&c.over);
	assert_int_equal(c.error, 0);
	assert_string_equal(sent[0].branch, "main");
	assert_true(sent[0].epoch > 0);
	turnlock_close(other);
}

/* 0 and 1: of the turn. 2 and 3: another branch had one in between. 4 and 5: the next explicit turn. */
static void a_change_under_a_turn_is_in_its_epoch_or_the_newest(void **state)
{
	struct turnlock *other;
	uint64_t first, between, second;

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(turnlock_try(other, "main", false), 0);
	assert_int_equal(turnlock_next_epoch(other, &first), 0);
	second = first;
	for (int i = 0; i < 6; i++) {
		struct mutation *m = mutation_new(MUTATION_MKDIR);
		struct call c = {.over = false};
		struct router_pass pass;

		if (i == 2)
			assert_int_equal(turnlock_next_epoch(other, &between), 0);
		if (i == 4)
			assert_int_equal(turnlock_next_epoch(other, &second), 0);
		assert_int_equal(begin(session("api-2", "s2"), &pass), ROUTER_FOREIGN);
		lend(&pass, second);
		m->path = strdup("d");
		assert_int_equal(router_submit(r, &pass, m, done, &c, NULL), 0);
		await(&c.over);
	}
	assert_true(sent[0].epoch == first && sent[1].epoch == first);
	assert_true(sent[2].epoch > between && sent[2].epoch == sent[3].epoch);
	assert_true(sent[4].epoch == second && sent[5].epoch == second);
	turnlock_close(other);
}

static void whose_explicit_turn_is_gone_waits_for_one_of_its_own(void **state)
{
	struct turnlock *other;
	struct mutation *m = mutation_new(MUTATION_MKDIR);
	struct call c = {.over = false};
	struct router_pass pass;

	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	assert_int_equal(turnlock_try(other, "main", false), 0);
	assert_int_equal(begin(session("api-2", "s2"), &pass), ROUTER_FOREIGN);
	lend(&pass, 1);
	pass.holder_start--;
	m->path = strdup("d");
	assert_int_equal(router_submit(r, &pass, m, done, &c, NULL), 0);
	usleep(20000);
	assert_false(is_over(&c));
	turnlock_release(other);
	await(&c.over);
	assert_int_equal(c.error, 0);
	turnlock_close(other);
}

struct lent {
	struct router_pass pass;
	struct call call;
};

static void *submit_lent(void *arg)
{
	struct lent *l = arg;
	struct mutation *m = mutation_new(MUTATION_MKDIR);

	m->path = strdup("d");
	assert_int_equal(router_submit(r, &l->pass, m, done, &l->call, NULL), 0);
	return NULL;
}

static bool holds(const void *what)
{
	LOCK_SCOPE(&web->lock);
	return what == &web->lock_busy ? web->lock_busy : web->urgent != NULL;
}

static bool within_a_moment(const void *what)
{
	for (int i = 0; i < 200 && !holds(what); i++)
		usleep(1000);
	return holds(what);
}

static bool branch_held, branch_let_go;

/* A thread of its own: who has branch.lock must not ask for the repo's. */
static void *hold_branch(void *arg)
{
	pthread_mutex_lock(&web->branch.lock);
	set(&branch_held, true);
	await(&branch_let_go);
	pthread_mutex_unlock(&web->branch.lock);
	return NULL;
}

/*
 * What goes in an explicit turn comes while our own thread tries for the lock, held up there as long as another has
 * branch.lock. False: it was held up elsewhere, where that lock is needed too.
 */
static bool come_in_between(struct lent *first, struct lent *second, struct call *waits)
{
	bool between;
	pthread_t t, holder;

	branch_held = branch_let_go = false;
	set(&send_blocked, true);
	submit_lent(first);
	await(&in_send);
	submit(session("api-2", "s3"), "e", waits, NULL);
	assert_int_equal(pthread_create(&holder, NULL, hold_branch, NULL), 0);
	await(&branch_held);
	atomic_store(&web->branch.looked_ms, clock_mono_ms());
	set(&send_blocked, false);
	between = within_a_moment(&web->lock_busy);
	atomic_store(&web->branch.looked_ms, clock_mono_ms());
	assert_int_equal(pthread_create(&t, NULL, submit_lent, second), 0);
	between = between && within_a_moment(&web->urgent);
	set(&branch_let_go, true);
	pthread_join(holder, NULL);
	pthread_join(t, NULL);
	return between;
}

static void who_tries_for_the_lock_forgets_nobody(void **state)
{
	struct turnlock *other;
	bool between = false;

	/* Then it would look again in any case. */
	r->hooks.idle_ms = web->turn.timeout_ms = 60000;
	assert_int_equal(turnlock_open(&other, router_repo_info(web)->state_dir, NULL), 0);
	for (int i = 0; i < 100 && !between; i++) {
		struct lent lent[2] = {{.call = {.over = false}}, {.call = {.over = false}}};
		struct call waits = {.over = false};

		while (turnlock_try(other, "main", false) != 0)
			usleep(1000);
		for (int k = 0; k < 2; k++) {
			assert_int_equal(begin(session("api-2", "s2"), &lent[k].pass),
					 ROUTER_FOREIGN);
			lend(&lent[k].pass, 0);
		}
		between = come_in_between(&lent[0], &lent[1], &waits);
		for (int ms = 0; ms < 20000 && !is_over(&lent[1].call); ms++)
			usleep(1000);
		assert_true(is_over(&lent[0].call) && is_over(&lent[1].call));
		turnlock_release(other);
		await(&waits.over);
	}
	assert_true(between);
	turnlock_close(other);
}

static bool keeper_held, keeper_let_go;

/* The keeper runs it: until it may go on, it neither gives a turn back nor writes a log. */
static void hold_keeper(void *arg, int error, const struct endpoint *ep, const char *sentence)
{
	set(&keeper_held, true);
	await(&keeper_let_go);
}

static void home_changes_are_logged(void **state)
{
	struct router_pass pass;
	struct router_note note = {.op = MUTATION_WRITE, .key = 7, .path = "src/a.c", .bytes = 3};
	char path[80], *text = NULL;
	size_t len;

	keeper_held = keeper_let_go = false;
	assert_int_equal(router_endpoint(r, web, hold_keeper, NULL), 0);
	await(&keeper_held);
	snprintf(path, sizeof(path), "%s/home.jsonl", router_repo_info(web)->state_dir);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	assert_true(pass.note_path);
	router_end(r, &pass, &note);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	assert_false(pass.note_path);
	note.path = NULL;
	router_end(r, &pass, &note);
	/* sed -i: the new name of what was just made is news, too */
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	note = (struct router_note){
		.op = MUTATION_RENAME, .key = 7, .path = "src/sedX", .path2 = "src/b.c"};
	router_end(r, &pass, &note);
	set(&keeper_let_go, true);
	r = router_free(r);
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len), 0);
	assert_non_null(strstr(text, "\"path\":\"src/sedX\",\"path2\":\"src/b.c\",\"writes\":3,"
				     "\"bytes\":6"));
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
	assert_true(is_over(&a) && is_over(&b) && is_over(&c));
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
		assert_int_equal(
			router_wait(r, &c.pass,
				    &(struct router_note){.op = MUTATION_WRITE, .path = "f"},
				    stress_granted, &c, &ticket),
			0);
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
		T(the_file_lock_is_held_in_the_turn_and_given_back_when_idle),
		T(another_process_is_waited_for),
		T(a_busy_holder_gives_way_to_another_process),
		T(who_was_given_way_to_is_waited_for),
		T(a_waiter_that_gave_up_leaves_no_mark),
		T(a_switched_branch_is_another_turn),
		T(a_turn_that_another_branch_outran_counts_anew),
		T(waiters_are_shown_in_writer_json),
		T(what_rrm_lock_runs_needs_no_turn_of_its_own),
		T(a_change_under_a_turn_is_in_its_epoch_or_the_newest),
		T(whose_explicit_turn_is_gone_waits_for_one_of_its_own),
		T(who_tries_for_the_lock_forgets_nobody),
		T(home_changes_are_logged),
		T(an_endpoint_is_ensured_and_told),
		T(ending_answers_everything_that_waits),
		T(a_repo_that_goes_answers_its_own),
		T(writers_of_many_sessions_never_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
