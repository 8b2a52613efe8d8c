#include "manager/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/utf8.h"
#include "manager/logshow.h"
#include "manager/status.h"
#include "manager/statusview.h"

enum { SAMPLE_MAX = 4096, MESSAGE_MAX = 300 };

void report_text(FILE *f, const char *bytes)
{
	for (uint32_t c; *bytes;) {
		size_t n = utf8_decode(bytes, &c);
		bool shown = n && c >= 0x20 && (c < 0x7f || c > 0x9f) && c != 0xfffe && c != 0xffff;
		if (!shown)
			fputs("\xef\xbf\xbd", f);
		else if (c == '<')
			fputs("&lt;", f);
		else if (c == '>')
			fputs("&gt;", f);
		else if (c == '&')
			fputs("&amp;", f);
		else if (c == '"')
			fputs("&quot;", f);
		else if (c == '\'')
			fputs("&#39;", f);
		else
			fwrite(bytes, 1, n, f);
		bytes += n ? n : 1;
	}
}

const char *report_name(const struct report *rp, const char *repo_id)
{
	struct auditview v = {.repos = &rp->repos_all};

	return *repo_id ? auditview_name(&v, repo_id) : "nobody";
}

static void failure_deinit(struct report_failure *x)
{
	free(x->ts);
	free(x->path);
	free(x->who);
	free(x->result);
	free(x->message);
	*x = (struct report_failure){.repo = NULL};
}

void report_deinit(struct report *rp)
{
	for (size_t i = 0; i < REPORT_FAILURES; i++)
		failure_deinit(&rp->failures[i]);
	free(rp->sums);
	auditstat_free(rp->stat);
	free(rp->repos);
	repo_list_deinit(&rp->repos_all);
	memset(rp, 0, sizeof(*rp));
}

/* A sample into its step; the memory of its last line is not kept. */
static void take_sample(struct report *rp, struct report_repo *r, const char *line)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	int64_t ts;

	if (json_parse(line, strlen(line), &j, NULL) ||
	    clock_parse_iso(json_str(j, "ts", ""), &ts) || ts < rp->since_ms || ts > rp->until_ms)
		return;
	int64_t kib = json_int(j, "pss_kib", 0);
	kib = kib ? kib : json_int(j, "rss_kib", 0);
	size_t at = (size_t)((ts - rp->since_ms) / rp->step_ms);
	at = at < REPORT_STEPS ? at : REPORT_STEPS - 1;
	r->kib[at] = kib > r->kib[at] ? kib : r->kib[at];
	r->kib_max = kib > r->kib_max ? kib : r->kib_max;
}

/* The time of the first sample of a file that counts, or until_ms. */
static int64_t first_sample(const struct report *rp, FILE *f)
{
	char line[SAMPLE_MAX];
	int64_t ts;

	while (fgets(line, sizeof(line), f)) {
		CLEANUP(json_deletep) cJSON *j = NULL;
		if (!json_parse(line, strlen(line), &j, NULL) &&
		    !clock_parse_iso(json_str(j, "ts", ""), &ts) && ts >= rp->since_ms)
			return ts;
	}
	return rp->until_ms;
}

static FILE *open_samples(const struct repo *r, const char *name)
{
	CLEANUP(freep) char *path = r ? path_join(r->state_dir, name) : NULL;
	return path ? fopen(path, "re") : NULL;
}

static const char *const sample_files[] = {"memory.1.jsonl", "memory.jsonl"};

static void read_samples(struct report *rp, struct report_repo *r)
{
	char line[SAMPLE_MAX];

	for (int i = 0; i < 2; i++) {
		CLEANUP(fclosep) FILE *f = open_samples(r->repo, sample_files[i]);
		while (f && fgets(line, sizeof(line), f))
			take_sample(rp, r, line);
	}
}

