#include "tests/unit/unit.h"

#include "manager/shimargs.h"

#define PARSE(a, ...)                                                                              \
	do {                                                                                       \
		static const char *const argv_[] = {"", ##__VA_ARGS__};                            \
		shimargs_parse((int)(sizeof(argv_) / sizeof(argv_[0])) - 1, argv_ + 1, a);         \
	} while (0)

static void no_verb_is_the_tui(void **state)
{
	struct shimargs a;
	PARSE(&a);
	assert_int_equal(a.verb, SHIMARGS_TUI);
	assert_null(a.dir);
	PARSE(&a, "-c");
	assert_int_equal(a.verb, SHIMARGS_TUI);
	assert_null(a.refused);
}

static void a_first_word_that_is_no_verb_is_the_project(void **state)
{
	struct shimargs a;
	PARSE(&a, "--session", "serve", "../web");
	assert_int_equal(a.verb, SHIMARGS_TUI);
	assert_string_equal(a.dir, "../web");
	assert_int_equal(a.dir_at, 2);
	assert_int_equal(a.dir_words, 1);
	PARSE(&a, "--project=/x");
	assert_string_equal(a.dir, "/x");
	assert_int_equal(a.dir_words, 1);
}

static void serve_takes_port_and_hostname_as_the_sdk_gives_them(void **state)
{
	struct shimargs a;
	PARSE(&a, "serve", "--hostname=127.0.0.1", "--port=4096", "--log-level=DEBUG");
	assert_int_equal(a.verb, SHIMARGS_SERVE);
	assert_string_equal(a.hostname, "127.0.0.1");
	assert_string_equal(a.port, "4096");
	assert_null(a.refused);
	PARSE(&a, "--print-logs", "serve", "--port", "0");
	assert_int_equal(a.verb, SHIMARGS_SERVE);
	assert_string_equal(a.port, "0");
}

static void what_a_shared_backend_cannot_do_is_named(void **state)
{
	struct shimargs a;
	PARSE(&a, "serve", "--mdns");
	assert_string_equal(a.refused, "--mdns");
	PARSE(&a, "--model", "x/y");
	assert_string_equal(a.refused, "--model");
	PARSE(&a, "serve", "--unheard-of=1");
	assert_string_equal(a.refused, "--unheard-of=1");
}

static void run_keeps_its_message(void **state)
{
	struct shimargs a;
	PARSE(&a, "run", "-m", "x/y", "--dir", "/web", "fix", "--", "--attach", "--help");
	assert_int_equal(a.verb, SHIMARGS_RUN);
	assert_int_equal(a.verb_at, 0);
	assert_string_equal(a.dir, "/web");
	assert_int_equal(a.dir_at, 3);
	assert_int_equal(a.dir_words, 2);
	assert_null(a.refused);
}

static void everything_else_is_the_real_programs(void **state)
{
	struct shimargs a;
	PARSE(&a, "--version");
	assert_int_equal(a.verb, SHIMARGS_OTHER);
	PARSE(&a, "serve", "--help");
	assert_int_equal(a.verb, SHIMARGS_OTHER);
	PARSE(&a, "auth", "login");
	assert_int_equal(a.verb, SHIMARGS_OTHER);
	PARSE(&a, "run", "--attach=http://x", "hi");
	assert_int_equal(a.verb, SHIMARGS_OTHER);
	PARSE(&a, "run", "--attach", "http://x", "hi");
	assert_int_equal(a.verb, SHIMARGS_OTHER);
}

static void an_option_without_its_value_is_no_crash(void **state)
{
	struct shimargs a;
	PARSE(&a, "serve", "--port");
	assert_string_equal(a.port, "");
	PARSE(&a, "-");
	assert_int_equal(a.verb, SHIMARGS_TUI);
	PARSE(&a, "--");
	assert_int_equal(a.verb, SHIMARGS_TUI);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_verb_is_the_tui),
		cmocka_unit_test(a_first_word_that_is_no_verb_is_the_project),
		cmocka_unit_test(serve_takes_port_and_hostname_as_the_sdk_gives_them),
		cmocka_unit_test(what_a_shared_backend_cannot_do_is_named),
		cmocka_unit_test(run_keeps_its_message),
		cmocka_unit_test(everything_else_is_the_real_programs),
		cmocka_unit_test(an_option_without_its_value_is_no_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
