#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/cmdutil.h"
#include "router/cmd.h"
#include "router/oneshot.h"

enum { COPY_BYTES = 1 << 16 };

/* All of stdin in a temporary file, before the turn is taken: whoever types must not hold it. */
static int spool(FILE **out, struct err *e)
{
	FILE *f = tmpfile();
	char buf[COPY_BYTES];
	int rc;

	if (!f)
		return err_errno(e, -errno, "cannot make a temporary file for the content");
	for (;;) {
		size_t got = 0;

		rc = file_read_full(STDIN_FILENO, buf, sizeof(buf), &got);
		if (rc < 0)
			rc = err_errno(e, rc, "cannot read standard input");
		if (rc < 0 || !got)
			break;
		rc = file_write_all(fileno(f), buf, got);
		if (rc < 0) {
			rc = err_errno(e, rc, "cannot keep the content in a temporary file");
			break;
		}
	}
	if (rc < 0)
		fclose(f);
	else
		*out = f;
	return rc;
}

static int write_to(const struct cmd_context *x, const char *what, struct err *e)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(fclosep) FILE *content = NULL;
	const struct repo *r = NULL;
	struct oneshot *o = NULL;
	int rc = repo_find(x->config, &x->repos, what, &r, &path, e);

	if (rc == 0 && !path[0])
		rc = err_set(e, -EISDIR, "%s is the repository itself; name a file in it", what);
	if (rc == 0)
		rc = spool(&content, e);
	for (int left = rc == 0 ? ONESHOT_AGAIN : 0; left; left = rc == -ESTALE ? left - 1 : 0) {
		rc = oneshot_begin(&o, x->config, &x->repos, r, path, e);
		if (rc == 0)
			rc = oneshot_write(o, path, fileno(content), e);
		o = oneshot_end(o);
	}
	return rc;
}

int cmd_write(int argc, char **argv, struct err *e)
{
	return cmd_with_path(argc, argv, "write", write_to, e);
}