/* Where nothing is known about the time before, the figure need not show it. */
static void begin_with_first_sample(struct report *rp)
{
	int64_t first = rp->until_ms;

	for (size_t i = 0; i < rp->n; i++)
		for (int k = 0; k < 2; k++) {
			CLEANUP(fclosep) FILE *f = open_samples(rp->repos[i].repo, sample_files[k]);
			int64_t ts = f ? first_sample(rp, f) : first;
			first = ts < first ? ts : first;
		}
	if (first < rp->until_ms)
		rp->since_ms = first;
	rp->step_ms = (rp->until_ms - rp->since_ms) / REPORT_STEPS + 1;
}

static char *who_of(const struct report *rp, const cJSON *record)
{
	const cJSON *actor = cJSON_GetObjectItemCaseSensitive(record, "actor");
	char *text = NULL;

	if (asprintf(&text, "%s(%lld) of %s", json_str(actor, "comm", "?"),
		     (long long)json_int(actor, "pid", 0),
		     report_name(rp, json_str(actor, "home", ""))) < 0)
		return NULL;
	return text;
}

static int note_failure(struct report *rp, const struct repo *r, const cJSON *record)
{
	struct report_failure *x = &rp->failures[rp->n_failures++ % REPORT_FAILURES];

	failure_deinit(x);
	x->repo = r;
	x->ts = strdup(json_str(record, "ts", "?"));
	x->result = strdup(json_str(record, "result", "?"));
	x->message = strndup(json_str(record, "message", ""), MESSAGE_MAX);
	x->who = who_of(rp, record);
	if (json_get_bytes(record, "path", &x->path) == -ENOMEM || !x->ts || !x->result ||
	    !x->message || !x->who)
		return -ENOMEM;
	return 0;
}

/* logshow_options.take */
static int take_record(void *arg, const struct repo *r, const cJSON *record)
{
	struct report *rp = arg;
	int rc = auditstat_take(rp->stat, r, record);

	if (!rc && strcmp(json_str(record, "result", ""), "ok") != 0)
		rc = note_failure(rp, r, record);
	return rc;
}

static int read_audits(struct report *rp, int64_t since_ms, struct err *e)
{
	struct logshow_options o = {.lines = -1, .take = take_record, .arg = rp};
	struct logshow *sh = NULL;

	o.view.has_since = true;
	o.view.since_ms = since_ms;
	rp->stat = auditstat_new();
	int r = rp->stat ? logshow_open(&sh, &o, rp->repos_all.items, rp->repos_all.n, e) : -ENOMEM;
	if (!r)
		r = logshow_run(sh, e);
	logshow_close(sh);
	if (!r)
		rp->sums = auditstat_sums(rp->stat, &rp->n_sums);
	return r || rp->sums ? r : err_errno(e, -ENOMEM, "adding up the audit");
}

static int read_states(struct report *rp, const struct config *c, struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = NULL;
	const cJSON *j;
	int r = status_json(c, NULL, &all, e);

	cJSON_ArrayForEach (j, all)
		for (size_t i = 0; i < rp->n; i++) {
			struct report_repo *x = &rp->repos[i];
			if (strcmp(json_str(j, "repo_id", ""), rp->repos_all.items[i].id) != 0)
				continue;
			snprintf(x->state, sizeof(x->state), "%s", json_str(j, "state", ""));
			x->kib_now = statusview_memory(j);
		}
	return r;
}

int report_collect(struct report *rp, const struct config *c, int64_t since_ms, int64_t now_ms,
		   struct err *e)
{
	memset(rp, 0, sizeof(*rp));
	rp->since_ms = since_ms;
	rp->until_ms = now_ms;
	int r = repo_list_load(c, &rp->repos_all, e);
	if (r)
		return r;
	rp->repos = calloc(rp->repos_all.n + 1, sizeof(*rp->repos));
	if (!rp->repos)
		return err_errno(e, -ENOMEM, "making the report");
	for (; rp->n < rp->repos_all.n; rp->n++) {
		rp->repos[rp->n].repo = &rp->repos_all.items[rp->n];
		for (int i = 0; i < REPORT_STEPS; i++)
			rp->repos[rp->n].kib[i] = -1;
	}
	begin_with_first_sample(rp);
	for (size_t i = 0; i < rp->n; i++)
		read_samples(rp, &rp->repos[i]);
	r = read_states(rp, c, e);
	return r ? r : read_audits(rp, since_ms, e);
}
