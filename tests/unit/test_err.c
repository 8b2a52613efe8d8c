#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/err.h"

static void a_sentence_is_built_from_the_inside_out(void **state)
{
	struct err e = ERR_INIT;
	assert_int_equal(err_set(&e, -EADDRINUSE, "port %d is taken by pid %d", 4101, 312),
			 -EADDRINUSE);
	assert_int_equal(err_prefix(&e, -EADDRINUSE, "starting backend for %s", "web"),
			 -EADDRINUSE);
	assert_string_equal(e.text, "starting backend for web: port 4101 is taken by pid 312");
}

static void errno_is_spelled_out(void **state)
{
	struct err e = ERR_INIT;
	assert_int_equal(err_errno(&e, -ENOSPC, "writing %s", "x"), -ENOSPC);
	assert_string_equal(e.text, "writing x: No space left on device");
}

static void null_only_passes_the_code_through(void **state)
{
	assert_int_equal(err_set(NULL, -1, "x"), -1);
	assert_int_equal(err_errno(NULL, -2, "x"), -2);
	assert_int_equal(err_prefix(NULL, -3, "x"), -3);
}

static void a_prefix_before_nothing_stands_alone(void **state)
{
	struct err e = ERR_INIT;
	err_prefix(&e, 0, "doing it");
	assert_string_equal(e.text, "doing it");
}

static void newlines_and_control_bytes_become_spaces(void **state)
{
	struct err e = ERR_INIT;
	err_set(&e, 0, "a\nb\tc\x1b[31m\x7f");
	assert_string_equal(e.text, "a b c [31m ");
}

static void the_old_text_may_be_an_argument_of_the_new_one(void **state)
{
	struct err e = ERR_INIT;
	err_set(&e, 0, "inner");
	err_set(&e, 0, "outer (%s)", e.text);
	assert_string_equal(e.text, "outer (inner)");
}

static void what_is_too_long_is_cut_at_a_whole_character(void **state)
{
	struct err e = ERR_INIT;
	char text[3 * sizeof(e.text)];
	for (size_t i = 0; i + 3 < sizeof(text); i += 3)
		memcpy(text + i, "\xe2\x82\xac", 4); /* euro signs */
	for (int shift = 0; shift < 3; shift++) {
		err_set(&e, 0, "%.*s%s", shift, "xx", text);
		size_t len = strlen(e.text);
		assert_in_range(len, sizeof(e.text) - 4, sizeof(e.text) - 1);
		assert_int_equal((len - (size_t)shift) % 3, 0);
	}
	err_prefix(&e, 0, "in front");
	assert_memory_equal(e.text, "in front: ", 10);
	assert_in_range(strlen(e.text), sizeof(e.text) - 4, sizeof(e.text) - 1);
}

static void error_numbers_have_names(void **state)
{
	assert_string_equal(err_name(ENOENT), "ENOENT");
	assert_string_equal(err_name(EDEADLK), "EDEADLK");
	assert_string_equal(err_name(3999), "E3999");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sentence_is_built_from_the_inside_out),
		cmocka_unit_test(errno_is_spelled_out),
		cmocka_unit_test(null_only_passes_the_code_through),
		cmocka_unit_test(a_prefix_before_nothing_stands_alone),
		cmocka_unit_test(newlines_and_control_bytes_become_spaces),
		cmocka_unit_test(the_old_text_may_be_an_argument_of_the_new_one),
		cmocka_unit_test(what_is_too_long_is_cut_at_a_whole_character),
		cmocka_unit_test(error_numbers_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
