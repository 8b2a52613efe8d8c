#include "manager/topdata.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/auditlog.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/idle.h"
#include "manager/registry.h"
#include "manager/session.h"
#include "manager/status.h"
#include "manager/statusview.h"
#include "manager/words.h"

enum { MINUTE_MS = 60000, COUNTED_MAX = 100000, ASK_MS = 400 };

static const char *const orders[TOP_ORDERS] = {"memory", "cpu",      "name",
					       "uptime", "sessions", "writes"};

int top_order_of(const char *word)
{
	for (int i = 0; i < TOP_ORDERS; i++)
		if (!strcmp(word, orders[i]))
			return i;
	return -1;
}

const char *top_order_word(enum top_order o)
{
	return orders[o];
}

void top_sample_deinit(struct top_sample *s)
{
	for (size_t i = 0; s->rows && i < s->n; i++)
		free(s->rows[i].name);
	free(s->rows);
	*s = (struct top_sample){NULL, 0, 0};
}

int top_copy(const struct top_sample *s, struct top_sample *out)
{
	*out = (struct top_sample){.mono_ms = s->mono_ms};
	out->rows = calloc(s->n + 1, sizeof(*out->rows));
	if (!out->rows)
		return -ENOMEM;
	for (; out->n < s->n; out->n++) {
		out->rows[out->n] = s->rows[out->n];
		out->rows[out->n].name = strdup(s->rows[out->n].name ? s->rows[out->n].name : "");
		if (!out->rows[out->n].name) {
			top_sample_deinit(out);
			return -ENOMEM;
		}
	}
	return 0;
}

struct counting {
	int64_t since_ms;
	uint64_t writes;
	unsigned lines;
};

/* auditlog_backwards() */
static int count_line(const struct auditlog_line *line, void *arg)
{
	struct counting *c = arg;
	CLEANUP(json_deletep) cJSON *j = NULL;
	int64_t ts;

	if (++c->lines > COUNTED_MAX)
		return 1;
	if (auditlog_parse(line, &j, NULL))
		return 0;
	if (clock_parse_iso(json_str(j, "ts", ""), &ts) || ts < c->since_ms)
		return 1;
	int64_t writes = json_int(j, "writes", 1);
	c->writes += writes > 0 ? (uint64_t)writes : 0;
	return 0;
}

static uint64_t writes_of_last_minute(const struct repo *r, int64_t now_ms)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "audit.jsonl");
	struct counting c = {.since_ms = now_ms - MINUTE_MS};
	struct stat st;

	/* most logs are quiet: looking at the time of the file is cheaper than reading it */
	if (!path || stat(path, &st) || (int64_t)st.st_mtim.tv_sec * 1000 + 1000 < c.since_ms)
		return 0;
	(void)auditlog_backwards(r->state_dir, count_line, &c, NULL, NULL);
	return c.writes;
}

static const struct top_row *row_before(const struct top_sample *before, const struct top_row *row)
{
	for (size_t i = 0; before && i < before->n; i++)
		if (!strcmp(before->rows[i].id, row->id) && before->rows[i].pid == row->pid)
			return &before->rows[i];
	return NULL;
}

static double cpu_percent(const struct top_row *row, const struct top_row *was, uint64_t passed_ms)
{
	int64_t used = row->cpu_ms, over = row->uptime_s * 1000;

	if (was && passed_ms) {
		used -= was->cpu_ms;
		over = (int64_t)passed_ms;
	}
	return over > 0 && used > 0 ? 100.0 * (double)used / (double)over : 0;
}

static int sessions_of(const struct repo *r, int runs)
{
	struct endpoint ep;
	bool alive;

	if (registry_read(r, &ep, &alive, NULL) || !alive || strcmp(ep.state, "ready") != 0)
		return runs;
	int n = idle_sessions(r, &ep, ASK_MS);
	return n < 0 ? -1 : n + runs;
}

static int fill(struct top_row *row, const cJSON *j)
{
	const cJSON *turn = cJSON_GetObjectItemCaseSensitive(j, "turn");
	const cJSON *holder = cJSON_GetObjectItemCaseSensitive(turn, "holder");

	snprintf(row->id, sizeof(row->id), "%s", json_str(j, "repo_id", ""));
	snprintf(row->state, sizeof(row->state), "%s", json_str(j, "state", ""));
	row->pid = (pid_t)json_int(j, "pid", 0);
	row->pss_kib = statusview_memory(j);
	row->cpu_ms = json_int(j, "cpu_ms", 0);
	row->uptime_s = json_int(j, "uptime_s", 0);
	row->waiters =
		(unsigned)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(turn, "waiters"));
	if (holder && !cJSON_IsNull(holder))
		words_who_short(row->turn, sizeof(row->turn), holder);
	return json_get_bytes(j, "name", &row->name) == -ENOMEM ? -ENOMEM : 0;
}

static void count_run(const char *repo_id, void *arg)
{
	struct top_sample *s = arg;

	for (size_t i = 0; i < s->n; i++)
		s->rows[i].sessions += !strcmp(s->rows[i].id, repo_id);
}

static const struct repo *repo_of(const struct repo_list *l, const char *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].id, id))
			return &l->items[i];
	return NULL;
}

/* What status does not say. */
static void complete(const struct config *c, const struct repo_list *l,
		     const struct top_sample *before, struct top_sample *s)
{
	int64_t now_ms = clock_wall_ms();
	uint64_t passed = before ? s->mono_ms - before->mono_ms : 0;

	(void)session_each(c, count_run, s);
	for (size_t i = 0; i < s->n; i++) {
		struct top_row *row = &s->rows[i];
		const struct repo *r = repo_of(l, row->id);
		row->cpu = cpu_percent(row, row_before(before, row), passed);
		if (!r)
			continue;
		row->writes = writes_of_last_minute(r, now_ms);
		row->sessions = row->pid ? sessions_of(r, row->sessions) : row->sessions;
	}
}

