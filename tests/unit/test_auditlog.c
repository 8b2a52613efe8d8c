#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/auditchain.h"
#include "manager/auditview.h"
#include "manager/base/sha256.h"

/* Writes a good chain as the gateway does. */
struct writer {
	int dir;
	int seq;
	char prev[SHA256_HEX_LEN];
};

static struct writer writer_in(const struct tmp *t)
{
	struct writer w = {.dir = t->dir};

	memset(w.prev, '0', sizeof(w.prev) - 1);
	return w;
}

static void append(struct writer *w)
{
	char line[512];

	w->seq++;
	int n = snprintf(line, sizeof(line),
			 "{\"seq\":%d,\"ts\":\"2026-11-22T17:40:%02d.000Z\",\"op\":\"write\","
			 "\"path\":\"src/%d.c\",\"result\":\"ok\",\"actor\":{\"home\":\"%s\"},"
			 "\"prev\":\"%s\"}",
			 w->seq, w->seq % 60, w->seq, w->seq % 2 ? "api-1" : "", w->prev);

	assert_int_equal(sha256_hex(line, (size_t)n, w->prev), 0);
	line[n] = '\n';
	assert_int_equal(file_append(w->dir, "audit.jsonl", line, (size_t)n + 1, 0600), 0);
}

static void append_many(struct writer *w, int n)
{
	while (n-- > 0)
		append(w);
}

static void rotate(struct writer *w)
{
	char name[64];

	snprintf(name, sizeof(name), "audit.%d.jsonl", w->seq);
	assert_int_equal(renameat(w->dir, "audit.jsonl", w->dir, name), 0);
}

static void append_raw(const struct tmp *t, const char *text)
{
	assert_int_equal(file_append(t->dir, "audit.jsonl", text, strlen(text), 0600), 0);
}

static int seq_of(const struct auditlog_line *line)
{
	cJSON *j = NULL;

	if (auditlog_parse(line, &j, NULL))
		return -1;
	int seq = (int)json_int(j, "seq", -1);
	cJSON_Delete(j);
	return seq;
}

/* Reads what there is; all must be records from first to last. */
static void reads(struct auditlog *a, int first, int last)
{
	struct auditlog_line line;

	for (int seq = first; seq <= last; seq++) {
		assert_int_equal(auditlog_next(a, &line, NULL), 1);
		assert_int_equal(seq_of(&line), seq);
	}
	assert_int_equal(auditlog_next(a, &line, NULL), 0);
}

static void rotated_files_are_read_in_the_order_of_their_numbers(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);
	struct auditlog *a;

	append_many(&w, 9);
	rotate(&w);
	append_many(&w, 1);
	rotate(&w);
	append_many(&w, 2);
	append_raw(t, ""); /* and what does not belong is passed by */
	assert_int_equal(file_replace(t->dir, "audit.x.jsonl", "x\n", 2, 0600), 0);
	assert_int_equal(file_replace(t->dir, "audit.99.jsonl.gz", "x\n", 2, 0600), 0);
	assert_int_equal(auditlog_open(&a, t->path, NULL), 0);
	reads(a, 1, 12);
	auditlog_close(a);
}

static void a_log_that_is_not_there_yet_is_empty_and_then_followed(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);
	struct auditlog *a;

	assert_int_equal(auditlog_open(&a, t->path, NULL), 0);
	reads(a, 1, 0);
	append_many(&w, 3);
	reads(a, 1, 3);
	append_many(&w, 2);
	reads(a, 4, 5);
	auditlog_close(a);
}

static void following_survives_rotations_between_two_looks(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);
	struct auditlog *a;

	assert_int_equal(auditlog_open(&a, t->path, NULL), 0);
	append_many(&w, 2);
	reads(a, 1, 2);
	append_many(&w, 2); /* the last lines before a rotation are not lost */
	rotate(&w);
	append_many(&w, 1);
	rotate(&w);
	append_many(&w, 1);
	rotate(&w); /* and no audit.jsonl at all for a moment */
	reads(a, 3, 6);
	append_many(&w, 1);
	reads(a, 7, 7);
	auditlog_close(a);
}

