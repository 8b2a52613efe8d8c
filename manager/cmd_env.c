#include <stdio.h>

#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"
#include "manager/ensure.h"
#include "manager/password.h"
#include "manager/place.h"

/* In single quotes any byte stands for itself but the quote. */
static void print_export(const char *name, const char *value)
{
	printf("export %s='", name);
	for (; *value; value++)
		if (*value == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*value);
	puts("'");
}

static int print_env(const struct cmd_context *x, const char *what, struct err *e)
{
	CLEANUP(place_deinit) struct place place = {.dir = NULL};
	char password[PASSWORD_MAX];
	const struct repo *r;
	struct endpoint ep;

	int rc = cmd_find(x, what, &r, e);
	if (!rc)
		rc = ensure_start(x->config, r, &ep, e);
	if (rc)
		return rc;
	rc = password_read(r, password);
	if (rc)
		return err_errno(e, rc, "reading %s/password", r->state_dir);
	rc = place_of(x->config, r, &place);
	if (rc)
		return rc;
	print_export("RRM_REPO", r->name);
	print_export("RRM_REPO_ID", r->id);
	print_export("RRM_ROOT", r->root);
	print_export("RRM_DIRECTORY", place.dir);
	print_export("RRM_URL", ep.url);
	print_export("OPENCODE_SERVER_USERNAME", PASSWORD_USER);
	print_export("OPENCODE_SERVER_PASSWORD", password);
	return cmd_flush(e);
}

int cmd_env(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{NULL, 0, NULL, 0}};
	struct cmd_context x;

	optind = 0;
	if (cmd_option(argc, argv, ":", longs, e) != -1)
		return CMD_USAGE;
	if (argc - optind > 1)
		return cmd_usage("env", e, "give one REPO");
	int r = cmd_context_init(&x, e);
	if (!r)
		r = print_env(&x, argv[optind], e);
	cmd_context_deinit(&x);
	return cmd_exit(r);
}
