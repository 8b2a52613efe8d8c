/* The file that outlives a killed gateway, and the judgement over what it was doing. */
#include "tests/unit/gateway_test.h"

#include <signal.h>

#include "manager/base/sha256.h"
#include "router/gateway_engine.h"
#include "router/gateway_inflight.h"

enum { NOW = 1000000 };

static struct gateway_engine *engine(struct place *p)
{
	struct gateway_engine *g = NULL;
	struct err e = ERR_INIT;
	const struct gateway_engine_config c = {
		.root = p->root, .state = p->state, .repo_id = "web-0123456789abcdef"};
	if (gateway_engine_new(&g, &c, NOW, &e) < 0)
		fail_msg("%s", e.text);
	return g;
}

/* Handles and frees m; the errno. */
static int handle(struct gateway_engine *g, struct mutation *m, struct mutation_answer *a)
{
	gateway_engine_handle(g, m, NOW, a);
	assert_string_equal(a->id, m->id);
	mutation_free(m);
	return a->error;
}

/* The same by a gateway that begins for it, and ends. */
static int handle_once(struct place *p, struct mutation *m, struct mutation_answer *a)
{
	struct gateway_engine *g = engine(p);
	int error = handle(g, m, a);
	gateway_engine_free(g);
	return error;
}

static struct mutation *with_id(struct mutation *m, const char *id)
{
	strcpy(m->id, id);
	return m;
}

/* The log as an array; the chain is checked on the way. */
static cJSON *audit(struct place *p)
{
	CLEANUP(freep) char *data = NULL;
	size_t len;
	char prev[SHA256_HEX_LEN];
	cJSON *all = cJSON_CreateArray();
	memset(prev, '0', 64);
	prev[64] = '\0';
	assert_int_equal(file_read(p->state, "audit.jsonl", 1 << 24, &data, &len), 0);
	for (char *line = data, *nl; (nl = strchr(line, '\n')); line = nl + 1) {
		cJSON *j = NULL;
		assert_int_equal(json_parse(line, (size_t)(nl - line), &j, NULL), 0);
		assert_string_equal(json_str(j, "prev", ""), prev);
		sha256_hex(line, (size_t)(nl - line), prev);
		cJSON_AddItemToArray(all, j);
		assert_int_equal(json_int(j, "seq", 0), cJSON_GetArraySize(all));
	}
	return all;
}

static const char *text_of(const cJSON *all, int i, const char *key)
{
	return json_str(cJSON_GetArrayItem(all, i), key, "(none)");
}

/* So many records, the last one with that result. */
static void audit_ends_with(struct place *p, int n, const char *result)
{
	CLEANUP(json_deletep) cJSON *all = audit(p);
	assert_int_equal(cJSON_GetArraySize(all), n);
	assert_string_equal(text_of(all, n - 1, "result"), result);
}

static void a_repeated_id_answers_what_it_answered_before(void **state)
{
	struct place *p = *state;
	struct mutation_answer a, b;
	struct gateway_engine *g = engine(p);
	assert_int_equal(handle(g, change(MUTATION_CREATE, "f", NULL), &a), 0);
	assert_int_equal(handle(g, with_id(change(MUTATION_APPEND, "f", "one"), "x1"), &a), 0);
	assert_int_equal(handle(g, with_id(change(MUTATION_APPEND, "f", "one"), "x1"), &b), 0);
	assert_int_equal(b.bytes, 3);
	assert_int_equal(b.attr.st_ino, a.attr.st_ino);
	assert_int_equal(handle(g, with_id(change(MUTATION_UNLINK, "no", NULL), "x2"), &a), ENOENT);
	put_file(p->root_fd, "no", "now it is there");
	assert_int_equal(handle(g, with_id(change(MUTATION_UNLINK, "no", NULL), "x2"), &b), ENOENT);
	gateway_engine_free(g);
	/* Also by the gateway's successor. */
	g = engine(p);
	assert_int_equal(handle(g, with_id(change(MUTATION_APPEND, "f", "one"), "x1"), &b), 0);
	assert_int_equal(b.bytes, 3);
	gateway_engine_free(g);
	assert_file(p->root_fd, "f", "one");
	audit_ends_with(p, 2, "ENOENT");
}