static void a_line_is_given_when_its_newline_is_there(void **state)
{
	struct tmp *t = *state;
	struct auditlog *a;
	struct auditlog_line line;

	append_raw(t, "{\"seq\":1,");
	assert_int_equal(auditlog_open(&a, t->path, NULL), 0);
	assert_int_equal(auditlog_next(a, &line, NULL), 0);
	assert_int_equal(auditlog_torn(a, NULL), 9);
	append_raw(t, "\"op\":\"x\"}\n");
	assert_int_equal(auditlog_next(a, &line, NULL), 1);
	assert_string_equal(line.text, "{\"seq\":1,\"op\":\"x\"}");
	assert_int_equal(line.number, 1);
	assert_int_equal(auditlog_torn(a, NULL), 0);
	auditlog_close(a);
}

/* n bytes of 'x' and a newline. */
static void append_long(const struct tmp *t, size_t n)
{
	char *text = malloc(n + 2);

	memset(text, 'x', n);
	strcpy(text + n, "\n");
	append_raw(t, text);
	free(text);
}

static void a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole(void **state)
{
	static const size_t sizes[] = {AUDITLOG_LINE_MAX, AUDITLOG_LINE_MAX + 1,
				       5 * AUDITLOG_LINE_MAX + 12345};
	struct tmp *t = *state;
	struct auditlog *a;
	struct auditlog_line line;
	uint64_t offset = 0;

	for (size_t i = 0; i < 3; i++) {
		append_long(t, sizes[i]);
		append_raw(t, "{\"seq\":1,\"op\":\"x\"}\n");
	}
	assert_int_equal(auditlog_open(&a, t->path, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(auditlog_next(a, &line, NULL), 1);
		assert_int_equal(line.len, AUDITLOG_LINE_MAX);
		assert_int_equal(line.oversized, i > 0);
		assert_int_equal(line.offset, offset);
		offset += sizes[i] + 1;
		assert_int_equal(auditlog_next(a, &line, NULL), 1);
		assert_int_equal(seq_of(&line), 1);
		assert_int_equal(line.offset, offset);
		offset += 19;
	}
	assert_int_equal(auditlog_next(a, &line, NULL), 0);
	auditlog_close(a);
}

struct collected {
	int seqs[2000];
	int n, most, oversized;
};

static int collect(const struct auditlog_line *line, void *arg)
{
	struct collected *c = arg;

	c->oversized += line->oversized;
	c->seqs[c->n++] = seq_of(line);
	return c->n == c->most;
}

static void backwards_gives_the_newest_first_and_then_follows(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);
	struct collected c = {.n = 0};
	struct auditlog *a = NULL;

	append_many(&w, 700);
	rotate(&w);
	append_many(&w, 500);
	append_raw(t, "{\"seq\":1201");
	assert_int_equal(auditlog_backwards(t->path, collect, &c, &a, NULL), 0);
	assert_int_equal(c.n, 1200);
	for (int i = 0; i < 1200; i++)
		assert_int_equal(c.seqs[i], 1200 - i);
	append_raw(t, ",\"op\":\"x\"}\n");
	reads(a, 1201, 1201);
	auditlog_close(a);
	c = (struct collected){.most = 3};
	assert_int_equal(auditlog_backwards(t->path, collect, &c, NULL, NULL), 1);
	assert_int_equal(c.n, 3);
	assert_int_equal(c.seqs[2], 1199);
}

static void backwards_passes_lines_beyond_the_limit(void **state)
{
	struct tmp *t = *state;
	struct collected c = {.n = 0};

	append_raw(t, "{\"seq\":1,\"op\":\"x\"}\n");
	append_long(t, 3 * AUDITLOG_LINE_MAX);
	append_raw(t, "{\"seq\":2,\"op\":\"x\"}\n\n");
	append_long(t, AUDITLOG_LINE_MAX);
	assert_int_equal(auditlog_backwards(t->path, collect, &c, NULL, NULL), 0);
	assert_int_equal(c.n, 5);
	assert_int_equal(c.oversized, 1);
	assert_int_equal(c.seqs[2], 2);
	assert_int_equal(c.seqs[4], 1);
}

