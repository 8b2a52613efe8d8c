#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "router/turn.h"

enum { LINGER = 20, MAX_TURN = 2000, TIMEOUT = 30000 };

static struct turn t;

static int fresh(void **state)
{
	turn_init(&t, LINGER, MAX_TURN, TIMEOUT);
	return 0;
}

static void a_free_turn_goes_to_the_first_who_asks(void **state)
{
	assert_true(turn_try(&t, 1, 100));
	assert_int_equal(t.holder, 1);
	assert_int_equal(t.in_flight, 1);
	assert_false(turn_try(&t, 2, 100));
}

static void the_holder_keeps_it_while_nobody_waits(void **state)
{
	uint64_t generation;

	assert_true(turn_try(&t, 1, 100));
	turn_end(&t, 101);
	generation = t.generation;
	for (uint64_t now = 200; now < 100000; now += 500) {
		assert_true(turn_try(&t, 1, now));
		turn_end(&t, now + 1);
	}
	assert_int_equal(t.generation, generation);
}

static void an_idle_turn_changes_hands_without_a_line(void **state)
{
	uint64_t generation;

	assert_true(turn_try(&t, 1, 100));
	generation = t.generation;
	turn_end(&t, 105);
	assert_false(turn_try(&t, 2, 124));
	assert_true(turn_try(&t, 2, 125));
	assert_int_equal(t.holder, 2);
	assert_int_equal(t.generation, generation + 1);
}

static void a_waiter_gets_it_after_linger(void **state)
{
	struct turn_request b = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_push(&t, &b, 2, 101);
	assert_null(turn_pop(&t, 5000));
	assert_int_equal(turn_next_deadline(&t, 101), 101 + TIMEOUT);
	turn_end(&t, 110);
	assert_null(turn_pop(&t, 129));
	assert_int_equal(turn_next_deadline(&t, 110), 130);
	assert_ptr_equal(turn_pop(&t, 130), &b);
	assert_int_equal(t.holder, 2);
	assert_int_equal(t.in_flight, 1);
	assert_int_equal(t.n_queued, 0);
}

static void the_holders_gaps_below_linger_do_not_lose_the_turn(void **state)
{
	struct turn_request b = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_end(&t, 101);
	turn_push(&t, &b, 2, 102);
	for (uint64_t now = 110; now < 2000; now += 15) {
		assert_null(turn_pop(&t, now));
		assert_true(turn_try(&t, 1, now));
		turn_end(&t, now + 1);
	}
}

static void a_busy_holder_gives_way_at_its_next_change_after_max_turn(void **state)
{
	struct turn_request b = {0}, a = {0};
	uint64_t now = 100;

	turn_push(&t, &b, 2, 100);
	assert_ptr_equal(turn_pop(&t, 100), &b);
	turn_end(&t, 100);
	assert_true(turn_try(&t, 1, 150)); /* 2 was idle */
	turn_end(&t, 151);
	turn_push(&t, &b, 2, 152);
	for (now = 160; turn_try(&t, 1, now); now += 10)
		turn_end(&t, now + 1);
	assert_int_equal(now, 150 + MAX_TURN);
	turn_push(&t, &a, 1, now);
	assert_ptr_equal(turn_pop(&t, now), &b);
	assert_null(turn_pop(&t, now));
	turn_end(&t, now + 1);
	assert_ptr_equal(turn_pop(&t, now + 1 + LINGER), &a);
}

static void a_long_quiet_holding_does_not_count_as_a_long_turn(void **state)
{
	struct turn_request b = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_end(&t, 101);
	assert_true(turn_try(&t, 1, 90000)); /* truncate */
	turn_end(&t, 90001);
	turn_push(&t, &b, 2, 90002);
	assert_true(turn_try(&t, 1, 90003)); /* its write still goes before the waiter */
	turn_end(&t, 90004);
	assert_ptr_equal(turn_pop(&t, 90024), &b);
}

static void overdue_with_something_in_flight_waits_for_its_end(void **state)
{
	struct turn_request b = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_push(&t, &b, 2, 101);
	assert_false(turn_try(&t, 1, 100 + MAX_TURN));
	assert_null(turn_pop(&t, 100 + MAX_TURN));
	turn_end(&t, 100 + MAX_TURN + 5);
	assert_int_equal(turn_next_deadline(&t, 100 + MAX_TURN + 5), 100 + MAX_TURN + 5);
	assert_ptr_equal(turn_pop(&t, 100 + MAX_TURN + 5), &b);
}

static void first_come_first_served(void **state)
{
	struct turn_request rq[5] = {{0}};

	assert_true(turn_try(&t, 9, 100));
	for (uint32_t i = 0; i < 5; i++)
		turn_push(&t, &rq[i], i + 1, 101 + i);
	turn_end(&t, 110);
	for (uint64_t i = 0, now = 130; i < 5; i++, now += LINGER) {
		assert_ptr_equal(turn_pop(&t, now), &rq[i]);
		turn_end(&t, now);
	}
}

