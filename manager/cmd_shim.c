#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "manager/cmdutil.h"
#include "manager/shim.h"
#include "manager/shimfile.h"

static int default_dir(char **dir, struct err *e)
{
	const char *home = getenv("HOME");
	if (!home || home[0] != '/')
		return err_set(e, -ENOENT, "HOME is not set; name a DIR");
	*dir = path_join(home, ".local/bin");
	return *dir ? 0 : -ENOMEM;
}

static int install(const char *dir, struct err *e)
{
	CLEANUP(freep) char *path = NULL;
	struct err why = ERR_INIT;
	int rc = shimfile_install(dir, &path, e);
	if (rc < 0)
		return rc;
	puts(path);
	rc = cmd_flush(e);
	if (rc == 0 && !shimfile_in_use(path, &why))
		fprintf(stderr, "rrm: installed, but %s\n", why.text);
	return rc;
}

int cmd_shim(int argc, char **argv, struct err *e)
{
	CLEANUP(freep) char *dir = NULL;
	const char *what = argc > 1 ? argv[1] : "";
	bool installs = strcmp(what, "install") == 0;

	if (strcmp(what, "run") == 0 && argc > 2 && strcmp(argv[2], "--") == 0)
		return shim_run(argc - 3, (const char *const *)argv + 3, e);
	if (!installs && strcmp(what, "remove") != 0)
		return cmd_usage("shim", e, "say install or remove");
	if (argc > 3 || (argc == 3 && argv[2][0] == '-'))
		return cmd_usage("shim", e, "give one DIR");
	int rc = 0;
	if (argc < 3)
		rc = default_dir(&dir, e);
	if (rc < 0)
		return CMD_FAILED;
	const char *where = dir ? dir : argv[2];
	rc = installs ? install(where, e) : shimfile_remove(where, e);
	return rc < 0 ? CMD_FAILED : CMD_OK;
}
