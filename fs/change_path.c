/* Where a node is at this moment: its path below the root of its repo (change.h). */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs/change.h"
#include "fs/repos.h"
#include "manager/base/path.h"

static int join(char *buf, const char *dir, const char *name)
{
	int len = snprintf(buf, PATH_MAX, "%s%s%s", dir, *dir && *name ? "/" : "", name);
	return len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/*
 * Below the root, as the descriptor of n says it. -ENOENT when the name that it was opened by is gone: a
 * hard link may have others. -ENAMETOOLONG when the real path is longer than the kernel tells.
 */
static int path_by_fd(struct overlay *o, struct node *n, char *buf)
{
	static const char deleted[] = " (deleted)";
	const size_t tail = sizeof(deleted) - 1;
	struct repos_entry *re = repos_at(o->repos, n->repo);
	char proc[40], real[PATH_MAX];
	const char *rel = NULL;
	struct fd_hold h;
	buf[0] = '\0';
	int rc = re ? fds_path(o->fds, n, &h) : -ESTALE;
	if (rc < 0)
		return rc;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", h.fd);
	ssize_t len = readlink(proc, real, sizeof(real) - 1);
	rc = -errno;
	fds_put(o->fds, &h);
	if (len < 0)
		return rc;
	real[len] = '\0';
	if ((size_t)len > tail && strcmp(real + len - tail, deleted) == 0)
		return -ENOENT;
	return path_below(re->info->root, real, &rel) ? join(buf, rel, "") : -ESTALE;
}

/* A name that n has at this moment. */
static bool name_now(struct overlay *o, struct node *n, struct node **dir, char name[NODE_NAME_MAX])
{
	struct fd_hold h;
	struct lookup_stat ls;
	for (unsigned i = 0; node_name_nth(o->nodes, n, i, dir, name); i++) {
		if ((*dir)->index == NODE_ROOT_ID || fds_path(o->fds, *dir, &h) < 0)
			continue;
		int rc = lookup_statx(h.fd, name, &ls);
		fds_put(o->fds, &h);
		if (rc == 0 && ls.st.st_ino == n->ino && ls.st.st_dev == node_dev(o->nodes, n))
			return true;
	}
	return false;
}

/* By the names that we know of, upwards to a directory whose descriptor can say where it is. */
static int path_by_names(struct overlay *o, struct node *n, char *buf)
{
	char below[PATH_MAX], name[NODE_NAME_MAX], dir[PATH_MAX];
	size_t at = sizeof(below) - 1;
	int rc;
	below[at] = '\0';
	do {
		if (!name_now(o, n, &n, name))
			return -ESTALE;
		size_t len = strlen(name), slash = below[at] != '\0';
		if (at < len + slash)
			return -ENAMETOOLONG;
		if (slash)
			below[--at] = '/';
		at -= len;
		memcpy(below + at, name, len);
		rc = path_by_fd(o, n, dir);
	} while (rc == -ENAMETOOLONG);
	return rc < 0 ? rc : join(buf, dir, below + at);
}

int change_path(struct overlay *o, struct node *n, const char *name, char *buf)
{
	char own[PATH_MAX];
	int rc = path_by_fd(o, n, own);
	if (rc == -ENOENT || rc == -ENAMETOOLONG)
		rc = path_by_names(o, n, own);
	return rc < 0 ? rc : join(buf, own, name ? name : "");
}
