#include <errno.h>
#include <stdio.h>

#include "manager/cmdutil.h"
#include "manager/ensure.h"

static int stop_one(const struct cmd_context *x, const struct repo *r, struct err *e)
{
	int rc = ensure_stop(x->config, r, e);
	return rc ? err_prefix(e, rc, "stopping backend of %s", r->name) : 0;
}

/* One that does not stop keeps no other from being stopped; the first sentence is told. */
static int stop_all(const struct cmd_context *x, struct err *e)
{
	int first = 0;

	for (size_t i = 0; i < x->repos.n; i++) {
		int rc = stop_one(x, &x->repos.items[i], first ? NULL : e);
		first = first ? first : rc;
	}
	return first;
}

static int stop_named(const struct cmd_context *x, char *const *names, int n, struct err *e)
{
	int first = 0;

	for (int i = 0; i < n; i++) {
		const struct repo *r;
		int rc = cmd_find(x, names[i], &r, first ? NULL : e);
		if (!rc)
			rc = stop_one(x, r, first ? NULL : e);
		first = first ? first : rc;
	}
	return first;
}

int cmd_stop(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"all", no_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
	struct cmd_context x;
	bool all = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":a", longs, e)) != -1; all = true)
		if (opt == '?')
			return CMD_USAGE;
	if (all && optind != argc)
		return cmd_usage("stop", e, "--all takes no REPO");
	if (!all && optind == argc)
		return cmd_usage("stop", e, "no REPO was given");
	int rc = cmd_context_init(&x, e);
	if (!rc)
		rc = all ? stop_all(&x, e) : stop_named(&x, argv + optind, argc - optind, e);
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}

int cmd_restart(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{NULL, 0, NULL, 0}};
	struct cmd_context x;
	const struct repo *r;
	struct endpoint ep;

	optind = 0;
	if (cmd_option(argc, argv, ":", longs, e) != -1)
		return CMD_USAGE;
	if (argc - optind != 1)
		return cmd_usage("restart", e, "give one REPO");
	int rc = cmd_context_init(&x, e);
	if (!rc)
		rc = cmd_find(&x, argv[optind], &r, e);
	if (!rc)
		rc = ensure_restart(x.config, r, &ep, e);
	if (!rc) {
		puts(ep.url);
		rc = cmd_flush(e);
	}
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}
