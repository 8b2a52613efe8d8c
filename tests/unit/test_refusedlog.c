#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/stat.h>

#include "manager/base/json.h"
#include "router/refusedlog.h"

static const struct actor ann = {.pid = 5, .comm = "sh", .home = "web-1"};

static bool add(struct refusedlog *l, const char *path)
{
	const struct refusedlog_line line = {.branch = "main",
					     .op = MUTATION_RENAME,
					     .path = path,
					     .path2 = "b",
					     .error = EDEADLK,
					     .message = "it would never come",
					     .wait_us = 21000,
					     .actor = &ann};

	return refusedlog_add(l, &line, 100);
}

static off_t size_of(const struct tmp *t, const char *name)
{
	struct stat st;

	return fstatat(t->dir, name, &st, 0) < 0 ? -1 : st.st_size;
}

static void a_line_is_a_record_without_a_number(void **state)
{
	struct tmp *t = *state;
	struct refusedlog *l;
	char *text = NULL, *path = NULL;
	cJSON *j = NULL;
	size_t len;

	assert_int_equal(refusedlog_new(&l, t->path, "api-1"), 0);
	assert_true(refusedlog_due(l) == REFUSEDLOG_NEVER);
	assert_true(add(l, "a\xff\n"));
	assert_false(add(l, "second"));
	assert_int_equal(refusedlog_due(l), 0);
	assert_int_equal(refusedlog_flush(l, 50), 0);
	assert_true(refusedlog_due(l) == REFUSEDLOG_NEVER);
	assert_true(add(l, "third"));
	assert_int_equal(refusedlog_due(l), 50 + REFUSEDLOG_MS);
	refusedlog_free(l);

	assert_int_equal(file_read(t->dir, "refused.jsonl", 1 << 20, &text, &len), 0);
	char *end = strchr(text, '\n');
	assert_non_null(end);
	assert_int_equal(json_parse(text, (size_t)(end - text), &j, NULL), 0);
	assert_string_equal(json_str(j, "ts", ""), "1970-01-01T00:00:00.100Z");
	assert_string_equal(json_str(j, "repo_id", ""), "api-1");
	assert_string_equal(json_str(j, "op", ""), "rename");
	assert_int_equal(json_get_bytes(j, "path", &path), 0);
	assert_string_equal(path, "a\xff\n");
	assert_string_equal(json_str(j, "path2", ""), "b");
	assert_string_equal(json_str(j, "result", ""), "EDEADLK");
	assert_string_equal(json_str(j, "message", ""), "it would never come");
	assert_int_equal(json_int(j, "wait_us", 0), 21000);
	assert_string_equal(json_str(cJSON_GetObjectItem(j, "actor"), "home", ""), "web-1");
	assert_false(cJSON_HasObjectItem(j, "seq"));
	cJSON_Delete(j);
	free(path);
	free(text);
}

static void a_burst_fills_neither_memory_nor_disk(void **state)
{
	struct tmp *t = *state;
	struct refusedlog *l;
	char path[1000];
	off_t once;

	memset(path, 'p', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(refusedlog_new(&l, t->path, "api-1"), 0);
	for (int i = 0; i < 3 * REFUSEDLOG_MAX; i++)
		add(l, path);
	assert_int_equal(refusedlog_flush(l, 0), 0);
	once = size_of(t, "refused.jsonl");
	assert_true(once > REFUSEDLOG_MAX * 1000 && once < REFUSEDLOG_MAX * 1500);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < REFUSEDLOG_MAX; i++)
			add(l, path);
		assert_int_equal(refusedlog_flush(l, 0), 0);
		assert_true(size_of(t, "refused.jsonl") <= (1 << 20) + once);
	}
	assert_true(size_of(t, "refused.1.jsonl") > 1 << 20);
	assert_true(size_of(t, "refused.1.jsonl") <= (1 << 20) + once);
	refusedlog_free(l);
}

static void what_cannot_be_written_is_not_kept(void **state)
{
	struct refusedlog *l;

	assert_int_equal(refusedlog_new(&l, "/nonexistent", "api-1"), 0);
	assert_true(add(l, "a"));
	assert_int_equal(refusedlog_flush(l, 0), -ENOENT);
	assert_true(refusedlog_due(l) == REFUSEDLOG_NEVER);
	refusedlog_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(a_line_is_a_record_without_a_number),
		tmp_test(a_burst_fills_neither_memory_nor_disk),
		tmp_test(what_cannot_be_written_is_not_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
