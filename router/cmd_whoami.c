#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/cmdutil.h"
#include "router/cmd.h"
#include "router/oneshot.h"

static int print_who(const struct identity *who, const struct repo *home, bool json, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	int rc = identity_json(who, home ? home->name : NULL, &j);

	if (rc < 0)
		return err_errno(e, rc, "cannot print who that is");
	if (json)
		return json_print(j) < 0 ? -EIO : cmd_flush(e);
	printf("home     ");
	cmd_print_bytes(stdout, home ? home->name : "none");
	printf("%s%s%s\n", home ? " (" : "", home ? home->id : "", home ? ")" : "");
	printf("session  %s\nrule     %d: %s\n", who->session, who->rule, json_str(j, "why", ""));
	return cmd_flush(e);
}

static int tell(const struct cmd_context *x, pid_t pid, bool json, struct err *e)
{
	const struct repo *home;
	struct proc_stat st;
	struct identity who;
	int rc = proc_stat(pid, &st);

	if (rc < 0)
		return err_errno(e, rc, "process %d", (int)pid);
	rc = oneshot_identity(x->config, &x->repos, pid, &who, &home);
	if (rc < 0)
		return err_errno(e, rc, "process %d", (int)pid);
	return print_who(&who, home, json, e);
}

int cmd_whoami(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	struct cmd_context x;
	long long pid = getpid();
	bool json = false;
	int rc;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":j", longs, e)) != -1; json = true)
		if (opt == '?')
			return CMD_USAGE;
	if (argc - optind > 1)
		return cmd_usage("whoami", e, "give one PID at most");
	if (argc - optind == 1 && !cmd_number(argv[optind], 1, INT32_MAX, &pid))
		return cmd_usage("whoami", e, "PID is no process id");
	rc = cmd_context_init(&x, e);
	if (rc == 0)
		rc = tell(&x, (pid_t)pid, json, e);
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}
