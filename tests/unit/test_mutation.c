/* Mutations on the wire: what goes in comes out, and what must not come in does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "router/mutation.h"

static struct mutation *decoded(const char *text)
{
	struct mutation *m = NULL;
	struct err e = ERR_INIT;
	if (mutation_decode(text, &m, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	return m;
}

static void refused(const char *text, const char *sentence_part)
{
	struct mutation *m = NULL;
	struct err e = ERR_INIT;
	assert_int_equal(mutation_decode(text, &m, &e), -EINVAL);
	assert_null(m);
	if (!strstr(e.text, sentence_part))
		fail_msg("%s gave \"%s\", not \"%s\"", text, e.text, sentence_part);
}

static struct mutation *sample(enum mutation_op op)
{
	struct mutation *m = mutation_new(op);
	assert_non_null(m);
	mutation_new_id(m);
	m->epoch = (UINT64_C(1) << 60) + 7;
	m->path = strdup("src/a \"b\"\\\n\t\xc3\xa9\xf0\x9f\x98\x80.c");
	m->path2 = strdup("bytes-\xff\xfe\x01");
	m->target = strdup("../elsewhere");
	m->xattr = strdup("user.note");
	m->ino = UINT64_MAX;
	m->dev = 0x801;
	m->offset = INT64_MAX;
	m->length = (INT64_C(1) << 53) + 1;
	m->uid = 1000;
	m->gid = UINT32_MAX;
	m->rdev = 0x103;
	m->wait_us = 123456;
	m->atime = (struct timespec){.tv_sec = -5, .tv_nsec = UTIME_OMIT};
	m->mtime = (struct timespec){.tv_sec = INT64_MAX, .tv_nsec = 999999999};
	strcpy(m->branch, "feature/\xc3\xbc");
	m->actor = (struct actor){.pid = 4242, .uid = 1000, .gid = 100};
	strcpy(m->actor.comm, "sed\xff");
	strcpy(m->actor.home, "web-0123456789abcdef");
	strcpy(m->actor.session, "ses_1");
	return m;
}

static void every_op_survives_the_round_trip(void **state)
{
	for (int op = 0; op < MUTATION_N_OPS; op++) {
		struct mutation *m = sample((enum mutation_op)op);
		char *text = mutation_encode(m);
		assert_non_null(text);
		for (const char *p = text; *p; p++)
			assert_in_range((unsigned char)*p, 0x20, 0x7e);
		struct mutation *d = decoded(text);
		assert_int_equal(d->op, op);
		assert_string_equal(d->id, m->id);
		assert_true(d->epoch == m->epoch && d->ino == m->ino && d->dev == m->dev);
		assert_string_equal(d->path, m->path);
		assert_true(d->rdev == m->rdev && d->wait_us == m->wait_us);
		assert_string_equal(d->branch, m->branch);
		assert_string_equal(d->actor.comm, m->actor.comm);
		assert_string_equal(d->actor.home, m->actor.home);
		assert_string_equal(d->actor.session, m->actor.session);
		assert_int_equal(d->actor.pid, 4242);
		assert_int_equal(d->actor.gid, 100);
		mutation_free(d);
		mutation_free(m);
		free(text);
	}
}

static void op_specific_members_survive(void **state)
{
	struct mutation *m = sample(MUTATION_RENAME);
	m->flags = RENAME_EXCHANGE;
	char *text = mutation_encode(m);
	struct mutation *d = decoded(text);
	assert_string_equal(d->path2, m->path2);
	assert_int_equal(d->flags, RENAME_EXCHANGE);
	mutation_free(d);
	free(text);

	m->op = MUTATION_UTIMENS;
	m->flags = 0;
	text = mutation_encode(m);
	d = decoded(text);
	assert_memory_equal(&d->atime, &m->atime, sizeof(m->atime));
	assert_memory_equal(&d->mtime, &m->mtime, sizeof(m->mtime));
	mutation_free(d);
	free(text);

	m->op = MUTATION_CHOWN;
	text = mutation_encode(m);
	d = decoded(text);
	assert_int_equal(d->uid, 1000);
	assert_true(d->gid == UINT32_MAX);
	mutation_free(d);
	free(text);

	m->op = MUTATION_FALLOCATE;
	m->flags = 3;
	text = mutation_encode(m);
	d = decoded(text);
	assert_true(d->offset == m->offset && d->length == m->length && d->flags == 3);
	mutation_free(d);
	mutation_free(m);
	free(text);
}

static void the_longest_names_fit_a_bounded_header(void **state)
{
	struct mutation *m = sample(MUTATION_RENAME);
	static const char worst[] = {'\x01', '\xff', 'a', '\x7f', '"'};
	for (size_t w = 0; w < sizeof(worst); w++) {
		char name[4096];
		memset(name, worst[w], 4095);
		name[4095] = '\0';
		for (int i = 200; i < 4095; i += 200)
			name[i] = '/';
		free(m->path);
		free(m->path2);
		m->path = strdup(name);
		m->path2 = strdup(name);
		char *text = mutation_encode(m);
		assert_true(strlen(text) < 18 * 1024);
		struct mutation *d = decoded(text);
		assert_string_equal(d->path, name);
		assert_string_equal(d->path2, name);
		mutation_free(d);
		free(text);
	}
	mutation_free(m);
}

static void ids_differ(void **state)
{
	struct mutation a, b;
	mutation_new_id(&a);
	mutation_new_id(&b);
	assert_string_not_equal(a.id, b.id);
	assert_true(strlen(a.id) < MUTATION_ID_MAX);
}

static void what_is_no_mutation_is_refused_with_a_sentence(void **state)
{
	refused("", "not JSON");
	refused("{", "not JSON");
	refused("[]", "not a JSON object");
	refused("{}", "op");
	refused("{\"op\":\"format\"}", "format");
	refused("{\"op\":7}", "op");
	refused("{\"op\":\"unlink\",\"path\":\"a\"}", "id is missing");
	refused("{\"op\":\"unlink\",\"path\":\"a\",\"id\":7}", "id is not a text");
	refused("{\"op\":\"unlink\",\"path\":\"a\",\"id\":\"a b\"}", "printable");
	refused("{\"op\":\"unlink\",\"path\":\"a\",\"id\":"
		"\"0123456789012345678901234567890123456789012345678\"}",
		"longer");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path\":\"a\\u0000b\"}", "u0000");
}

static void bad_paths_are_refused(void **state)
{
	static const char *const bad[] = {"",     "/etc/passwd",  "..",        "../a", "a/../b",
					  "a//b", "a/./b",        ".",         "a/..", "a/",
					  "./a",  "a/b/../../..", "\\u0001/.."};
	char text[256];
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "{\"op\":\"unlink\",\"id\":\"x\",\"path\":\"%s\"}",
			 bad[i]);
		refused(text, "path must be relative");
	}
	refused("{\"op\":\"unlink\",\"id\":\"x\"}", "path is missing");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path\":[]}", "path is not a text");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path_hex\":\"2e2e\"}", "path must be relative");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path_hex\":\"610\"}", "path is not a text");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path_hex\":\"6100\"}", "path is not a text");
	refused("{\"op\":\"rename\",\"id\":\"x\",\"path\":\"a\"}", "path2 is missing");
	refused("{\"op\":\"rename\",\"id\":\"x\",\"path\":\"a\",\"path2\":\"\"}", "path2 must be");
	refused("{\"op\":\"symlink\",\"id\":\"x\",\"path\":\"a\"}", "target");
	refused("{\"op\":\"removexattr\",\"id\":\"x\",\"path\":\"a\",\"xattr\":\"\"}", "xattr");
}

static void a_name_of_300_bytes_is_refused(void **state)
{
	char text[400] = "{\"op\":\"mkdir\",\"id\":\"x\",\"path\":\"", *p = text + strlen(text);
	memset(p, 'n', 300);
	strcpy(p + 300, "\"}");
	refused(text, "path must be relative");
}

static void the_root_itself_is_a_path_for_some_ops(void **state)
{
	struct mutation *m = decoded("{\"op\":\"chmod\",\"id\":\"x\",\"path\":\"\",\"mode\":493}");
	assert_string_equal(m->path, "");
	mutation_free(m);
	refused("{\"op\":\"mkdir\",\"id\":\"x\",\"path\":\"\"}", "path must be relative");
}

static void numbers_out_of_range_are_refused(void **state)
{
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"offset\":-1}", "offset");
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"offset\":1.5}", "offset");
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"offset\":1e300}", "offset");
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"offset\":\"9223372036854775808\"}",
		"offset");
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"offset\":\"12x\"}", "offset");
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"offset\":\"\"}", "offset");
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"offset\":true}", "offset");
	refused("{\"op\":\"write\",\"id\":\"x\",\"path\":\"a\",\"epoch\":-1}", "epoch");
	refused("{\"op\":\"mkdir\",\"id\":\"x\",\"path\":\"a\",\"mode\":16893}", "mode");
	refused("{\"op\":\"mknod\",\"id\":\"x\",\"path\":\"a\",\"mode\":16893}", "type");
	refused("{\"op\":\"rename\",\"id\":\"x\",\"path\":\"a\",\"path2\":\"b\",\"flags\":4}",
		"flags");
	refused("{\"op\":\"create\",\"id\":\"x\",\"path\":\"a\",\"flags\":1024}", "flags");
	refused("{\"op\":\"utimens\",\"id\":\"x\",\"path\":\"a\"}", "atime");
	refused("{\"op\":\"utimens\",\"id\":\"x\",\"path\":\"a\",\"atime\":[1,2],\"mtime\":[1,"
		"1000000000]}",
		"mtime");
	refused("{\"op\":\"utimens\",\"id\":\"x\",\"path\":\"a\",\"atime\":[1],\"mtime\":[1,2]}",
		"atime");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path\":\"a\",\"actor\":7}", "actor");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path\":\"a\",\"actor\":{\"pid\":-1}}", "pid");
	refused("{\"op\":\"unlink\",\"id\":\"x\",\"path\":\"a\",\"actor\":{\"comm\":"
		"\"seventeen bytes!!\"}}",
		"comm");
}

static void unknown_members_are_ignored(void **state)
{
	mutation_free(
		decoded("{\"op\":\"unlink\",\"id\":\"x\",\"path\":\"a\",\"later\":{\"x\":1}}"));
}

static void the_answer_survives_the_round_trip(void **state)
{
	struct mutation_answer a = {.error = 0, .bytes = 1024, .offset = 77, .has_attr = true}, b;
	strcpy(a.id, "abc-1");
	a.attr.st_dev = 0x801;
	a.attr.st_ino = UINT64_MAX - 1;
	a.attr.st_mode = S_IFREG | 0644;
	a.attr.st_nlink = 2;
	a.attr.st_size = INT64_MAX;
	a.attr.st_uid = 1000;
	a.attr.st_mtim = (struct timespec){.tv_sec = 1795000000, .tv_nsec = 123456789};
	a.before = (struct mutation_before){
		.exists = true, .ino = 5, .size = 3, .mtime = {.tv_sec = 1, .tv_nsec = 2}};
	char *text = mutation_answer_encode(&a);
	assert_int_equal(mutation_answer_decode(text, strlen(text), &b, NULL), 0);
	assert_string_equal(b.id, a.id);
	assert_true(b.has_attr && b.before.exists);
	assert_memory_equal(&b.attr, &a.attr, sizeof(a.attr));
	assert_memory_equal(&b.before.mtime, &a.before.mtime, sizeof(a.before.mtime));
	assert_true(b.bytes == 1024 && b.offset == 77 && b.error == 0);
	free(text);

	a = (struct mutation_answer){.error = ENOSPC, .message = "no \"space\""};
	strcpy(a.id, "abc-2");
	text = mutation_answer_encode(&a);
	assert_int_equal(mutation_answer_decode(text, strlen(text), &b, NULL), 0);
	assert_int_equal(b.error, ENOSPC);
	assert_string_equal(b.message, a.message);
	assert_false(b.has_attr || b.before.exists);
	free(text);
}

static void a_broken_answer_is_told(void **state)
{
	static const char *const bad[] = {"",
					  "[]",
					  "{}",
					  "{\"id\":\"x\",\"ok\":true,\"errno\":2}",
					  "{\"id\":\"x\",\"ok\":false,\"errno\":0}",
					  "{\"id\":\"x\",\"ok\":true,\"attr\":{}}",
					  "{\"id\":\"x\",\"ok\":false,\"errno\":99999}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct mutation_answer a;
		struct err e = ERR_INIT;
		assert_int_equal(mutation_answer_decode(bad[i], strlen(bad[i]), &a, &e), -EINVAL);
		assert_true(*e.text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_op_survives_the_round_trip),
		cmocka_unit_test(op_specific_members_survive),
		cmocka_unit_test(the_longest_names_fit_a_bounded_header),
		cmocka_unit_test(ids_differ),
		cmocka_unit_test(what_is_no_mutation_is_refused_with_a_sentence),
		cmocka_unit_test(bad_paths_are_refused),
		cmocka_unit_test(a_name_of_300_bytes_is_refused),
		cmocka_unit_test(the_root_itself_is_a_path_for_some_ops),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(unknown_members_are_ignored),
		cmocka_unit_test(the_answer_survives_the_round_trip),
		cmocka_unit_test(a_broken_answer_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