int top_take(const struct config *c, const struct top_sample *before, struct top_sample *out,
	     struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = NULL;
	struct repo_list l = {NULL, 0};
	const cJSON *j;

	*out = (struct top_sample){.mono_ms = clock_mono_ms()};
	int r = repo_list_load(c, &l, e);
	if (!r)
		r = status_json(c, NULL, &all, e);
	if (!r) {
		out->rows = calloc((size_t)cJSON_GetArraySize(all) + 1, sizeof(*out->rows));
		r = out->rows ? 0 : err_errno(e, -ENOMEM, "looking at the backends");
	}
	cJSON_ArrayForEach (j, all) {
		if (r)
			break;
		r = fill(&out->rows[out->n++], j);
		if (r)
			err_errno(e, r, "looking at the backends");
	}
	if (r)
		top_sample_deinit(out);
	else
		complete(c, &l, before, out);
	repo_list_deinit(&l);
	return r;
}

static int by_number(double a, double b)
{
	return a < b ? 1 : a > b ? -1 : 0;
}

struct order {
	enum top_order by;
	bool reverse;
};

static int compare(const void *a, const void *b, void *arg)
{
	const struct top_row *x = a, *y = b;
	const struct order *o = arg;
	int r = 0;

	if (o->by == TOP_MEMORY)
		r = by_number((double)x->pss_kib, (double)y->pss_kib);
	else if (o->by == TOP_CPU)
		r = by_number(x->cpu, y->cpu);
	else if (o->by == TOP_UPTIME)
		r = by_number((double)x->uptime_s, (double)y->uptime_s);
	else if (o->by == TOP_SESSIONS)
		r = by_number(x->sessions, y->sessions);
	else if (o->by == TOP_WRITES)
		r = by_number((double)x->writes, (double)y->writes);
	r = r ? r : strcmp(x->name ? x->name : "", y->name ? y->name : "");
	return o->reverse ? -r : r;
}

void top_sort(struct top_sample *s, enum top_order by, bool reverse)
{
	struct order o = {by, reverse};

	if (s->n)
		qsort_r(s->rows, s->n, sizeof(*s->rows), compare, &o);
}

enum column { NAME, STATE, MEMORY, CPU, UPTIME, SESSIONS, TURN, WAITERS, WRITES, PID, COLUMNS };

static const struct table_column columns[COLUMNS] = {
	[NAME] = {"NAME", false, 8, 0},        [STATE] = {"STATE", false, 0, 9},
	[MEMORY] = {"MEMORY", true, 0, 10},    [CPU] = {"CPU%", true, 0, 8},
	[UPTIME] = {"UP", true, 0, 6},         [SESSIONS] = {"SESS", true, 0, 5},
	[TURN] = {"TURN", false, 10, 2},       [WAITERS] = {"WAIT", true, 0, 3},
	[WRITES] = {"WRITES/MIN", true, 0, 4}, [PID] = {"PID", true, 0, 1},
};
_Static_assert(TURN == (enum column)TOP_COLUMN_TURN, "as topdata.h says");

static int set_number(struct table *t, size_t column, long long n)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", n);
	return table_set(t, column, text, n ? TERM_PLAIN : TERM_DIM);
}

static int set_process(struct table *t, const struct top_row *row)
{
	char text[WORDS_MAX], cpu[WORDS_MAX];

	if (!row->pid)
		return 0;
	snprintf(cpu, sizeof(cpu), "%.1f", row->cpu);
	return table_set(t, MEMORY, words_memory(text, row->pss_kib), TERM_PLAIN) ||
	       table_set(t, CPU, cpu, TERM_PLAIN) ||
	       table_set(t, UPTIME, words_span(text, row->uptime_s), TERM_PLAIN) ||
	       set_number(t, PID, row->pid);
}

static int set_row(struct table *t, const struct top_row *row)
{
	return table_add(t) < 0 || table_set(t, NAME, row->name ? row->name : "", TERM_BOLD) ||
	       table_set(t, STATE, row->state, statusview_colour(row->state)) ||
	       set_process(t, row) ||
	       (row->sessions < 0 ? table_set(t, SESSIONS, "?", TERM_YELLOW)
				  : set_number(t, SESSIONS, row->sessions)) ||
	       table_set(t, TURN, *row->turn ? row->turn : "-", TERM_YELLOW) ||
	       set_number(t, WAITERS, row->waiters) ||
	       set_number(t, WRITES, (long long)row->writes);
}

struct table *top_table(const struct top_sample *s)
{
	struct table *t = table_new(columns, COLUMNS);

	for (size_t i = 0; t && i < s->n; i++)
		if (set_row(t, &s->rows[i]))
			return table_free(t);
	return t;
}

void top_sum(const struct top_sample *s, char *buf, size_t size)
{
	char memory[WORDS_MAX];
	unsigned running = 0;
	int64_t kib = 0;
	uint64_t writes = 0;
	double cpu = 0;

	for (size_t i = 0; i < s->n; i++) {
		running += s->rows[i].pid > 0;
		kib += s->rows[i].pss_kib;
		writes += s->rows[i].writes;
		cpu += s->rows[i].cpu;
	}
	snprintf(buf, size, "%zu %s, %u running, %s, %.0f%% CPU, %llu writes/min", s->n,
		 s->n == 1 ? "repository" : "repositories", running, words_memory(memory, kib), cpu,
		 (unsigned long long)writes);
}
