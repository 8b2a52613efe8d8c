#include "manager/auditstat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "manager/base/cleanup.h"
#include "manager/table.h"
#include "manager/words.h"

struct entry {
	struct auditstat_sum sum;
	char *key; /* owned; repo_id NUL-free, with newlines between the parts */
	UT_hash_handle hh;
};

struct auditstat {
	struct entry *all; /* owned */
};

struct auditstat *auditstat_new(void)
{
	return calloc(1, sizeof(struct auditstat));
}

static void entry_free(struct entry *en)
{
	if (!en)
		return;
	free(en->sum.home);
	free(en->sum.comm);
	free(en->key);
	free(en);
}

struct auditstat *auditstat_free(struct auditstat *s)
{
	struct entry *en, *next;

	if (!s)
		return NULL;
	HASH_ITER (hh, s->all, en, next) {
		HASH_DEL(s->all, en);
		entry_free(en);
	}
	free(s);
	return NULL;
}

static struct entry *entry_new(struct auditstat *s, const struct repo *r, const char *home,
			       const char *comm, const char *key)
{
	struct entry *en = calloc(1, sizeof(*en));

	if (!en)
		return NULL;
	en->sum.repo = r;
	en->sum.home = strdup(home);
	en->sum.comm = strdup(comm);
	en->key = strdup(key);
	if (!en->sum.home || !en->sum.comm || !en->key) {
		entry_free(en);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, s->all, en->key, strlen(en->key), en);
	return en;
}

static uint64_t positive(const cJSON *record, const char *key)
{
	int64_t v = json_int(record, key, 0);
	return v > 0 ? (uint64_t)v : 0;
}

int auditstat_take(void *arg, const struct repo *r, const cJSON *record)
{
	struct auditstat *s = arg;
	const cJSON *actor = cJSON_GetObjectItemCaseSensitive(record, "actor");
	const char *home = json_str(actor, "home", ""), *comm = json_str(actor, "comm", "?");
	const char *result = json_str(record, "result", ""), *ts = json_str(record, "ts", "");
	CLEANUP(freep) char *key = NULL;
	struct entry *en;

	if (asprintf(&key, "%s\n%s\n%s", r->id, home, comm) < 0)
		return -ENOMEM;
	HASH_FIND_STR(s->all, key, en);
	if (!en && !(en = entry_new(s, r, home, comm, key)))
		return -ENOMEM;
	uint64_t wait = positive(record, "wait_us");
	en->sum.records++;
	en->sum.writes += positive(record, "writes");
	en->sum.bytes += positive(record, "bytes");
	en->sum.failed += strcmp(result, "ok") != 0;
	en->sum.refused += auditview_refused(record);
	en->sum.wait_us += wait;
	en->sum.wait_max_us = wait > en->sum.wait_max_us ? wait : en->sum.wait_max_us;
	if (strcmp(ts, en->sum.last) > 0)
		snprintf(en->sum.last, sizeof(en->sum.last), "%s", ts);
	return 0;
}

static int by_writes(const void *a, const void *b)
{
	const struct auditstat_sum *x = *(const struct auditstat_sum *const *)a;
	const struct auditstat_sum *y = *(const struct auditstat_sum *const *)b;

	if (x->writes != y->writes)
		return x->writes < y->writes ? 1 : -1;
	int r = strcmp(x->repo->name, y->repo->name);
	r = r ? r : strcmp(x->home, y->home);
	return r ? r : strcmp(x->comm, y->comm);
}

const struct auditstat_sum **auditstat_sums(const struct auditstat *s, size_t *n)
{
	struct entry *en, *next;
	const struct auditstat_sum **sums = calloc(HASH_COUNT(s->all) + 1u, sizeof(const void *));

	*n = 0;
	if (!sums)
		return NULL;
	HASH_ITER (hh, s->all, en, next)
		sums[(*n)++] = &en->sum;
	qsort(sums, *n, sizeof(const void *), by_writes);
	return sums;
}

