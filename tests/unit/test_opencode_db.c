#include "tests/unit/unit.h"

#include "manager/base/cleanup.h"
#include "manager/login.h"
#include "manager/opencode_config.h"
#include "manager/opencode_db.h"

#define LINE(time, text) "0 1 Ann <a@example.org> " time " +0100\t" text "\n"

static const char reflog[] = LINE("100", "commit (initial): x") LINE(
	"200", "checkout: moving from main to feature/x") LINE("300", "commit: y")
	LINE("400", "checkout: moving from feature/x to 0123456789012345678901234567890123456789");

static void branch_is(const char *log, const char *now, int64_t at_s, const char *wanted)
{
	char buf[256];
	opencode_db_branch_of(log, now, at_s * 1000, buf, sizeof(buf));
	assert_string_equal(buf, wanted);
}

static void the_branch_of_a_session_is_what_was_checked_out_then(void **state)
{
	branch_is(reflog, "0123", 150, "main");
	branch_is(reflog, "0123", 250, "feature/x");
	branch_is(reflog, "0123", 399, "feature/x");
	branch_is(reflog, "0123", 401, "0123");
	branch_is(reflog, "0123", 0, "main");
}

static void without_a_checkout_it_is_the_one_of_now(void **state)
{
	branch_is("", "main", 5, "main");
	branch_is(LINE("100", "commit: x"), "main", 5, "main");
	branch_is("garbage\n\n>\n> 999999 \tcheckout: moving from", "main", 5, "main");
	branch_is(LINE("100", "checkout: moving from a to b") "cut off", "b", 5, "a");
}

static void plain_is(const char *jsonc, const char *wanted)
{
	CLEANUP(freep) char *text = strdup(jsonc);
	assert_non_null(text);
	opencode_config_plain(text);
	assert_string_equal(text, wanted);
}

static void comments_and_commas_at_the_end_become_blanks(void **state)
{
	plain_is("{\"a\":1}", "{\"a\":1}");
	plain_is("{//x\n\"a\":1,}", "{   \n\"a\":1 }");
	plain_is("[1,/*,*/2, ]", "[1,     2  ]");
	plain_is("{\"a\":\"//,}\\\"/*\",\n}", "{\"a\":\"//,}\\\"/*\" \n}");
	plain_is("/* never closed", "/* never closed");
	plain_is("\"no end\\", "\"no end\\");
	plain_is("/", "/");
}

static void systemd_expands_nothing_in_a_variable(void **state)
{
	CLEANUP(freep) char *line = login_environment_line("PATH", "/a b:/c\"d:/%h:\\e");
	assert_string_equal(line, "Environment=\"PATH=/a b:/c\\\"d:/%%h:\\\\e\"\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_branch_of_a_session_is_what_was_checked_out_then),
		cmocka_unit_test(without_a_checkout_it_is_the_one_of_now),
		cmocka_unit_test(comments_and_commas_at_the_end_become_blanks),
		cmocka_unit_test(systemd_expands_nothing_in_a_variable),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
