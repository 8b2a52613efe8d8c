#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"
#include "manager/login.h"
#include "manager/mountstate.h"

static int enable(bool profile, struct err *e)
{
	if (!profile && login_has_systemd())
		return login_enable_systemd(stdout, e);
	if (!profile)
		puts("No systemd of this user answers, so the shell's profile does it.");
	return login_enable_profile(stdout, e);
}

static int disable(struct err *e)
{
	int rc = login_disable_systemd(stdout, e);
	return rc ? rc : login_disable_profile(stdout, e);
}

/* 0 when it is enabled, 1 when not. */
static int status(struct err *e)
{
	CLEANUP(freep) char *path = NULL;
	struct config *c = NULL;
	struct mountstate m;
	bool line = false, unit = login_systemd_enabled();
	int rc = login_profile(&path, &line, e);
	if (rc == 0)
		rc = config_load(&c, e);
	if (rc)
		return rc;
	printf("systemd: %s\n", unit                  ? "rrm-mount.service is enabled"
				: login_has_systemd() ? "rrm-mount.service is not enabled"
						      : "no systemd of this user answers");
	printf("profile: %s %s\n", path, line ? "mounts at each login" : "does not mount");
	if (mountstate_read(c, &m) == 0) {
		printf("now:     mounted at %s\n", m.mountpoint);
		mountstate_deinit(&m);
	} else {
		puts("now:     not mounted");
	}
	if (!unit && !line)
		puts("rrm login enable mounts at each login");
	config_free(c);
	return !unit && !line;
}

int cmd_login(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"profile", no_argument, NULL, 'p'},
					      {NULL, 0, NULL, 0}};
	bool profile = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		profile = true;
	}
	const char *what = optind + 1 == argc ? argv[optind] : "";
	bool enables = strcmp(what, "enable") == 0;
	if (!enables && strcmp(what, "disable") != 0 && strcmp(what, "status") != 0)
		return cmd_usage("login", e, "say enable, disable or status");
	if (profile && !enables)
		return cmd_usage("login", e, "--profile goes with enable");
	int rc = enables                        ? enable(profile, e)
		 : strcmp(what, "disable") == 0 ? disable(e)
						: status(e);
	if (rc >= 0 && cmd_flush(e) < 0)
		rc = -EIO;
	return rc < 0 ? cmd_exit(rc) : rc ? CMD_FAILED : CMD_OK;
}
