#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/clock.h"

static const char *iso(int64_t ms)
{
	static char buf[CLOCK_ISO_LEN];
	return clock_iso(buf, ms);
}

static void a_moment_is_written_in_utc_with_milliseconds(void **state)
{
	assert_string_equal(iso(0), "1970-01-01T00:00:00.000Z");
	assert_string_equal(iso(1795369200123), "2026-11-22T17:40:00.123Z");
	assert_string_equal(iso(951782400000), "2000-02-29T00:00:00.000Z");
}

static void a_moment_before_1970_is_written_right(void **state)
{
	assert_string_equal(iso(-1), "1969-12-31T23:59:59.999Z");
	assert_string_equal(iso(-62135596800000), "0001-01-01T00:00:00.000Z");
}

static void a_moment_beyond_four_digit_years_does_not_overflow(void **state)
{
	assert_true(strlen(iso(INT64_MAX)) < CLOCK_ISO_LEN);
	assert_true(strlen(iso(INT64_MIN)) < CLOCK_ISO_LEN);
	assert_string_equal(iso(253402300799999), "9999-12-31T23:59:59.999Z");
}

static void what_is_written_is_read_back(void **state)
{
	const int64_t moments[] = {0, 1795369200123, 951782400000, -1, 253402300799999};
	for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
		int64_t back = 42;
		assert_int_equal(clock_parse_iso(iso(moments[i]), &back), 0);
		assert_int_equal(back, moments[i]);
	}
}

static void offsets_and_fractions_are_understood(void **state)
{
	int64_t ms;
	assert_int_equal(clock_parse_iso("2026-11-22T18:40:00.123456789+01:00", &ms), 0);
	assert_int_equal(ms, 1795369200123);
	assert_int_equal(clock_parse_iso("2026-11-22 12:10:00-05:30", &ms), 0);
	assert_int_equal(ms, 1795369200000);
	assert_int_equal(clock_parse_iso("2016-12-31T23:59:60Z", &ms), 0);
	assert_int_equal(ms, 1483228800000);
}

static void what_is_no_moment_is_refused(void **state)
{
	const char *bad[] = {
		"",
		"x",
		"2026",
		"2026-11-22",
		"2026-11-22T17:40:00",
		"2026-11-22T17:40:00Zx",
		"2026-13-22T17:40:00Z",
		"2026-02-30T17:40:00Z",
		"2026-11-22T24:40:00Z",
		"2026-11-22T17:60:00Z",
		"2026-11-22T17:40:61Z",
		"2026-11-22T17:40:00.Z",
		"2026-11-22T17:40:00+1:00",
		"2026-11-22T17:40:00+24:00",
		"+026-11-22T17:40:00Z",
		"2026-11-22T17:40:00.123",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int64_t ms = 42;
		if (clock_parse_iso(bad[i], &ms) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(ms, 42);
	}
}

static void the_clocks_agree_with_each_other(void **state)
{
	uint64_t us = clock_mono_us();
	uint64_t ms = clock_mono_ms();
	assert_true(ms >= us / 1000);
	uint64_t coarse = clock_coarse_ms();
	assert_true(coarse <= clock_mono_ms());
	/* A tick that the machine held up comes later. */
	for (int i = 0; i < 10000 && coarse + 100 < ms; i++) {
		usleep(1000);
		ms = clock_mono_ms();
		coarse = clock_coarse_ms();
	}
	assert_true(coarse + 100 >= ms);
	assert_true(clock_wall_ms() > 1700000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_moment_is_written_in_utc_with_milliseconds),
		cmocka_unit_test(a_moment_before_1970_is_written_right),
		cmocka_unit_test(a_moment_beyond_four_digit_years_does_not_overflow),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(offsets_and_fractions_are_understood),
		cmocka_unit_test(what_is_no_moment_is_refused),
		cmocka_unit_test(the_clocks_agree_with_each_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
