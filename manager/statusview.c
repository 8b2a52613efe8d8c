#include "manager/statusview.h"

#include <errno.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/table.h"
#include "manager/words.h"

enum column { NAME, STATE, BRANCH, PID, MEMORY, UPTIME, WRITTEN, LAST, COLUMNS };

static const struct table_column columns[COLUMNS] = {
	[NAME] = {"NAME", false, 8, 0},      [STATE] = {"STATE", false, 0, 0},
	[BRANCH] = {"BRANCH", false, 6, 4},  [PID] = {"PID", true, 0, 1},
	[MEMORY] = {"MEMORY", true, 0, 6},   [UPTIME] = {"UP", true, 0, 5},
	[WRITTEN] = {"WRITTEN", true, 0, 3}, [LAST] = {"LAST WRITE", false, 12, 2},
};

enum { INDENT = 4, DETAIL_MAX = 4096 };

enum term_colour statusview_colour(const char *state)
{
	return !strcmp(state, "ready")      ? TERM_GREEN
	       : !strcmp(state, "starting") ? TERM_YELLOW
	       : !strcmp(state, "failed")   ? TERM_RED
					    : TERM_DIM;
}

int64_t statusview_memory(const cJSON *repo)
{
	const cJSON *memory = cJSON_GetObjectItemCaseSensitive(repo, "memory");
	int64_t pss = json_int(memory, "pss_kib", 0);

	return pss ? pss : json_int(memory, "rss_kib", 0);
}

static int set_last(struct table *t, const cJSON *last, int64_t now_ms)
{
	CLEANUP(freep) char *path = NULL;
	char ago[WORDS_MAX], who[256], text[DETAIL_MAX];

	if (!cJSON_IsObject(last))
		return 0;
	if (json_get_bytes(last, "path", &path) == -ENOMEM)
		return -ENOMEM;
	words_who_short(who, sizeof(who), cJSON_GetObjectItemCaseSensitive(last, "actor"));
	snprintf(text, sizeof(text), "%s by %s", path ? path : "?", who);
	int r = table_set(t, WRITTEN, words_ago(ago, json_str(last, "ts", ""), now_ms), TERM_DIM);
	return r ? r : table_set(t, LAST, text, TERM_PLAIN);
}

static int set_row(struct table *t, const cJSON *j, int64_t now_ms)
{
	CLEANUP(freep) char *name = NULL, *branch = NULL;
	const char *state = json_str(j, "state", "");
	char text[WORDS_MAX];
	int r = table_add(t);

	if (r < 0 || json_get_bytes(j, "name", &name) == -ENOMEM ||
	    json_get_bytes(j, "branch", &branch) == -ENOMEM ||
	    table_set(t, NAME, name ? name : "", TERM_BOLD) ||
	    table_set(t, STATE, state, statusview_colour(state)) ||
	    table_set(t, BRANCH, branch && *branch ? branch : "-", TERM_CYAN))
		return -ENOMEM;
	if (json_int(j, "pid", 0) > 0) {
		snprintf(text, sizeof(text), "%lld", (long long)json_int(j, "pid", 0));
		if (table_set(t, PID, text, TERM_PLAIN) ||
		    table_set(t, MEMORY, words_memory(text, statusview_memory(j)), TERM_PLAIN) ||
		    table_set(t, UPTIME, words_span(text, json_int(j, "uptime_s", 0)), TERM_PLAIN))
			return -ENOMEM;
	}
	return set_last(t, cJSON_GetObjectItemCaseSensitive(j, "last_write"), now_ms);
}

/* A line of its own below a row. */
static void detail(const struct term *t, FILE *f, enum term_colour c, const char *what,
		   const char *text)
{
	char line[DETAIL_MAX];

	if (!text || !*text)
		return;
	snprintf(line, sizeof(line), "%s: %s", what, text);
	fprintf(f, "%*s%s", INDENT, "", term_escape(t, c));
	term_put(f, line, t->width ? t->width - INDENT : 0, false);
	fprintf(f, "%s\n", term_escape(t, TERM_PLAIN));
}

