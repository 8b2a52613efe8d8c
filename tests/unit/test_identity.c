#include "tests/unit/fake_world.h"

static void a_person_who_walks_into_the_mount_is_at_home_there(void **state)
{
	is(10, 3, "", "10-1010");
	at(10)->cwd = "/m/web/src";
	now += 5;
	is(10, 2, "web-1", "10-1010");
	at(10)->cwd = "/m/api";
	now += 5;
	is(10, 2, "api-2", "10-1010");
}

static void a_child_that_goes_elsewhere_stays_at_home(void **state)
{
	add(20, 10, "/m/web");
	add(21, 20, "/m/api");
	add(22, 21, "/m/api/src");
	is(22, 2, "web-1", "20-1020");
	is(20, 2, "web-1", "20-1020");
	assert_int_equal(who_is(22).session_id, who_is(20).session_id);
}

static void the_topmost_counts_even_when_it_is_the_last_to_come(void **state)
{
	add(20, 10, "/m/api");
	is(20, 2, "api-2", "20-1020");
	at(10)->cwd = "/m/web";
	now += 1000; /* a new topmost is looked for at least each second */
	is(20, 2, "web-1", "10-1010");
}

static void a_nested_repo_owns_its_directory(void **state)
{
	add(20, 10, "/m/web/lib/sub/x");
	add(30, 1, "/m/web/lib");
	add(40, 1, "/m/sub");
	is(20, 2, "sub-3", "20-1020");
	is(30, 2, "web-1", "30-1030");
	is(40, 2, "sub-3", "40-1040");
}

static void a_removed_directory_is_still_a_home(void **state)
{
	add(20, 10, "/m/web/gone (deleted)");
	add(30, 1, "/m/api (deleted)");
	is(20, 2, "web-1", "20-1020");
	is(30, 2, "api-2", "30-1030");
}

static void what_is_no_repo_in_the_mount_is_no_home(void **state)
{
	add(20, 10, "/m");
	add(21, 20, "/m/.rrm");
	add(22, 10, "/m/webx");
	add(23, 10, "/mnt/web");
	add(24, 10, "/srv/web");
	for (pid_t p = 20; p <= 24; p++)
		assert_int_equal(who_is(p).rule, 3);
}

static void the_mount_root_above_does_not_hide_a_repo_below(void **state)
{
	add(20, 10, "/m");
	add(21, 20, "/m/web");
	is(21, 2, "web-1", "21-1021");
}

static void a_backend_and_its_children_are_at_home(void **state)
{
	register_backend("web-1", 50, 1050, 7);
	add(50, 1, "/m/web");
	add(51, 50, "/m/api");
	add(52, 51, "/tmp");
	is(50, 1, "web-1", "50-1050");
	is(52, 1, "web-1", "50-1050");
	at(51)->environ = "A=b\nRRM_SESSION=ses_42\nC=";
	now += 1000;
	is(51, 1, "web-1", "ses_42");
}

static void a_backend_that_comes_up_is_known_within_100_ms(void **state)
{
	add(50, 1, "/tmp");
	assert_int_equal(who_is(50).rule, 3);
	register_backend("web-1", 50, 1050, 7);
	now += 100;
	is(50, 1, "web-1", "50-1050");
	backends[0].stamp = 8, backends[0].pid = 60;
	now += 100;
	assert_int_equal(who_is(50).rule, 3);
}

static void a_reused_pid_of_a_backend_is_not_the_backend(void **state)
{
	register_backend("web-1", 50, 77, 7);
	add(50, 1, "/tmp");
	is(50, 3, "", "50-1050");
}

static void the_nearest_registered_ancestor_wins(void **state)
{
	register_backend("web-1", 50, 1050, 7);
	register_session("api-2", "run-51-abc", 51, 1051);
	add(50, 1, "/m/web");
	add(51, 50, "/m/web");
	add(52, 51, "/m/web");
	is(52, 1, "api-2", "run-51-abc");
	is(50, 1, "web-1", "50-1050");
}

