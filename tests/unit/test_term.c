/* Text cut to cells, tables laid out to a width, and usage texts read by a program. */
#include "tests/unit/unit.h"

#include "manager/base/utf8.h"
#include "manager/table.h"
#include "manager/term.h"
#include "manager/usage.h"
#include "manager/words.h"

static void assert_fits(const char *text, int cells, const char *wanted, int used)
{
	char out[256];

	assert_int_equal(term_fit(out, sizeof(out), text, cells), used);
	assert_string_equal(out, wanted);
}

static void text_is_cut_between_characters(void **state)
{
	assert_fits("abc", 3, "abc", 3);
	assert_fits("abcd", 3, "ab…", 3);
	assert_fits("日本語", 6, "日本語", 6);
	/* half of a wide character does not stand there */
	assert_fits("日本語", 5, "日本…", 5);
	assert_fits("日本語", 4, "日…", 3);
	assert_fits("日本語", 1, "…", 1);
	assert_fits("abc", 0, "", 0);
	/* an accent goes with its letter */
	assert_fits("e\xcc\x81tudes", 3, "e\xcc\x81t…", 3);
	assert_int_equal(term_cells("e\xcc\x81"), 1);
	assert_int_equal(term_cells("\xf0\x9f\xa6\x80"), 2);
}

static void what_drives_a_terminal_is_shown_as_digits(void **state)
{
	assert_fits("a\033[31mb", 20, "a\\033[31mb", 10);
	assert_fits("\xff", 4, "\\377", 4);
	assert_fits("\xc2\x9b", 8, "\\302\\233", 8);
	/* right-to-left override, which makes a name look like another */
	assert_fits("\xe2\x80\xae", 12, "\\342\\200\\256", 12);
	assert_fits("ab\n", 4, "ab…", 3);
}

static void the_buffer_bounds_the_text_as_well(void **state)
{
	char out[8];

	term_fit(out, sizeof(out), "日本語日本語", 100);
	assert_string_equal(out, "日…");
}

static void only_utf8_is_decoded(void **state)
{
	static const char *const bad[] = {"\xc0\x80",         "\xe0\x80\x80", "\xed\xa0\x80",
					  "\xf4\x90\x80\x80", "\xf8\x80",     "\x80",
					  "\xe2\x82"};
	uint32_t c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(utf8_decode(bad[i], &c), 0);
	assert_int_equal(utf8_decode("\xe2\x82\xac", &c), 3);
	assert_int_equal(c, 0x20ac);
}

static const struct table_column columns[] = {
	{"NAME", false, 6, 0}, {"N", true, 0, 1}, {"TEXT", false, 4, 2}};

static struct table *sample(void)
{
	struct table *t = table_new(columns, 3);

	assert_non_null(t);
	assert_int_equal(table_add(t), 0);
	assert_int_equal(table_set(t, 0, "a long name", TERM_PLAIN), 0);
	assert_int_equal(table_set(t, 1, "123", TERM_PLAIN), 0);
	assert_int_equal(table_add(t), 1);
	assert_int_equal(table_set(t, 0, "b", TERM_PLAIN), 0);
	assert_int_equal(table_set(t, 2, "some text", TERM_RED), 0);
	return t;
}

static void assert_line(const struct table *t, int row, const char *wanted)
{
	char *line = table_line(t, row);
	assert_string_equal(line, wanted);
	free(line);
}

static void a_table_is_as_wide_as_what_is_in_it(void **state)
{
	struct table *t = sample();

	table_layout(t, 0);
	assert_line(t, -1, "NAME           N  TEXT");
	assert_line(t, 0, "a long name  123");
	assert_line(t, 1, "b                 some text");
	table_free(t);
}

static void a_narrow_table_cuts_texts_then_leaves_columns_out(void **state)
{
	struct table *t = sample();
	int at;

	table_layout(t, 20);
	for (int row = -1; row < 2; row++) {
		char *line = table_line(t, row);
		assert_true(term_cells(line) <= 20);
		free(line);
	}
	assert_line(t, 0, "a long…  123");
	table_layout(t, 12);
	assert_line(t, 1, "b       som…");
	assert_int_equal(table_column_width(t, 1, &at), 0);
	table_layout(t, 8);
	assert_line(t, 0, "a long …");
	table_free(t);
}

static void options_and_arguments_are_read_out_of_the_help(void **state)
{
	static const struct command cmd = {
		.name = "x",
		.usage = "[-n N] [--json] [--if-idle[=SECONDS]] REPO... | --all -- CMD...",
		.help = "Does it.\n\n  -n, --lines N  only the last N\n"
			"  --if-idle[=SECONDS]  only one\n                       that is idle\n"
			"  -d, --delay SECONDS\n                   time between\n\n    an example "
			"-z\n"};
	struct usage_option o[USAGE_OPTIONS_MAX];
	char words[USAGE_OPTIONS_MAX][USAGE_WORD_MAX];

	assert_int_equal(usage_options(&cmd, o), 7);
	assert_string_equal(o[0].shorter, "-n");
	assert_string_equal(o[0].name, "--lines");
	assert_string_equal(o[0].value, "N");
	assert_string_equal(o[0].text, "only the last N");
	assert_true(o[1].attached && !strcmp(o[1].value, "SECONDS"));
	assert_string_equal(o[2].text, "time between");
	assert_string_equal(o[3].name, "--json");
	assert_string_equal(o[4].name, "--all");
	assert_string_equal(o[5].name, "--help");
	assert_int_equal(usage_arguments(&cmd, words), 2);
	assert_string_equal(words[0], "REPO");
	assert_string_equal(words[1], "CMD");
}

static void times_and_sizes_are_said_shortly(void **state)
{
	char buf[WORDS_MAX];

	assert_string_equal(words_span(buf, 59), "59s");
	assert_string_equal(words_span(buf, 7384), "2h03m");
	assert_string_equal(words_span(buf, -5), "0s");
	assert_string_equal(words_memory(buf, 512), "512K");
	assert_string_equal(words_memory(buf, 1536 * 1024), "1.5G");
	assert_string_equal(words_ago(buf, "1970-01-01T00:01:00.000Z", 120000), "1m ago");
	/* a clock that went back */
	assert_string_equal(words_ago(buf, "1970-01-01T00:03:00.000Z", 120000), "in 1m");
	assert_string_equal(words_ago(buf, "never", 120000), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_cut_between_characters),
		cmocka_unit_test(what_drives_a_terminal_is_shown_as_digits),
		cmocka_unit_test(the_buffer_bounds_the_text_as_well),
		cmocka_unit_test(only_utf8_is_decoded),
		cmocka_unit_test(a_table_is_as_wide_as_what_is_in_it),
		cmocka_unit_test(a_narrow_table_cuts_texts_then_leaves_columns_out),
		cmocka_unit_test(options_and_arguments_are_read_out_of_the_help),
		cmocka_unit_test(times_and_sizes_are_said_shortly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
