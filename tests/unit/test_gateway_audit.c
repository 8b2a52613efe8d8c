/* The audit log: the chain, what a crash leaves of it, rotation, and which writes are one record. */
#include "tests/unit/gateway_test.h"

#include "manager/auditchain.h"
#include "manager/base/sha256.h"
#include "router/gateway_audit.h"

static struct gateway_record record(const char *path)
{
	struct gateway_record r;
	struct mutation *m = change(MUTATION_WRITE, path, NULL);
	memset(&r, 0, sizeof(r));
	gateway_record_init(&r, m, 1795000000000);
	mutation_free(m);
	return r;
}

static struct gateway_audit *opened(struct place *p, uint64_t rotate)
{
	struct gateway_audit *a = NULL;
	struct err e = ERR_INIT;
	if (gateway_audit_new(&a, p->state, "web-0123456789abcdef", rotate, &e) < 0)
		fail_msg("%s", e.text);
	return a;
}

static void append(struct gateway_audit *a, const char *path)
{
	struct gateway_record r = record(path);
	assert_int_equal(gateway_audit_reserve(a, NULL), 0);
	assert_int_equal(gateway_audit_append(a, &r, NULL, NULL), 0);
}

/* Follows the chain through name; prev is the hash to begin with and to go on with. */
static int verify(struct place *p, const char *name, char prev[SHA256_HEX_LEN], int64_t *seq)
{
	CLEANUP(freep) char *data = NULL;
	size_t len;
	int n = 0;
	assert_int_equal(file_read(p->state, name, 1 << 24, &data, &len), 0);
	for (char *line = data, *nl; (nl = strchr(line, '\n')); line = nl + 1, n++) {
		CLEANUP(json_deletep) cJSON *j = NULL;
		assert_int_equal(json_parse(line, (size_t)(nl - line), &j, NULL), 0);
		assert_string_equal(json_str(j, "prev", ""), prev);
		assert_int_equal(json_int(j, "seq", 0), ++*seq);
		sha256_hex(line, (size_t)(nl - line), prev);
	}
	return n;
}

static int verify_all(struct place *p)
{
	char prev[SHA256_HEX_LEN];
	int64_t seq = 0;
	memset(prev, '0', 64);
	prev[64] = '\0';
	return verify(p, "audit.jsonl", prev, &seq);
}

static void old_parts_go_and_the_rest_is_proven(void **state)
{
	struct place *p = *state;
	struct auditchain_check check;
	struct gateway_audit *a = opened(p, 1000);

	gateway_audit_keep(a, 3000, 0);
	for (int i = 0; i < 40; i++)
		append(a, "some/path");
	gateway_audit_free(a);
	assert_int_equal(faccessat(p->state, "audit.1.jsonl", F_OK, 0), -1);
	assert_int_equal(auditchain_verify(p->state_path, &check, NULL), 0);
	assert_false(check.bad);
	assert_true(check.begins > 1);
	assert_int_equal(check.records, 40 - check.begins + 1);
	/* it goes on after a restart, with other limits */
	a = opened(p, 1000);
	assert_int_equal(gateway_audit_seq(a), 40);
	append(a, "some/path");
	gateway_audit_free(a);
	assert_int_equal(auditchain_verify(p->state_path, &check, NULL), 0);
	assert_false(check.bad);
}

static void the_chain_goes_on_after_a_restart(void **state)
{
	struct place *p = *state;
	struct gateway_audit *a = opened(p, 0);
	append(a, "a");
	append(a, "b\xff\"\n");
	gateway_audit_free(a);
	a = opened(p, 0);
	assert_int_equal(gateway_audit_seq(a), 2);
	assert_int_equal(gateway_audit_epoch(a), 5);
	append(a, "c");
	gateway_audit_free(a);
	assert_int_equal(verify_all(p), 3);
}

static void a_record_has_the_keys_that_are_promised(void **state)
{
	static const char *const keys[] = {"seq",    "ts",      "repo_id",     "branch",
					   "epoch",  "op",      "path",        "path2",
					   "writes", "bytes",   "size_before", "size_after",
					   "result", "message", "wait_us",     "apply_us",
					   "undo",   "actor",   "prev",        "sha256_after"};
	struct place *p = *state;
	struct gateway_audit *a = opened(p, 0);
	append(a, "a");
	gateway_audit_free(a);
	CLEANUP(json_deletep) cJSON *j = NULL;
	assert_int_equal(json_read_file(p->state, "audit.jsonl", 1 << 20, &j, NULL), 0);
	assert_int_equal(cJSON_GetArraySize(j), sizeof(keys) / sizeof(keys[0]));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_true(cJSON_HasObjectItem(j, keys[i]));
	assert_string_equal(json_str(j, "result", ""), "ok");
	assert_string_equal(json_str(j, "ts", ""), "2026-11-18T11:06:40.000Z");
}