static void backwards_over_nothing_gives_nothing(void **state)
{
	struct tmp *t = *state;
	struct collected c = {.n = 0};

	assert_int_equal(auditlog_backwards(t->path, collect, &c, NULL, NULL), 0);
	append_raw(t, "torn");
	assert_int_equal(auditlog_backwards(t->path, collect, &c, NULL, NULL), 0);
	assert_int_equal(c.n, 0);
}

/* The first bad line must be number of file, and the sentence hold why. */
static void found(const struct tmp *t, const char *file, uint64_t number, const char *why)
{
	struct auditchain_check check;

	assert_int_equal(auditchain_verify(t->path, &check, NULL), 0);
	assert_true(check.bad);
	assert_string_equal(check.file, file);
	assert_int_equal(check.number, number);
	if (!strstr(check.problem.text, why))
		fail_msg("said \"%s\", not \"%s\"", check.problem.text, why);
}

static void a_whole_chain_is_found_whole(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);
	struct auditchain_check check;

	assert_int_equal(auditchain_verify(t->path, &check, NULL), 0);
	assert_false(check.bad);
	append_many(&w, 20);
	rotate(&w);
	append_many(&w, 20);
	assert_int_equal(auditchain_verify(t->path, &check, NULL), 0);
	assert_false(check.bad);
	assert_int_equal(check.records, 40);
}

/* audit.jsonl with one byte changed, or a line left out (skip, from 1). */
static void rewrite(const struct tmp *t, size_t flip, int skip)
{
	char *text, *out;
	size_t len, n = 0;
	int line = 1;

	assert_int_equal(file_read(t->dir, "audit.jsonl", 1 << 20, &text, &len), 0);
	out = malloc(len + 1);
	if (flip)
		text[flip] ^= 1;
	for (size_t i = 0; i < len; i++) {
		if (line != skip)
			out[n++] = text[i];
		line += text[i] == '\n';
	}
	assert_int_equal(file_replace(t->dir, "audit.jsonl", out, n, 0600), 0);
	free(text);
	free(out);
}

static void a_changed_line_is_found_by_the_next_one(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);

	append_many(&w, 5);
	rewrite(t, 20, 0); /* in the time of line 1 */
	found(t, "audit.jsonl", 2, "changed");
}

static void a_missing_line_is_found(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);

	append_many(&w, 5);
	rewrite(t, 0, 3);
	found(t, "audit.jsonl", 3, "seq is 4, but 3");
}

static void a_missing_beginning_is_found(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);

	append_many(&w, 5);
	rewrite(t, 0, 1);
	found(t, "audit.jsonl", 1, "missing");
}

static void a_missing_file_in_the_middle_is_found(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);

	append_many(&w, 5);
	rotate(&w);
	append_many(&w, 5);
	rotate(&w);
	append_many(&w, 5);
	assert_int_equal(unlinkat(t->dir, "audit.10.jsonl", 0), 0);
	found(t, "audit.jsonl", 1, "seq is 11, but 6");
}

static void a_damaged_line_is_named(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);

	append_many(&w, 2);
	append_raw(t, "{\"seq\":3,\xff\n");
	append_many(&w, 1);
	found(t, "audit.jsonl", 3, "UTF-8");
}

static void a_torn_end_is_named(void **state)
{
	struct tmp *t = *state;
	struct writer w = writer_in(t);

	append_many(&w, 2);
	append_raw(t, "{\"seq\":3");
	found(t, "audit.jsonl", 3, "without a newline");
	rotate(&w); /* also in a file that is written no more */
	append_many(&w, 1);
	found(t, "audit.2.jsonl", 3, "JSON");
}

