#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/proc.h"
#include "manager/memlog.h"
#include "manager/registry.h"
#include "manager/status.h"

/* A repo whose root and state directory are the temp dir. */
static struct repo repo_in(const struct tmp *t)
{
	struct repo r = {.id = "web-0123456789abcdef"};

	r.root = strdup(t->path);
	r.name = strdup("web");
	r.state_dir = strdup(t->path);
	r.added = strdup("");
	return r;
}

static void put(const struct tmp *t, const char *name, const char *text)
{
	assert_int_equal(file_replace(t->dir, name, text, strlen(text), 0600), 0);
}

static struct endpoint endpoint_of_me(void)
{
	struct endpoint ep = {.repo_id = "web-0123456789abcdef",
			      .pid = getpid(),
			      .port = 4101,
			      .url = "http://127.0.0.1:4101",
			      .backend = "embedded",
			      .state = "ready"};
	struct proc_stat st;

	assert_int_equal(proc_stat(getpid(), &st), 0);
	ep.start_time = st.start;
	assert_int_equal(proc_boot_id(ep.boot_id, sizeof(ep.boot_id)), 0);
	return ep;
}

/* The one object of the array; *all owned. */
static const cJSON *status_of(const struct repo *r, cJSON **all)
{
	const struct config c = {.base = NULL};

	assert_int_equal(status_json(&c, r, all, NULL), 0);
	assert_int_equal(cJSON_GetArraySize(*all), 1);
	return cJSON_GetArrayItem(*all, 0);
}

static const cJSON *sub(const cJSON *j, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(j, key);
}

static void a_repo_without_a_backend_is_stopped(void **state)
{
	struct repo r = repo_in(*state);
	cJSON *all;
	const cJSON *j = status_of(&r, &all);

	assert_string_equal(json_str(j, "state", ""), "stopped");
	assert_true(cJSON_IsNull(sub(j, "pid")));
	assert_true(cJSON_IsNull(sub(j, "last_error")));
	assert_true(cJSON_IsNull(sub(j, "last_write")));
	assert_true(cJSON_IsNull(sub(sub(j, "turn"), "holder")));
	assert_int_equal(cJSON_GetArraySize(sub(sub(j, "turn"), "waiters")), 0);
	cJSON_Delete(all);
	repo_deinit(&r);
}

static void a_living_backend_is_ready_with_its_memory(void **state)
{
	struct repo r = repo_in(*state);
	struct endpoint ep = endpoint_of_me();
	cJSON *all;

	assert_int_equal(registry_write(&r, &ep, NULL), 0);
	const cJSON *j = status_of(&r, &all);
	assert_string_equal(json_str(j, "state", ""), "ready");
	assert_int_equal(json_int(j, "pid", 0), getpid());
	assert_true(json_int(sub(j, "memory"), "rss_kib", 0) > 0);
	assert_true(json_int(sub(j, "memory"), "processes", 0) >= 1);
	assert_true(json_int(j, "uptime_s", -1) >= 0);
	cJSON_Delete(all);
	repo_deinit(&r);
}

static void a_backend_that_is_gone_is_stopped_and_says_so(void **state)
{
	struct repo r = repo_in(*state);
	struct endpoint ep = endpoint_of_me();
	cJSON *all;

	ep.start_time++;
	assert_int_equal(registry_write(&r, &ep, NULL), 0);
	const cJSON *j = status_of(&r, &all);
	assert_string_equal(json_str(j, "state", ""), "stopped");
	assert_non_null(strstr(json_str(j, "last_error", ""), "is gone"));
	cJSON_Delete(all);
	strcpy(ep.state, "failed");
	strcpy(ep.error, "port taken");
	assert_int_equal(registry_write(&r, &ep, NULL), 0);
	j = status_of(&r, &all);
	assert_string_equal(json_str(j, "state", ""), "failed");
	assert_string_equal(json_str(j, "last_error", ""), "port taken");
	cJSON_Delete(all);
	repo_deinit(&r);
}

