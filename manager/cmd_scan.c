#include <errno.h>
#include <string.h>

#include "manager/cmdutil.h"

enum { DEPTH_DEFAULT = 3, DEPTH_MAX = 64 };

static bool holds(const struct repo_list *l, const char *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].id, id))
			return true;
	return false;
}

static int print_new(const struct cmd_context *before, struct err *e)
{
	struct repo_list now;
	int r = repo_list_load(before->config, &now, e);

	if (r)
		return r;
	for (size_t i = 0; i < now.n; i++) {
		if (holds(&before->repos, now.items[i].id))
			continue;
		printf("%s ", now.items[i].id);
		cmd_print_bytes(stdout, now.items[i].name);
		putchar(' ');
		cmd_print_bytes(stdout, now.items[i].root);
		putchar('\n');
	}
	repo_list_deinit(&now);
	return 0;
}

static int scan(const char *dir, int depth, struct err *e)
{
	struct cmd_context x;
	size_t found = 0;
	int r = cmd_context_init(&x, e);

	if (r)
		return r;
	r = repo_scan(x.config, dir, depth, &found, e);
	if (!r)
		r = print_new(&x, e);
	if (!r && !found)
		fprintf(stderr, "rrm: no git work tree was found in %s down to depth %d\n", dir,
			depth);
	cmd_context_deinit(&x);
	return r ? r : cmd_flush(e);
}

int cmd_scan(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"depth", required_argument, NULL, 'd'},
					      {NULL, 0, NULL, 0}};
	long long depth = DEPTH_DEFAULT;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":d:", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		if (!cmd_number(optarg, 0, DEPTH_MAX, &depth))
			return cmd_usage("scan", e, "--depth must be a number from 0 to 64");
	}
	if (argc - optind != 1)
		return cmd_usage("scan", e, optind == argc ? "no DIR was given" : "give one DIR");
	return cmd_exit(scan(argv[optind], (int)depth, e));
}
