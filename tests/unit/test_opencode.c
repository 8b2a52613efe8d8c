#include "tests/unit/unit.h"

#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/opencode.h"
#include "manager/opencode_config.h"

struct world {
	struct tmp *tmp;
	struct config *c;
	struct repo *r;
};

static void in(const struct world *w, char out[256], const char *below)
{
	snprintf(out, 256, "%s/%s", w->tmp->path, below);
}

static void put(const struct world *w, const char *below, const char *text)
{
	char path[256];
	in(w, path, below);
	*strrchr(path, '/') = '\0';
	assert_int_equal(file_mkdirs(path, 0700), 0);
	assert_int_equal(file_replace(w->tmp->dir, below, text, strlen(text), 0600), 0);
}

/* What the repo's isolated configuration holds under name: a link's target, "dir", "file", "". */
static const char *config_entry(const struct world *w, const char *name)
{
	static char target[512];
	char path[512];
	struct stat st;
	snprintf(path, sizeof(path), "%s/config/opencode/%s", w->r->state_dir, name);
	if (lstat(path, &st) < 0)
		return "";
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return S_ISDIR(st.st_mode) ? "dir" : "file";
	target[n] = '\0';
	return target;
}

static void expect_link(const struct world *w, const char *name, const char *below)
{
	char want[256];
	in(w, want, below);
	assert_string_equal(config_entry(w, name), want);
}

static void prepare(const struct world *w)
{
	struct err e = ERR_INIT;
	if (opencode_prepare(w->c, w->r, &e) != 0)
		fail_msg("%s", e.text);
}

static void set(const struct world *w, const char *variable, const char *below)
{
	char path[256];
	in(w, path, below);
	setenv(variable, path, 1);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = ERR_INIT;
	void *tmp;
	tmp_setup(&tmp);
	w->tmp = tmp;
	set(w, "HOME", "h");
	static const char *const unset[] = {"XDG_DATA_HOME",   "XDG_CONFIG_HOME",
					    "XDG_CACHE_HOME",  "XDG_STATE_HOME",
					    "RRM_HOME",        "TMPDIR",
					    "RRM_USER_ENV",    "RRM_REPO_ID",
					    "OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR"};
	for (size_t i = 0; i < sizeof(unset) / sizeof(unset[0]); i++)
		unsetenv(unset[i]);
	put(w, "h/.keep", "");
	/* are only to be found */
	static const char *const programs[] = {"bin/rrm-backend", "bin/rrm"};
	for (size_t i = 0; i < 2; i++) {
		char program[256];
		put(w, programs[i], "#!/bin/sh\n");
		in(w, program, programs[i]);
		assert_int_equal(chmod(program, 0700), 0);
	}
	set(w, "RRM_BINDIR", "bin");
	put(w, "share/rrm.js", "export const Rrm = async () => ({})\n");
	set(w, "RRM_DATADIR", "share");
	put(w, "web/.keep", "");
	assert_int_equal(config_load(&w->c, &e), 0);
	char root[256];
	in(w, root, "web");
	if (repo_add(w->c, root, NULL, true, &w->r, &e) != 0)
		fail_msg("%s", e.text);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	repo_free(w->r);
	config_free(w->c);
	void *tmp = w->tmp;
	free(w);
	return tmp_teardown(&tmp);
}

static void the_users_configuration_is_linked(void **state)
{
	struct world *w = *state;
	put(w, "h/.config/opencode/opencode.json", "{}");
	put(w, "h/.config/opencode/agent/a.md", "x");
	put(w, "h/.config/opencode/package.json", "{\"theirs\":1}");
	put(w, "h/.config/opencode/node_modules/x", "");
	prepare(w);
	expect_link(w, "opencode.json", "h/.config/opencode/opencode.json");
	expect_link(w, "agent", "h/.config/opencode/agent");
	assert_string_equal(config_entry(w, "package.json"), "file");
	assert_string_equal(config_entry(w, "node_modules"), "dir");
	assert_string_equal(config_entry(w, "plugins"), "dir");
	assert_string_equal(config_entry(w, "plugins/rrm.js"), "file");
}

