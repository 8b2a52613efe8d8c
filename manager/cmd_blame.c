/*
 * The log is read from its newest record back, and the first that says who made a path what it is decides
 * about it. For one file that ends the search; for a directory the paths that were seen are remembered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "manager/auditlog.h"
#include "manager/auditview.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/sha256.h"
#include "manager/cmdutil.h"
#include "manager/pager.h"
#include "manager/table.h"
#include "manager/words.h"

enum { HASH_MAX = 16 << 20, MTIME_SLACK_MS = 2000 };

struct blamed {
	char *path;    /* owned; below the root */
	cJSON *record; /* owned */
	UT_hash_handle hh;
};

struct blame {
	const struct repo *repo; /* borrowed */
	const char *rest;        /* borrowed; "" is the root */
	bool json;
	struct auditview view;
	struct blamed *seen; /* owned; in the order in which they were found, newest first */
	unsigned damaged;
};

static void blame_deinit(struct blame *b)
{
	struct blamed *one, *next;

	HASH_ITER (hh, b->seen, one, next) {
		HASH_DEL(b->seen, one);
		cJSON_Delete(one->record);
		free(one->path);
		free(one);
	}
}

/* Takes *record over when it is the newest about the path. 0 or -ENOMEM. */
static int note(struct blame *b, const char *path, cJSON **record)
{
	struct blamed *one;
	const char *rel;

	if (*b->rest && !path_below(b->rest, path, &rel))
		return 0;
	HASH_FIND_STR(b->seen, path, one);
	if (one)
		return 0;
	one = calloc(1, sizeof(*one));
	if (!one || !(one->path = strdup(path))) {
		free(one);
		return -ENOMEM;
	}
	one->record = cJSON_Duplicate(*record, true);
	if (!one->record) {
		free(one->path);
		free(one);
		return -ENOMEM;
	}
	HASH_ADD_KEYPTR(hh, b->seen, one->path, strlen(one->path), one);
	return 0;
}

/* Attributes are not what a file holds. */
static bool changes_content(const char *op)
{
	static const char *const others[] = {"chmod",    "chown",       "utimens",
					     "setxattr", "removexattr", NULL};

	for (const char *const *o = others; *o; o++)
		if (!strcmp(op, *o))
			return false;
	return true;
}

/* auditlog_backwards(): 1 when what was asked is known. */
static int look(const struct auditlog_line *line, void *arg)
{
	struct blame *b = arg;
	CLEANUP(json_deletep) cJSON *j = NULL;
	CLEANUP(freep) char *path = NULL, *path2 = NULL;
	struct blamed *one;

	int r = auditlog_parse(line, &j, NULL);
	if (r) {
		b->damaged += r == -EINVAL;
		return r == -ENOMEM ? r : 0;
	}
	if (strcmp(json_str(j, "result", ""), "ok") != 0 || !changes_content(json_str(j, "op", "")))
		return 0;
	if (json_get_bytes(j, "path", &path) == -ENOMEM ||
	    json_get_bytes(j, "path2", &path2) == -ENOMEM)
		return -ENOMEM;
	/* a link leaves the old name as it was */
	if (path2 && *path2)
		r = note(b, path2, &j);
	/* the directory that holds it came here */
	if (!r && path2 && *path2 && *b->rest && path_below(path2, b->rest, NULL))
		r = note(b, b->rest, &j);
	if (!r && path && *path && strcmp(json_str(j, "op", ""), "link") != 0)
		r = note(b, path, &j);
	if (r)
		return r;
	HASH_FIND_STR(b->seen, b->rest, one);
	return one && *b->rest && strcmp(json_str(one->record, "op", ""), "mkdir") != 0;
}

static bool same_hash(const char *path, const char *sha)
{
	CLEANUP(freep) char *data = NULL;
	char now[SHA256_HEX_LEN];
	size_t len;

	return !file_read(AT_FDCWD, path, HASH_MAX, &data, &len) && !sha256_hex(data, len, now) &&
	       !strcmp(now, sha);
}

/* What became of it: "as written", "changed since", "gone". */
static const char *state_of(const struct blame *b, const struct blamed *one)
{
	CLEANUP(freep) char *path = path_join(b->repo->root, one->path);
	const char *sha = json_str(one->record, "sha256_after", NULL);
	int64_t size = json_int(one->record, "size_after", -1), ts = 0;
	struct stat st;

	if (!path || lstat(path, &st))
		return "gone";
	if (!S_ISREG(st.st_mode) || size < 0)
		return "as written";
	if (st.st_size != size)
		return "changed since";
	if (sha)
		return same_hash(path, sha) ? "as written" : "changed since";
	int64_t mtime = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	bool later = !clock_parse_iso(json_str(one->record, "ts", ""), &ts) &&
		     mtime > ts + MTIME_SLACK_MS;
	return later ? "changed since" : "as written";
}

