/* What is kept for undo, read as the audit names it: a whole file, a piece of one, and what is damaged. */
#include "tests/unit/unit.h"

#include "manager/base/cleanup.h"
#include "manager/undokept.h"

/* "before", then at 6: content and attributes. */
static const char PACK[] = "before"
			   "content"
			   "user.a\0\3\0\0\0one"
			   "user.b\0\0\0\0\0"
			   "after";
enum { AT = 6, LEN = 7, ATTRS = 14 + 11 };

static int note(const char *name, const void *value, size_t len, void *arg)
{
	char *said = arg;
	sprintf(said + strlen(said), "%s=%.*s;", name, (int)len, (const char *)value);
	return 0;
}

static int open_as(struct undokept *k, const struct tmp *t, const char *undo)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	assert_int_equal(json_parse(undo, strlen(undo), &j, NULL), 0);
	return undokept_open(k, t->path, j);
}

static struct tmp *with_pack(void **state)
{
	struct tmp *t = *state;
	CLEANUP(closep) int fd = openat(t->dir, "pack", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(file_write_all(fd, PACK, sizeof(PACK) - 1), 0);
	return t;
}

static void a_piece_reads_as_a_file(void **state)
{
	struct tmp *t = with_pack(state);
	struct undokept k;
	char data[64], said[256] = "";
	size_t got;
	assert_int_equal(open_as(&k, t,
				 "{\"kept\":\"pack\",\"kept_at\":6,\"kept_len\":7,"
				 "\"kept_attrs\":25}"),
			 0);
	assert_int_equal(file_read_full(k.fd, data, sizeof(data), &got), 0);
	assert_int_equal(got, LEN);
	assert_memory_equal(data, PACK + AT, LEN);
	assert_int_equal(undokept_attrs(&k, note, said), 0);
	assert_string_equal(said, "user.a=one;user.b=;");
	undokept_deinit(&k);
}

static void a_file_without_a_place_in_it_is_read_whole(void **state)
{
	struct tmp *t = with_pack(state);
	struct undokept k;
	char data[64];
	size_t got;
	assert_int_equal(open_as(&k, t, "{\"kept\":\"pack\"}"), 0);
	assert_int_equal(file_read_full(k.fd, data, sizeof(data), &got), 0);
	assert_int_equal(got, sizeof(PACK) - 1);
	undokept_deinit(&k);
}

static void nothing_was_lost(void **state)
{
	struct tmp *t = with_pack(state);
	struct undokept k;
	char said[8] = "";
	assert_int_equal(open_as(&k, t, "{\"kept\":null}"), 0);
	assert_int_equal(k.fd, -1);
	assert_int_equal(undokept_attrs(&k, note, said), 0);
	assert_string_equal(said, "");
	undokept_deinit(&k);
}

static void damage_is_refused(void **state)
{
	struct tmp *t = with_pack(state);
	static const struct {
		const char *undo;
		int error;
	} bad[] = {
		{"{\"kept\":\"gone\",\"kept_at\":0,\"kept_len\":1,\"kept_attrs\":0}", -ENOENT},
		{"{\"kept\":\"pack\",\"kept_at\":6,\"kept_len\":700,\"kept_attrs\":0}", -ENODATA},
		{"{\"kept\":\"pack\",\"kept_at\":600,\"kept_len\":7,\"kept_attrs\":0}", -ENODATA},
		{"{\"kept\":\"pack\",\"kept_at\":-6,\"kept_len\":7,\"kept_attrs\":0}", -EINVAL},
		{"{\"kept\":\"pack\",\"kept_at\":6,\"kept_len\":7}", -EINVAL},
		{"{\"kept\":\"pack\",\"kept_at\":6,\"kept_len\":9000000000,\"kept_attrs\":0}",
		 -EINVAL},
	};
	struct undokept k;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(open_as(&k, t, bad[i].undo), bad[i].error);
		assert_int_equal(k.fd, -1);
	}
}

static void cut_attributes_are_refused(void **state)
{
	struct tmp *t = with_pack(state);
	char undo[128];
	for (int attrs = 1; attrs < ATTRS; attrs++) {
		struct undokept k;
		char said[256] = "";
		snprintf(undo, sizeof(undo),
			 "{\"kept\":\"pack\",\"kept_at\":13,\"kept_len\":0,\"kept_attrs\":%d}",
			 attrs);
		assert_int_equal(open_as(&k, t, undo), 0);
		assert_int_equal(undokept_attrs(&k, note, said), attrs == 14 ? 0 : -EINVAL);
		undokept_deinit(&k);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(a_piece_reads_as_a_file),
		tmp_test(a_file_without_a_place_in_it_is_read_whole),
		tmp_test(nothing_was_lost),
		tmp_test(damage_is_refused),
		tmp_test(cut_attributes_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
