/* The options of rrm log; what it shows is in logshow.c, its sums in auditstat.c. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/auditchain.h"
#include "manager/auditstat.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/cmdutil.h"
#include "manager/logshow.h"
#include "manager/pager.h"
#include "manager/term.h"

enum { FOLLOW_LINES = 10, LINES_MAX = 1000000 };

struct options {
	const char *what; /* REPO or NULL */
	bool verify, stat;
	struct logshow_options show;
};

static int verify_one(const struct repo *r, const struct options *o, cJSON *all, struct err *e)
{
	struct auditchain_check check;
	int rc = auditchain_verify(r->state_dir, &check, e);

	if (rc)
		return rc;
	if (o->show.json) {
		cJSON *j = cJSON_CreateObject();
		if (!j || !cJSON_AddItemToArray(all, j) || json_add_str(j, "repo_id", r->id) ||
		    json_add_bytes(j, "name", r->name) || json_add_bool(j, "ok", !check.bad) ||
		    json_add_int(j, "records", (int64_t)check.records) ||
		    json_add_int(j, "begins", check.begins ? check.begins : 1))
			return err_errno(e, -ENOMEM, "checking the audit");
		if (check.bad && (json_add_str(j, "file", check.file) ||
				  json_add_int(j, "line", (int64_t)check.number) ||
				  json_add_str(j, "problem", check.problem.text)))
			return err_errno(e, -ENOMEM, "checking the audit");
	} else if (!check.bad) {
		cmd_print_bytes(stdout, r->name);
		printf(": %llu record%s, the chain is whole", (unsigned long long)check.records,
		       check.records == 1 ? "" : "s");
		if (check.begins)
			printf(" from #%lld on; older ones were cleared", (long long)check.begins);
		putchar('\n');
	}
	if (check.bad) {
		if (e->text[0]) /* main prints the last one */
			fprintf(stderr, "rrm: %s\n", e->text);
		err_set(e, 0, "%s: %s", r->name, check.problem.text);
	}
	return check.bad;
}

static int verify(const struct options *o, const struct repo *repos, size_t n, struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = cJSON_CreateArray();
	int code = CMD_OK;

	for (size_t i = 0; i < n; i++) {
		int r = verify_one(&repos[i], o, all, e);
		if (r < 0)
			return CMD_FAILED;
		if (r)
			code = CMD_FOUND_PROBLEMS;
	}
	if (o->show.json && (!all || json_print(all)))
		return CMD_FAILED;
	return code;
}

/* A repo that is not registered any more is still meant by its repo_id. */
static void resolve_from(struct options *o, const struct cmd_context *x)
{
	const struct repo *r;

	if (!o->show.view.from)
		return;
	if (!repo_find(x->config, &x->repos, o->show.view.from, &r, NULL, NULL))
		o->show.view.from = r->id;
	else if (!strcmp(o->show.view.from, "none"))
		o->show.view.from = "";
}

/* One repo, or all of them. */
static int choose(const struct cmd_context *x, const char *what, const struct repo **repos,
		  size_t *n, struct err *e)
{
	const struct repo *only = NULL;
	int r = cmd_find(x, what, &only, e);

	if (r && (what || r != -ENOENT))
		return r;
	err_set(e, 0, "%s", "");
	*repos = only ? only : x->repos.items;
	*n = only ? 1 : x->repos.n;
	return 0;
}

/* The records, or their sums, through a pager unless they are followed. */
static int show(struct options *o, const struct repo *repos, size_t n, struct err *e)
{
	struct auditstat *stat = o->stat ? auditstat_new() : NULL;
	struct logshow *sh = NULL;
	struct term t = term_of(STDOUT_FILENO);
	int r = o->stat && !stat ? err_errno(e, -ENOMEM, "adding up the audit") : 0;

	if (o->stat) {
		o->show.take = auditstat_take;
		o->show.arg = stat;
	}
	o->show.view.colour = t.colour;
	if (!r)
		r = logshow_open(&sh, &o->show, repos, n, e);
	pid_t pager = r || o->show.follow ? 0 : pager_begin();
	if (!r)
		r = logshow_run(sh, e);
	if (!r && stat)
		r = auditstat_print(stat, &o->show.view, &t, o->show.json);
	int flushed = cmd_flush(r ? NULL : e);
	pager_end(pager);
	logshow_close(sh);
	auditstat_free(stat);
	return r ? r : flushed;
}

