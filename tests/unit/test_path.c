#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"

static void below_goes_by_components(void **state)
{
	const char *rel = NULL;
	assert_true(path_below("/a", "/a/b", &rel));
	assert_string_equal(rel, "b");
	assert_true(path_below("/a/b", "/a/b/c/d", &rel));
	assert_string_equal(rel, "c/d");
	assert_false(path_below("/a", "/ab", &rel));
	assert_false(path_below("/a/b", "/a", &rel));
	assert_false(path_below("/a", "/b", NULL));
}

static void a_root_is_below_itself(void **state)
{
	const char *rel = NULL;
	assert_true(path_below("/a", "/a", &rel));
	assert_string_equal(rel, "");
	assert_true(path_below("/a", "/a/b", NULL));
}

static void everything_absolute_is_below_the_root_directory(void **state)
{
	const char *rel = NULL;
	assert_true(path_below("/", "/", &rel));
	assert_string_equal(rel, "");
	assert_true(path_below("/", "/a/b", &rel));
	assert_string_equal(rel, "a/b");
	assert_false(path_below("/", "a", NULL));
	assert_false(path_below("/", "", NULL));
}

static void a_relative_path_that_stays_inside_is_accepted(void **state)
{
	assert_true(path_relative_ok("a"));
	assert_true(path_relative_ok("a/b/c"));
	assert_true(path_relative_ok(".git/HEAD"));
	assert_true(path_relative_ok("...")); /* a name like any other */
	assert_true(path_relative_ok("a/..b/.c"));
	assert_true(path_relative_ok("\xff\xfe/new\nline"));
}

static void a_relative_path_that_leads_out_is_refused(void **state)
{
	const char *bad[] = {"",    "/",    "/a",   ".",     "..",    "a/",     "a//b",
			     "./a", "../a", "a/..", "a/./b", "a/../", "a/../b", "//"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (path_relative_ok(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	}
}

static void lengths_end_where_the_kernel_ends_them(void **state)
{
	char name[NAME_MAX + 2];
	memset(name, 'n', sizeof(name));
	name[NAME_MAX] = '\0';
	assert_true(path_name_ok(name));
	assert_true(path_relative_ok(name));
	name[NAME_MAX] = 'n';
	name[NAME_MAX + 1] = '\0';
	assert_false(path_name_ok(name));
	assert_false(path_relative_ok(name));

	char path[PATH_MAX + 1];
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '/' : 'a';
	path[PATH_MAX - 1] = '\0';
	assert_true(path_relative_ok(path));
	path[PATH_MAX - 1] = 'a';
	path[PATH_MAX] = '\0';
	assert_false(path_relative_ok(path));
}

static void a_name_is_one_component(void **state)
{
	assert_true(path_name_ok("a"));
	assert_true(path_name_ok(".a"));
	assert_true(path_name_ok("..."));
	assert_false(path_name_ok(""));
	assert_false(path_name_ok("."));
	assert_false(path_name_ok(".."));
	assert_false(path_name_ok("a/b"));
	assert_false(path_name_ok("a/"));
}

static void join_makes_one_slash(void **state)
{
	const char *cases[][3] = {
		{"/a", "b", "/a/b"}, {"/a/", "b", "/a/b"}, {"/", "b", "/b"},
		{"a", "b", "a/b"},   {"", "b", "b"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(freep) char *p = path_join(cases[i][0], cases[i][1]);
		assert_non_null(p);
		assert_string_equal(p, cases[i][2]);
	}
}

static void the_last_component_is_found(void **state)
{
	assert_string_equal(path_basename("/a/b"), "b");
	assert_string_equal(path_basename("b"), "b");
	assert_string_equal(path_basename("/"), "/");
}

static void canonical_resolves_links_and_dots(void **state)
{
	struct tmp *t = *state;
	assert_int_equal(mkdirat(t->dir, "d", 0700), 0);
	assert_int_equal(symlinkat("d", t->dir, "link"), 0);
	char in[128];
	char want[128];
	snprintf(in, sizeof(in), "%s/./link/../link", t->path);
	snprintf(want, sizeof(want), "%s/d", t->path);
	CLEANUP(freep) char *out = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(path_canonical(in, &out, &e), 0);
	assert_string_equal(out, want);
}

static void a_missing_path_is_named_in_the_error(void **state)
{
	char *out = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(path_canonical("/nowhere/at/all", &out, &e), -ENOENT);
	assert_null(out);
	assert_string_equal(e.text, "/nowhere/at/all: No such file or directory");
	assert_int_equal(path_canonical("", &out, &e), -ENOENT);
	assert_int_equal(path_canonical("", &out, NULL), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_goes_by_components),
		cmocka_unit_test(a_root_is_below_itself),
		cmocka_unit_test(everything_absolute_is_below_the_root_directory),
		cmocka_unit_test(a_relative_path_that_stays_inside_is_accepted),
		cmocka_unit_test(a_relative_path_that_leads_out_is_refused),
		cmocka_unit_test(lengths_end_where_the_kernel_ends_them),
		cmocka_unit_test(a_name_is_one_component),
		cmocka_unit_test(join_makes_one_slash),
		cmocka_unit_test(the_last_component_is_found),
		tmp_test(canonical_resolves_links_and_dots),
		cmocka_unit_test(a_missing_path_is_named_in_the_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