static void only_the_last_answers_are_remembered(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	struct gateway_engine *g = engine(p);
	assert_int_equal(handle(g, change(MUTATION_CREATE, "f", NULL), &a), 0);
	assert_int_equal(handle(g, with_id(change(MUTATION_APPEND, "f", "x"), "first"), &a), 0);
	for (int i = 0; i < GATEWAY_ANSWERS - 1; i++)
		assert_int_equal(handle(g, change(MUTATION_WRITE, "f", "x"), &a), 0);
	assert_int_equal(handle(g, with_id(change(MUTATION_APPEND, "f", "x"), "first"), &a), 0);
	assert_file(p->root_fd, "f", "x");
	assert_int_equal(handle(g, change(MUTATION_WRITE, "f", "x"), &a), 0);
	assert_int_equal(handle(g, with_id(change(MUTATION_APPEND, "f", "y"), "first"), &a), 0);
	assert_file(p->root_fd, "f", "xy");
	gateway_engine_free(g);
}

static void an_older_epoch_is_refused_also_after_a_restart(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	struct gateway_engine *g = engine(p);
	struct mutation *m = change(MUTATION_MKDIR, "d", NULL);
	m->epoch = 7;
	assert_int_equal(handle(g, m, &a), 0);
	m = change(MUTATION_MKDIR, "e", NULL);
	m->epoch = 4;
	assert_int_equal(handle(g, m, &a), ESTALE);
	assert_string_equal(a.message, "epoch 4 is older than 7: the turn was lost");
	gateway_engine_free(g);
	/* The audit knows it too, should the inflight file be lost. */
	assert_int_equal(unlinkat(p->state, "inflight", 0), 0);
	g = engine(p);
	assert_int_equal(gateway_engine_epoch(g), 7);
	m = change(MUTATION_MKDIR, "e", NULL);
	m->epoch = 6;
	assert_int_equal(handle(g, m, &a), ESTALE);
	assert_false(there_is(p->root_fd, "e"));
	gateway_engine_free(g);
	CLEANUP(json_deletep) cJSON *all = audit(p);
	assert_string_equal(text_of(all, 1, "result"), "refused");
	assert_string_equal(text_of(all, 2, "result"), "refused");
}

static void consecutive_writes_are_one_record_until_a_pause(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	struct gateway_engine *g = engine(p);
	assert_int_equal(handle(g, change(MUTATION_CREATE, "f", NULL), &a), 0);
	assert_int_equal(handle(g, change(MUTATION_WRITE, "f", "hello"), &a), 0);
	assert_int_equal(handle(g, change(MUTATION_APPEND, "f", "!"), &a), 0);
	assert_true(gateway_engine_tick(g, NOW + 10) == GATEWAY_ENGINE_COALESCE_MS - 10);
	assert_int_equal(gateway_engine_tick(g, NOW + GATEWAY_ENGINE_COALESCE_MS), -1);
	assert_int_equal(handle(g, change(MUTATION_WRITE, "f", "H"), &a), 0);
	assert_int_equal(handle(g, change(MUTATION_RELEASE, "f", NULL), &a), 0);
	assert_int_equal(handle(g, change(MUTATION_WRITE, "f", "J"), &a), 0);
	assert_int_equal(handle(g, change(MUTATION_UNLINK, "f", NULL), &a), 0);
	CLEANUP(json_deletep) cJSON *all = audit(p);
	assert_int_equal(cJSON_GetArraySize(all), 4);
	const cJSON *first = cJSON_GetArrayItem(all, 0);
	assert_string_equal(text_of(all, 0, "op"), "create");
	assert_int_equal(json_int(first, "writes", 0), 3);
	assert_int_equal(json_int(first, "bytes", 0), 6);
	assert_int_equal(json_int(first, "size_after", 0), 6);
	char sha[SHA256_HEX_LEN];
	sha256_hex("hello!", 6, sha);
	assert_string_equal(text_of(all, 0, "sha256_after"), sha);
	assert_string_equal(text_of(all, 3, "op"), "unlink");
	assert_int_equal(json_int(cJSON_GetArrayItem(all, 3), "size_before", 0), 6);
	gateway_engine_free(g);
}

static void a_path_that_leads_out_is_refused_and_recorded(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	assert_int_equal(symlinkat("../state", p->root_fd, "out"), 0);
	assert_int_equal(handle_once(p, change(MUTATION_CREATE, "out/f", NULL), &a), EACCES);
	CLEANUP(json_deletep) cJSON *all = audit(p);
	assert_string_equal(text_of(all, 0, "result"), "refused");
}

