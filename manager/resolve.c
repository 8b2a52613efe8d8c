/*
 * realpath(3) would walk into the mount, and a dead mount hangs. So the path is resolved here, one
 * component after the other, and before each one is looked at, the path so far is compared with the
 * mountpoint as text. From there on "<name>/<rest>" is put behind the repo's root instead. That
 * happens once: should the root itself lie below the mountpoint, the rest stays text.
 */
#include "manager/resolve.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "manager/mountstate.h"

enum { LINKS_MAX = 40 }; /* as the kernel's ELOOP */

struct walk {
	const struct repo_list *repos;
	char *mountpoint;      /* owned; as it was given */
	char *mountpoint_real; /* owned; with the symlinks of its parents resolved */
	char done[PATH_MAX];   /* resolved so far, "" for the root */
	char todo[PATH_MAX];   /* what is left, without a leading slash */
	bool follow_last;
	bool text_only; /* something is missing: the rest is only text */
	bool exists;
	bool in_mount; /* and translated, which happens once */
	int links;
};

/* The parents of the mountpoint may be looked at, the mountpoint itself may not. */
static int find_mountpoint(const struct config *c, struct walk *w)
{
	struct mountstate m;
	CLEANUP(freep) char *parent = NULL, *real = NULL;

	if (!mountstate_read(c, &m)) {
		w->mountpoint = strdup(m.mountpoint);
		mountstate_deinit(&m);
	} else {
		w->mountpoint = strdup(c->mountpoint);
	}
	parent = w->mountpoint ? strdup(w->mountpoint) : NULL;
	if (!parent)
		return -ENOMEM;
	char *slash = strrchr(parent, '/');
	if (!slash)
		return 0;
	*slash = '\0';
	real = realpath(*parent ? parent : "/", NULL);
	if (real)
		w->mountpoint_real = path_join(real, path_basename(w->mountpoint));
	return 0;
}

static int put(char *to, const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	if (n + m + 2 > PATH_MAX)
		return -ENAMETOOLONG;
	memmove(to + n + 1, b, m + 1); /* b may be in to */
	memcpy(to, a, n);
	to[n] = '/';
	if (!m)
		to[n] = '\0';
	return 0;
}

static void go_up(char *path)
{
	char *slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
}

/* Takes ".", ".." and "" out of todo as text. True when that climbs above where todo starts: todo is
 * then what comes behind that "..". */
static bool flatten(char *todo)
{
	char copy[PATH_MAX], *save = NULL;
	size_t n = 0;

	strcpy(copy, todo);
	todo[0] = '\0';
	for (char *part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (!strcmp(part, "."))
			continue;
		if (!strcmp(part, "..")) {
			if (!n) {
				strcpy(todo, save ? save : "");
				return true;
			}
			char *slash = strrchr(todo, '/');
			n = slash ? (size_t)(slash - todo) : 0;
			todo[n] = '\0';
			continue;
		}
		if (n)
			todo[n++] = '/';
		n = (size_t)(stpcpy(todo + n, part) - todo);
	}
	return false;
}

static bool at_mountpoint(const struct walk *w)
{
	return !strcmp(w->done, w->mountpoint) ||
	       (w->mountpoint_real && !strcmp(w->done, w->mountpoint_real));
}

/* done is the mountpoint: on with "<root>/<rest>", or -ENOENT when no repo is shown there. */
static int translate(struct walk *w)
{
	char rest[PATH_MAX];

	if (flatten(w->todo)) { /* out of the mount again */
		go_up(w->done);
		return 0;
	}
	w->in_mount = true;
	size_t len = strcspn(w->todo, "/");
	const struct repo *r = NULL;
	for (size_t i = 0; i < w->repos->n; i++)
		if (strlen(w->repos->items[i].name) == len &&
		    !memcmp(w->repos->items[i].name, w->todo, len))
			r = &w->repos->items[i];
	if (!r)
		return -ENOENT;
	strcpy(rest, w->todo[len] ? w->todo + len + 1 : "");
	if (path_below(w->mountpoint, r->root, NULL)) {
		w->text_only = true;
		if (strlen(r->root) >= sizeof(w->done))
			return -ENAMETOOLONG;
		strcpy(w->done, r->root);
		strcpy(w->todo, rest);
		return 0;
	}
	w->done[0] = '\0';
	return put(w->todo, r->root + 1, rest);
}

/* done is a symlink: its target comes before what is left. */
static int follow(struct walk *w)
{
	char target[PATH_MAX];
	ssize_t n = readlink(w->done, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	target[n] = '\0';
	if (target[0] == '/')
		w->done[0] = '\0';
	else
		go_up(w->done);
	int r = put(w->todo, target, w->todo);
	size_t skip = r ? 0 : strspn(w->todo, "/");
	memmove(w->todo, w->todo + skip, strlen(w->todo + skip) + 1);
	return r;
}

/* One component; todo is not empty. */
static int step(struct walk *w)
{
	char name[NAME_MAX + 1];
	struct stat st;
	size_t len = strcspn(w->todo, "/");
	size_t skip = len + strspn(w->todo + len, "/");

	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, w->todo, len);
	name[len] = '\0';
	memmove(w->todo, w->todo + skip, strlen(w->todo + skip) + 1);
	if (!len || !strcmp(name, "."))
		return 0;
	if (!strcmp(name, "..")) {
		go_up(w->done);
		return 0;
	}
	if (strlen(w->done) + len + 2 > sizeof(w->done))
		return -ENAMETOOLONG;
	strcat(strcat(w->done, "/"), name);
	if (w->text_only)
		return 0;
	if (!w->in_mount && at_mountpoint(w))
		return translate(w);
	if (lstat(w->done, &st)) {
		if (errno != ENOENT && errno != ENOTDIR)
			return -errno;
		w->text_only = true;
		w->exists = false;
		return 0;
	}
	if (S_ISLNK(st.st_mode) && (w->todo[0] || w->follow_last))
		return follow(w);
	return 0;
}

/* what may be relative; the result is in w->done. */
static int run(struct walk *w, const char *what)
{
	CLEANUP(freep) char *cwd = NULL;
	int r = 0;

	w->exists = true;
	if (what[0] != '/') {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return -errno;
		r = put(w->todo, cwd + 1, what);
	} else if (strlen(what) < sizeof(w->todo)) {
		strcpy(w->todo, what + strspn(what, "/"));
	} else {
		r = -ENAMETOOLONG;
	}
	while (!r && w->todo[0])
		r = step(w);
	if (!r && !w->done[0])
		strcpy(w->done, "/");
	return r;
}

int resolve_path(const struct config *c, const struct repo_list *l, const char *what,
		 bool follow_last, struct resolved *out)
{
	struct walk *w = calloc(1, sizeof(*w));

	memset(out, 0, sizeof(*out));
	if (!w)
		return -ENOMEM;
	w->repos = l;
	w->follow_last = follow_last;
	int r = find_mountpoint(c, w);
	if (!r)
		r = run(w, what);
	out->in_mount = w->in_mount;
	if (!r) {
		out->exists = w->exists;
		out->path = strdup(w->done);
		r = out->path ? 0 : -ENOMEM;
	}
	free(w->mountpoint);
	free(w->mountpoint_real);
	free(w);
	return r;
}
