#include "fs/registry_watch.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "manager/base/path.h"

enum { MASK = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR };

struct registry_watch {
	int inotify;
	_Atomic int repos_wd; /* <base>/repos */
};

int registry_watch_new(struct registry_watch **out)
{
	struct registry_watch *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->repos_wd = -1;
	w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->inotify < 0) {
		int rc = -errno;
		free(w);
		return rc;
	}
	*out = w;
	return 0;
}

struct registry_watch *registry_watch_free(struct registry_watch *w)
{
	if (w)
		closep(&w->inotify);
	free(w);
	return NULL;
}

int registry_watch_fd(const struct registry_watch *w)
{
	return w->inotify;
}

static int watch_dir(struct registry_watch *w, const char *path)
{
	int wd = inotify_add_watch(w->inotify, path, MASK);
	if (wd < 0 && errno != ENOENT && errno != ENOTDIR)
		log_warn("event=watch path=\"%s\" error=\"%m\" effect=\"what comes and goes there, "
			 "such as a repository, is seen by this mount only after a restart\"",
			 path);
	return wd;
}

void registry_watch_base(struct registry_watch *w, const char *base)
{
	CLEANUP(freep) char *repos = path_join(base, "repos");
	if (!repos || file_mkdirs(repos, 0700) < 0)
		return;
	w->repos_wd = watch_dir(w, repos);
	CLEANUP(closedirp) DIR *d = opendir(repos);
	const struct dirent *ent;
	while (d && (ent = readdir(d))) {
		CLEANUP(freep) char *path = path_join(repos, ent->d_name);
		if (path && path_name_ok(ent->d_name))
			watch_dir(w, path);
	}
}

void registry_watch_root(struct registry_watch *w, const char *root)
{
	const char *slash = strrchr(root, '/');
	CLEANUP(freep)
	char *parent = slash > root ? strndup(root, (size_t)(slash - root)) : strdup("/");
	if (parent)
		watch_dir(w, parent);
}

/* repo.json when it is whole, a state directory, or a directory that may be the root of a repo. */
static bool matters(const struct registry_watch *w, struct repos *repos,
		    const struct inotify_event *ev)
{
	const char *name = ev->len ? ev->name : "";
	if (ev->mask & IN_Q_OVERFLOW)
		return true;
	if (ev->mask & IN_ISDIR)
		return ev->wd == w->repos_wd || repos_root_called(repos, name);
	return !(ev->mask & IN_CREATE) && strcmp(name, "repo.json") == 0;
}

bool registry_watch_read(struct registry_watch *w, struct repos *repos)
{
	union {
		char bytes[4096];
		struct inotify_event align;
	} buf;
	bool due = false;
	ssize_t n = 0;
	while ((n = read(w->inotify, buf.bytes, sizeof(buf.bytes))) > 0)
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *ev = (const void *)(buf.bytes + at);
			due |= matters(w, repos, ev);
			at += (ssize_t)(sizeof(*ev) + ev->len);
		}
	return due;
}