/* Leaves what a gateway leaves that is killed between noting m and marking it applied. */
static void killed_in_between(struct place *p, struct mutation *m)
{
	static struct gateway_record r;
	struct gateway_inflight i;
	struct gateway_apply *a = NULL;
	struct gateway_target t;
	bool outside;
	assert_int_equal(gateway_inflight_open(&i, p->state, NULL), 0);
	assert_int_equal(gateway_apply_new(&a, p->root, NULL), 0);
	assert_int_equal(gateway_apply_open(a, m, &t, &outside, NULL), 0);
	gateway_record_init(&r, m, 1);
	gateway_inflight_note(&i, m, &t, &r);
	gateway_target_close(&t);
	gateway_apply_free(a);
	gateway_inflight_close(&i);
	mutation_free(m);
}

/* The same for one that is refused, or was done before: nothing of the tree is looked at for it. */
static void killed_while_refusing(struct place *p, struct mutation *m)
{
	static struct gateway_record r;
	struct gateway_inflight i;
	assert_int_equal(gateway_inflight_open(&i, p->state, NULL), 0);
	gateway_record_init(&r, m, 1);
	gateway_inflight_note(&i, m, NULL, &r);
	gateway_inflight_close(&i);
	mutation_free(m);
}

static void what_was_refused_is_not_taken_for_applied(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	struct gateway_engine *g = engine(p);
	struct mutation *m = change(MUTATION_MKDIR, "d", NULL);
	m->epoch = 7;
	assert_int_equal(handle(g, m, &a), 0);
	gateway_engine_free(g);
	/* Late, and the gateway is killed while it says so: the directory is there, but not made by this. */
	killed_while_refusing(p, with_id(change(MUTATION_MKDIR, "d", NULL), "k1"));
	assert_int_equal(handle_once(p, with_id(change(MUTATION_MKDIR, "d", NULL), "k1"), &a),
			 ESTALE);
	audit_ends_with(p, 2, "refused");
}

static void done_and_killed_again_while_it_is_answered(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	put_file(p->root_fd, "f", "one");
	killed_in_between(p, with_id(change(MUTATION_UNLINK, "f", NULL), "k1"));
	assert_int_equal(unlinkat(p->root_fd, "f", 0), 0);
	/* Its successor takes it over, and is killed while it answers. */
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		engine(p);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	killed_while_refusing(p, with_id(change(MUTATION_UNLINK, "f", NULL), "k1"));
	assert_int_equal(handle_once(p, with_id(change(MUTATION_UNLINK, "f", NULL), "k1"), &a), 0);
	audit_ends_with(p, 1, "ok");
}

static void half_done_and_late_is_completed_in_a_newer_turn(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	put_file(p->root_fd, "f", "one");
	killed_in_between(p, with_id(change(MUTATION_APPEND, "f", "two"), "k1"));
	put_file(p->root_fd, "f", "onet");
	struct gateway_engine *g = engine(p);
	struct mutation *m = change(MUTATION_MKDIR, "d", NULL);
	m->epoch = 7;
	assert_int_equal(handle(g, m, &a), 0);
	assert_int_equal(handle(g, with_id(change(MUTATION_APPEND, "f", "two"), "k1"), &a), ESTALE);
	m = with_id(change(MUTATION_APPEND, "f", "two"), "k1");
	m->epoch = 8;
	assert_int_equal(handle(g, m, &a), 0);
	gateway_engine_free(g);
	assert_file(p->root_fd, "f", "onetwo");
}

static void what_was_applied_is_answered_as_done(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	put_file(p->root_fd, "f", "one");
	killed_in_between(p, with_id(change(MUTATION_APPEND, "f", "two"), "k1"));
	put_file(p->root_fd, "f", "onetwo");
	assert_int_equal(handle_once(p, with_id(change(MUTATION_APPEND, "f", "two"), "k1"), &a), 0);
	assert_true(a.bytes == 3 && a.offset == 3 && a.attr.st_size == 6);
	assert_file(p->root_fd, "f", "onetwo");
	audit_ends_with(p, 1, "ok");
}

static void what_was_applied_in_part_is_completed(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	put_file(p->root_fd, "f", "one");
	killed_in_between(p, with_id(change(MUTATION_APPEND, "f", "two"), "k1"));
	put_file(p->root_fd, "f", "onet");
	assert_int_equal(handle_once(p, with_id(change(MUTATION_APPEND, "f", "two"), "k1"), &a), 0);
	assert_file(p->root_fd, "f", "onetwo");
	audit_ends_with(p, 1, "ok");
}

