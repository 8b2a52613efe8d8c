#include "manager/auditview.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/cmdutil.h"
#include "manager/term.h"

static bool path_matches(const cJSON *record, const char *key, const char *pattern)
{
	CLEANUP(freep) char *path = NULL;

	return !json_get_bytes(record, key, &path) && path && !fnmatch(pattern, path, 0);
}

bool auditview_refused(const cJSON *record)
{
	return !cJSON_HasObjectItem(record, "seq") ||
	       !strcmp(json_str(record, "result", ""), "refused");
}

static bool result_matches(const cJSON *record, const char *wanted)
{
	const char *result = json_str(record, "result", "");

	if (!strcasecmp(wanted, "refused"))
		return auditview_refused(record);
	if (!strcmp(wanted, "failed"))
		return strcmp(result, "ok") != 0;
	return !strcasecmp(result, wanted);
}

bool auditview_wants(const struct auditview *v, const cJSON *record)
{
	const cJSON *actor = cJSON_GetObjectItemCaseSensitive(record, "actor");
	int64_t ts = 0;

	if (v->from && strcmp(json_str(actor, "home", ""), v->from) != 0)
		return false;
	if ((v->has_since || v->has_until) && clock_parse_iso(json_str(record, "ts", ""), &ts))
		return false;
	if ((v->has_since && ts < v->since_ms) || (v->has_until && ts > v->until_ms))
		return false;
	if (v->result && !result_matches(record, v->result))
		return false;
	return !v->path || path_matches(record, "path", v->path) ||
	       path_matches(record, "path2", v->path);
}

const char *auditview_name(const struct auditview *v, const char *repo_id)
{
	for (size_t i = 0; v->repos && i < v->repos->n; i++)
		if (!strcmp(v->repos->items[i].id, repo_id))
			return v->repos->items[i].name;
	return repo_id;
}

static void print_bytes_of(FILE *f, const cJSON *record, const char *key, const char *before)
{
	CLEANUP(freep) char *text = NULL;

	if (json_get_bytes(record, key, &text) || !text)
		return;
	fputs(before, f);
	cmd_print_bytes(f, text);
}

static void print_actor(const struct auditview *v, FILE *f, const cJSON *actor)
{
	const char *comm = json_str(actor, "comm", ""), *home = json_str(actor, "home", "");
	const char *session = json_str(actor, "session", "");

	fputs("  by ", f);
	cmd_print_bytes(f, comm[0] ? comm : "?");
	fprintf(f, "(%lld)", (long long)json_int(actor, "pid", 0));
	fputs(home[0] ? " of " : " of nobody", f);
	cmd_print_bytes(f, auditview_name(v, home));
	if (session[0]) {
		putc(' ', f);
		cmd_print_bytes(f, session);
	}
}

void auditview_print(const struct auditview *v, FILE *f, const char *repo, const cJSON *record)
{
	const char *result = json_str(record, "result", "?"),
		   *message = json_str(record, "message", "");

	struct term t = {.colour = v->colour};
	bool ok = !strcmp(result, "ok");

	fputs(term_escape(&t, TERM_DIM), f);
	cmd_print_bytes(f, json_str(record, "ts", "?"));
	fputs(term_escape(&t, TERM_PLAIN), f);
	if (repo) {
		fprintf(f, "  %s", term_escape(&t, TERM_BOLD));
		cmd_print_bytes(f, repo);
		fputs(term_escape(&t, TERM_PLAIN), f);
	}
	if (cJSON_HasObjectItem(record, "seq"))
		fprintf(f, "  #%lld ", (long long)json_int(record, "seq", 0));
	else
		fputs("  refused ", f);
	cmd_print_bytes(f, json_str(record, "op", "?"));
	print_bytes_of(f, record, "path", " ");
	print_bytes_of(f, record, "path2", " -> ");
	if (json_int(record, "bytes", 0) > 0)
		fprintf(f, " %lld bytes", (long long)json_int(record, "bytes", 0));
	print_actor(v, f, cJSON_GetObjectItemCaseSensitive(record, "actor"));
	fprintf(f, "  %s", term_escape(&t, ok ? TERM_GREEN : TERM_RED));
	cmd_print_bytes(f, result);
	fputs(term_escape(&t, TERM_PLAIN), f);
	if (message[0] && !ok) {
		fputs(": ", f);
		cmd_print_bytes(f, message);
	}
	putc('\n', f);
}

int auditview_since(const char *text, int64_t now_ms, int64_t *wall_ms)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	char day[64], *end;

	errno = 0;
	long long n = strtoll(text, &end, 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (errno || end == text || n < 0 || n > 100000000 ||
		    strcmp(end, units[i].unit) != 0)
			continue;
		*wall_ms = now_ms - n * units[i].ms;
		return 0;
	}
	if (strlen(text) == 10) {
		snprintf(day, sizeof(day), "%sT00:00:00.000Z", text);
		return clock_parse_iso(day, wall_ms);
	}
	return clock_parse_iso(text, wall_ms);
}