static int run(struct options *o, struct err *e)
{
	struct cmd_context x;
	const struct repo *repos;
	size_t n;

	if (cmd_context_init(&x, e))
		return CMD_FAILED;
	o->show.view.repos = &x.repos;
	resolve_from(o, &x);
	int r = choose(&x, o->what, &repos, &n, e);
	int code = r           ? cmd_exit(r)
		   : o->verify ? verify(o, repos, n, e)
			       : cmd_exit(show(o, repos, n, e));
	if (code == CMD_OK && o->verify && cmd_flush(e))
		code = CMD_FAILED;
	o->show.view.repos = NULL;
	o->show.view.from = NULL;
	cmd_context_deinit(&x);
	return code;
}

static int set_time(const char *option, int64_t *ms, bool *has, struct err *e)
{
	char why[160];

	*has = true;
	if (!auditview_since(optarg, clock_wall_ms(), ms))
		return CMD_OK;
	snprintf(why, sizeof(why),
		 "%s must be a time as 2026-11-22T17:40:00Z or how long ago as 10m", option);
	return cmd_usage("log", e, why);
}

/* CMD_OK, or CMD_USAGE with a sentence. */
static int set_option(struct options *o, int opt, struct err *e)
{
	struct auditview *v = &o->show.view;

	switch (opt) {
	case 'n':
		if (!cmd_number(optarg, 0, LINES_MAX, &o->show.lines))
			return cmd_usage("log", e, "-n must be a number from 0 to 1000000");
		break;
	case 's':
		return set_time("--since", &v->since_ms, &v->has_since, e);
	case 'u':
		return set_time("--until", &v->until_ms, &v->has_until, e);
	case 'f':
		o->show.follow = true;
		break;
	case 'p':
		v->path = optarg;
		break;
	case 'F':
		v->from = optarg;
		break;
	case 'r':
		v->result = optarg;
		break;
	case 'j':
		o->show.json = true;
		break;
	case 'd':
		o->show.diff = true;
		break;
	case 'S':
		o->stat = true;
		break;
	case 'v':
		o->verify = true;
		break;
	default:
		return CMD_USAGE;
	}
	return CMD_OK;
}

/* What does not go together. */
static const char *contradiction(const struct options *o)
{
	const struct logshow_options *s = &o->show;
	const struct auditview *v = &s->view;
	bool some =
		s->lines >= 0 || v->has_since || v->has_until || v->path || v->from || v->result;

	if (o->verify && (s->follow || some || o->stat))
		return "--verify goes with --json only";
	if (s->diff && (s->json || o->verify || o->stat))
		return "--diff goes neither with --json nor with --verify or --stat";
	if (o->stat && s->follow)
		return "--stat and -f exclude each other";
	return NULL;
}

int cmd_log(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {
		{"lines", required_argument, NULL, 'n'},  {"follow", no_argument, NULL, 'f'},
		{"since", required_argument, NULL, 's'},  {"until", required_argument, NULL, 'u'},
		{"path", required_argument, NULL, 'p'},   {"from", required_argument, NULL, 'F'},
		{"result", required_argument, NULL, 'r'}, {"stat", no_argument, NULL, 'S'},
		{"json", no_argument, NULL, 'j'},         {"verify", no_argument, NULL, 'v'},
		{"diff", no_argument, NULL, 'd'},         {NULL, 0, NULL, 0}};
	struct options o = {.show.lines = -1};

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":n:f", longs, e)) != -1;)
		if (set_option(&o, opt, e))
			return CMD_USAGE;
	if (argc - optind > 1)
		return cmd_usage("log", e, "give one REPO");
	const char *why = contradiction(&o);
	if (why)
		return cmd_usage("log", e, why);
	if (o.show.follow && o.show.lines < 0 && !o.show.view.has_since)
		o.show.lines = FOLLOW_LINES;
	o.what = argv[optind];
	return run(&o, e);
}