static void what_was_not_applied_is_applied_when_asked_again(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	put_file(p->root_fd, "f", "one");
	killed_in_between(p, with_id(change2(MUTATION_RENAME, "f", "g"), "k1"));
	assert_int_equal(handle_once(p, with_id(change2(MUTATION_RENAME, "f", "g"), "k1"), &a), 0);
	assert_file(p->root_fd, "g", "one");
	CLEANUP(json_deletep) cJSON *all = audit(p);
	assert_int_equal(cJSON_GetArraySize(all), 1);
}

static void what_nobody_asks_for_again_is_recorded_as_interrupted(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	put_file(p->root_fd, "f", "one");
	killed_in_between(p, with_id(change(MUTATION_UNLINK, "f", NULL), "k1"));
	assert_int_equal(unlinkat(p->root_fd, "f", 0), 0);
	struct gateway_engine *g = engine(p);
	assert_int_equal(gateway_engine_tick(g, NOW), GATEWAY_ENGINE_DEFER_MS);
	assert_int_equal(gateway_engine_tick(g, NOW + GATEWAY_ENGINE_DEFER_MS), -1);
	/* Too late: no second record, and not done twice. */
	put_file(p->root_fd, "f", "new");
	assert_int_equal(handle(g, with_id(change(MUTATION_UNLINK, "f", NULL), "k1"), &a), 0);
	assert_file(p->root_fd, "f", "new");
	gateway_engine_free(g);
	killed_in_between(p, with_id(change(MUTATION_MKDIR, "d", NULL), "k2"));
	gateway_engine_free(engine(p));
	CLEANUP(json_deletep) cJSON *all = audit(p);
	assert_int_equal(cJSON_GetArraySize(all), 2);
	assert_string_equal(text_of(all, 0, "result"), "interrupted");
	assert_non_null(strstr(text_of(all, 0, "message"), "found applied"));
	assert_string_equal(text_of(all, 1, "result"), "interrupted");
	assert_non_null(strstr(text_of(all, 1, "message"), "not applied"));
}

static void a_corrupt_inflight_file_is_moved_aside(void **state)
{
	struct place *p = *state;
	struct mutation_answer a;
	put_file(p->state, "inflight", "nonsense");
	struct gateway_engine *g = engine(p);
	assert_true(there_is(p->state, "inflight.corrupt-1"));
	assert_int_equal(handle(g, change(MUTATION_MKDIR, "d", NULL), &a), 0);
	gateway_engine_free(g);
	/* Right size and magic, wrong inside. */
	CLEANUP(closep) int fd = openat(p->state, "inflight", O_RDWR);
	char junk[4096];
	memset(junk, 'j', sizeof(junk));
	assert_int_equal(file_pwrite_all(fd, junk, sizeof(junk),
					 offsetof(struct gateway_inflight_file, work)),
			 0);
	gateway_engine_free(engine(p));
	assert_true(there_is(p->state, "inflight.corrupt-2"));
}

static struct gateway_side side(uint64_t ino, int64_t size)
{
	return (struct gateway_side){.exists = ino != 0, .dev = 1, .ino = ino, .size = size};
}

static bool judged(enum mutation_op op, struct gateway_side was, struct gateway_side was2,
		   struct gateway_side now, struct gateway_side now2)
{
	static struct gateway_work w;
	w.op = op;
	w.path = was;
	w.path2 = was2;
	w.len = 10;
	return gateway_work_was_applied(&w, &now, &now2);
}

static void the_judgement_follows_the_state_before_and_after(void **state)
{
	const struct gateway_side no = side(0, 0), a = side(7, 5), b = side(8, 5), c = side(9, 5);
	assert_true(judged(MUTATION_CREATE, no, no, a, no));
	assert_false(judged(MUTATION_CREATE, no, no, no, no));
	assert_false(judged(MUTATION_CREATE, a, no, a, no));
	assert_true(judged(MUTATION_UNLINK, a, no, no, no));
	assert_true(judged(MUTATION_UNLINK, a, no, b, no));
	assert_false(judged(MUTATION_UNLINK, a, no, a, no));
	assert_true(judged(MUTATION_RENAME, a, no, no, a));
	assert_true(judged(MUTATION_RENAME, a, b, b, a));
	assert_false(judged(MUTATION_RENAME, a, b, a, b));
	assert_false(judged(MUTATION_RENAME, a, no, c, no));
	assert_true(judged(MUTATION_LINK, a, no, a, a));
	assert_false(judged(MUTATION_LINK, a, no, a, no));
	assert_true(judged(MUTATION_APPEND, a, no, side(7, 15), no));
	assert_false(judged(MUTATION_APPEND, a, no, side(7, 14), no));
	assert_false(judged(MUTATION_APPEND, a, no, side(8, 15), no));
	assert_false(judged(MUTATION_WRITE, a, no, side(7, 15), no));
	assert_false(judged(MUTATION_CHMOD, a, no, a, no));
}