static void what_the_holder_asks_for_goes_ahead(void **state)
{
	struct turn_request b = {0}, a1 = {0}, a2 = {0};

	turn_push(&t, &a1, 1, 100);
	turn_push(&t, &b, 2, 100);
	turn_push(&t, &a2, 1, 100);
	assert_ptr_equal(turn_pop(&t, 100), &a1);
	assert_ptr_equal(turn_pop(&t, 100), &a2);
	assert_null(turn_pop(&t, 100));
	turn_end(&t, 101);
	turn_end(&t, 102);
	assert_ptr_equal(turn_pop(&t, 122), &b);
}

static void nobody_overtakes_the_line(void **state)
{
	struct turn_request b = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_end(&t, 101);
	turn_push(&t, &b, 2, 102);
	assert_false(turn_try(&t, 3, 200));
	assert_false(turn_try(&t, 1, 200)); /* the holder was idle: the line is first */
	assert_ptr_equal(turn_pop(&t, 200), &b);
}

static void a_wait_is_bounded(void **state)
{
	struct turn_request b = {0}, c = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_push(&t, &b, 2, 200);
	turn_push(&t, &c, 3, 300);
	assert_null(turn_expired(&t, 200 + TIMEOUT - 1));
	assert_int_equal(turn_next_deadline(&t, 300), 200 + TIMEOUT);
	assert_ptr_equal(turn_expired(&t, 200 + TIMEOUT), &b);
	assert_null(turn_expired(&t, 200 + TIMEOUT));
	assert_ptr_equal(turn_expired(&t, 300 + TIMEOUT), &c);
	assert_int_equal(turn_next_deadline(&t, 300 + TIMEOUT), TURN_NO_DEADLINE);
}

static void a_cancelled_request_leaves_the_line(void **state)
{
	struct turn_request b = {0}, c = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_push(&t, &b, 2, 101);
	turn_push(&t, &c, 3, 102);
	assert_true(turn_remove(&t, &b));
	assert_false(turn_remove(&t, &b));
	turn_end(&t, 103);
	assert_ptr_equal(turn_pop(&t, 123), &c);
}

static void the_last_waiter_leaving_lets_the_holder_go_on(void **state)
{
	struct turn_request b = {0};

	assert_true(turn_try(&t, 1, 100));
	turn_push(&t, &b, 2, 101);
	turn_end(&t, 102);
	assert_false(turn_try(&t, 1, 130));
	assert_true(turn_remove(&t, &b));
	assert_true(turn_try(&t, 1, 130));
}

static void a_dropped_turn_begins_anew(void **state)
{
	uint64_t generation;

	assert_true(turn_try(&t, 1, 100));
	turn_end(&t, 101);
	generation = t.generation;
	turn_drop(&t);
	assert_false(t.held);
	assert_true(turn_try(&t, 1, 102));
	assert_int_equal(t.generation, generation + 1);
}

static void another_branch_is_a_new_turn_of_the_same_holder(void **state)
{
	uint64_t generation;

	assert_true(turn_try(&t, 1, 100));
	turn_end(&t, 101);
	generation = t.generation;
	turn_renew(&t);
	assert_true(turn_try(&t, 1, 102));
	assert_int_equal(t.holder, 1);
	assert_int_equal(t.generation, generation + 1);
}

/* 20 sessions, each asks again as soon as it was served; a change takes 1 ms. */
static void twenty_greedy_sessions_are_all_served_within_the_bound(void **state)
{
	enum { N = 20, END = 120000 };
	struct turn_request rq[N] = {{0}};
	uint64_t longest = 0, served = 0, of[N] = {0};
	uint64_t now = 0;

	turn_init(&t, LINGER, MAX_TURN, TIMEOUT);
	for (uint32_t i = 0; i < N; i++)
		turn_push(&t, &rq[i], i + 1, 0);
	while (now < END) {
		struct turn_request *r = turn_pop(&t, now);
		uint64_t next;

		if (r) {
			uint64_t waited = now - r->since_ms;

			longest = waited > longest ? waited : longest;
			served++;
			of[r->session - 1]++;
			now++;
			turn_end(&t, now);
			turn_push(&t, r, r->session, now);
			continue;
		}
		next = turn_next_deadline(&t, now);
		assert_true(next > now && next != TURN_NO_DEADLINE);
		now = next;
	}
	assert_in_range(longest, 1, TIMEOUT / 2 + N * LINGER);
	for (int i = 0; i < N; i++) /* each about as often as the others */
		assert_in_range(of[i] * N, served * 7 / 10, served * 13 / 10);
}