static void entries_come_and_go_with_the_users(void **state)
{
	struct world *w = *state;
	char path[256];
	put(w, "h/.config/opencode/a.json", "{}");
	prepare(w);
	in(w, path, "h/.config/opencode/a.json");
	assert_int_equal(unlink(path), 0);
	put(w, "h/.config/opencode/b.json", "{}");
	prepare(w);
	assert_string_equal(config_entry(w, "a.json"), "");
	expect_link(w, "b.json", "h/.config/opencode/b.json");
}

static void a_file_in_the_way_of_a_link_is_kept(void **state)
{
	struct world *w = *state;
	prepare(w);
	char path[512];
	snprintf(path, sizeof(path), "%s/config/opencode/opencode.json", w->r->state_dir);
	assert_int_equal(file_replace(AT_FDCWD, path, "mine", 4, 0600), 0);
	put(w, "h/.config/opencode/opencode.json", "{}");
	prepare(w);
	expect_link(w, "opencode.json", "h/.config/opencode/opencode.json");
	assert_string_equal(config_entry(w, "opencode.json.before-rrm"), "file");
}

static void the_plugin_goes_where_the_user_has_none(void **state)
{
	struct world *w = *state;
	put(w, "h/.config/opencode/plugins/own.js", "");
	prepare(w);
	expect_link(w, "plugins", "h/.config/opencode/plugins");
	assert_string_equal(config_entry(w, "plugin/rrm.js"), "file");
	char path[256];
	struct stat st;
	in(w, path, "h/.config/opencode/plugins/rrm.js");
	assert_int_equal(lstat(path, &st), -1);
}

static void with_both_in_use_the_users_plugins_are_linked_one_by_one(void **state)
{
	struct world *w = *state;
	prepare(w); /* first with none: plugins/ is ours, and must give way */
	put(w, "h/.config/opencode/plugins/own.js", "");
	put(w, "h/.config/opencode/plugin/other.js", "");
	prepare(w);
	expect_link(w, "plugins", "h/.config/opencode/plugins");
	expect_link(w, "plugin/other.js", "h/.config/opencode/plugin/other.js");
	assert_string_equal(config_entry(w, "plugin/rrm.js"), "file");
	char path[256];
	struct stat st;
	in(w, path, "h/.config/opencode/plugin/rrm.js");
	assert_int_equal(lstat(path, &st), -1);
}

static void the_login_is_shared_before_there_is_one(void **state)
{
	struct world *w = *state;
	char path[512];
	prepare(w);
	snprintf(path, sizeof(path), "%s/data/opencode/auth.json", w->r->state_dir);
	/* As OpenCode writes it: in place, through the link. */
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "key", 3), 3);
	close(fd);
	char *text;
	size_t len;
	assert_int_equal(
		file_read(w->tmp->dir, "h/.local/share/opencode/auth.json", 100, &text, &len), 0);
	assert_string_equal(text, "key");
	free(text);
}

static void our_configuration_directories_are_seeded(void **state)
{
	struct world *w = *state;
	prepare(w); /* the state base is ~/.opencode here */
	static const char *const names[] = {"package.json", "package-lock.json", "node_modules"};
	for (size_t i = 0; i < 3; i++) {
		char path[256];
		snprintf(path, sizeof(path), "%s/h/.opencode/%s", w->tmp->path, names[i]);
		assert_int_equal(access(path, F_OK), 0);
		assert_string_not_equal(config_entry(w, names[i]), "");
	}
}

static void a_package_json_of_the_users_in_the_state_base_is_left_alone(void **state)
{
	struct world *w = *state;
	char path[256];
	put(w, "h/.opencode/package.json", "{\"theirs\":1}");
	prepare(w);
	char *text;
	size_t len;
	in(w, path, "h/.opencode/package.json");
	assert_int_equal(file_read(AT_FDCWD, path, 100, &text, &len), 0);
	assert_string_equal(text, "{\"theirs\":1}");
	free(text);
	in(w, path, "h/.opencode/node_modules");
	assert_int_equal(access(path, F_OK), -1);
}

