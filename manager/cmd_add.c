#include <errno.h>

#include "manager/cmdutil.h"

static int add_all(const struct config *c, int n, char **paths, const char *name, bool force,
		   struct err *e)
{
	int failed = 0;

	for (int i = 0; i < n; i++) {
		struct err one = ERR_INIT;
		struct repo *r;
		if (repo_add(c, paths[i], name, force, &r, &one)) {
			/* all are tried; each but the last failure is shown here, that by main */
			if (failed++)
				fprintf(stderr, "rrm: %s\n", e->text);
			*e = one;
			continue;
		}
		printf("%s ", r->id);
		cmd_print_bytes(stdout, r->name);
		putchar(' ');
		cmd_print_bytes(stdout, r->root);
		putchar('\n');
		repo_free(r);
	}
	return failed ? CMD_FAILED : CMD_OK;
}

int cmd_add(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"name", required_argument, NULL, 'n'},
					      {"force", no_argument, NULL, 'f'},
					      {NULL, 0, NULL, 0}};
	struct config *c;
	const char *name = NULL;
	bool force = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":n:f", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		if (opt == 'n')
			name = optarg;
		else
			force = true;
	}
	if (optind == argc)
		return cmd_usage("add", e, "no PATH was given");
	if (name && argc - optind > 1)
		return cmd_usage("add", e, "--name goes with one PATH only");
	if (config_load(&c, e))
		return CMD_FAILED;
	int code = add_all(c, argc - optind, argv + optind, name, force, e);
	config_free(c);
	return code == CMD_OK && cmd_flush(e) ? CMD_FAILED : code;
}