static void print_turn(const cJSON *turn, const struct term *t, int64_t now_ms, FILE *f)
{
	const cJSON *holder = cJSON_GetObjectItemCaseSensitive(turn, "holder"), *waiter;
	const cJSON *waiters = cJSON_GetObjectItemCaseSensitive(turn, "waiters");
	char who[256], ago[WORDS_MAX], text[512];

	if (cJSON_IsObject(holder) || cJSON_IsString(holder)) {
		words_who_short(who, sizeof(who), holder);
		words_ago(ago, json_str(turn, "since", ""), now_ms);
		snprintf(text, sizeof(text), "%s%s%s", who, *ago ? ", began " : "", ago);
		detail(t, f, TERM_YELLOW, "write turn", text);
	}
	cJSON_ArrayForEach (waiter, waiters) {
		words_who_short(who, sizeof(who), waiter);
		words_ago(ago, json_str(waiter, "since", ""), now_ms);
		snprintf(text, sizeof(text), "%s%s%s", who, *ago ? ", since " : "", ago);
		detail(t, f, TERM_PLAIN, "waiting", text);
	}
}

static void print_details(const cJSON *j, const struct term *t, int64_t now_ms, FILE *f)
{
	const cJSON *restart = cJSON_GetObjectItemCaseSensitive(j, "last_restart");
	char ago[WORDS_MAX], text[1024];

	print_turn(cJSON_GetObjectItemCaseSensitive(j, "turn"), t, now_ms, f);
	if (cJSON_IsObject(restart)) {
		snprintf(text, sizeof(text), "%s, %s",
			 words_ago(ago, json_str(restart, "ts", ""), now_ms),
			 json_str(restart, "why", ""));
		detail(t, f, TERM_PLAIN, "restarted", text);
	}
	detail(t, f, TERM_YELLOW, "notice", json_str(j, "notice", NULL));
	detail(t, f, TERM_RED, "error", json_str(j, "last_error", NULL));
}

static void print_sum(const cJSON *all, const struct term *t, FILE *f)
{
	static const char *const states[] = {"ready", "starting", "failed", "stopped"};
	char line[256], memory[WORDS_MAX];
	const cJSON *j;
	unsigned count[4] = {0}, n = 0;
	int64_t kib = 0;

	cJSON_ArrayForEach (j, all) {
		n++;
		kib += statusview_memory(j);
		for (unsigned i = 0; i < 4; i++)
			count[i] += !strcmp(json_str(j, "state", ""), states[i]);
	}
	int at = snprintf(line, sizeof(line), "%u repositories", n);
	for (unsigned i = 0; i < 4; i++)
		if (count[i])
			at += snprintf(line + at, sizeof(line) - (size_t)at, ", %u %s", count[i],
				       states[i]);
	if (kib)
		snprintf(line + at, sizeof(line) - (size_t)at, ", %s of memory",
			 words_memory(memory, kib));
	fputs(term_escape(t, TERM_DIM), f);
	term_put(f, line, t->width, false);
	fprintf(f, "%s\n", term_escape(t, TERM_PLAIN));
}

int statusview_print(const cJSON *all, const struct term *t, int64_t now_ms, FILE *f)
{
	struct table *table = table_new(columns, COLUMNS);
	int r = table ? 0 : -ENOMEM, row = 0;
	const cJSON *j;

	cJSON_ArrayForEach (j, all)
		if (!r)
			r = set_row(table, j, now_ms);
	if (!r && !all->child) {
		term_put(f, "No repository is registered; rrm add PATH or rrm scan DIR does.",
			 t->width, false);
		putc('\n', f);
	} else if (!r) {
		table_layout(table, t->width);
		table_print(table, t, f, -1);
		cJSON_ArrayForEach (j, all) {
			table_print(table, t, f, row++);
			print_details(j, t, now_ms, f);
		}
		if (row > 1)
			print_sum(all, t, f);
	}
	table_free(table);
	return r;
}
