#include "manager/scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/program.h"

enum { PROCS_MAX = 1 << 20, DEPTH_MAX = 16, POLL_MS = 5 };

static bool accepts(const char *dir, const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name);
	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return false;
	CLEANUP(closep)
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

bool scope_manager(void)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	return dir && dir[0] == '/' && (accepts(dir, "systemd/private") || accepts(dir, "bus"));
}

int scope_init(struct scope *s, const struct repo *r, int64_t now_ms)
{
	CLEANUP(freep) char *found = NULL;
	*s = (struct scope){0};
	if (!scope_manager())
		return -ENOENT;
	int rc = program_on_path("systemd-run", &found);
	if (rc == 0)
		rc = path_canonical(found, &s->program, NULL);
	if (rc < 0)
		return rc;
	snprintf(s->unit, sizeof(s->unit), "rrm-%s-%llx.scope", r->id, (unsigned long long)now_ms);
	snprintf(s->unit_option, sizeof(s->unit_option), "--unit=%s", s->unit);
	return 0;
}

void scope_deinit(struct scope *s)
{
	free(s->program);
	s->program = NULL;
}

int scope_argv(const struct scope *s, const char *const *argv, const char ***out)
{
	const char *const front[SCOPE_ARGS] = {s->program, "--user",       "--scope", "--collect",
					       "--quiet",  s->unit_option, "--"};
	size_t n = 0;
	while (argv[n])
		n++;
	const char **all = calloc(SCOPE_ARGS + n + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	memcpy(all, front, sizeof(front));
	memcpy(all + SCOPE_ARGS, argv, n * sizeof(*argv));
	*out = all;
	return 0;
}

/* Where the kernel shows the cgroup of that path; "" when it does not. */
static void cgroup_dir(const char *path, char *dir, size_t size)
{
	static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
					     "/sys/fs/cgroup/systemd"};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int n = snprintf(dir, size, "%s%s", places[i], path);
		CLEANUP(freep) char *procs = path_join(dir, "cgroup.procs");
		if (n > 0 && (size_t)n < size && procs && access(procs, R_OK) == 0)
			return;
	}
	dir[0] = '\0';
}

/* Whether pid is in the cgroup of unit: "0::/user.slice/.../<unit>", "1:name=systemd:/.../<unit>". */
static bool in_cgroup(const char *unit, pid_t pid, char *dir, size_t size)
{
	char name[32];
	CLEANUP(freep) char *text = NULL;
	size_t len;
	snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	if (file_read(AT_FDCWD, name, PROCS_MAX, &text, &len) < 0)
		return false;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *path = strchr(line, '/');
		if (!path || strcmp(path_basename(path), unit) != 0)
			continue;
		cgroup_dir(path, dir, size);
		return true;
	}
	return false;
}

int scope_entered(const struct scope *s, pid_t pid, uint64_t start, int timeout_ms, char *dir,
		  size_t size)
{
	uint64_t deadline_ms = clock_mono_ms() + (uint64_t)timeout_ms;
	char exe[PATH_MAX];
	while (proc_alive(pid, start)) {
		if (proc_exe(pid, exe, sizeof(exe)) == 0 && strcmp(exe, s->program) != 0 &&
		    in_cgroup(s->unit, pid, dir, size))
			return 0;
		if (clock_mono_ms() >= deadline_ms)
			return -ETIMEDOUT;
		poll(NULL, 0, POLL_MS);
	}
	return -ECHILD;
}

/* The registry is a file like any other: nothing but a scope of this very repo is ever believed. */
static bool is_ours(const char *dir, const struct repo *r)
{
	char front[SCOPE_UNIT_MAX];
	int n = snprintf(front, sizeof(front), "rrm-%s-", r->id);
	const char *name = path_basename(dir);
	size_t len = strlen(name);
	return strncmp(dir, "/sys/fs/cgroup/", 15) == 0 && strncmp(name, front, (size_t)n) == 0 &&
	       len > 6 && strcmp(name + len - 6, ".scope") == 0;
}

static int each_in(int dirfd, int depth, int (*fn)(pid_t pid, void *arg), void *arg)
{
	CLEANUP(freep) char *text = NULL;
	size_t len;
	int rc = file_read(dirfd, "cgroup.procs", PROCS_MAX, &text, &len);
	char *save = NULL;
	char *line = rc == 0 ? strtok_r(text, "\n", &save) : NULL;
	for (rc = 0; line && rc == 0; line = strtok_r(NULL, "\n", &save)) {
		long pid = strtol(line, NULL, 10);
		if (pid > 0) /* 0: of another pid namespace */
			rc = fn((pid_t)pid, arg);
	}
	CLEANUP(closep) int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *d = fd < 0 || depth == 0 ? NULL : fdopendir(fd);
	if (d)
		steal_fd(&fd);
	const struct dirent *de;
	while (rc == 0 && d && (de = readdir(d))) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		CLEANUP(closep)
		int sub = openat(dirfd, de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub >= 0)
			rc = each_in(sub, depth - 1, fn, arg);
	}
	return rc;
}

int scope_each(const char *dir, const struct repo *r, int (*fn)(pid_t pid, void *arg), void *arg)
{
	CLEANUP(closep)
	int fd = is_ours(dir, r) ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	return fd < 0 ? 0 : each_in(fd, DEPTH_MAX, fn, arg);
}

void scope_kill(const char *dir, const struct repo *r)
{
	CLEANUP(freep) char *path = is_ours(dir, r) ? path_join(dir, "cgroup.kill") : NULL;
	CLEANUP(closep) int fd = path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	if (fd >= 0 && write(fd, "1", 1) < 0)
		return; /* an old kernel; each process gets its own signal anyway */
}
