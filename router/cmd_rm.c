#include <errno.h>

#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"
#include "router/cmd.h"
#include "router/oneshot.h"

static int remove_one(const struct cmd_context *x, const char *what, struct err *e)
{
	CLEANUP(freep) char *path = NULL;
	const struct repo *r = NULL;
	struct oneshot *o = NULL;
	int rc = repo_find(x->config, &x->repos, what, &r, &path, e);

	if (rc == 0 && !path[0])
		rc = err_set(e, -EISDIR, "%s is the repository itself; name a file in it", what);
	for (int left = rc == 0 ? ONESHOT_AGAIN : 0; left; left = rc == -ESTALE ? left - 1 : 0) {
		rc = oneshot_begin(&o, x->config, &x->repos, r, path, e);
		if (rc == 0)
			rc = oneshot_remove(o, path, e);
		o = oneshot_end(o);
	}
	return rc;
}

int cmd_rm(int argc, char **argv, struct err *e)
{
	return cmd_with_path(argc, argv, "rm", remove_one, e);
}