/* The environment as opencode_env() makes it from ours; what the plugin gives back is in *user. */
static struct spawn_env env_of(const struct world *w, cJSON **user)
{
	struct spawn_env env;
	struct err e = ERR_INIT;
	assert_int_equal(spawn_env_init(&env, environ), 0);
	if (opencode_env(w->c, w->r, "pw", &env, &e) != 0)
		fail_msg("%s", e.text);
	const char *text = spawn_env_get(&env, "RRM_USER_ENV");
	assert_int_equal(json_parse(text, strlen(text), user, &e), 0);
	return env;
}

static void the_environment_is_isolated_and_remembers_the_users(void **state)
{
	struct world *w = *state;
	char want[512];
	cJSON *user;
	set(w, "XDG_CACHE_HOME", "cc");
	setenv("OPENCODE_DB", "/shared.db", 1);
	setenv("OPENCODE_PURE", "1", 1);
	struct spawn_env env = env_of(w, &user);
	snprintf(want, sizeof(want), "%s/data", w->r->state_dir);
	assert_string_equal(spawn_env_get(&env, "XDG_DATA_HOME"), want);
	snprintf(want, sizeof(want), "%s/tmp", w->r->state_dir);
	assert_string_equal(spawn_env_get(&env, "TMPDIR"), want);
	assert_string_equal(spawn_env_get(&env, "OPENCODE_SERVER_PASSWORD"), "pw");
	assert_null(spawn_env_get(&env, "OPENCODE_DB"));
	assert_null(spawn_env_get(&env, "OPENCODE_PURE"));
	in(w, want, "cc");
	assert_string_equal(json_str(user, "XDG_CACHE_HOME", ""), want);
	in(w, want, "h/.local/share");
	assert_string_equal(json_str(user, "XDG_DATA_HOME", ""), want);
	assert_string_equal(json_str(user, "TMPDIR", ""), "/tmp");
	cJSON_Delete(user);
	spawn_env_deinit(&env);
	unsetenv("OPENCODE_DB");
	unsetenv("OPENCODE_PURE");
}

/* An MCP server of backend A runs rrm: A's directories must not become the login of B. */
static void inside_a_backend_the_user_is_still_the_user(void **state)
{
	struct world *w = *state;
	cJSON *outer, *inner;
	struct spawn_env env = env_of(w, &outer);
	setenv("RRM_HOME", w->c->base, 1);
	setenv("RRM_REPO_ID", w->r->id, 1);
	setenv("RRM_USER_ENV", spawn_env_get(&env, "RRM_USER_ENV"), 1);
	setenv("XDG_DATA_HOME", spawn_env_get(&env, "XDG_DATA_HOME"), 1);
	struct spawn_env again = env_of(w, &inner);
	assert_string_equal(json_str(inner, "XDG_DATA_HOME", "?"),
			    json_str(outer, "XDG_DATA_HOME", ""));
	cJSON_Delete(outer);
	cJSON_Delete(inner);
	spawn_env_deinit(&env);
	spawn_env_deinit(&again);
}

static void expect_text(const struct world *w, const char *below, const char *want)
{
	char *text;
	size_t len;
	assert_int_equal(file_read(w->tmp->dir, below, 1000, &text, &len), 0);
	assert_string_equal(text, want);
	free(text);
}

