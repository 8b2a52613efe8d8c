/* The real world of identity.c: /proc, the registry and session files. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "router/identity.h"

enum { ENVIRON_MAX = 4 << 20 };

static int world_stat(void *arg, pid_t pid, struct proc_stat *out)
{
	return proc_stat(pid, out);
}

static int world_tgid(void *arg, pid_t tid, pid_t *tgid)
{
	return proc_tgid(tid, tgid);
}

static int world_cwd(void *arg, pid_t pid, char *buf, size_t size)
{
	return proc_cwd(pid, buf, size);
}

static int world_environ(void *arg, pid_t pid, char **data, size_t *len)
{
	char name[40];

	snprintf(name, sizeof(name), "/proc/%d/environ", (int)pid);
	return file_read(AT_FDCWD, name, ENVIRON_MAX, data, len);
}

static int world_session(void *arg, pid_t pid, uint64_t start, char *repo_id, char *session)
{
	return session_lookup(arg, pid, start, repo_id, session);
}

static uint64_t world_registry_stamp(void *arg, const struct repo *r)
{
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/registry.json", r->state_dir) >= (int)sizeof(path) ||
	    stat(path, &st) < 0)
		return 0;
	return ((uint64_t)st.st_mtim.tv_sec * 1000000000U + (uint64_t)st.st_mtim.tv_nsec) ^
	       ((uint64_t)st.st_ino << 1) ^ 1U;
}

static int world_registry(void *arg, const struct repo *r, struct endpoint *ep)
{
	return registry_read(r, ep, NULL, NULL);
}

void identity_world(struct identity_world *w, const struct config *c)
{
	*w = (struct identity_world){
		.stat = world_stat,
		.tgid = world_tgid,
		.cwd = world_cwd,
		.environ = world_environ,
		.session = world_session,
		.registry_stamp = world_registry_stamp,
		.registry = world_registry,
	};
	w->arg = (void *)(uintptr_t)c; /* session_lookup() takes it const again */
}
