#include <errno.h>

#include "manager/cmdutil.h"
#include "manager/ensure.h"

/* The backend goes first: nobody could find it any more afterwards. */
static int remove_one(const struct cmd_context *x, const char *what, struct err *e)
{
	const struct repo *r;
	int rc = repo_find(x->config, &x->repos, what, &r, NULL, e);

	if (rc)
		return rc;
	rc = ensure_stop(x->config, r, e);
	if (rc)
		return err_prefix(e, rc, "stopping the backend of %s", r->name);
	rc = repo_remove(x->config, r, e);
	if (rc)
		return rc;
	printf("%s ", r->id);
	cmd_print_bytes(stdout, r->name);
	putchar('\n');
	return 0;
}

int cmd_remove(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{NULL, 0, NULL, 0}};
	struct cmd_context x;
	int code = CMD_OK;

	optind = 0;
	if (cmd_option(argc, argv, ":", longs, e) != -1)
		return CMD_USAGE;
	if (optind == argc)
		return cmd_usage("remove", e, "no REPO was given");
	if (cmd_context_init(&x, e))
		return CMD_FAILED;
	for (int i = optind; i < argc && code == CMD_OK; i++)
		code = cmd_exit(remove_one(&x, argv[i], e));
	cmd_context_deinit(&x);
	return code == CMD_OK && cmd_flush(e) ? CMD_FAILED : code;
}
