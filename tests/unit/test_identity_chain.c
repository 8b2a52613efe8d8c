#include "tests/unit/fake_world.h"

/* What is remembered of callers and their ancestors, and for how long. */

static void a_known_caller_costs_no_look_at_proc(void **state)
{
	unsigned before;

	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
	before = n_stats;
	for (int i = 0; i < 100; i++)
		is(20, 2, "web-1", "20-1020");
	assert_int_equal(n_stats, before);
	now += 5;
	is(20, 2, "web-1", "20-1020");
	assert_in_range(n_stats - before, 1, 2);
}

static void ten_deep(void)
{
	for (pid_t p = 20; p < 30; p++)
		add(p, p == 20 ? 10 : p - 1, p == 24 ? "/m/web" : "/tmp");
}

static void the_ancestors_of_a_second_child_are_not_read_again(void **state)
{
	unsigned stats, cwds, looked;

	session_stamp = 7;
	ten_deep();
	add(40, 29, "/tmp");
	add(41, 29, "/tmp");
	is(40, 2, "web-1", "24-1024");
	stats = n_stats, cwds = n_cwds, looked = n_sessions;
	is(41, 2, "web-1", "24-1024");
	assert_int_equal(n_stats - stats, 1);
	assert_int_equal(n_cwds - cwds, 0);
	assert_int_equal(n_sessions - looked, 1);
	assert_int_equal(n_open, 12);
}

static void an_ancestor_that_ended_is_read_anew_with_all_of_them(void **state)
{
	ten_deep();
	add(40, 29, "/tmp");
	add(41, 29, "/tmp");
	is(40, 2, "web-1", "24-1024");
	at(24)->gone = true;
	at(25)->ppid = 10; /* a subreaper */
	is(41, 3, "", "41-1041");
	add(24, 10, "/m/api")->start = 5000; /* the pid is used again, by no ancestor */
	now += 5;
	is(41, 3, "", "41-1041");
}

static void a_remembered_parent_with_a_new_parent_is_read_anew(void **state)
{
	add(20, 10, "/m/web");
	add(21, 20, "/tmp");
	add(22, 21, "/tmp");
	add(23, 21, "/tmp");
	at(10)->gone = true; /* 20 is all of the chain that is known, then */
	is(22, 2, "web-1", "20-1020");
	at(20)->gone = true;
	at(21)->ppid = 1;
	is(23, 3, "", "23-1023");
}

static void an_ancestor_that_walks_is_followed_within_5_ms(void **state)
{
	add(20, 10, "/m/web");
	add(21, 20, "/tmp");
	add(22, 20, "/tmp");
	is(21, 2, "web-1", "20-1020");
	at(20)->cwd = "/m/api";
	now += 5;
	is(22, 2, "api-2", "20-1020");
}

static void a_session_of_rrm_run_that_begins_is_seen_at_once(void **state)
{
	session_stamp = 7;
	add(20, 10, "/tmp");
	add(21, 20, "/tmp");
	add(22, 20, "/tmp");
	is(21, 3, "", "21-1021");
	register_session("api-2", "run-20-abc", 20, 1020);
	session_stamp = 8;
	is(22, 1, "api-2", "run-20-abc");
	is(22, 1, "api-2", "run-20-abc");
}

static void remembered_ancestors_are_bounded(void **state)
{
	for (pid_t p = 1000; p < 1150; p++) {
		n_procs = 2;
		n_handles %= 400; /* enough of them are closed by then */
		if (n_handles < 100)
			while (handles[n_handles].open)
				n_handles++;
		add(p, 10, "/m/web");
		add(p + 5000, p, "/tmp");
		assert_string_equal(who_is(p + 5000).home, "web-1");
		assert_in_range(n_open, 1, 128);
	}
}

static void many_callers_do_not_grow_the_cache_without_bound(void **state)
{
	at(10)->cwd = "/m/web";
	for (pid_t p = 100; p < 20000; p++) {
		n_procs = 2;
		add(p, 10, "/tmp");
		is(p, 2, "web-1", "10-1010");
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_known_caller_costs_no_look_at_proc),
		T(the_ancestors_of_a_second_child_are_not_read_again),
		T(an_ancestor_that_ended_is_read_anew_with_all_of_them),
		T(a_remembered_parent_with_a_new_parent_is_read_anew),
		T(an_ancestor_that_walks_is_followed_within_5_ms),
		T(a_session_of_rrm_run_that_begins_is_seen_at_once),
		T(remembered_ancestors_are_bounded),
		T(many_callers_do_not_grow_the_cache_without_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