static int to_json(const struct auditstat_sum *const *sums, size_t n)
{
	CLEANUP(json_deletep) cJSON *all = cJSON_CreateArray();

	for (size_t i = 0; all && i < n; i++) {
		const struct auditstat_sum *s = sums[i];
		cJSON *j = cJSON_CreateObject();
		if (!j || !cJSON_AddItemToArray(all, j) ||
		    json_add_str(j, "repo_id", s->repo->id) ||
		    json_add_bytes(j, "name", s->repo->name) ||
		    json_add_str(j, "home", *s->home ? s->home : NULL) ||
		    json_add_str(j, "comm", s->comm) ||
		    json_add_int(j, "records", (int64_t)s->records) ||
		    json_add_int(j, "writes", (int64_t)s->writes) ||
		    json_add_int(j, "bytes", (int64_t)s->bytes) ||
		    json_add_int(j, "failed", (int64_t)s->failed) ||
		    json_add_int(j, "refused", (int64_t)s->refused) ||
		    json_add_int(j, "wait_us", (int64_t)s->wait_us) ||
		    json_add_int(j, "wait_max_us", (int64_t)s->wait_max_us) ||
		    json_add_str(j, "last", s->last))
			return -ENOMEM;
	}
	return all ? json_print(all) : -ENOMEM;
}

enum column { REPO, HOME, COMM, RECORDS, WRITES, BYTES, FAILED, WAIT, LAST, COLUMNS };

static const struct table_column columns[COLUMNS] = {
	[REPO] = {"REPO", false, 8, 0},    [HOME] = {"FROM", false, 8, 0},
	[COMM] = {"PROGRAM", false, 8, 4}, [RECORDS] = {"RECORDS", true, 0, 3},
	[WRITES] = {"WRITES", true, 0, 7}, [BYTES] = {"BYTES", true, 0, 5},
	[FAILED] = {"FAILED", true, 0, 6}, [WAIT] = {"LONGEST WAIT", true, 0, 2},
	[LAST] = {"LAST", false, 0, 1},
};

static int set_number(struct table *t, size_t column, uint64_t n, enum term_colour c)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	return table_set(t, column, text, c);
}

static int set_row(struct table *t, const struct auditview *v, const struct auditstat_sum *s)
{
	char wait[48];

	snprintf(wait, sizeof(wait), "%llu ms", (unsigned long long)s->wait_max_us / 1000);
	return table_add(t) < 0 || table_set(t, REPO, s->repo->name, TERM_BOLD) ||
	       table_set(t, HOME, *s->home ? auditview_name(v, s->home) : "nobody", TERM_PLAIN) ||
	       table_set(t, COMM, s->comm, TERM_PLAIN) ||
	       set_number(t, RECORDS, s->records, TERM_PLAIN) ||
	       set_number(t, WRITES, s->writes, TERM_PLAIN) ||
	       set_number(t, BYTES, s->bytes, TERM_PLAIN) ||
	       set_number(t, FAILED, s->failed, s->failed ? TERM_RED : TERM_PLAIN) ||
	       table_set(t, WAIT, wait, TERM_PLAIN) || table_set(t, LAST, s->last, TERM_DIM);
}

int auditstat_print(const struct auditstat *s, const struct auditview *v, const struct term *t,
		    bool json)
{
	size_t n = 0;
	CLEANUP(freep) const struct auditstat_sum **sums = auditstat_sums(s, &n);

	if (!sums)
		return -ENOMEM;
	if (json)
		return to_json(sums, n);
	struct table *table = table_new(columns, COLUMNS);
	int r = table ? 0 : -ENOMEM;
	for (size_t i = 0; !r && i < n; i++)
		r = set_row(table, v, sums[i]) ? -ENOMEM : 0;
	if (!r) {
		table_layout(table, t->width);
		for (int row = -1; row < (int)n; row++)
			table_print(table, t, stdout, row);
	}
	table_free(table);
	return r;
}
