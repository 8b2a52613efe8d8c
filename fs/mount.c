#include "fs/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mounts.h"
#include "fs/notify.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/mountstate.h"
#include "manager/repo.h"

enum {
	END_MS = 10000,    /* how long -u waits for the server to end */
	REEXEC_MS = 60000, /* how long --reexec waits: as a disk may take for a change under way */
};

/* ---- before ---- */

static int check_empty(const char *path, struct err *e)
{
	CLEANUP(closedirp) DIR *d = opendir(path);
	const struct dirent *ent;
	if (!d)
		return err_errno(e, -errno, "looking into the mountpoint %s", path);
	while ((ent = readdir(d)))
		if (strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0)
			return err_set(e, -ENOTEMPTY,
				       "the mountpoint %s is not empty (it has %s); name another "
				       "directory",
				       path, ent->d_name);
	return 0;
}

static int check_outside(const struct config *c, const char *path, struct err *e)
{
	struct repo_list list = {0};
	int rc = repo_list_load(c, &list, e);
	for (size_t i = 0; i < list.n && rc == 0; i++) {
		if (path_below(list.items[i].root, path, NULL))
			rc = err_set(e, -EINVAL,
				     "the mountpoint %s lies inside the repository %s (%s); name a "
				     "directory "
				     "outside of all repositories",
				     path, list.items[i].name, list.items[i].root);
		else if (path_below(path, list.items[i].root, NULL))
			rc = err_set(e, -EINVAL,
				     "the mountpoint %s would hide the repository %s (%s)", path,
				     list.items[i].name, list.items[i].root);
	}
	if (rc == 0 && (path_below(path, c->base, NULL) || path_below(c->base, path, NULL)))
		rc = err_set(e, -EINVAL, "the mountpoint %s and the state directory %s overlap",
			     path, c->base);
	repo_list_deinit(&list);
	return rc;
}

/* What is mounted at path now: 0 nothing, MOUNT_ALREADY, or an error. A dead mount is cleared. */
static int clear_dead(const char *path, struct err *e)
{
	char type[64];
	struct statvfs sv; /* asks the server: attributes may be in the kernel's cache */
	while (mounts_at(path, type, sizeof(type))) {
		/* ECONNABORTED: it died while it was asked */
		bool dead = statvfs(path, &sv) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
		if (strcmp(type, "fuse.rrm") != 0)
			return err_set(e, -EBUSY,
				       "something else (%s) is mounted at %s; unmount it or name "
				       "another directory",
				       type, path);
		if (!dead)
			return MOUNT_ALREADY;
		notify_progress("clearing the dead mount at %s", path);
		int rc = mounts_detach(path, e);
		if (rc < 0)
			return err_prefix(e, rc, "clearing a dead mount");
	}
	return 0;
}

int mount_prepare(const struct config *c, const char *path, struct err *e)
{
	struct stat st;
	int rc = clear_dead(path, e);
	if (rc)
		return rc;
	if (access("/dev/fuse", F_OK) < 0)
		return err_set(
			e, -ENODEV,
			"/dev/fuse is missing: load the kernel module (modprobe fuse) or let the "
			"container have the device");
	if (access("/dev/fuse", R_OK | W_OK) < 0)
		return err_errno(e, -errno,
				 "/dev/fuse cannot be used by this user (as root: chmod 666 "
				 "/dev/fuse, or udev's rule for it)");
	if (stat(path, &st) < 0 && errno == ENOENT) {
		rc = file_mkdirs(path, 0755);
		if (rc < 0)
			return err_errno(e, rc, "making the mountpoint %s", path);
	} else if (stat(path, &st) < 0) {
		return err_errno(e, -errno, "looking at the mountpoint %s", path);
	} else if (!S_ISDIR(st.st_mode)) {
		return err_set(e, -ENOTDIR, "the mountpoint %s is not a directory", path);
	}
	rc = check_outside(c, path, e);
	return rc < 0 ? rc : check_empty(path, e);
}

/* Asks the server of this mount to end, and waits: it answers what is in flight first. */
static void end_server(const struct config *c, const char *path)
{
	struct mountstate m;
	if (mountstate_read(c, &m) < 0)
		return;
	if (strcmp(m.mountpoint, path) == 0 && kill(m.pid, SIGTERM) == 0)
		for (uint64_t end = clock_mono_ms() + END_MS;
		     proc_alive(m.pid, m.start_time) && clock_mono_ms() < end;)
			usleep(2000);
	mountstate_deinit(&m);
}

/* The program that process pid would become: it must at least start. */
static int check_program(pid_t pid, struct err *e)
{
	static const char deleted[] = " (deleted)";
	char exe[PATH_MAX], version[] = "--version";
	char *argv[] = {exe, version, NULL};
	posix_spawn_file_actions_t quiet;
	pid_t child = 0;
	int status = 0, rc = proc_exe(pid, exe, sizeof(exe));
	if (rc < 0)
		return err_errno(e, rc, "looking at process %d", (int)pid);
	size_t len = strlen(exe), tail = sizeof(deleted) - 1;
	if (len > tail && strcmp(exe + len - tail, deleted) == 0)
		exe[len - tail] = '\0';
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	rc = -posix_spawn(&child, exe, &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	while (rc == 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (rc < 0 || status)
		return err_set(e, -ENOEXEC,
			       "%s does not start (%s); the mount goes on with the old program",
			       exe, rc < 0 ? strerror(-rc) : "its --version failed");
	return 0;
}

int mount_reexec(const struct config *c, const char *path, struct err *e)
{
	struct mountstate m;
	int rc = mountstate_read(c, &m);
	if (rc == 0 && strcmp(m.mountpoint, path) != 0) {
		rc = err_set(e, -ENOENT, "what is mounted is %s, not %s", m.mountpoint, path);
		mountstate_deinit(&m);
		return rc;
	}
	if (rc < 0)
		return err_set(e, -ENOENT, "nothing is mounted at %s; run rrm-mount", path);
	const pid_t pid = m.pid, before = m.server;
	const bool replaceable = m.replaceable;
	pid_t now = before;
	mountstate_deinit(&m);
	if (!replaceable)
		return err_set(
			e, -EOPNOTSUPP,
			"with io_uring nobody can go on with a mount; when nobody works in it, "
			"end it (rrm-mount -u) and begin it again (rrm-mount)");
	rc = check_program(pid, e);
	if (rc == 0)
		rc = kill(pid, SIGUSR2) < 0 ? err_errno(e, -errno, "telling process %d", (int)pid)
					    : 0;
	for (uint64_t end = clock_mono_ms() + REEXEC_MS;
	     rc == 0 && now == before && clock_mono_ms() < end;) {
		usleep(2000);
		if (mountstate_read(c, &m) < 0)
			continue;
		now = m.server;
		mountstate_deinit(&m);
	}
	if (rc == 0 && now == before)
		rc = err_set(e, -ETIMEDOUT,
			     "process %d did not change its program within %d s; when the disk "
			     "answers again (%s/rrm-mount.log says what hangs) it will",
			     (int)pid, REEXEC_MS / 1000, c->base);
	return rc;
}

int mount_unmount(const struct config *c, const char *path, struct err *e)
{
	char type[64];
	if (!mounts_at(path, type, sizeof(type)))
		return 0;
	if (strcmp(type, "fuse.rrm") != 0)
		return err_set(e, -EINVAL, "%s is a mount of type %s, not one of ours", path, type);
	end_server(c, path);
	return mounts_at(path, type, sizeof(type)) ? mounts_detach(path, e) : 0;
}