static void an_orphan_keeps_its_home_by_its_environment(void **state)
{
	add(60, 1, "/m/web")->environ = "RRM_HOME_REPO=api-2\nRRM_SESSION=ses_7";
	is(60, 1, "api-2", "ses_7");
	add(61, 1, "/m/web")->environ = "RRM_HOME_REPO=no-such-repo";
	is(61, 2, "web-1", "61-1061");
	register_backend("web-1", 50, 1050, 7);
	add(50, 1, "/");
	add(62, 1, "/tmp")->environ = "OPENCODE_PID=50";
	now += 100;
	is(62, 1, "web-1", "50-1050");
	add(63, 1, "/tmp")->environ = "OPENCODE_PID=51";
	is(63, 3, "", "63-1063");
}

static void a_thread_is_its_process(void **state)
{
	struct identity who;

	add(20, 10, "/m/web");
	*add(25, 10, NULL) = (struct fake){.pid = 25, .tgid = 20, .start = 1999, .environ = ""};
	who = who_is(25);
	assert_int_equal(who.pid, 20);
	assert_string_equal(who.comm, "p20");
	assert_string_equal(who.home, "web-1");
}

static void a_reused_thread_id_is_somebody_else(void **state)
{
	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
	*at(20) = (struct fake){.pid = 20,
				.tgid = 20,
				.ppid = 1,
				.pgid = 20,
				.start = 5555,
				.cwd = "/m/api",
				.environ = ""};
	now += 5;
	is(20, 2, "api-2", "20-5555");
}

static void what_cannot_be_read_is_rule_3(void **state)
{
	struct fake *p = add(20, 10, NULL);

	is(20, 3, "", "20-1020");
	p->environ = NULL;
	now += 5;
	is(20, 3, "", "20-1020");
	assert_int_equal(who_is(999).rule, 3);
	assert_int_equal(who_is(0).rule, 3);
	assert_int_equal(who_is(-4).by, IDENTITY_BY_KERNEL);
}

static void an_unreadable_ancestor_does_not_count(void **state)
{
	at(10)->cwd = NULL;
	at(1)->cwd = NULL;
	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
}

static void a_process_without_home_goes_by_its_group(void **state)
{
	add(20, 10, "/tmp");
	add(21, 20, "/tmp")->pgid = 20;
	is(21, 3, "", "20-1020");
	at(20)->gone = true;
	now += 5;
	is(21, 3, "", "21-1021");
}

static void a_reused_parent_pid_is_no_ancestor(void **state)
{
	add(20, 10, "/m/web")->start = 99999;
	add(21, 20, "/tmp");
	is(21, 3, "", "21-1021");
}

static void a_loop_of_parents_ends(void **state)
{
	add(20, 21, "/tmp")->start = 5;
	add(21, 20, "/tmp")->start = 5;
	assert_int_equal(who_is(20).rule, 3);
}

static void a_repo_that_comes_or_goes_is_noticed_at_once(void **state)
{
	add(20, 10, "/m/new");
	assert_int_equal(who_is(20).rule, 3);
	add_repo("new-4", "/srv/new", "new");
	is(20, 2, "new-4", "20-1020");
	identities_remove_repo(ids, "new-4");
	assert_int_equal(who_is(20).rule, 3);
}

static void setsid_and_nohup_change_nothing(void **state)
{
	register_backend("web-1", 50, 1050, 7);
	add(50, 1, "/srv/web");
	add(51, 50, "/tmp")->pgid = 51; /* its own session */
	add(52, 51, "/m/api");
	is(52, 1, "web-1", "50-1050");
	at(51)->gone = true; /* and then init's child: its environment tells */
	at(52)->ppid = 1;
	at(52)->environ = "OPENCODE_PID=50";
	now += 1000;
	is(52, 1, "web-1", "50-1050");
}

static void a_daemon_without_a_home_is_nobodys(void **state)
{
	add(60, 1, "/");
	add(61, 60, "/var/spool");
	is(61, 3, "", "61-1061");
}

static void a_process_of_another_pid_namespace_is_the_kernels(void **state)
{
	struct identity who = who_is(0);

	assert_int_equal(who.rule, 3);
	assert_int_equal(who.by, IDENTITY_BY_KERNEL);
	assert_string_equal(who.home, "");
}

