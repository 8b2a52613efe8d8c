#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/stat.h>

#include "manager/config.h"
#include "manager/repo.h"

static struct config *blank(void)
{
	struct config *c = calloc(1, sizeof(*c));
	assert_non_null(c);
	return c;
}

/* Parses text, which must be refused, with each of the words in the sentence. */
static void refused(const char *text, const char *word, const char *word2)
{
	struct config *c = blank();
	struct err e = ERR_INIT;

	assert_int_equal(config_parse(c, text, "/etc/x.json", &e), -EINVAL);
	if (!strstr(e.text, word) || !strstr(e.text, word2) || !strstr(e.text, "/etc/x.json"))
		fail_msg("said \"%s\", without \"%s\" or \"%s\"", e.text, word, word2);
	config_free(c);
}

static void every_key_is_read(void **state)
{
	struct config *c = blank();
	struct err e = ERR_INIT;

	assert_int_equal(
		config_parse(c,
			     "{\"mountpoint\":\"/m//n/./o/\",\"roots\":[\"/a\",\"/b\"],"
			     "\"backend\":\"embedded\",\"opencode_command\":\"oc\",\"lock_timeout_"
			     "ms\":1,"
			     "\"linger_ms\":0,\"max_turn_ms\":3,\"start_timeout_ms\":4,\"idle_stop_"
			     "s\":5,"
			     "\"undo_keep_mib\":6,\"undo_keep_days\":7,\"max_memory_mib\":8,"
			     "\"max_backends\":4294967295,\"policy\":{\"web\":\"readonly\","
			     "\"/srv/api/\":\"route\"}}",
			     "x", &e),
		0);
	assert_string_equal(c->mountpoint, "/m/n/o");
	assert_string_equal(c->roots[1], "/b");
	assert_null(c->roots[2]);
	assert_int_equal(c->backend, CONFIG_BACKEND_EMBEDDED);
	assert_string_equal(c->opencode_command, "oc");
	assert_int_equal(c->lock_timeout_ms, 1);
	assert_int_equal(c->undo_keep_days, 7);
	assert_int_equal(c->max_backends, UINT32_MAX);
	struct repo web = {.id = "web-1", .name = (char[]){"web"}, .root = (char[]){"/srv/web"}};
	struct repo api = {.id = "api-1", .name = (char[]){"api"}, .root = (char[]){"/srv/api"}};
	assert_int_equal(config_policy_of(c, &web), CONFIG_POLICY_READONLY);
	assert_int_equal(config_policy_of(c, &api), CONFIG_POLICY_ROUTE);
	assert_string_equal(c->policies[1].repo, "/srv/api");
	config_free(c);
}

static void an_unknown_key_names_its_line_and_the_nearest_key(void **state)
{
	refused("{\n\"linger_ms\": 1,\n\"mountpont\": \"/x\"}", "line 3",
		"unknown key \"mountpont\"; did you mean \"mountpoint\"?");
	refused("{\"zebra\":1}", "line 1", "unknown key \"zebra\"");
	/* a quote, a brace and an escape in a value before it do not disturb the count */
	refused("{\n\"opencode_command\": \"a\\\"{[:\",\n\n\"bakend\": 1}", "line 4",
		"\"backend\"");
	refused("{\n\"policy\": {\"a\":\"route\"},\n\"linger_m\":1}", "line 3", "linger_ms");
}

static void a_wrong_type_names_key_and_line(void **state)
{
	refused("{\"linger_ms\":\n\"20\"}", "line 1", "\"linger_ms\" must be a number");
	refused("{\n\"mountpoint\": 3}", "line 2", "\"mountpoint\" must be a path");
	refused("{\"roots\":\"/a\"}", "line 1", "must be a list");
	refused("{\"roots\":[1]}", "line 1", "\"roots\" must hold only paths");
	refused("{\"backend\":\"docker\"}", "line 1", "\"embedded\"");
	refused("{\"backend\":null}", "line 1", "\"embedded\"");
	refused("{\"opencode_command\":\"\"}", "line 1", "not empty");
	refused("{\"policy\":[]}", "line 1", "\"policy\"");
	refused("{\"policy\":{\n\"a\":\"route\",\n\"b\":\"ro\"}}", "line 3", "\"b\"");
}

static void numbers_out_of_range_are_refused(void **state)
{
	refused("{\"linger_ms\":-1}", "line 1", "\"linger_ms\" is negative");
	refused("{\"linger_ms\":4294967296}", "line 1", "beyond 4294967295");
	refused("{\"linger_ms\":1e300}", "line 1", "beyond");
	refused("{\"linger_ms\":1.5}", "line 1", "whole number");
}

static void a_key_given_twice_is_refused(void **state)
{
	refused("{\"linger_ms\":1,\n\"linger_ms\":2}", "line 2", "second time");
}

static void paths_must_be_absolute_and_without_dotdot(void **state)
{
	refused("{\"mountpoint\":\"rrm\"}", "line 1", "not an absolute path");
	refused("{\"mountpoint\":\"\"}", "line 1", "not an absolute path");
	refused("{\"mountpoint\":\"/a/../b\"}", "line 1", "\"..\"");
	refused("{\"roots\":[\"/a\",\"b\"]}", "line 1", "\"b\" is not an absolute path");
}