static void the_turn_is_what_a_living_writer_says(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo_in(t);
	char text[512];
	cJSON *all;

	snprintf(text, sizeof(text),
		 "{\"branch\":\"main\",\"holder\":{\"session\":\"ses_1\",\"since\":\"now\","
		 "\"branch\":\"main\",\"process\":%d},\"waiters\":[{\"pid\":7,\"process\":%d},"
		 "{\"pid\":8,\"process\":1073741822}]}",
		 (int)getpid(), (int)getpid());
	put(t, "writer.json", text);
	const cJSON *turn = sub(status_of(&r, &all), "turn");
	assert_string_equal(json_str(sub(turn, "holder"), "session", ""), "ses_1");
	assert_string_equal(json_str(turn, "since", ""), "now");
	assert_string_equal(json_str(turn, "branch", ""), "main");
	assert_int_equal(cJSON_GetArraySize(sub(turn, "waiters")), 1);
	assert_int_equal(json_int(cJSON_GetArrayItem(sub(turn, "waiters"), 0), "pid", 0), 7);
	cJSON_Delete(all);
	put(t, "writer.json",
	    "{\"holder\":{\"session\":\"x\",\"process\":1073741822},"
	    "\"others\":[{\"session\":\"y\",\"process\":1073741822},{\"session\":\"z\"}]}");
	turn = sub(status_of(&r, &all), "turn");
	assert_string_equal(json_str(sub(turn, "holder"), "session", ""), "z");
	cJSON_Delete(all);
	put(t, "writer.json", "{\"holder\":");
	assert_true(cJSON_IsNull(sub(sub(status_of(&r, &all), "turn"), "holder")));
	cJSON_Delete(all);
	repo_deinit(&r);
}

static void the_last_write_is_the_newest_that_was_applied(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo_in(t);
	cJSON *all;

	put(t, "audit.jsonl",
	    "{\"seq\":1,\"ts\":\"a\",\"op\":\"write\",\"path\":\"one\",\"result\":\"ok\"}\n"
	    "{\"seq\":2,\"ts\":\"b\",\"op\":\"write\",\"path\":\"two\",\"result\":\"ok\","
	    "\"actor\":{\"pid\":5}}\n"
	    "{\"seq\":3,\"ts\":\"c\",\"op\":\"write\",\"path\":\"three\",\"result\":\"ENOSPC\"}\n"
	    "garbage\n");
	const cJSON *last = sub(status_of(&r, &all), "last_write");
	assert_string_equal(json_str(last, "path", ""), "two");
	assert_int_equal(json_int(sub(last, "actor"), "pid", 0), 5);
	cJSON_Delete(all);
	repo_deinit(&r);
}

static void a_memory_sample_is_one_line(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo_in(t);
	struct endpoint ep = endpoint_of_me();
	struct memory_usage use;
	cJSON *j;

	assert_int_equal(memory_sample(&r, &ep, &use), 0);
	assert_true(use.rss_kib > 0);
	assert_int_equal(json_read_file(t->dir, "memory.jsonl", 4096, &j, NULL), 0);
	assert_int_equal(json_int(j, "pid", 0), getpid());
	assert_int_equal(json_int(j, "rss_kib", 0), use.rss_kib);
	cJSON_Delete(j);
	ep.pid = 0x3ffffffe;
	assert_true(memory_sample(&r, &ep, &use) < 0);
	repo_deinit(&r);
}

static void a_full_memory_log_is_rotated(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo_in(t);
	struct endpoint ep = endpoint_of_me();
	struct memory_usage use;

	put(t, "memory.jsonl", "");
	int fd = openat(t->dir, "memory.jsonl", O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	close(fd);
	assert_int_equal(memory_sample(&r, &ep, &use), 0);
	assert_int_equal(faccessat(t->dir, "memory.1.jsonl", F_OK, 0), 0);
	repo_deinit(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(a_repo_without_a_backend_is_stopped),
		tmp_test(a_living_backend_is_ready_with_its_memory),
		tmp_test(a_backend_that_is_gone_is_stopped_and_says_so),
		tmp_test(the_turn_is_what_a_living_writer_says),
		tmp_test(the_last_write_is_the_newest_that_was_applied),
		tmp_test(a_memory_sample_is_one_line),
		tmp_test(a_full_memory_log_is_rotated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