enum { LINES = 4000 };

/* Appends the lines from first on and tells each answer through fd, until it is killed. */
static _Noreturn void append_lines(struct place *p, int first, int fd)
{
	struct gateway_engine *g = engine(p);
	for (int i = first; i < LINES; i++) {
		char id[MUTATION_ID_MAX], line[16];
		struct mutation_answer a;
		snprintf(id, sizeof(id), "line-%d", i);
		snprintf(line, sizeof(line), "%06d\n", i);
		/* Now and then another file, so that records end at many places. */
		struct mutation *m = i % 7 == 3 ? change(MUTATION_MKDIR, id, NULL)
						: change(MUTATION_APPEND, "f", line);
		if (handle(g, with_id(m, id), &a) || write(fd, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
	gateway_engine_free(g);
	_exit(0);
}

/* Runs a gateway from line first on and kills it after `after` answers or us later; the next line. */
static int run_and_kill(struct place *p, int first, unsigned after, unsigned us)
{
	int pipefd[2], last = first - 1, got, status;
	unsigned n = 0;
	assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		append_lines(p, first, pipefd[1]);
	close(pipefd[1]);
	while (read(pipefd[0], &got, sizeof(got)) == sizeof(got)) {
		last = got;
		if (++n == after) {
			usleep(us);
			kill(pid, SIGKILL);
		}
	}
	close(pipefd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
	return last + 1;
}

static void kill_9_at_any_moment_loses_nothing_and_doubles_nothing(void **state)
{
	struct place *p = *state;
	put_file(p->root_fd, "f", "");
	unsigned seed = (unsigned)getpid();
	print_message("seed %u\n", seed);
	for (int next = 0, kills = 0; next < LINES; kills++) {
		unsigned after = 1 + (unsigned)rand_r(&seed) % 150;
		/* In the end one that is not killed. */
		next = run_and_kill(p, next, kills < 60 ? after : LINES + 1,
				    (unsigned)rand_r(&seed) % 200);
	}
	gateway_engine_free(engine(p));
	CLEANUP(freep) char *data = NULL;
	size_t len, at = 0;
	assert_int_equal(file_read(p->root_fd, "f", 1 << 20, &data, &len), 0);
	for (int i = 0; i < LINES; i++) {
		if (i % 7 == 3)
			continue;
		assert_int_equal(atoi(data + at), i);
		at += 7;
	}
	assert_int_equal(at, len);
	CLEANUP(json_deletep) cJSON *all = audit(p);
	int64_t writes = 0, bytes = 0;
	const cJSON *r;
	cJSON_ArrayForEach (r, all) {
		assert_string_equal(json_str(r, "result", ""), "ok");
		writes += json_int(r, "writes", 0);
		bytes += json_int(r, "bytes", 0);
	}
	assert_int_equal(writes, LINES);
	assert_int_equal(bytes, len);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_repeated_id_answers_what_it_answered_before),
		TEST(only_the_last_answers_are_remembered),
		TEST(an_older_epoch_is_refused_also_after_a_restart),
		TEST(consecutive_writes_are_one_record_until_a_pause),
		TEST(a_path_that_leads_out_is_refused_and_recorded),
		TEST(what_was_refused_is_not_taken_for_applied),
		TEST(done_and_killed_again_while_it_is_answered),
		TEST(half_done_and_late_is_completed_in_a_newer_turn),
		TEST(what_was_applied_is_answered_as_done),
		TEST(what_was_applied_in_part_is_completed),
		TEST(what_was_not_applied_is_applied_when_asked_again),
		TEST(what_nobody_asks_for_again_is_recorded_as_interrupted),
		TEST(a_corrupt_inflight_file_is_moved_aside),
		TEST(the_judgement_follows_the_state_before_and_after),
		TEST(kill_9_at_any_moment_loses_nothing_and_doubles_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