static void what_is_no_object_is_refused(void **state)
{
	refused("", "", "");
	refused("[]", "line 1", "object");
	refused("{\"a\":", "line 1", "JSON");
	refused("{} {}", "line 1", "");
}

static void use_home(const char *home)
{
	setenv("HOME", home, 1);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("RRM_HOME");
	unsetenv("RRM_MOUNTPOINT");
	unsetenv("RRM_BACKEND");
}

static void write_config(const struct tmp *t, const char *text)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "%s/.config/rrm", t->path);
	assert_int_equal(file_mkdirs(dir, 0700), 0);
	assert_int_equal(file_replace(t->dir, ".config/rrm/config.json", text, strlen(text), 0600),
			 0);
}

static void without_a_file_there_are_defaults(void **state)
{
	struct tmp *t = *state;
	struct config *c;
	char want[64];

	use_home(t->path);
	assert_int_equal(config_load(&c, NULL), 0);
	snprintf(want, sizeof(want), "%s/.opencode", t->path);
	assert_string_equal(c->base, want);
	snprintf(want, sizeof(want), "%s/rrm", t->path);
	assert_string_equal(c->mountpoint, want);
	assert_null(c->roots[0]);
	assert_string_equal(c->opencode_command, "opencode");
	assert_int_equal(c->lock_timeout_ms, 30000);
	assert_int_equal(c->linger_ms, 20);
	assert_int_equal(c->max_turn_ms, 2000);
	assert_int_equal(c->start_timeout_ms, 30000);
	assert_int_equal(c->idle_stop_s, 0);
	config_free(c);
}

static void the_environment_wins_over_the_file(void **state)
{
	struct tmp *t = *state;
	struct config *c;
	char want[64];

	use_home(t->path);
	write_config(t, "{\"mountpoint\":\"~/here\",\"backend\":\"opencode\",\"linger_ms\":7}");
	setenv("RRM_HOME", "/var/x/", 1);
	assert_int_equal(config_load(&c, NULL), 0);
	assert_string_equal(c->base, "/var/x");
	snprintf(want, sizeof(want), "%s/here", t->path);
	assert_string_equal(c->mountpoint, want);
	assert_int_equal(c->linger_ms, 7);
	config_free(c);
	setenv("RRM_MOUNTPOINT", "/mnt/y", 1);
	setenv("RRM_BACKEND", "embedded", 1);
	assert_int_equal(config_load(&c, NULL), 0);
	assert_string_equal(c->mountpoint, "/mnt/y");
	assert_int_equal(c->backend, CONFIG_BACKEND_EMBEDDED);
	config_free(c);
	use_home(t->path);
}

static void a_relative_state_base_becomes_absolute(void **state)
{
	struct tmp *t = *state;
	struct config *c;
	char want[64], before[4096];

	use_home(t->path);
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(t->path), 0);
	setenv("RRM_HOME", "st", 1);
	assert_int_equal(config_load(&c, NULL), 0);
	assert_int_equal(chdir(before), 0);
	snprintf(want, sizeof(want), "%s/st", t->path);
	assert_string_equal(c->base, want);
	config_free(c);
	use_home(t->path);
}

static void a_file_that_cannot_be_used_is_an_error_with_its_path(void **state)
{
	struct tmp *t = *state;
	struct config *c;
	struct err e = ERR_INIT;
	char path[64];

	use_home(t->path);
	write_config(t, "{\n\n\"x\":1}");
	assert_int_equal(config_load(&c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "config.json line 3: unknown key \"x\""));
	assert_int_equal(file_replace(t->dir, ".config/rrm/config.json", "{}\0{}", 5, 0600), 0);
	assert_int_equal(config_load(&c, &e), -EINVAL);
	assert_non_null(strstr(e.text, "NUL"));
	snprintf(path, sizeof(path), "%s/.config/rrm/config.json", t->path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(config_load(&c, &e), -EISDIR);
	assert_non_null(strstr(e.text, path));
}

static void neither_home_nor_rrm_home_is_an_error(void **state)
{
	struct config *c;
	struct err e = ERR_INIT;

	use_home("/nonexistent");
	unsetenv("HOME");
	assert_int_equal(config_load(&c, &e), -ENOENT);
	assert_non_null(strstr(e.text, "RRM_HOME"));
	setenv("RRM_HOME", "/var/x", 1);
	assert_int_equal(config_load(&c, &e), 0);
	assert_string_equal(c->base, "/var/x");
	config_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_read),
		cmocka_unit_test(an_unknown_key_names_its_line_and_the_nearest_key),
		cmocka_unit_test(a_wrong_type_names_key_and_line),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(a_key_given_twice_is_refused),
		cmocka_unit_test(paths_must_be_absolute_and_without_dotdot),
		cmocka_unit_test(what_is_no_object_is_refused),
		tmp_test(without_a_file_there_are_defaults),
		tmp_test(the_environment_wins_over_the_file),
		tmp_test(a_relative_state_base_becomes_absolute),
		tmp_test(a_file_that_cannot_be_used_is_an_error_with_its_path),
		cmocka_unit_test(neither_home_nor_rrm_home_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