/* As above with a pause of the session after each change: the usual case. */
static void twenty_sessions_with_one_change_each_wait_at_most_three_times_the_average(void **state)
{
	enum { N = 20, ROUNDS = 50 };
	struct turn_request rq[N] = {{0}};
	uint64_t longest = 0, sum = 0, served = 0, now = 0;

	for (int round = 0; round < ROUNDS; round++) {
		for (uint32_t i = 0; i < N; i++)
			turn_push(&t, &rq[(i * 7 + (uint32_t)round) % N],
				  (i * 7 + (uint32_t)round) % N + 1, now + i);
		now += N;
		while (t.n_queued) {
			struct turn_request *r = turn_pop(&t, now);

			if (!r) {
				now = turn_next_deadline(&t, now);
				continue;
			}
			longest = now - r->since_ms > longest ? now - r->since_ms : longest;
			sum += now - r->since_ms;
			served++;
			turn_end(&t, ++now);
		}
	}
	assert_int_equal(served, N * ROUNDS);
	assert_true(longest * served <= 3 * sum);
}

/*
 * Random use against the invariants: one session in flight at a time, nobody waits past the deadline
 * that next_deadline promised, nothing is lost.
 */
static void random_use_keeps_the_promises(void **state)
{
	enum { N = 64, STEPS = 200000 };
	static struct turn_request rq[N];
	unsigned queued = 0, flying = 0, seed = 4711;
	uint32_t flying_session = 0;
	uint64_t now = 1, promised = TURN_NO_DEADLINE, served = 0;

	memset(rq, 0, sizeof(rq));
	turn_init(&t, 5, 50, 500);
	for (int step = 0; step < STEPS; step++) {
		unsigned r = (unsigned)rand_r(&seed), what = r % 6, i = (r / 8) % N;
		uint32_t session = 1 + i % 7;
		struct turn_request *got = NULL;

		if (what == 0) {
			now += (r / 1024) % 9;
		} else if (what == 1 && !rq[i].queued) {
			turn_push(&t, &rq[i], session, now);
			queued++;
		} else if (what == 2 && turn_try(&t, session, now)) {
			assert_true(!flying || flying_session == session);
			flying++;
			flying_session = session;
		} else if (what == 3 && flying) {
			turn_end(&t, now);
			flying--;
		} else if (what == 4 && turn_remove(&t, &rq[i])) {
			queued--;
		} else if (what == 5) {
			promised = turn_next_deadline(&t, now);
			got = turn_pop(&t, now);
			if (got) {
				assert_int_equal(promised, now);
				assert_true(!flying || flying_session == got->session);
				flying_session = got->session;
				flying++;
				queued--;
				served++;
			} else {
				assert_true(promised > now || turn_expired(&t, now));
				if (promised <= now)
					queued--;
			}
		}
		assert_int_equal(t.n_queued, queued);
		assert_int_equal(t.in_flight, flying);
	}
	assert_true(served > 1000);
}

/* Nothing but the deadline happens: at that moment, and not before, somebody can go or expires. */
static void the_next_deadline_is_neither_late_nor_early(void **state)
{
	unsigned seed = 99;

	for (int round = 0; round < 2000; round++) {
		struct turn_request a = {0}, b = {0};
		uint64_t now = 1000, at;

		turn_init(&t, (uint32_t)rand_r(&seed) % 30, (uint32_t)rand_r(&seed) % 100,
			  1 + (uint32_t)rand_r(&seed) % 200);
		assert_true(turn_try(&t, 1, now));
		now += (uint64_t)rand_r(&seed) % 50;
		turn_push(&t, &b, 2, now);
		if (rand_r(&seed) % 2)
			turn_push(&t, &a, 1, now);
		now += (uint64_t)rand_r(&seed) % 50;
		if (rand_r(&seed) % 2)
			turn_end(&t, now);
		at = turn_next_deadline(&t, now);
		assert_true(at != TURN_NO_DEADLINE && at >= now);
		if (at > now + 1) {
			assert_null(turn_peek(&t, at - 1));
			assert_null(turn_expired(&t, at - 1));
		}
		assert_true(turn_peek(&t, at) != NULL || turn_expired(&t, at) != NULL);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, fresh)
	const struct CMUnitTest tests[] = {
		T(a_free_turn_goes_to_the_first_who_asks),
		T(the_holder_keeps_it_while_nobody_waits),
		T(an_idle_turn_changes_hands_without_a_line),
		T(a_waiter_gets_it_after_linger),
		T(the_holders_gaps_below_linger_do_not_lose_the_turn),
		T(a_busy_holder_gives_way_at_its_next_change_after_max_turn),
		T(a_long_quiet_holding_does_not_count_as_a_long_turn),
		T(overdue_with_something_in_flight_waits_for_its_end),
		T(first_come_first_served),
		T(what_the_holder_asks_for_goes_ahead),
		T(nobody_overtakes_the_line),
		T(a_wait_is_bounded),
		T(a_cancelled_request_leaves_the_line),
		T(the_last_waiter_leaving_lets_the_holder_go_on),
		T(a_dropped_turn_begins_anew),
		T(another_branch_is_a_new_turn_of_the_same_holder),
		T(twenty_greedy_sessions_are_all_served_within_the_bound),
		T(twenty_sessions_with_one_change_each_wait_at_most_three_times_the_average),
		T(random_use_keeps_the_promises),
		T(the_next_deadline_is_neither_late_nor_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
