#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"

static cJSON *parse(const char *text)
{
	cJSON *j = NULL;
	struct err e = ERR_INIT;
	if (json_parse(text, strlen(text), &j, &e) != 0)
		fail_msg("%s: %s", text, e.text);
	return j;
}

static void refused(const char *text, size_t len, const char *sentence)
{
	cJSON *j = NULL;
	struct err e = ERR_INIT;
	/* A copy of the exact size: ASan sees a read beyond it. */
	CLEANUP(freep) char *exact = malloc(len ? len : 1);
	memcpy(exact, text, len);
	assert_int_equal(json_parse(exact, len, &j, &e), -EINVAL);
	assert_null(j);
	assert_string_equal(e.text, sentence);
}

static void values_are_read_by_key(void **state)
{
	CLEANUP(json_deletep)
	cJSON *j = parse("{\"s\": \"x\", \"n\": -5, \"b\": true, \"big\": 9007199254740992}\n");
	assert_string_equal(json_str(j, "s", "no"), "x");
	assert_int_equal(json_int(j, "n", 1), -5);
	assert_int_equal(json_int(j, "big", 1), 9007199254740992);
	assert_true(json_bool(j, "b", false));
}

static void a_wrong_type_gives_the_fallback(void **state)
{
	CLEANUP(json_deletep)
	cJSON *j =
		parse("{\"s\":1,\"n\":\"1\",\"b\":0,\"f\":1.5,\"h\":1e300,\"z\":null,\"S\":\"c\"}");
	assert_string_equal(json_str(j, "s", "no"), "no");
	assert_null(json_str(j, "missing", NULL));
	assert_null(json_str(j, "z", NULL));
	assert_int_equal(json_int(j, "n", 7), 7);
	assert_int_equal(json_int(j, "f", 7), 7);
	assert_int_equal(json_int(j, "h", 7), 7);
	assert_int_equal(json_int(j, "b", 7), 0);
	assert_true(json_bool(j, "b", true));
	assert_string_equal(json_str(NULL, "s", "no"), "no");
	CLEANUP(json_deletep) cJSON *array = parse("[1]");
	assert_int_equal(json_int(array, "n", 7), 7);
}

static void an_error_has_its_line_and_column(void **state)
{
	const char bad[] = "{\n  \"a\": 1,\n  \"b\": x\n}";
	refused(bad, strlen(bad), "line 3, column 8: this is not valid JSON");
	const char trailing[] = "{}\n x";
	refused(trailing, strlen(trailing),
		"line 2, column 2: more text after the end of the JSON value");
	refused("", 0, "line 1, column 1: it is empty");
}

static void every_cut_of_a_text_is_refused_without_reading_beyond_it(void **state)
{
	const char text[] = "{\"a\":[1,true,null,\"x\\u00e9\\n\xc3\xa9\"],\"b\":{\"c\":-1.5e3}}";
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		CLEANUP(freep) char *exact = malloc(len ? len : 1);
		memcpy(exact, text, len);
		cJSON *j = NULL;
		assert_int_equal(json_parse(exact, len, &j, NULL), -EINVAL);
		assert_null(j);
	}
	CLEANUP(json_deletep) cJSON *whole = parse(text);
	assert_non_null(whole);
}

static void nul_bytes_are_refused_in_both_forms(void **state)
{
	refused("{\"a\":\"x\0y\"}", 11, "line 1, column 8: a NUL byte");
	refused("{}\0", 3, "line 1, column 3: a NUL byte");
	refused("[\"\\u0000\"]", 10, "line 1, column 3: \\u0000 is not allowed");
	/* An escaped backslash before it: then it is only text. */
	CLEANUP(json_deletep) cJSON *j = parse("[\"\\\\u0000\"]");
	assert_string_equal(cJSON_GetArrayItem(j, 0)->valuestring, "\\u0000");
}

static void bytes_that_are_no_utf8_are_refused(void **state)
{
	refused("[\"\xff\"]", 5, "line 1, column 3: a byte that is not UTF-8");
	refused("[\"\\\xff\"]", 6, "line 1, column 4: a byte that is not UTF-8");
}

static void nesting_ends_at_32(void **state)
{
	char text[80];
	for (int depth = 32; depth <= 33; depth++) {
		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		cJSON *j = NULL;
		int r = json_parse(text, 2 * (size_t)depth, &j, NULL);
		cJSON_Delete(j);
		assert_int_equal(r, depth == 32 ? 0 : -EINVAL);
	}
	memset(text, '[', 33);
	refused(text, 33, "line 1, column 33: nested too deeply");
}

static void brackets_in_a_string_do_not_nest(void **state)
{
	CLEANUP(json_deletep)
	cJSON *j = parse("[\"[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[[[[[[[[[[[[[[[\"]");
	assert_int_equal(cJSON_GetArraySize(j), 1);
}

static void a_name_that_is_utf8_is_plain_text(void **state)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	assert_int_equal(json_add_bytes(j, "path", "caf\xc3\xa9"), 0);
	assert_string_equal(json_str(j, "path", ""), "caf\xc3\xa9");
	assert_null(json_str(j, "path_hex", NULL));
	CLEANUP(freep) char *back = NULL;
	assert_int_equal(json_get_bytes(j, "path", &back), 0);
	assert_string_equal(back, "caf\xc3\xa9");
}

static void a_name_that_is_not_utf8_comes_back_byte_for_byte(void **state)
{
	const char name[] = "a\xff\xc3(\xe2\x82";
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	assert_int_equal(json_add_bytes(j, "path", name), 0);
	assert_string_equal(json_str(j, "path", ""),
			    "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd");
	CLEANUP(freep) char *text = json_text(j);
	CLEANUP(json_deletep) cJSON *again = parse(text);
	CLEANUP(freep) char *back = NULL;
	assert_int_equal(json_get_bytes(again, "path", &back), 0);
	assert_string_equal(back, name);
}

