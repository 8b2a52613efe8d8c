/* The real world of identity.c: /proc, the registry and session files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "router/identity.h"

enum { ENVIRON_MAX = 4 << 20, HANDLES_MAX = 64, SETTLED_MS = 100, SMALL_ENVIRON = 16 << 10 };

static int world_stat(void *arg, pid_t pid, struct proc_stat *out)
{
	return proc_stat(pid, out);
}

static int world_tgid(void *arg, pid_t tid, pid_t *tgid)
{
	/* Cheaper by far than /proc/<tid>/status: is it the thread that its process is named after? */
	if (syscall(SYS_tgkill, tid, tid, 0) == 0 || errno == EPERM) {
		*tgid = tid;
		return 0;
	}
	return proc_tgid(tid, tgid);
}

static int world_cwd(void *arg, pid_t pid, char *buf, size_t size)
{
	return proc_cwd(pid, buf, size);
}

/* Most are small: one read, with nothing asked before or after it. */
static int world_environ(void *arg, pid_t pid, char **data, size_t *len)
{
	char name[40], small[SMALL_ENVIRON];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/%d/environ", (int)pid);
	{
		CLEANUP(closep) int fd = open(name, O_RDONLY | O_CLOEXEC);

		n = fd < 0 ? -1 : read(fd, small, sizeof(small));
		if (n < 0)
			return -errno;
	}
	if (n == sizeof(small))
		return file_read(AT_FDCWD, name, ENVIRON_MAX, data, len);
	*data = malloc((size_t)n + 1);
	if (!*data)
		return -ENOMEM;
	memcpy(*data, small, (size_t)n);
	(*data)[n] = '\0';
	*len = (size_t)n;
	return 0;
}

static int world_session(void *arg, pid_t pid, uint64_t start, char *repo_id, char *session)
{
	return session_lookup(arg, pid, start, repo_id, session);
}

static uint64_t stamp_of(const struct stat *st)
{
	return ((uint64_t)st->st_mtim.tv_sec * 1000000000U + (uint64_t)st->st_mtim.tv_nsec) ^
	       ((uint64_t)st->st_ino << 1) ^ 1U;
}

/* A directory's time has steps of some milliseconds: one that changed just now may change without a trace. */
static uint64_t world_session_stamp(void *arg)
{
	const struct config *c = arg;
	struct timespec now;
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/sessions", c->base) >= (int)sizeof(path))
		return 0;
	if (stat(path, &st) < 0)
		return errno == ENOENT ? IDENTITY_NO_SESSIONS : 0;
	clock_gettime(CLOCK_REALTIME, &now);
	if ((now.tv_sec - st.st_mtim.tv_sec) * 1000 + (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000 <
	    SETTLED_MS)
		return 0;
	return stamp_of(&st);
}

static int world_open(void *arg, pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static bool world_alive(void *arg, const int *handles, unsigned n)
{
	struct pollfd fds[HANDLES_MAX];

	if (n > HANDLES_MAX)
		return false;
	for (unsigned i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = handles[i], .events = POLLIN};
	return poll(fds, n, 0) == 0;
}

static void world_close(void *arg, int handle)
{
	close(handle);
}

static uint64_t world_registry_stamp(void *arg, const struct repo *r)
{
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/registry.json", r->state_dir) >= (int)sizeof(path) ||
	    stat(path, &st) < 0)
		return 0;
	return stamp_of(&st);
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
		.session_stamp = world_session_stamp,
		.open = world_open,
		.alive = world_alive,
		.close = world_close,
		.registry_stamp = world_registry_stamp,
		.registry = world_registry,
	};
	w->arg = (void *)(uintptr_t)c; /* session_lookup() takes it const again */
}
