#include <errno.h>
#include <stdio.h>

#include "manager/cmdutil.h"
#include "manager/ensure.h"
#include "manager/idle.h"
#include "manager/policy.h"
#include "manager/recover.h"

enum { LOCK_MS = 1000 };

/* What the options say. */
struct stopping {
	bool all, if_idle;
	int64_t unused_ms;
};

static int stop_one(const struct cmd_context *x, const struct stopping *how, const struct repo *r,
		    struct err *e)
{
	int rc = how->if_idle ? ensure_stop_if_idle(x->config, r, how->unused_ms, LOCK_MS, e)
			      : ensure_stop(x->config, r, e);
	return rc ? err_prefix(e, rc, "stopping backend of %s", r->name) : 0;
}

/* One that does not stop keeps no other from being stopped; the first sentence is told. */
static int stop_all(const struct cmd_context *x, const struct stopping *how, struct err *e)
{
	int first = 0;

	for (size_t i = 0; i < x->repos.n; i++) {
		int rc = stop_one(x, how, &x->repos.items[i], first ? NULL : e);
		first = first ? first : rc;
	}
	return first;
}

static int stop_named(const struct cmd_context *x, const struct stopping *how, char *const *names,
		      int n, struct err *e)
{
	int first = 0;

	for (int i = 0; i < n; i++) {
		const struct repo *r;
		int rc = cmd_find(x, names[i], &r, first ? NULL : e);
		if (!rc)
			rc = stop_one(x, how, r, first ? NULL : e);
		first = first ? first : rc;
	}
	return first;
}

/* CMD_FOUND_PROBLEMS: it is in use. */
static int exit_of(int rc)
{
	return rc == IDLE_IN_USE ? CMD_FOUND_PROBLEMS : cmd_exit(rc);
}

/* "--if-idle" or "--if-idle=SECONDS"; false: no number. */
static bool take_idle(struct stopping *how, const char *text)
{
	long long s = 0;
	if (text && !cmd_number(text, 0, UINT32_MAX, &s))
		return false;
	how->if_idle = true;
	how->unused_ms = text ? s * 1000 : POLICY_FRESH_MS;
	return true;
}

int cmd_stop(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"all", no_argument, NULL, 'a'},
					      {"if-idle", optional_argument, NULL, 'i'},
					      {NULL, 0, NULL, 0}};
	struct cmd_context x;
	struct stopping how = {.all = false};

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":a", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		if (opt == 'i' && !take_idle(&how, optarg))
			return cmd_usage("stop", e, "--if-idle takes a number of seconds");
		how.all |= opt == 'a';
	}
	if (how.all && optind != argc)
		return cmd_usage("stop", e, "--all takes no REPO");
	if (!how.all && optind == argc)
		return cmd_usage("stop", e, "no REPO was given");
	int rc = cmd_context_init(&x, e);
	if (!rc)
		rc = how.all ? stop_all(&x, &how, e)
			     : stop_named(&x, &how, argv + optind, argc - optind, e);
	cmd_context_deinit(&x);
	return exit_of(rc);
}

static int restart(const struct cmd_context *x, const char *what, bool if_dead, const char *why,
		   struct err *e)
{
	const struct repo *r;
	struct endpoint ep;
	int rc = cmd_find(x, what, &r, e);
	if (!rc)
		rc = if_dead ? recover_here(x->config, r, &ep, e)
			     : ensure_restart(x->config, r, why, &ep, e);
	if (rc == RECOVER_STOPPED && if_dead)
		return 0;
	if (!rc) {
		puts(ep.url);
		rc = cmd_flush(e);
	}
	return rc;
}

int cmd_restart(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"if-dead", no_argument, NULL, 'd'},
					      {"if-quiet", optional_argument, NULL, 'q'},
					      {NULL, 0, NULL, 0}};
	struct cmd_context x;
	bool if_dead = false;
	const char *why = NULL;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		if_dead |= opt == 'd';
		if (opt == 'q')
			why = optarg ? optarg : "rrm restart --if-quiet";
	}
	if (if_dead && why)
		return cmd_usage("restart", e, "--if-dead and --if-quiet exclude each other");
	if (argc - optind != 1)
		return cmd_usage("restart", e, "give one REPO");
	int rc = cmd_context_init(&x, e);
	if (!rc)
		rc = restart(&x, argv[optind], if_dead, why, e);
	cmd_context_deinit(&x);
	return if_dead ? cmd_exit(rc) : exit_of(rc);
}