static void every_single_byte_survives_as_a_name(void **state)
{
	for (int c = 1; c < 256; c++) {
		char name[] = {'x', (char)c, '\0'};
		CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
		assert_int_equal(json_add_bytes(j, "n", name), 0);
		CLEANUP(freep) char *text = json_text(j);
		CLEANUP(json_deletep) cJSON *again = parse(text);
		CLEANUP(freep) char *back = NULL;
		assert_int_equal(json_get_bytes(again, "n", &back), 0);
		assert_string_equal(back, name);
	}
}

static void bad_hex_is_refused(void **state)
{
	const char *bad[] = {"f", "0g", "00", "6100", "6 1", "-1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
		json_add_str(j, "p", "x");
		json_add_str(j, "p_hex", bad[i]);
		char *out = NULL;
		assert_int_equal(json_get_bytes(j, "p", &out), -EINVAL);
		assert_null(out);
	}
	CLEANUP(json_deletep) cJSON *none = parse("{\"p\":1}");
	char *out = NULL;
	assert_int_equal(json_get_bytes(none, "p", &out), 0);
	assert_null(out);
}

static void utf8_is_told_from_other_bytes(void **state)
{
	assert_true(json_utf8_valid("", 0));
	assert_true(json_utf8_valid("\xf0\x9f\x98\x80", 4));
	assert_true(json_utf8_valid("\xef\xbf\xbd", 3));
	const char *bad[] = {
		"\x80",         "\xc0\xaf",         "\xc1\xbf",         "\xe0\x80\x80",
		"\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf5\x80\x80\x80", "\xf4\x90\x80\x80",
		"\xe2\x82"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(json_utf8_valid(bad[i], strlen(bad[i])));
}

static void numbers_and_null_are_written_plainly(void **state)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	assert_int_equal(json_add_int(j, "a", 1795369200123), 0);
	assert_int_equal(json_add_int(j, "b", 9007199254740991), 0);
	assert_int_equal(json_add_str(j, "c", NULL), 0);
	assert_int_equal(json_add_bool(j, "d", true), 0);
	CLEANUP(freep) char *text = json_text(j);
	assert_string_equal(text,
			    "{\"a\":1795369200123,\"b\":9007199254740991,\"c\":null,\"d\":true}");
}

static void large_integers_are_not_rounded(void **state)
{
	const int64_t values[] = {999999999999999, 1000000000000000, 9007199254740991,
				  -9007199254740991};
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
		assert_int_equal(json_add_int(j, "a", values[i]), 0);
		assert_true(json_int(j, "a", 0) == values[i]);
		CLEANUP(freep) char *text = json_text(j);
		assert_null(strchr(text, 'e'));
		CLEANUP(json_deletep) cJSON *again = parse(text);
		assert_true(json_int(again, "a", 0) == values[i]);
	}
}

static void a_file_is_replaced_and_read_back(void **state)
{
	struct tmp *t = *state;
	CLEANUP(json_deletep) cJSON *j = parse("{\"a\":1}");
	assert_int_equal(json_replace_file(t->dir, "f.json", j, 0600), 0);
	CLEANUP(freep) char *data = NULL;
	size_t len;
	assert_int_equal(file_read(t->dir, "f.json", 100, &data, &len), 0);
	assert_string_equal(data, "{\"a\":1}\n");
	CLEANUP(json_deletep) cJSON *back = NULL;
	assert_int_equal(json_read_file(t->dir, "f.json", 100, &back, NULL), 0);
	assert_int_equal(json_int(back, "a", 0), 1);
}

static void a_bad_file_is_named_in_the_error(void **state)
{
	struct tmp *t = *state;
	cJSON *j = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(json_read_file(t->dir, "none.json", 100, &j, &e), -ENOENT);
	assert_string_equal(e.text, "none.json: No such file or directory");
	assert_int_equal(file_replace(t->dir, "bad.json", "{\n1", 3, 0600), 0);
	assert_int_equal(json_read_file(t->dir, "bad.json", 100, &j, &e), -EINVAL);
	assert_string_equal(e.text, "bad.json: line 2, column 1: this is not valid JSON");
	assert_int_equal(json_read_file(t->dir, "bad.json", 2, &j, &e), -EFBIG);
	assert_string_equal(e.text, "bad.json is larger than 2 bytes");
	assert_null(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_read_by_key),
		cmocka_unit_test(a_wrong_type_gives_the_fallback),
		cmocka_unit_test(an_error_has_its_line_and_column),
		cmocka_unit_test(every_cut_of_a_text_is_refused_without_reading_beyond_it),
		cmocka_unit_test(nul_bytes_are_refused_in_both_forms),
		cmocka_unit_test(bytes_that_are_no_utf8_are_refused),
		cmocka_unit_test(nesting_ends_at_32),
		cmocka_unit_test(brackets_in_a_string_do_not_nest),
		cmocka_unit_test(a_name_that_is_utf8_is_plain_text),
		cmocka_unit_test(a_name_that_is_not_utf8_comes_back_byte_for_byte),
		cmocka_unit_test(every_single_byte_survives_as_a_name),
		cmocka_unit_test(bad_hex_is_refused),
		cmocka_unit_test(utf8_is_told_from_other_bytes),
		cmocka_unit_test(numbers_and_null_are_written_plainly),
		cmocka_unit_test(large_integers_are_not_rounded),
		tmp_test(a_file_is_replaced_and_read_back),
		tmp_test(a_bad_file_is_named_in_the_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
