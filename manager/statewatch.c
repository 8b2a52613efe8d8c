#include "manager/statewatch.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"

enum { MASK = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR };

struct statewatch {
	char *repos_dir; /* owned */
	int inotify;
	int repos_wd;
};

int statewatch_new(struct statewatch **out, const char *repos_dir)
{
	struct statewatch *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->repos_wd = -1;
	w->repos_dir = strdup(repos_dir);
	w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int rc = !w->repos_dir ? -ENOMEM : w->inotify < 0 ? -errno : 0;
	if (rc < 0) {
		statewatch_free(w);
		return rc;
	}
	*out = w;
	return 0;
}

struct statewatch *statewatch_free(struct statewatch *w)
{
	if (!w)
		return NULL;
	closep(&w->inotify);
	free(w->repos_dir);
	free(w);
	return NULL;
}

int statewatch_fd(const struct statewatch *w)
{
	return w->inotify;
}

static int meaning(const struct statewatch *w, const struct inotify_event *ev)
{
	const char *name = ev->len ? ev->name : "";
	if (ev->mask & IN_Q_OVERFLOW || ev->wd == w->repos_wd || strcmp(name, "repo.json") == 0)
		return STATEWATCH_LIST;
	return ev->mask & (IN_ISDIR | IN_MOVE_SELF | IN_IGNORED) ||
			       strcmp(name, "registry.json") == 0
		       ? STATEWATCH_LOOK
		       : 0;
}

int statewatch_read(struct statewatch *w)
{
	union {
		char bytes[4096];
		struct inotify_event align;
	} buf;
	int told = 0;
	ssize_t n = 0;
	while ((n = read(w->inotify, buf.bytes, sizeof(buf.bytes))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *ev = (const void *)(buf.bytes + at);
			int one = meaning(w, ev);
			told = one > told ? one : told;
			at += (ssize_t)(sizeof(*ev) + ev->len);
		}
	return told;
}

/* One that is gone has nothing to tell. */
static int watch(struct statewatch *w, const char *path, bool *ok)
{
	int wd = inotify_add_watch(w->inotify, path, MASK);
	if (wd < 0 && errno != ENOENT && errno != ENOTDIR)
		*ok = false;
	return wd;
}

bool statewatch_dirs(struct statewatch *w)
{
	bool ok = true;
	if (file_mkdirs(w->repos_dir, 0700) < 0)
		return false;
	w->repos_wd = watch(w, w->repos_dir, &ok);
	CLEANUP(closedirp) DIR *d = opendir(w->repos_dir);
	const struct dirent *ent;
	while (d && (ent = readdir(d))) {
		CLEANUP(freep) char *path = path_join(w->repos_dir, ent->d_name);
		if (path && path_name_ok(ent->d_name))
			watch(w, path, &ok);
	}
	return ok && d && w->repos_wd >= 0;
}

bool statewatch_root(struct statewatch *w, const struct repo *r)
{
	const char *slash = strrchr(r->root, '/');
	CLEANUP(freep)
	char *parent = slash > r->root ? strndup(r->root, (size_t)(slash - r->root)) : strdup("/");
	bool ok = parent != NULL;
	if (parent)
		watch(w, parent, &ok);
	return ok;
}
