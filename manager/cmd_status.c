/*
 * On a terminal a table that fits it (statusview.h); elsewhere plain lines with all that is known, whole.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/cmdutil.h"
#include "manager/memlog.h"
#include "manager/status.h"
#include "manager/statusview.h"
#include "manager/words.h"

/* Every look at the status leaves a sample behind; that it could not be written is no reason to fail. */
static void sample(const struct cmd_context *x, const cJSON *j)
{
	const cJSON *memory = cJSON_GetObjectItemCaseSensitive(j, "memory");
	struct memory_usage use = {.rss_kib = (uint64_t)json_int(memory, "rss_kib", 0),
				   .pss_kib = (uint64_t)json_int(memory, "pss_kib", 0),
				   .swap_kib = (uint64_t)json_int(memory, "swap_kib", 0),
				   .processes = (unsigned)json_int(memory, "processes", 0)};

	for (size_t i = 0; cJSON_IsObject(memory) && i < x->repos.n; i++)
		if (!strcmp(x->repos.items[i].id, json_str(j, "repo_id", "")))
			(void)memory_append(&x->repos.items[i], (pid_t)json_int(j, "pid", 0), &use);
}

static void print_turn(const cJSON *turn)
{
	const cJSON *holder = cJSON_GetObjectItemCaseSensitive(turn, "holder"), *waiter;
	const cJSON *waiters = cJSON_GetObjectItemCaseSensitive(turn, "waiters");

	if (holder && !cJSON_IsNull(holder)) {
		fputs("    write turn: ", stdout);
		words_who(stdout, holder);
		const char *since = json_str(turn, "since", "");
		printf("%s%s\n", since[0] ? " since " : "", since);
	}
	cJSON_ArrayForEach (waiter, waiters) {
		fputs("    waiting:    ", stdout);
		words_who(stdout, waiter);
		putchar('\n');
	}
}

static void print_text(const char *what, const char *text)
{
	if (!text)
		return;
	printf("    %s: ", what);
	cmd_print_bytes(stdout, text);
	putchar('\n');
}

static void print_one(const cJSON *j, int wide)
{
	CLEANUP(freep) char *name = NULL;
	const cJSON *memory = cJSON_GetObjectItemCaseSensitive(j, "memory");
	const cJSON *last = cJSON_GetObjectItemCaseSensitive(j, "last_write");
	char up[WORDS_MAX];

	json_get_bytes(j, "name", &name);
	cmd_print_bytes(stdout, name ? name : "");
	printf("%*s  %-8s", wide - term_cells(json_str(j, "name", "")), "",
	       json_str(j, "state", ""));
	if (json_int(j, "pid", 0) > 0) {
		printf("  pid %lld  %s  %s  up ", (long long)json_int(j, "pid", 0),
		       json_str(j, "url", ""), json_str(j, "backend", ""));
		fputs(words_span(up, json_int(j, "uptime_s", 0)), stdout);
		int64_t kib = json_int(memory, "pss_kib", 0);
		printf("  %lld MiB",
		       (long long)(kib ? kib : json_int(memory, "rss_kib", 0)) / 1024);
	}
	fputs("  ", stdout);
	cmd_print_bytes(stdout, json_str(j, "branch", ""));
	putchar('\n');
	print_turn(cJSON_GetObjectItemCaseSensitive(j, "turn"));
	if (cJSON_IsObject(last)) {
		CLEANUP(freep) char *path = NULL;
		json_get_bytes(last, "path", &path);
		printf("    last write: %s ", json_str(last, "ts", ""));
		cmd_print_bytes(stdout, path ? path : "");
		fputs(" by ", stdout);
		words_who(stdout, cJSON_GetObjectItemCaseSensitive(last, "actor"));
		putchar('\n');
	}
	const cJSON *restart = cJSON_GetObjectItemCaseSensitive(j, "last_restart");
	if (cJSON_IsObject(restart)) {
		printf("    last restart: %s ", json_str(restart, "ts", ""));
		cmd_print_bytes(stdout, json_str(restart, "why", ""));
		putchar('\n');
	}
	print_text("notice", json_str(j, "notice", NULL));
	print_text("last error", json_str(j, "last_error", NULL));
}

static void print_plain(const cJSON *all)
{
	const cJSON *j;
	int wide = 0;

	cJSON_ArrayForEach (j, all) {
		int n = term_cells(json_str(j, "name", ""));
		wide = n > wide ? n : wide;
	}
	cJSON_ArrayForEach (j, all)
		print_one(j, wide);
}

static int status(const struct cmd_context *x, const char *what, bool json, struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = NULL;
	const struct repo *only = NULL;
	const cJSON *j;
	struct term t = term_of(STDOUT_FILENO);

	int r = what ? cmd_find(x, what, &only, e) : 0;
	if (!r)
		r = status_json(x->config, only, &all, e);
	if (r)
		return r;
	if (json)
		r = json_print(all);
	else if (t.tty)
		r = statusview_print(all, &t, clock_wall_ms(), stdout);
	else
		print_plain(all);
	cJSON_ArrayForEach (j, all)
		sample(x, j);
	return r ? err_errno(e, r, "writing the status") : cmd_flush(e);
}

int cmd_status(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	struct cmd_context x;
	bool json = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":j", longs, e)) != -1; json = true)
		if (opt == '?')
			return CMD_USAGE;
	if (argc - optind > 1)
		return cmd_usage("status", e, "give one REPO or none");
	int r = cmd_context_init(&x, e);
	if (!r)
		r = status(&x, argv[optind], json, e);
	cmd_context_deinit(&x);
	return cmd_exit(r);
}
