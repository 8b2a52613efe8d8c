#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

#include "router/jsonr.h"

static struct jsonr_item items[JSONR_ITEMS];

static void reads(const char *text)
{
	struct err e = ERR_INIT;
	if (jsonr_parse(text, strlen(text), items, &e) < 0)
		fail_msg("%s: %s", text, e.text);
}

static void refuses(const char *text, const char *why)
{
	struct err e = ERR_INIT;
	assert_int_equal(jsonr_parse(text, strlen(text), items, &e), -EINVAL);
	if (!strstr(e.text, why))
		fail_msg("%s: %s", text, e.text);
}

static void is_text(const char *key, const char *wanted)
{
	char *text = NULL;
	assert_int_equal(jsonr_bytes(items, key, &text), 0);
	assert_string_equal(text, wanted);
	free(text);
}

static void members_and_elements_are_found(void **state)
{
	reads(" {\"a\" : {\"x\":1,\"b\":2} , \"b\": [ [3] ,4,\"five\" ],\"b\":6, "
	      "\"c\":null,\"d\":true } ");
	int64_t v = 0;
	assert_int_equal(items->type, '{');
	assert_int_equal(jsonr_i64(jsonr_find(jsonr_find(items, "a"), "b"), &v), 0);
	assert_int_equal(v, 2);
	const struct jsonr_item *b = jsonr_find(items, "b"); /* the first of that name */
	assert_int_equal(b->type, '[');
	assert_int_equal(jsonr_i64(jsonr_nth(b, 1), &v), 0);
	assert_int_equal(v, 4);
	assert_int_equal(jsonr_nth(b, 2)->type, '"');
	assert_null(jsonr_nth(b, 3));
	assert_int_equal(jsonr_find(items, "c")->type, 'n');
	assert_int_equal(jsonr_find(items, "d")->type, 't');
	assert_null(jsonr_find(items, "x"));
	assert_null(jsonr_find(items, "five"));
	assert_null(jsonr_find(b, "a"));
	assert_null(jsonr_find(NULL, "a"));
	assert_null(jsonr_nth(items, 0));
	reads("{}");
	assert_null(jsonr_find(items, "a"));
	reads("[]");
	assert_null(jsonr_nth(items, 0));
}

static void escapes_and_bytes_are_told(void **state)
{
	char *text = NULL;
	reads("{\"a\":\"q\\\"\\\\\\/"
	      "\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00\",\"b_hex\":\"61ff\",\"b\":\"a?"
	      "\","
	      "\"bad_hex\":\"6\",\"nul_hex\":\"00\",\"n\":7,\"e\":\"\"}");
	is_text("a", "q\"\\/\b\f\n\r\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	is_text("b", "a\xff");
	is_text("e", "");
	assert_int_equal(jsonr_bytes(items, "bad", &text), -EINVAL);
	assert_int_equal(jsonr_bytes(items, "nul", &text), -EINVAL);
	assert_int_equal(jsonr_bytes(items, "n", &text), -EINVAL);
	assert_null(text);
	assert_int_equal(jsonr_bytes(items, "none", &text), 0);
	assert_null(text);
}

static void integers_are_exact(void **state)
{
	uint64_t u = 0;
	int64_t i = 0;
	reads("[9007199254740992,9007199254740993,\"18446744073709551615\","
	      "\"18446744073709551616\",-5,\"-9223372036854775808\","
	      "1e3,1.5,\"12x\",\"\",true,-0,\"-\"]");
	assert_int_equal(jsonr_u64(jsonr_nth(items, 0), &u), 0);
	assert_true(u == UINT64_C(9007199254740992));
	assert_int_equal(jsonr_u64(jsonr_nth(items, 1), &u), 0);
	assert_true(u == UINT64_C(9007199254740993)); /* as a double it is another */
	assert_int_equal(jsonr_u64(jsonr_nth(items, 2), &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(jsonr_u64(jsonr_nth(items, 3), &u), -EINVAL);
	assert_int_equal(jsonr_u64(jsonr_nth(items, 4), &u), -EINVAL);
	assert_int_equal(jsonr_i64(jsonr_nth(items, 4), &i), 0);
	assert_int_equal(i, -5);
	assert_int_equal(jsonr_i64(jsonr_nth(items, 5), &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(jsonr_i64(jsonr_nth(items, 6), &i), 0);
	assert_int_equal(i, 1000);
	for (unsigned n = 7; n < 11; n++)
		assert_int_equal(jsonr_i64(jsonr_nth(items, n), &i), -EINVAL);
	assert_int_equal(jsonr_u64(jsonr_nth(items, 11), &u), 0);
	assert_int_equal(u, 0);
	assert_int_equal(jsonr_i64(jsonr_nth(items, 12), &i), -EINVAL);
	assert_int_equal(jsonr_i64(jsonr_nth(items, 13), &i), -ENOENT);
}

static void what_is_no_json_is_told(void **state)
{
	static const char *const bad[] = {
		"",   "{",       "{\"a\"}",     "{\"a\":}",    "{\"a\":1,}", "[1,]",        "[1 2]",
		"\"", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\u12\"",  "\"\\u0000\"", "tru",
		"-",  "nul",     "1]",          "\"\xff\"",    "{\"a\":1}}", "{1:2}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		refuses(bad[i], "line 1, column");
	/* cJSON takes these, and we do not. */
	refuses("01", "RFC 8259");
	refuses("1.", "RFC 8259");
	refuses("{\"\\u0061\":1}", "escape");
}

static void depth_and_number_of_values_are_bounded(void **state)
{
	char text[4 * JSONR_ITEMS + 8];
	memset(text, '[', 32);
	memset(text + 32, ']', 32);
	text[64] = '\0';
	reads(text);
	memset(text, '[', 33);
	memset(text + 33, ']', 33);
	text[66] = '\0';
	refuses(text, "nested");
	strcpy(text, "[");
	for (int i = 1; i < JSONR_ITEMS; i++)
		strcat(text, i == 1 ? "1" : ",1");
	strcat(text, "]");
	reads(text);
	text[strlen(text) - 1] = '\0';
	strcat(text, ",1]");
	refuses(text, "values");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_and_elements_are_found),
		cmocka_unit_test(escapes_and_bytes_are_told),
		cmocka_unit_test(integers_are_exact),
		cmocka_unit_test(what_is_no_json_is_told),
		cmocka_unit_test(depth_and_number_of_values_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
