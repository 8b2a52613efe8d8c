#include <string.h>

#include "manager/attach.h"
#include "manager/cmdutil.h"

int cmd_attach(int argc, char **argv, struct err *e)
{
	struct cmd_context x;
	const struct repo *r;
	int dashes = 1;

	while (dashes < argc && strcmp(argv[dashes], "--") != 0)
		dashes++;
	if (dashes > 1 && argv[1][0] == '-')
		return cmd_usage("attach", e, "options of the TUI go behind --");
	if (dashes > 2)
		return cmd_usage("attach", e, "give one REPO");
	int args = dashes < argc ? dashes + 1 : argc;
	int rc = cmd_context_init(&x, e);
	if (!rc)
		rc = cmd_find(&x, dashes == 2 ? argv[1] : NULL, &r, e);
	if (!rc)
		rc = attach_exec(x.config, r, (const char *const *)argv + args, e);
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}
