#include "fs/mounts.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/mountinfo.h"

struct mount_at {
	const char *path;
	char *type;
	size_t size;
	bool found;
};

static int match(const char *mountpoint, const char *type, void *arg)
{
	struct mount_at *m = arg;
	if (strcmp(mountpoint, m->path) == 0) {
		snprintf(m->type, m->size, "%s", type);
		m->found = true; /* the last one lies on top */
	}
	return 0;
}

bool mounts_at(const char *path, char *type, size_t size)
{
	struct mount_at m = {.path = path, .type = type, .size = size};
	mountinfo_each(match, &m);
	return m.found;
}

static int run_fusermount(const char *path, struct err *e)
{
	char prog[] = "fusermount3", u[] = "-u", z[] = "-z", q[] = "-q", dash[] = "--";
	CLEANUP(freep) char *at = strdup(path);
	char *argv[] = {prog, u, z, q, dash, at, NULL};
	pid_t pid = 0;
	int status = 0;
	if (!at)
		return -ENOMEM;
	int rc = posix_spawnp(&pid, prog, NULL, NULL, argv, environ);
	if (rc)
		return err_errno(e, -rc, "running fusermount3 (apt-get install fuse3)");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, -EPERM,
			       "fusermount3 could not unmount %s; is it another user's mount?",
			       path);
	return 0;
}

int mounts_detach(const char *path, struct err *e)
{
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (errno == EPERM)
		return run_fusermount(path, e);
	return err_errno(e, -errno, "unmounting %s", path);
}
