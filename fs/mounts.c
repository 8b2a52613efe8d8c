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

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *out = s;
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

bool mounts_at(const char *path, char *type, size_t size)
{
	CLEANUP(fclosep) FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEANUP(freep) char *line = NULL;
	size_t cap = 0;
	bool found = false;
	while (f && getline(&line, &cap, f) > 0) {
		/* id parent major:minor root mountpoint options [tags] - type source options */
		char *save = NULL, *field = strtok_r(line, " ", &save);
		for (int i = 0; i < 4 && field; i++)
			field = strtok_r(NULL, " ", &save);
		if (!field)
			continue;
		unescape(field);
		if (strcmp(field, path) != 0)
			continue;
		while (field && strcmp(field, "-") != 0)
			field = strtok_r(NULL, " ", &save);
		field = strtok_r(NULL, " ", &save);
		snprintf(type, size, "%s", field ? field : "");
		found = true; /* the last one lies on top */
	}
	return found;
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
