#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/json.h"
#include "router/homelog.h"

static const struct actor ann = {.pid = 5, .comm = "sh", .home = "web-1", .session = "s"};

static bool note(struct homelog *l, uint64_t key, enum mutation_op op, const char *path,
		 uint64_t bytes, uint64_t now)
{
	const struct homelog_change c = {
		.session = 1, .key = key, .op = op, .path = path, .bytes = bytes, .actor = &ann};

	return homelog_note(l, &c, now, (int64_t)now);
}

/* Line n of home.jsonl (0 first); NULL when there is none. */
static cJSON *line(const struct tmp *t, unsigned n)
{
	char *text = NULL, *save = NULL;
	cJSON *j = NULL;
	size_t len;

	if (file_read(t->dir, "home.jsonl", 1 << 20, &text, &len) < 0)
		return NULL;
	for (char *p = strtok_r(text, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
		if (n-- == 0)
			assert_int_equal(json_parse(p, strlen(p), &j, NULL), 0);
	free(text);
	return j;
}

static void changes_of_one_file_are_one_line(void **state)
{
	struct homelog *l;
	cJSON *j;

	assert_int_equal(homelog_new(&l, ((struct tmp *)*state)->path), 0);
	assert_int_equal(homelog_due(l, 100), HOMELOG_NEVER);
	assert_false(homelog_knows(l, 1, 7));
	assert_true(note(l, 7, MUTATION_CREATE, "src/a.c", 0, 100));
	assert_true(homelog_knows(l, 1, 7));
	assert_false(note(l, 7, MUTATION_WRITE, NULL, 10, 200));
	assert_false(note(l, 7, MUTATION_WRITE, NULL, 5, 300));
	assert_int_equal(homelog_due(l, 300), 1300);
	assert_int_equal(homelog_flush(l, 1299, false), 0);
	assert_null(line(*state, 0));
	assert_int_equal(homelog_flush(l, 1300, false), 0);
	j = line(*state, 0);
	assert_non_null(j);
	assert_string_equal(json_str(j, "path", ""), "src/a.c");
	assert_string_equal(json_str(j, "op", ""), "create+write");
	assert_int_equal(json_int(j, "writes", 0), 3);
	assert_int_equal(json_int(j, "bytes", 0), 15);
	assert_string_equal(json_str(j, "ts_first", ""), "1970-01-01T00:00:00.100Z");
	assert_string_equal(json_str(cJSON_GetObjectItem(j, "actor"), "home", ""), "web-1");
	cJSON_Delete(j);
	assert_null(line(*state, 1));
	homelog_free(l);
}

static void a_file_that_is_always_written_is_logged_all_the_same(void **state)
{
	struct homelog *l;
	cJSON *j;

	assert_int_equal(homelog_new(&l, ((struct tmp *)*state)->path), 0);
	for (uint64_t now = 1000; now <= 11000; now += 500)
		note(l, 7, MUTATION_WRITE, "log", 1, now);
	assert_int_equal(homelog_due(l, 11000), 11000);
	assert_int_equal(homelog_flush(l, 11000, false), 0);
	j = line(*state, 0);
	assert_int_equal(json_int(j, "writes", 0), 21);
	cJSON_Delete(j);
	homelog_free(l);
}

static void a_path_told_once_is_remembered_over_a_flush(void **state)
{
	struct homelog *l;
	cJSON *j;

	assert_int_equal(homelog_new(&l, ((struct tmp *)*state)->path), 0);
	note(l, 7, MUTATION_WRITE, "a", 1, 100);
	/* One that began when the path was known, and ended after the flush. */
	assert_true(homelog_knows(l, 1, 7));
	assert_int_equal(homelog_flush(l, 200, true), 0);
	assert_false(homelog_knows(l, 1, 7));
	note(l, 7, MUTATION_WRITE, NULL, 1, 300);
	assert_int_equal(homelog_flush(l, 400, true), 0);
	j = line(*state, 1);
	assert_string_equal(json_str(j, "path", ""), "a");
	cJSON_Delete(j);
	assert_int_equal(homelog_flush(l, 400 + HOMELOG_IDLE_MS, false), 0);
	assert_int_equal(homelog_due(l, 2000), HOMELOG_NEVER);
	homelog_free(l);
}

static void it_asks_for_a_flush_when_it_is_full(void **state)
{
	struct homelog *l;
	cJSON *j;

	assert_int_equal(homelog_new(&l, ((struct tmp *)*state)->path), 0);
	assert_true(note(l, 0, MUTATION_CREATE, "f", 0, 100));
	for (uint64_t i = 1; i < HOMELOG_MAX - 1; i++)
		assert_false(note(l, i, MUTATION_CREATE, "f", 0, 100));
	assert_true(note(l, HOMELOG_MAX, MUTATION_CREATE, "f", 0, 100));
	assert_int_equal(homelog_due(l, 100), 100);
	assert_int_equal(homelog_flush(l, 100, false), 0);
	j = line(*state, HOMELOG_MAX - 1);
	assert_non_null(j);
	cJSON_Delete(j);
	homelog_free(l);
}

static void names_are_bytes(void **state)
{
	struct homelog *l;
	char *path = NULL;
	cJSON *j;

	assert_int_equal(homelog_new(&l, ((struct tmp *)*state)->path), 0);
	note(l, 1, MUTATION_WRITE, "a\xff\nb", 1, 100);
	assert_int_equal(homelog_flush(l, 100, true), 0);
	j = line(*state, 0);
	assert_int_equal(json_get_bytes(j, "path", &path), 0);
	assert_string_equal(path, "a\xff\nb");
	free(path);
	cJSON_Delete(j);
	homelog_free(l);
}

static void a_missing_directory_is_an_error_and_no_crash(void **state)
{
	struct homelog *l;

	assert_int_equal(homelog_new(&l, "/tmp/rrm-no-such-dir"), 0);
	note(l, 1, MUTATION_WRITE, "a", 1, 100);
	assert_int_equal(homelog_flush(l, 100, true), -ENOENT);
	homelog_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(changes_of_one_file_are_one_line),
		tmp_test(a_file_that_is_always_written_is_logged_all_the_same),
		tmp_test(a_path_told_once_is_remembered_over_a_flush),
		tmp_test(it_asks_for_a_flush_when_it_is_full),
		tmp_test(names_are_bytes),
		tmp_test(a_missing_directory_is_an_error_and_no_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
