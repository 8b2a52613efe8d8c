#include <errno.h>

#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"
#include "manager/harden.h"

static int show(const char *root, struct err *e)
{
	struct harden_now now = {.halt_poll_ns = HARDEN_NOT_KNOWN};
	if (!*root)
		harden_look(&now);
	for (int i = 0; i < HARDEN_FILES; i++) {
		CLEANUP(freep) char *text = NULL;
		const char *path;
		if (harden_file(i, &now, &path, &text) < 0)
			return err_errno(e, -ENOMEM, "showing the files");
		printf("%s%s/%s:\n%s", i ? "\n" : "", root, path, text);
	}
	puts("\nNothing was written; `sudo rrm harden --apply` does it, --undo takes it back.");
	return 0;
}

static int apply(const char *root, struct err *e)
{
	int rc = harden_apply(root, stdout, e);
	if (rc == 0 && !*root)
		puts("Limits of open files hold from the next login on; for services after "
		     "`systemctl daemon-reexec`.");
	return rc;
}

int cmd_harden(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"apply", no_argument, NULL, 'a'},
					      {"undo", no_argument, NULL, 'u'},
					      {"root", required_argument, NULL, 'r'},
					      {NULL, 0, NULL, 0}};
	const char *root = "";
	bool applies = false, undoes = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		applies |= opt == 'a';
		undoes |= opt == 'u';
		root = opt == 'r' ? optarg : root;
	}
	if (optind != argc)
		return cmd_usage("harden", e, "harden takes no REPO");
	if (applies && undoes)
		return cmd_usage("harden", e, "give --apply or --undo, not both");
	int rc = applies ? apply(root, e) : undoes ? harden_undo(root, stdout, e) : show(root, e);
	if (rc >= 0)
		rc = cmd_flush(e);
	return cmd_exit(rc < 0 ? rc : 0);
}
