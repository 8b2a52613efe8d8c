/*
 * What realpath(3) does, but it never touches the mount (a dead one hangs) and the end of the path
 * need not exist.
 */
#pragma once
#include <stdbool.h>

#include "manager/config.h"
#include "manager/repo.h"

struct resolved {
	char *path;    /* owned; absolute, in the real tree */
	bool exists;   /* else the longest existing parent was resolved, the rest is text */
	bool in_mount; /* it was below (or is) the mountpoint; set also with -ENOENT */
};

/*
 * what: absolute, or relative to the working directory. Symlinks are followed, the last component's
 * only with follow_last. "<mountpoint>/<name>/rest" becomes "<root of name>/rest" as text. -ENOENT:
 * in the mount, but not in a repo of l. -ELOOP, -EACCES, -ENAMETOOLONG, ...
 */
int resolve_path(const struct config *c, const struct repo_list *l, const char *what,
		 bool follow_last, struct resolved *out);