static int by_path(const struct blamed *a, const struct blamed *b)
{
	return strcmp(a->path, b->path);
}

static int to_json(const struct blame *b)
{
	CLEANUP(json_deletep) cJSON *all = cJSON_CreateArray();
	static const char *const keys[] = {"seq", "ts", "op", "actor"};
	const struct blamed *one;

	for (one = b->seen; all && one; one = one->hh.next) {
		cJSON *j = cJSON_CreateObject();
		if (!j || !cJSON_AddItemToArray(all, j) || json_add_bytes(j, "path", one->path) ||
		    json_add_str(j, "state", state_of(b, one)))
			return -ENOMEM;
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
			cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(one->record, keys[i]);
			if (item && !cJSON_AddItemToObject(j, keys[i], item))
				return -ENOMEM;
		}
	}
	return all ? json_print(all) : -ENOMEM;
}

enum column { WHEN, SEQ, OP, WHO, STATE, PATH, COLUMNS };

static const struct table_column columns[COLUMNS] = {
	[WHEN] = {"WHEN", false, 0, 2}, [SEQ] = {"SEQ", true, 0, 3},
	[OP] = {"DID", false, 0, 1},    [WHO] = {"WHO", false, 10, 0},
	[STATE] = {"NOW", false, 0, 4}, [PATH] = {"PATH", false, 10, 0},
};

static int set_row(struct table *t, const struct blame *b, const struct blamed *one)
{
	const cJSON *actor = cJSON_GetObjectItemCaseSensitive(one->record, "actor");
	const char *home = json_str(actor, "home", ""), *state = state_of(b, one);
	char seq[32], who[512];

	snprintf(seq, sizeof(seq), "#%lld", (long long)json_int(one->record, "seq", 0));
	snprintf(who, sizeof(who), "%s(%lld) of %s", json_str(actor, "comm", "?"),
		 (long long)json_int(actor, "pid", 0),
		 *home ? auditview_name(&b->view, home) : "nobody");
	return table_add(t) < 0 || table_set(t, WHEN, json_str(one->record, "ts", "?"), TERM_DIM) ||
	       table_set(t, SEQ, seq, TERM_PLAIN) ||
	       table_set(t, OP, json_str(one->record, "op", "?"), TERM_PLAIN) ||
	       table_set(t, WHO, who, TERM_CYAN) ||
	       table_set(t, STATE, state,
			 !strcmp(state, "as written") ? TERM_GREEN : TERM_YELLOW) ||
	       table_set(t, PATH, one->path, TERM_BOLD);
}

static int to_text(const struct blame *b, struct err *e)
{
	struct term t = term_of(STDOUT_FILENO);
	struct table *table = table_new(columns, COLUMNS);
	int r = table ? 0 : -ENOMEM;

	for (const struct blamed *one = b->seen; !r && one; one = one->hh.next)
		r = set_row(table, b, one) ? -ENOMEM : 0;
	if (!r) {
		table_layout(table, t.width);
		pid_t pager = pager_begin();
		for (int row = t.tty ? -1 : 0; row < (int)table_rows(table); row++)
			table_print(table, &t, stdout, row);
		r = cmd_flush(e);
		pager_end(pager);
	}
	table_free(table);
	return r;
}

static int blame(const struct cmd_context *x, const char *what, bool json, struct err *e)
{
	CLEANUP(freep) char *rest = NULL;
	struct blame b = {.json = json, .view = {.repos = &x->repos}};

	int r = repo_find(x->config, &x->repos, what, &b.repo, &rest, e);
	if (r)
		return r;
	b.rest = rest;
	auditlog_settle(b.repo->state_dir);
	r = auditlog_backwards(b.repo->state_dir, look, &b, NULL, e);
	if (r == -ENOMEM)
		err_errno(e, r, "reading the audit of %s", b.repo->name);
	if (b.damaged)
		fprintf(stderr, "rrm: %u damaged lines were skipped; rrm log --verify %s\n",
			b.damaged, b.repo->name);
	if (r >= 0 && !b.seen && !json)
		r = err_set(e, -ENOENT, "no other repository's session has changed %s%s%s",
			    b.repo->name, *rest ? "/" : "", rest);
	if (r >= 0) {
		HASH_SORT(b.seen, by_path);
		r = json ? to_json(&b) : to_text(&b, e);
	}
	blame_deinit(&b);
	return r < 0 ? r : cmd_flush(e);
}

int cmd_blame(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	struct cmd_context x;
	bool json = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":", longs, e)) != -1; json = true)
		if (opt == '?')
			return CMD_USAGE;
	if (argc - optind != 1)
		return cmd_usage("blame", e, "give one PATH");
	int r = cmd_context_init(&x, e);
	if (!r)
		r = blame(&x, argv[optind], json, e);
	cmd_context_deinit(&x);
	return cmd_exit(r);
}
