#include "tests/unit/unit.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sys/stat.h>

#include "fs/options.h"

/* Parses the words up to NULL; the configuration says /home/ann/rrm. */
static int parse(struct options *out, struct err *e, const char *const *argv)
{
	struct config c = {.mountpoint = (char *)(uintptr_t) "/home/ann/rrm"};
	int argc = 0;
	while (argv[argc])
		argc++;
	optind = 0; /* getopt begins anew */
	int rc = options_parse(out, argc, (char **)(uintptr_t)argv, e);
	return rc < 0 ? rc : options_complete(out, &c, e);
}

#define PARSE(out, e, ...) parse(out, e, (const char *[]){"rrm-mount", ##__VA_ARGS__, NULL})

static void without_arguments_the_configured_mountpoint_is_mounted(void **state)
{
	struct options o;
	struct err e = ERR_INIT;
	assert_int_equal(PARSE(&o, &e), 0);
	assert_int_equal(o.action, OPTIONS_MOUNT);
	assert_false(o.foreground);
	assert_string_equal(o.mountpoint, "/home/ann/rrm");
	assert_string_equal(o.fuse, "");
	options_deinit(&o);
}

static void options_are_joined_by_commas(void **state)
{
	struct options o;
	struct err e = ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "-f", "-o", "allow_other", "-oro,debug", "/m"), 0);
	assert_true(o.foreground);
	assert_string_equal(o.fuse, "allow_other,ro,debug");
	assert_string_equal(o.mountpoint, "/m");
	options_deinit(&o);
}

static void unmount_takes_a_mountpoint_or_the_configured_one(void **state)
{
	struct options o;
	struct err e = ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "-u", "/tmp/x"), 0);
	assert_int_equal(o.action, OPTIONS_UNMOUNT);
	assert_string_equal(o.mountpoint, "/tmp/x");
	options_deinit(&o);
	assert_int_equal(PARSE(&o, &e, "--unmount"), 0);
	assert_string_equal(o.mountpoint, "/home/ann/rrm");
	options_deinit(&o);
}

static void wrong_usage_is_named(void **state)
{
	struct options o;
	struct err e = ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "--nonsense"), -EINVAL);
	assert_non_null(strstr(e.text, "--nonsense"));
	options_deinit(&o);
	e = (struct err)ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "-u", "--unmont"), -EINVAL);
	assert_string_equal(
		e.text, "unknown option --unmont; did you mean --unmount? See rrm-mount --help");
	options_deinit(&o);
	e = (struct err)ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "-fxu"), -EINVAL);
	assert_string_equal(e.text, "unknown option -x; see rrm-mount --help");
	options_deinit(&o);
	e = (struct err)ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "--reexec=now"), -EINVAL);
	assert_string_equal(e.text, "option --reexec=now takes no value; see rrm-mount --help");
	options_deinit(&o);
	e = (struct err)ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "-o"), -EINVAL);
	assert_non_null(strstr(e.text, "-o needs a value"));
	options_deinit(&o);
	e = (struct err)ERR_INIT;
	assert_int_equal(PARSE(&o, &e, "/a", "/b"), -EINVAL);
	assert_non_null(strstr(e.text, "one mountpoint"));
	options_deinit(&o);
}

static void a_path_is_made_absolute_with_its_parents_resolved(void **state)
{
	struct tmp *t = *state;
	struct err e = ERR_INIT;
	char real[PATH_MAX], want[PATH_MAX + 8], link[PATH_MAX], *got = NULL;
	assert_int_equal(mkdirat(t->dir, "d", 0755), 0);
	assert_int_equal(symlinkat("d", t->dir, "l"), 0);
	assert_non_null(realpath(t->path, real));
	snprintf(want, sizeof(want), "%s/d/m", real);
	snprintf(link, sizeof(link), "%s/l/m///", t->path);
	assert_int_equal(options_absolute(link, &got, &e), 0);
	assert_string_equal(got, want);
	free(got);
	/* The last component is not touched: it may be a dead mount. */
	snprintf(want, sizeof(want), "%s/l", real);
	snprintf(link, sizeof(link), "%s/l", t->path);
	assert_int_equal(options_absolute(link, &got, &e), 0);
	assert_string_equal(got, want);
	free(got);
}

static void a_relative_path_is_below_the_working_directory(void **state)
{
	struct tmp *t = *state;
	struct err e = ERR_INIT;
	char cwd[PATH_MAX], want[PATH_MAX + 8], *got = NULL;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(t->path), 0);
	int rc = options_absolute("m", &got, &e);
	char real[PATH_MAX];
	assert_non_null(realpath(t->path, real));
	assert_int_equal(chdir(cwd), 0);
	assert_int_equal(rc, 0);
	snprintf(want, sizeof(want), "%s/m", real);
	assert_string_equal(got, want);
	free(got);
}

static void parents_that_do_not_exist_stay_as_they_are(void **state)
{
	struct err e = ERR_INIT;
	char *got = NULL;
	assert_int_equal(options_absolute("/no/such/parent/m", &got, &e), 0);
	assert_string_equal(got, "/no/such/parent/m");
	free(got);
}

static void places_that_are_no_directory_of_their_own_are_refused(void **state)
{
	static const char *const bad[] = {"/", "//", ".", "..", "/tmp/..", "/tmp/."};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = ERR_INIT;
		char *got = NULL;
		assert_int_equal(options_absolute(bad[i], &got, &e), -EINVAL);
		assert_non_null(strstr(e.text, "no place for a mount"));
		assert_null(got);
	}
}

static void a_name_of_thousands_of_bytes_does_no_harm(void **state)
{
	struct err e = ERR_INIT;
	char *got = NULL, *name = malloc(100001);
	memset(name, 'x', 100000);
	name[0] = '/';
	name[100000] = '\0';
	assert_int_equal(options_absolute(name, &got, &e), 0);
	assert_string_equal(got, name);
	free(got);
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_arguments_the_configured_mountpoint_is_mounted),
		cmocka_unit_test(options_are_joined_by_commas),
		cmocka_unit_test(unmount_takes_a_mountpoint_or_the_configured_one),
		cmocka_unit_test(wrong_usage_is_named),
		tmp_test(a_path_is_made_absolute_with_its_parents_resolved),
		tmp_test(a_relative_path_is_below_the_working_directory),
		cmocka_unit_test(parents_that_do_not_exist_stay_as_they_are),
		cmocka_unit_test(places_that_are_no_directory_of_their_own_are_refused),
		cmocka_unit_test(a_name_of_thousands_of_bytes_does_no_harm),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
