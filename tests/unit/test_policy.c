#include "manager/policy.h"

#include "manager/idle.h"
#include "tests/unit/unit.h"

static const int64_t t0 = 1700000000000;

static void deaths_wait_longer_and_longer(void **state)
{
	/* Two minutes apart: never three within one. */
	int64_t d[6];
	static const int wanted[] = {0, 1000, 2000, 4000, 4000};
	for (int i = 0; i < 5; i++) {
		d[i] = t0 + i * 120000;
		assert_int_equal(policy_delay_ms(d, (size_t)i + 1, d[i]), wanted[i]);
	}
	d[5] = d[4] + POLICY_FORGET_MS;
	assert_int_equal(policy_delay_ms(d, 6, d[5]), 0);
}

static void the_third_death_within_a_minute_is_the_last(void **state)
{
	const int64_t quick[] = {t0, t0 + 100, t0 + 59000};
	const int64_t slow[] = {t0, t0 + 100, t0 + 60000};
	assert_int_equal(policy_delay_ms(quick, 1, quick[0]), 0);
	assert_int_equal(policy_delay_ms(quick, 2, quick[1]), 1000);
	assert_int_equal(policy_delay_ms(quick, 3, quick[2]), -1);
	assert_int_equal(policy_delay_ms(slow, 3, slow[2]), 2000);
}

/* A healthy backend of which nothing is wanted. */
static struct policy_facts healthy(void)
{
	return (struct policy_facts){
		.state = POLICY_READY, .alive = true, .watched = true, .now_ms = t0, .used_ms = t0};
}

static void what_is_well_is_left_alone(void **state)
{
	struct policy_facts f = healthy();
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
	f.used_ms = 0;
	f.memory_kib = 1 << 30;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING); /* there are no limits */
	f = (struct policy_facts){.state = POLICY_ABSENT, .watched = true, .root_gone = true};
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
}

static void only_a_death_that_was_seen_is_news(void **state)
{
	struct policy_facts f = healthy();
	f.alive = false;
	assert_int_equal(policy_decide(&f), POLICY_RECOVER);
	f.watched = false;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
	f = healthy();
	f.state = POLICY_STARTING;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
	f.alive = false;
	assert_int_equal(policy_decide(&f), POLICY_RECOVER);
	f.root_gone = true;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
}

static void failed_waits_for_its_retry(void **state)
{
	struct policy_facts f = healthy();
	f.state = POLICY_FAILED;
	f.alive = false;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING); /* for good */
	f.retry_at_ms = t0 + 1;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
	f.retry_at_ms = t0;
	assert_int_equal(policy_decide(&f), POLICY_RECOVER);
	/* The clock was set back: nobody waits for an hour. */
	f.retry_at_ms = t0 + 3600000;
	assert_int_equal(policy_decide(&f), POLICY_RECOVER);
}

static void a_root_that_is_not_there_ends_its_backend(void **state)
{
	struct policy_facts f = healthy();
	f.root_gone = true;
	assert_int_equal(policy_decide(&f), POLICY_STOP_GONE);
	f = healthy();
	f.root_replaced = true;
	assert_int_equal(policy_decide(&f), POLICY_REPLACE);
}

static void idle_is_stopped_and_large_is_restarted(void **state)
{
	struct policy_facts f = healthy();
	f.idle_stop_ms = 5000;
	f.used_ms = t0 - 4999;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
	f.used_ms = t0 - 5000;
	assert_int_equal(policy_decide(&f), POLICY_STOP_IDLE);
	f = healthy();
	f.limit_kib = 1000;
	f.memory_kib = 1000;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
	f.memory_kib = 1001;
	assert_int_equal(policy_decide(&f), POLICY_RESTART_MEMORY);
	f.restarted_ms = t0 - POLICY_MEMORY_AGAIN_MS + 1;
	assert_int_equal(policy_decide(&f), POLICY_NOTHING);
}

static void the_least_recently_used_makes_room(void **state)
{
	struct policy_candidate all[] = {{.used_ms = t0 - 9000},
					 {.used_ms = t0 - 10000},
					 {.used_ms = t0 - POLICY_FRESH_MS + 1}};
	assert_int_equal(policy_victim(all, 3, t0), 1);
	all[1].refused = true;
	assert_int_equal(policy_victim(all, 3, t0), 0);
	all[0].refused = true;
	assert_int_equal(policy_victim(all, 3, t0), -1);
	assert_int_equal(policy_victim(all, 3, t0 + 1), 2);
	assert_int_equal(policy_victim(all, 0, t0), -1);
}

static void sessions_at_work_are_counted(void **state)
{
	assert_int_equal(idle_busy_sessions("{}"), 0);
	assert_int_equal(idle_busy_sessions("{\"s1\":{\"type\":\"idle\"}}"), 0);
	assert_int_equal(
		idle_busy_sessions("{\"s1\":{\"type\":\"busy\"},\"s2\":{\"type\":\"idle\"},"
				   "\"s3\":{\"type\":\"retry\",\"attempt\":2}}"),
		2);
	assert_int_equal(idle_busy_sessions("{\"s1\":{}}"), 1); /* unknown is not idle */
	assert_true(idle_busy_sessions("[]") < 0);
	assert_true(idle_busy_sessions("<html>") < 0);
	assert_true(idle_busy_sessions("") < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deaths_wait_longer_and_longer),
		cmocka_unit_test(the_third_death_within_a_minute_is_the_last),
		cmocka_unit_test(what_is_well_is_left_alone),
		cmocka_unit_test(only_a_death_that_was_seen_is_news),
		cmocka_unit_test(failed_waits_for_its_retry),
		cmocka_unit_test(a_root_that_is_not_there_ends_its_backend),
		cmocka_unit_test(idle_is_stopped_and_large_is_restarted),
		cmocka_unit_test(the_least_recently_used_makes_room),
		cmocka_unit_test(sessions_at_work_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
