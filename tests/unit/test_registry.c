#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/proc.h"
#include "manager/registry.h"

static struct repo repo_in(const struct tmp *t)
{
	struct repo r = {.id = "web-0123456789abcdef", .name = (char[]){"web"}};

	r.root = strdup("/srv/web\xff");
	r.name = strdup("web");
	r.state_dir = strdup(t->path);
	r.added = strdup("");
	return r;
}

static struct endpoint endpoint_of_me(const struct repo *r)
{
	struct endpoint ep = {
		.pid = getpid(), .port = 4101, .backend = "embedded", .state = "ready"};
	struct proc_stat st;

	assert_int_equal(proc_stat(getpid(), &st), 0);
	ep.start_time = st.start;
	strcpy(ep.repo_id, r->id);
	strcpy(ep.url, "http://127.0.0.1:4101");
	assert_int_equal(proc_boot_id(ep.boot_id, sizeof(ep.boot_id)), 0);
	return ep;
}

static void what_was_written_is_read(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo_in(t);
	struct endpoint ep = endpoint_of_me(&r), got;
	bool alive = false;
	char *text;
	size_t len;

	strcpy(ep.error, "quote \" and \\");
	assert_int_equal(registry_write(&r, &ep, NULL), 0);
	assert_int_equal(registry_read(&r, &got, &alive, NULL), 0);
	assert_true(alive);
	assert_memory_equal(&ep, &got, sizeof(ep));
	assert_int_equal(file_read(t->dir, "port", 100, &text, &len), 0);
	assert_string_equal(text, "4101\n");
	free(text);
	assert_int_equal(registry_clear(&r), 0);
	assert_int_equal(registry_read(&r, &got, &alive, NULL), -ENOENT);
	assert_int_equal(faccessat(t->dir, "port", F_OK, 0), -1);
	assert_int_equal(registry_clear(&r), 0);
	repo_deinit(&r);
}

static void alive(struct repo *r, struct endpoint *ep, bool want)
{
	struct endpoint got;
	bool is = !want;

	assert_int_equal(registry_write(r, ep, NULL), 0);
	assert_int_equal(registry_read(r, &got, &is, NULL), 0);
	assert_int_equal(is, want);
}

static void pid_start_time_and_boot_id_must_all_match(void **state)
{
	struct repo r = repo_in(*state);
	struct endpoint ep = endpoint_of_me(&r);

	alive(&r, &ep, true);
	ep.start_time++;
	alive(&r, &ep, false);
	ep = endpoint_of_me(&r);
	ep.boot_id[0] ^= 1;
	alive(&r, &ep, false);
	ep = endpoint_of_me(&r);
	ep.pid = 0;
	alive(&r, &ep, false);
	repo_deinit(&r);
}

static void a_corrupt_file_is_moved_aside(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo_in(t);
	struct endpoint got;
	static const char *const broken[] = {
		"",
		"{\"pid\":",
		"[]",
		"{}",
		"{\"repo_id\":\"other-0123456789abcdef\",\"state\":\"ready\"}",
		"{\"repo_id\":\"web-0123456789abcdef\",\"state\":\"ready\",\"pid\":-4}",
		"{\"repo_id\":\"web-0123456789abcdef\",\"state\":\"ready\",\"port\":70000}",
		"{\"repo_id\":\"web-0123456789abcdef\",\"state\":\"odd\"}"};
	char name[64];

	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		struct err e = ERR_INIT;
		assert_int_equal(
			file_replace(t->dir, "registry.json", broken[i], strlen(broken[i]), 0600),
			0);
		assert_int_equal(registry_read(&r, &got, NULL, &e), -ENOENT);
		assert_int_equal(faccessat(t->dir, "registry.json", F_OK, 0), -1);
		snprintf(name, sizeof(name), "registry.json.corrupt-%zu", i + 1);
		assert_int_equal(faccessat(t->dir, name, F_OK, 0), 0);
	}
	repo_deinit(&r);
}

static void a_socket_path_beyond_107_bytes_is_refused(void **state)
{
	struct repo r = {.state_dir = NULL};
	char dir[120], buf[256];
	struct err e = ERR_INIT;

	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	r.state_dir = dir;
	dir[107 - 13] = '\0'; /* "/gateway.sock" */
	assert_int_equal(registry_gateway_socket(&r, buf, sizeof(buf), &e), 0);
	assert_int_equal(strlen(buf), 107);
	dir[107 - 13] = 'd';
	dir[107 - 12] = '\0';
	assert_int_equal(registry_gateway_socket(&r, buf, sizeof(buf), &e), -ENAMETOOLONG);
	assert_non_null(strstr(e.text, "RRM_HOME"));
	assert_non_null(strstr(e.text, "108"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(what_was_written_is_read),
		tmp_test(pid_start_time_and_boot_id_must_all_match),
		tmp_test(a_corrupt_file_is_moved_aside),
		cmocka_unit_test(a_socket_path_beyond_107_bytes_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
