/* Home and foreign requests of one mount. */
#include "tests/unit/fake_gateway.h"

#include <signal.h>
#include <sys/wait.h>

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
	assert_false(is_over(&c));
	c.keep = true; /* else the turn may be given back before the next one comes */
	router_end(r, &a, NULL);
	await(&c.over);
	assert_int_equal(c.error, 0);
	assert_int_equal(begin(session("web-1", "s2"), &a), ROUTER_HOME);
	router_end(r, &a, NULL);
	router_end(r, &c.pass, NULL);
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

static void linger(uint32_t ms)
{
	pthread_mutex_lock(&web->lock);
	web->turn.linger_ms = ms;
	pthread_mutex_unlock(&web->lock);
}

static void each_turn_has_a_higher_epoch_and_one_turn_one(void **state)
{
	struct call c[6] = {{.over = false}};

	for (int i = 0; i < 6; i++) {
		if (i % 3 == 0) /* the turn of the one before ends */
			linger(10);
		set(&send_blocked, true);
		submit(session("api-2", i < 3 ? "s1" : "s2"), "d", &c[i], NULL);
		await(&in_send);
		linger(600000); /* from here on no pause of the machine ends this one */
		set(&send_blocked, false);
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

/* The threads of a repo ended after 10 s without work, and a backend took longer to start: nobody was
 * there to send the request, or to answer it. */
static void a_backend_that_starts_slower_than_threads_stay_is_waited_for(void **state)
{
	for (int result = 0; result >= -ETIMEDOUT; result -= ETIMEDOUT) {
		struct call c = {.over = false};
		bool alive = true;

		pthread_mutex_lock(&web->lock);
		r->hooks.idle_ms = 1;
		pthread_mutex_unlock(&web->lock);
		ensure_result = result;
		set(&ensure_blocked, true);
		submit(session("api-2", "s2"), "d", &c, NULL);
		await(&in_ensure);
		for (uint64_t end = clock_mono_ms() + 100; alive && clock_mono_ms() < end;) {
			pthread_mutex_lock(&web->lock);
			alive = web->submit.alive && web->keeper.alive;
			pthread_mutex_unlock(&web->lock);
		}
		assert_true(alive);
		set(&ensure_blocked, false);
		await(&c.over);
		assert_int_equal(c.error, result ? -EIO : 0);
		pthread_mutex_lock(&web->lock);
		web->backend_good = false;
		pthread_mutex_unlock(&web->lock);
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
	assert_false(is_over(&foreign));
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
	assert_false(is_over(&blocker));
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

static void on_signal(int sig)
{
}

/* A process that handles SIGUSR1 and is stopped. */
static pid_t stopped_child(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGUSR1, on_signal);
		for (;;)
			raise(SIGSTOP);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void submit_of(pid_t pid, uint32_t s, struct call *c, struct router_ticket **ticket)
{
	struct mutation *m = mutation_new(MUTATION_MKDIR);

	m->path = strdup("c");
	assert_int_equal(begin(s, &c->pass), ROUTER_FOREIGN);
	c->pass.tid = pid;
	assert_int_equal(router_submit(r, &c->pass, m, done, c, ticket), 0);
}

/* Whoever is stopped, traced or frozen goes on waiting; what is signalled then is seen although the kernel says it no more. */
static void a_stop_ends_no_wait(void **state)
{
	struct call first = {.over = false}, c = {.over = false};
	struct router_ticket *ticket;
	pid_t pid = stopped_child();

	set(&send_blocked, true);
	submit(session("api-2", "s2"), "a", &first, NULL);
	await(&in_send);
	submit_of(pid, session("api-2", "s3"), &c, &ticket);
	router_cancel(r, ticket);
	usleep(3 * ROUTER_EINTR_MS * 1000);
	assert_false(is_over(&c));
	kill(pid, SIGUSR1);
	await(&c.over);
	assert_int_equal(c.error, -EINTR);
	assert_false(is_over(&first));
	set(&send_blocked, false);
	await(&first.over);
	end_child(pid);
}

static void a_stop_does_not_end_waiting_for_the_backend(void **state)
{
	struct call c = {.over = false}, d = {.over = false};
	struct router_ticket *ticket;
	pid_t pid = stopped_child(), other = stopped_child();

	set(&ensure_blocked, true);
	submit_of(pid, session("api-2", "s2"), &c, &ticket);
	await(&in_ensure);
	router_cancel(r, ticket);
	submit_of(other, session("api-2", "s3"), &d, &ticket);
	router_cancel(r, ticket);
	usleep(3 * ROUTER_EINTR_MS * 1000);
	assert_false(is_over(&c));
	end_child(other);
	await(&d.over);
	assert_int_equal(d.error, -EINTR);
	set(&ensure_blocked, false);
	await(&c.over);
	assert_int_equal(c.error, 0);
	assert_int_equal(sends, 1);
	end_child(pid);
}

static void a_signal_does_not_wait_for_another_backend(void **state)
{
	pid_t pid = stopped_child();
	struct call first = {.over = false}, c = {.over = false};
	struct router_ticket *ticket;

	set(&send_blocked, true);
	submit(session("api-2", "s2"), "a", &first, NULL);
	await(&in_send);
	submit_of(pid, session("api-2", "s3"), &c, &ticket);
	kill(pid, SIGUSR1);
	router_cancel(r, ticket); /* it may still get the turn, for a moment */
	set(&ensure_blocked, true);
	send_failures = 1;
	set(&send_blocked, false); /* the backend is gone, and its successor does not start */
	await(&c.over);
	assert_int_equal(c.error, -EINTR);
	assert_false(is_over(&first));
	set(&ensure_blocked, false);
	await(&first.over);
	assert_int_equal(first.error, 0);
	assert_int_equal(sends, 2);
	end_child(pid);
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

	set(&send_blocked, true);
	submit(session("api-2", "s2"), "a", &blocker, NULL);
	await(&in_send);
	/* Not before: the blocker itself could wait that long until it is sent. */
	pthread_mutex_lock(&web->lock);
	web->turn.timeout_ms = 60;
	pthread_mutex_unlock(&web->lock);
	wait_home(session("web-1", "s1"), &home, NULL);
	submit(session("api-2", "s3"), "b", &foreign, NULL);
	await(&home.over);
	assert_int_equal(home.error, -EBUSY);
	await(&foreign.over);
	assert_int_equal(foreign.error, -EBUSY);
	text = router_errors(r);
	assert_non_null(
		strstr(text, "web/b: EBUSY: the write turn of web was not free within 60 ms"));
	assert_non_null(strstr(text, "of api-2 (session s2) since 2"));
	assert_non_null(strstr(text, " for a has it; try again later"));
	free(text);
	set(&send_blocked, false);
	await(&blocker.over);
}

static struct config_repo_policy policies[1];

static void a_readonly_repo_refuses_foreigners_with_a_sentence(void **state)
{
	const struct router_caller caller = {.tid = 0};
	const struct router_note what = {.op = MUTATION_MKDIR, .path = "src/d"};
	struct router_pass pass;
	char name[] = "web", *text;

	policies[0] = (struct config_repo_policy){.repo = name, .policy = CONFIG_POLICY_READONLY};
	config.policies = policies;
	config.n_policies = 1;
	restart(state);
	assert_int_equal(router_begin(r, web, &caller, 1, &pass), -EROFS);
	router_refused(r, &pass, &what);
	text = router_errors(r);
	assert_non_null(strstr(text, "mkdir web/src/d: EROFS: web takes no writes"));
	free(text);
	assert_int_equal(begin(session("web-1", "s1"), &pass), ROUTER_HOME);
	router_end(r, &pass, NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_home_write_begins_at_once_and_a_foreign_one_is_told_so),
		T(a_second_session_at_home_waits_until_the_first_is_idle),
		T(a_foreign_change_is_sent_in_its_turn),
		T(a_backend_that_starts_slower_than_threads_stay_is_waited_for),
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
		T(a_stop_ends_no_wait),
		T(a_stop_does_not_end_waiting_for_the_backend),
		T(a_signal_does_not_wait_for_another_backend),
		T(cancelling_what_was_sent_lets_it_go_on),
		T(waiting_behind_a_hung_gateway_is_bounded),
		T(a_readonly_repo_refuses_foreigners_with_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