static void twelve_starts_do_not_write_the_same_configuration_file(void **state)
{
	struct world *w = *state;
	char link[256], path[256];
	struct stat st;
	put(w, "dot/oc.json", "{\"username\":\"ann\"}\n");
	put(w, "h/.config/opencode/.keep", "");
	in(w, link, "h/.config/opencode/opencode.json");
	assert_int_equal(symlink("../../../dot/oc.json", link), 0);
	prepare(w);
	prepare(w);
	expect_text(
		w, "dot/oc.json",
		"{\n  \"$schema\": \"https://opencode.ai/config.json\",\"username\":\"ann\"}\n");
	assert_int_equal(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	in(w, path, "dot/oc.json");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void only_an_object_without_schema_is_completed(void **state)
{
	static const char *const left[] = {
		"", " ", "[]", "/* {", "// {", "{\"$schema\":\"x\"}", "nonsense"};
	char *out;
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++) {
		assert_int_equal(opencode_config_with_schema(left[i], &out), 0);
		assert_null(out);
	}
	assert_int_equal(opencode_config_with_schema("// { mine\n /**/ {} // end", &out), 0);
	assert_string_equal(out, "// { mine\n /**/ {\n  \"$schema\": "
				 "\"https://opencode.ai/config.json\",} // end");
	free(out);
}

/* It may import what only npm brings. */
static void a_home_directory_with_the_users_code_is_not_seeded(void **state)
{
	struct world *w = *state;
	char path[256];
	put(w, "h/.opencode/tool/own.js", "");
	prepare(w);
	in(w, path, "h/.opencode/node_modules");
	assert_int_equal(access(path, F_OK), -1);
}

static void the_users_other_configuration_directory_is_linked_too(void **state)
{
	struct world *w = *state;
	char want[512], target[512];
	cJSON *user;
	put(w, "oc/agent/a.md", "x");
	set(w, "OPENCODE_CONFIG_DIR", "oc");
	prepare(w);
	snprintf(want, sizeof(want), "%s/configdir/agent", w->r->state_dir);
	ssize_t n = readlink(want, target, sizeof(target) - 1);
	assert_true(n > 0);
	target[n] = '\0';
	in(w, want, "oc/agent");
	assert_string_equal(target, want);
	struct spawn_env env = env_of(w, &user);
	snprintf(want, sizeof(want), "%s/configdir", w->r->state_dir);
	assert_string_equal(spawn_env_get(&env, "OPENCODE_CONFIG_DIR"), want);
	in(w, want, "oc");
	assert_string_equal(json_str(user, "OPENCODE_CONFIG_DIR", ""), want);
	cJSON_Delete(user);
	spawn_env_deinit(&env);
	unsetenv("OPENCODE_CONFIG_DIR");
	env = env_of(w, &user);
	assert_null(spawn_env_get(&env, "OPENCODE_CONFIG_DIR"));
	assert_string_equal(json_str(user, "OPENCODE_CONFIG_DIR", "unset"), "unset");
	cJSON_Delete(user);
	spawn_env_deinit(&env);
}

static void versions_are_compared_by_number(void **state)
{
	(void)state;
	static const char *const old[] = {"0.15.3", "1.0.185", "1.2.9", "1.2.26", "1.2.26-beta.1"};
	static const char *const fine[] = {"1.2.27",           "1.2.100", "1.18.33", "2.0.0",
					   "0.0.0-dev-202611", "local",   ""};
	for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++)
		assert_true(opencode_too_old(old[i]));
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		assert_false(opencode_too_old(fine[i]));
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_users_configuration_is_linked),
		T(entries_come_and_go_with_the_users),
		T(a_file_in_the_way_of_a_link_is_kept),
		T(the_plugin_goes_where_the_user_has_none),
		T(with_both_in_use_the_users_plugins_are_linked_one_by_one),
		T(the_login_is_shared_before_there_is_one),
		T(our_configuration_directories_are_seeded),
		T(a_package_json_of_the_users_in_the_state_base_is_left_alone),
		T(the_environment_is_isolated_and_remembers_the_users),
		T(inside_a_backend_the_user_is_still_the_user),
		T(twelve_starts_do_not_write_the_same_configuration_file),
		cmocka_unit_test(versions_are_compared_by_number),
		T(only_an_object_without_schema_is_completed),
		T(a_home_directory_with_the_users_code_is_not_seeded),
		T(the_users_other_configuration_directory_is_linked_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
