#include "tests/unit/unit.h"

#include <time.h>

#include "manager/base/clock.h"
#include "manager/base/spin.h"

static unsigned looks(unsigned pause_ms)
{
	struct timespec ts = {.tv_nsec = (long)pause_ms * 1000000};
	struct spin s = spin_begin();
	unsigned n = 0;
	while (spin_more(&s)) {
		n++;
		if (pause_ms) /* as if somebody else ran */
			nanosleep(&ts, NULL);
	}
	return n;
}

static void looking_ends(void **state)
{
	uint64_t begun = clock_mono_us();
	for (int i = 0; i < 100; i++)
		looks(0);
	assert_true(clock_mono_us() - begun < 5000000);
}

/* A look that took long is the last, and where that is so every time there is none for a while. */
static void where_others_run_it_sleeps(void **state)
{
	bool slept = false;
	for (int i = 0; i < 100; i++) {
		unsigned n = looks(1);
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