static void what_was_refused_is_another_log_whose_lines_have_no_seq(void **state)
{
	static const char line[] = "{\"ts\":\"2026-11-22T17:40:00.000Z\",\"op\":\"mkdir\"}\n";
	struct auditlog_line found, of_audit = {.text = line, .len = sizeof(line) - 2};
	struct auditview v = {.result = "refused"};
	struct tmp *t = *state;
	struct writer w = writer_in(t);
	struct auditlog *a;
	cJSON *j = NULL;

	append_many(&w, 2);
	assert_int_equal(auditlog_open_refused(&a, t->path, NULL), 0);
	assert_int_equal(auditlog_next(a, &found, NULL), 0);
	for (int part = 0; part < 2; part++) {
		assert_int_equal(file_append_bounded(t->path, "refused.jsonl", "refused.1.jsonl", 0,
						     line, sizeof(line) - 1),
				 0);
		assert_int_equal(auditlog_next(a, &found, NULL), 1);
		assert_string_equal(found.file, "refused.jsonl");
		assert_int_equal(auditlog_parse(&found, &j, NULL), 0);
		assert_true(auditview_wants(&v, j));
		cJSON_Delete(j);
		assert_int_equal(auditlog_next(a, &found, NULL), 0);
	}
	auditlog_close(a);
	assert_int_equal(auditlog_parse(&of_audit, &j, NULL), -EINVAL);
	struct auditchain_check check;
	assert_int_equal(auditchain_verify(t->path, &check, NULL), 0);
	assert_false(check.bad);
	assert_int_equal(check.records, 2);
}

static void the_view_leaves_out_what_is_not_asked_for(void **state)
{
	cJSON *j =
		cJSON_Parse("{\"seq\":1,\"ts\":\"2026-11-22T17:40:00.000Z\",\"path\":\"src/a.c\","
			    "\"path2\":\"lib/b.c\",\"actor\":{\"home\":\"api-1\"}}");
	struct auditview v = {.has_since = false};

	assert_true(auditview_wants(&v, j));
	v.path = "src/*";
	assert_true(auditview_wants(&v, j));
	v.path = "lib/?.c";
	assert_true(auditview_wants(&v, j));
	v.path = "*.h";
	assert_false(auditview_wants(&v, j));
	v.path = NULL;
	v.from = "";
	assert_false(auditview_wants(&v, j));
	v.from = "api-1";
	assert_true(auditview_wants(&v, j));
	v.has_since = true;
	assert_int_equal(auditview_since("2026-11-22T17:40:00Z", 0, &v.since_ms), 0);
	assert_true(auditview_wants(&v, j));
	v.since_ms++;
	assert_false(auditview_wants(&v, j));
	cJSON_Delete(j);
}

static void since_is_a_time_or_how_long_ago(void **state)
{
	int64_t ms, day;

	assert_int_equal(auditview_since("90s", 100000, &ms), 0);
	assert_int_equal(ms, 10000);
	assert_int_equal(auditview_since("2h", 7200001, &ms), 0);
	assert_int_equal(ms, 1);
	assert_int_equal(auditview_since("2026-11-22", 0, &day), 0);
	assert_int_equal(auditview_since("2026-11-22T00:00:01Z", 0, &ms), 0);
	assert_int_equal(ms - day, 1000);
	static const char *const bad[] = {
		"", "x", "10", "10x", "-5m", "99999999999999999999d", "2026-13-01", "yesterday"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(auditview_since(bad[i], 0, &ms), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(rotated_files_are_read_in_the_order_of_their_numbers),
		tmp_test(a_log_that_is_not_there_yet_is_empty_and_then_followed),
		tmp_test(following_survives_rotations_between_two_looks),
		tmp_test(a_line_is_given_when_its_newline_is_there),
		tmp_test(a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole),
		tmp_test(backwards_gives_the_newest_first_and_then_follows),
		tmp_test(backwards_passes_lines_beyond_the_limit),
		tmp_test(backwards_over_nothing_gives_nothing),
		tmp_test(a_whole_chain_is_found_whole),
		tmp_test(a_changed_line_is_found_by_the_next_one),
		tmp_test(a_missing_line_is_found),
		tmp_test(a_missing_beginning_is_found),
		tmp_test(a_missing_file_in_the_middle_is_found),
		tmp_test(a_damaged_line_is_named),
		tmp_test(a_torn_end_is_named),
		tmp_test(what_was_refused_is_another_log_whose_lines_have_no_seq),
		cmocka_unit_test(the_view_leaves_out_what_is_not_asked_for),
		cmocka_unit_test(since_is_a_time_or_how_long_ago),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