static void corrupt_last_line(struct place *p, const char *junk, size_t len)
{
	CLEANUP(closep) int fd = openat(p->state, "audit.jsonl", O_WRONLY | O_APPEND);
	assert_int_equal(file_write_all(fd, junk, len), 0);
}

static void a_torn_last_line_is_kept_aside(void **state)
{
	struct place *p = *state;
	struct gateway_audit *a = opened(p, 0);
	append(a, "a");
	append(a, "b");
	gateway_audit_free(a);
	corrupt_last_line(p, "{\"seq\":3,\"half", 14);
	a = opened(p, 0);
	assert_file(p->state, "audit.corrupt-1", "{\"seq\":3,\"half");
	append(a, "c");
	gateway_audit_free(a);
	corrupt_last_line(p, "not json\n{\"seq\":\"x\"}\n\0\0\0", 24);
	a = opened(p, 0);
	assert_true(there_is(p->state, "audit.corrupt-2"));
	append(a, "d");
	gateway_audit_free(a);
	assert_int_equal(verify_all(p), 4);
}

static void a_log_of_garbage_is_moved_and_a_new_one_begun(void **state)
{
	struct place *p = *state;
	CLEANUP(freep) char *junk = malloc(3 << 20);
	memset(junk, 'x', 3 << 20);
	for (int i = 1000; i < 3 << 20; i += 1000)
		junk[i] = '\n';
	CLEANUP(closep) int fd = openat(p->state, "audit.jsonl", O_WRONLY | O_CREAT, 0600);
	assert_int_equal(file_write_all(fd, junk, 3 << 20), 0);
	struct gateway_audit *a = opened(p, 0);
	append(a, "a");
	gateway_audit_free(a);
	assert_int_equal(verify_all(p), 1);
	assert_true(there_is(p->state, "audit.jsonl.corrupt-1"));
}

static void rotation_keeps_the_chain(void **state)
{
	struct place *p = *state;
	char prev[SHA256_HEX_LEN];
	int64_t seq = 0;
	struct gateway_audit *a = opened(p, 1200);
	for (int i = 0; i < 5; i++)
		append(a, "a");
	gateway_audit_free(a);
	/* Killed between the rename and the new file: it begins where the rotated one ends. */
	assert_int_equal(unlinkat(p->state, "audit.jsonl", 0), 0);
	a = opened(p, 1200);
	append(a, "b");
	gateway_audit_free(a);
	memset(prev, '0', 64);
	prev[64] = '\0';
	int n = verify(p, "audit.1.jsonl", prev, &seq);
	assert_true(n >= 2 && n < 5);
	char name[32];
	snprintf(name, sizeof(name), "audit.%d.jsonl", n + 1);
	if (there_is(p->state, name))
		assert_true(verify(p, name, prev, &seq) > 0);
	assert_int_equal(verify(p, "audit.jsonl", prev, &seq), 1);
}

static void a_log_removed_under_way_is_begun_anew(void **state)
{
	struct place *p = *state;
	struct gateway_audit *a = opened(p, 0);
	append(a, "a");
	assert_int_equal(unlinkat(p->state, "audit.jsonl", 0), 0);
	append(a, "b");
	assert_int_equal(gateway_audit_seq(a), 2);
	gateway_audit_free(a);
	assert_true(there_is(p->state, "audit.jsonl"));
}

static void only_writes_of_one_actor_to_one_path_in_one_turn_are_one_record(void **state)
{
	struct gateway_record a = record("f"), b = record("f");
	assert_true(gateway_record_continues(&a, &b));
	a.op = MUTATION_CREATE;
	assert_true(gateway_record_continues(&a, &b));
	b.op = MUTATION_UNLINK;
	assert_false(gateway_record_continues(&a, &b));
	b = record("g");
	assert_false(gateway_record_continues(&a, &b));
	b = record("f");
	b.epoch++;
	assert_false(gateway_record_continues(&a, &b));
	b = record("f");
	b.actor.pid++;
	assert_false(gateway_record_continues(&a, &b));
	b = record("f");
	strcpy(b.actor.session, "other");
	assert_false(gateway_record_continues(&a, &b));
	b = record("f");
	b.error = ENOSPC;
	assert_false(gateway_record_continues(&a, &b));
	b = record("f");
	a.bytes = 3;
	b.bytes = 4;
	b.size_after = 7;
	gateway_record_merge(&a, &b);
	assert_true(a.writes == 2 && a.bytes == 7 && a.size_after == 7 && a.op == MUTATION_CREATE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_chain_goes_on_after_a_restart),
		TEST(a_record_has_the_keys_that_are_promised),
		TEST(a_torn_last_line_is_kept_aside),
		TEST(a_log_of_garbage_is_moved_and_a_new_one_begun),
		TEST(rotation_keeps_the_chain),
		TEST(old_parts_go_and_the_rest_is_proven),
		TEST(a_log_removed_under_way_is_begun_anew),
		TEST(only_writes_of_one_actor_to_one_path_in_one_turn_are_one_record),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
