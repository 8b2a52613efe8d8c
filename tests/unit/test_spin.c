#include "tests/unit/unit.h"

#include "manager/base/clock.h"
#include "manager/base/spin.h"

/* busy_us: as if somebody else ran. No sleep, which may last longer than what comes of it. */
static unsigned looks(unsigned busy_us)
{
	struct spin s = spin_begin();
	unsigned n = 0;
	while (spin_more(&s)) {
		n++;
		for (uint64_t end = clock_mono_us() + busy_us; clock_mono_us() < end;)
			;
	}
	return n;
}

static void looking_ends(void **state)
{
	uint64_t begun = clock_mono_us();
	for (int i = 0; i < 100; i++)
		looks(0);
	assert_true(clock_mono_us() - begun < 60000000);
}

/* A look that took long is the last, and where that is so every time there is none for a while. */
static void where_others_run_it_sleeps(void **state)
{
	bool slept = false;
	for (int i = 0; i < 100; i++) {
		unsigned n = looks(50);
		assert_in_range(n, 0, 2);
		slept = slept || n == 0;
	}
	assert_true(slept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looking_ends),
		cmocka_unit_test(where_others_run_it_sleeps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
