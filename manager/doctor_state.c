#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/base/mountinfo.h"
#include "manager/base/path.h"
#include "manager/base/probe.h"
#include "manager/base/proc.h"
#include "manager/doctor.h"
#include "manager/mountstate.h"
#include "manager/registry.h"

enum { ANSWER_MS = 3000 };

static void stale(struct findings *f, const char *path, const char *fmt, const char *what)
{
	char text[512];
/* the formats are constants of this file */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof(text), fmt, what);
#pragma GCC diagnostic pop
	cJSON *j = finding_add(f, FINDING_PROBLEM, "stale_entry",
			       "what reads it looks for a process that is gone, or takes another "
			       "one for it",
			       "%s", text);
	finding_path(f, j, path);
	finding_fix(f, j, "rrm gc");
}

/* 0, -ENOENT, -EINVAL (damaged) or another negative errno. */
static int parses(const struct repo *r)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "registry.json");
	CLEANUP(json_deletep) cJSON *j = NULL;
	return path ? json_read_file(AT_FDCWD, path, 64 << 10, &j, NULL) : -ENOMEM;
}

bool doctor_registry(const struct repo *r, struct endpoint *ep, bool *alive)
{
	return parses(r) == 0 && registry_read(r, ep, alive, NULL) == 0;
}

static void look_at_repo(struct findings *f, const struct repo *r)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "registry.json");
	char sock[256];
	struct endpoint ep;
	bool alive = false;
	int pid;
	if (!path)
		return;
	/* A failed start stays to be seen in rrm status; that is no stale entry before the next boot. */
	int rc = parses(r);
	if (rc == -EINVAL || rc == -EFBIG)
		stale(f, path, "the registry entry of %s is damaged", r->name);
	else if (rc < 0 && rc != -ENOENT)
		stale(f, path, "the registry entry of %s cannot be read", r->name);
	bool known = doctor_registry(r, &ep, &alive);
	if (known && !alive && (strcmp(ep.state, "failed") != 0 || !registry_this_boot(&ep)))
		stale(f, path, "the registry names a backend of %s that is gone", r->name);
	if (registry_gateway_socket(r, sock, sizeof(sock), NULL) == 0 && access(sock, F_OK) == 0 &&
	    probe_peer(sock, &pid) == -ECONNREFUSED)
		stale(f, sock, "nobody listens on the gateway socket of %s", r->name);
}

static void look_at_mount_json(struct findings *f, const struct config *c)
{
	CLEANUP(freep) char *path = path_join(c->base, "mount.json");
	struct mountstate m;
	if (!path || access(path, F_OK) < 0)
		return;
	if (mountstate_read(c, &m) == 0)
		mountstate_deinit(&m);
	else
		stale(f, path, "%s names an rrm-mount that is gone", "mount.json");
}

static void look_at_sessions(struct findings *f, const struct config *c)
{
	CLEANUP(freep) char *dir = path_join(c->base, "sessions");
	CLEANUP(closedirp) DIR *d = dir ? opendir(dir) : NULL;
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		CLEANUP(json_deletep) cJSON *j = NULL;
		if (de->d_name[0] == '.' ||
		    json_read_file(dirfd(d), de->d_name, 16 << 10, &j, NULL) < 0 ||
		    proc_alive((pid_t)json_int(j, "pid", 0),
			       (uint64_t)json_int(j, "start_time", 0)))
			continue;
		CLEANUP(freep) char *path = path_join(dir, de->d_name);
		if (path)
			stale(f, path,
			      "a session of rrm run (%s) is recorded whose process is gone",
			      de->d_name);
	}
}

/* ---- mounts ---- */

/* 0, or the errno that the mount answers with; ETIMEDOUT when it does not. Asked by a child, which a server
 * that hangs keeps and not us. */
static int ask(const char *path)
{
	int answer[2];
	unsigned char error = 0;
	if (pipe2(answer, O_CLOEXEC) < 0)
		return 0;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		struct statvfs sv;
		error = statvfs(path, &sv) < 0 ? (unsigned char)errno : 0;
		ssize_t n = write(answer[1], &error, 1);
		_exit(n != 1);
	}
	close(answer[1]);
	struct pollfd p = {.fd = answer[0], .events = POLLIN};
	bool told = pid > 0 && poll(&p, 1, ANSWER_MS) > 0 && read(answer[0], &error, 1) == 1;
	close(answer[0]);
	if (pid < 0)
		return 0;
	kill(pid, SIGKILL);
	/* One that does not even die then is init's. */
	waitpid(pid, NULL, told ? 0 : WNOHANG);
	return told ? error : ETIMEDOUT;
}

static void look_at_mount(struct findings *f, const char *path)
{
	int error = ask(path);
	if (error != ENOTCONN && error != ETIMEDOUT)
		return;
	cJSON *j = finding_add(f, FINDING_PROBLEM, "dead_mount",
			       "every program that looks there fails or hangs",
			       error == ENOTCONN ? "the mount at %s is dead: its rrm-mount ended "
						   "without unmounting"
						 : "the mount at %s does not answer",
			       path);
	finding_path(f, j, path);
	finding_fix(f, j, "rrm-mount -u '%s' clears it; rrm-mount '%s' mounts it again", path,
		    path);
}

static int look_if_ours(const char *mountpoint, const char *type, void *arg)
{
	if (strcmp(type, "fuse.rrm") == 0)
		look_at_mount(arg, mountpoint);
	return 0;
}

void doctor_state(struct findings *f, const struct cmd_context *x)
{
	for (size_t i = 0; i < x->repos.n; i++)
		look_at_repo(f, &x->repos.items[i]);
	look_at_mount_json(f, x->config);
	look_at_sessions(f, x->config);
	mountinfo_each(look_if_ours, f);
}