static void a_process_whose_parent_is_in_another_namespace_is_judged_alone(void **state)
{
	add(70, 0, "/m/web");
	is(70, 2, "web-1", "70-1070");
}

static void a_caller_that_ended_is_rule_3_and_not_remembered(void **state)
{
	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
	at(20)->gone = true;
	now += 5;
	assert_int_equal(who_is(20).rule, 3);
	add(20, 10, "/m/api")->start = 7000;
	is(20, 2, "api-2", "20-7000");
}

static void turns_inside_one_another_are_all_known(void **state)
{
	struct identity who;

	add(20, 10, "/m/web");
	add(21, 20, "/m/web");
	add(22, 21, "/m/web")->environ =
		"RRM_TURN=api-2 web-1\nRRM_TURN_HOLDER=21-1021-5 20-1020--1";
	who = who_is(22);
	assert_int_equal(who.held.n, 2);
	assert_ptr_equal(held_find(&who.held, "api-2", 5), &who.held.items[0]);
	assert_null(held_find(&who.held, "api-2", 6));
	assert_ptr_equal(held_find(&who.held, "web-1", 4711), &who.held.items[1]);
	at(20)->gone = true;
	now += 5;
	who = who_is(22);
	assert_int_equal(who.held.n, 1);
	assert_string_equal(who.held.items[0].repo, "api-2");
}

static void a_turn_held_above_counts_while_its_holder_lives(void **state)
{
	struct identity who;

	add(20, 10, "/m/web");
	add(21, 20, "/m/web")->environ = "RRM_TURN=api-2\nRRM_TURN_HOLDER=20-1020-4711";
	who = who_is(21);
	assert_int_equal(who.held.n, 1);
	assert_string_equal(who.held.items[0].repo, "api-2");
	assert_int_equal(who.held.items[0].offset, 4711);
	at(20)->start = 7;
	now += 5;
	assert_int_equal(who_is(21).held.n, 0);
	add(22, 10, "/m/web")->environ = "RRM_TURN=api-2\nRRM_TURN_HOLDER=nonsense";
	assert_int_equal(who_is(22).held.n, 0);
}

static void strange_bytes_of_a_session_stay_printable(void **state)
{
	add(20, 10, "/m/web")->environ = "RRM_SESSION=a b\xff\"c";
	assert_string_equal(who_is(20).session, "a_b_\"c");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_person_who_walks_into_the_mount_is_at_home_there),
		T(a_child_that_goes_elsewhere_stays_at_home),
		T(the_topmost_counts_even_when_it_is_the_last_to_come),
		T(a_nested_repo_owns_its_directory),
		T(a_removed_directory_is_still_a_home),
		T(what_is_no_repo_in_the_mount_is_no_home),
		T(the_mount_root_above_does_not_hide_a_repo_below),
		T(a_backend_and_its_children_are_at_home),
		T(a_backend_that_comes_up_is_known_within_100_ms),
		T(a_reused_pid_of_a_backend_is_not_the_backend),
		T(the_nearest_registered_ancestor_wins),
		T(an_orphan_keeps_its_home_by_its_environment),
		T(a_thread_is_its_process),
		T(a_reused_thread_id_is_somebody_else),
		T(what_cannot_be_read_is_rule_3),
		T(an_unreadable_ancestor_does_not_count),
		T(a_process_without_home_goes_by_its_group),
		T(a_reused_parent_pid_is_no_ancestor),
		T(a_loop_of_parents_ends),
		T(a_repo_that_comes_or_goes_is_noticed_at_once),
		T(setsid_and_nohup_change_nothing),
		T(a_daemon_without_a_home_is_nobodys),
		T(a_process_of_another_pid_namespace_is_the_kernels),
		T(a_process_whose_parent_is_in_another_namespace_is_judged_alone),
		T(a_caller_that_ended_is_rule_3_and_not_remembered),
		T(turns_inside_one_another_are_all_known),
		T(a_turn_held_above_counts_while_its_holder_lives),
		T(strange_bytes_of_a_session_stay_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
