#include <dirent.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/proc.h"
#include "manager/doctor.h"
#include "manager/harden.h"

enum { NOFILE_WANTED = 65535, WATCHES_WANTED = 1048576, NEARLY_PERCENT = 90 };
enum { HALT_POLL_NS_WANTED = 50000 };

#define HARDEN "rrm harden shows what to set, `sudo rrm harden --apply` sets it"

/* The number in a file of one number; false when there is none. */
static bool read_number(const char *path, uint64_t *out)
{
	CLEANUP(freep) char *text = NULL;
	size_t len;
	char *end;
	if (file_read(AT_FDCWD, path, 4096, &text, &len) < 0)
		return false;
	*out = strtoull(text, &end, 10);
	return end != text;
}

static void cannot_read(struct findings *f, const char *path)
{
	cJSON *j = finding_add(f, FINDING_NOTE, "unreadable",
			       "a limit that is too low would go unnoticed", "%s cannot be read",
			       path);
	finding_path(f, j, path);
	finding_fix(f, j, "mount /proc and /sys here, or look outside of this container");
}

static void nofile(struct findings *f)
{
	struct rlimit rl;
	/* Backends and the mount raise soft to hard themselves: the hard one counts. */
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_max >= NOFILE_WANTED)
		return;
	cJSON *j = finding_add(f, FINDING_PROBLEM, "nofile",
			       "backends with their language servers and watchers run out of "
			       "descriptors (EMFILE)",
			       "the limit of open files is %llu here (wanted: %d)",
			       (unsigned long long)rl.rlim_max, NOFILE_WANTED);
	finding_path(f, j, "/proc/self/limits");
	finding_fix(f, j, HARDEN "; then log in again");
}

/* A limit of the kernel and the same one of this user namespace: the lower holds. */
static bool inotify_limit(struct findings *f, const char *what, char *where, size_t size,
			  uint64_t *limit)
{
	char own[64];
	uint64_t lower;
	snprintf(where, size, "/proc/sys/fs/inotify/max_user_%s", what);
	snprintf(own, sizeof(own), "/proc/sys/user/max_inotify_%s", what);
	if (!read_number(where, limit)) {
		cannot_read(f, where);
		return false;
	}
	if (read_number(own, &lower) && lower < *limit) {
		*limit = lower;
		snprintf(where, size, "%s", own);
	}
	return true;
}

struct inotify_use {
	uint64_t instances, watches;
};

static void count_watches(const char *proc, const char *fd, struct inotify_use *use)
{
	char path[128];
	CLEANUP(freep) char *line = NULL;
	size_t cap = 0;
	snprintf(path, sizeof(path), "%s/fdinfo/%.32s", proc, fd);
	CLEANUP(fclosep) FILE *info = fopen(path, "re");
	while (info && getline(&line, &cap, info) > 0)
		use->watches += strncmp(line, "inotify ", 8) == 0;
}

/* The limit is one a user: the processes of ours are looked at. */
static int count_inotify(pid_t pid, void *arg)
{
	struct inotify_use *use = arg;
	char proc[32], dir[64], target[64];
	struct stat st;
	snprintf(proc, sizeof(proc), "/proc/%d", (int)pid);
	if (stat(proc, &st) < 0 || st.st_uid != geteuid())
		return 0;
	snprintf(dir, sizeof(dir), "%s/fd", proc);
	CLEANUP(closedirp) DIR *d = opendir(dir);
	const struct dirent *de;
	while (d && (de = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, "anon_inode:inotify") != 0)
			continue;
		use->instances++;
		count_watches(proc, de->d_name, use);
	}
	return 0;
}

static void nearly_used_up(struct findings *f, const char *kind, const char *what,
			   const char *where, uint64_t used, uint64_t limit)
{
	if (used * 100 < limit * NEARLY_PERCENT)
		return;
	cJSON *j =
		finding_add(f, FINDING_PROBLEM, kind,
			    "the next watcher fails (EMFILE or ENOSPC), and its editor, agent or "
			    "build tool does not see changes",
			    "inotify %s are nearly used up: %llu of %llu", what,
			    (unsigned long long)used, (unsigned long long)limit);
	finding_path(f, j, where);
	finding_fix(f, j, HARDEN);
}

static void inotify(struct findings *f)
{
	struct inotify_use use = {0};
	char where[64];
	uint64_t limit;
	proc_each(count_inotify, &use);
	if (inotify_limit(f, "watches", where, sizeof(where), &limit)) {
		if (limit < WATCHES_WANTED) {
			cJSON *j = finding_add(
				f, FINDING_PROBLEM, "inotify_watches",
				"file watchers of a dozen repositories run out of watches "
				"(ENOSPC) and miss changes",
				"inotify max_user_watches is %llu (wanted: %d)",
				(unsigned long long)limit, WATCHES_WANTED);
			finding_path(f, j, where);
			finding_fix(f, j, HARDEN);
		}
		nearly_used_up(f, "inotify_watches_used", "watches", where, use.watches, limit);
	}
	if (inotify_limit(f, "instances", where, sizeof(where), &limit))
		nearly_used_up(f, "inotify_instances", "instances", where, use.instances, limit);
}

/* Why not, and what to do; NULL when it can be used. */
static const char *uring_obstacle(const char **fix)
{
	CLEANUP(freep) char *text = NULL;
	size_t len;
	uint64_t disabled = 0;
	struct io_uring_params p = {0};
	*fix = "";
	if (file_read(AT_FDCWD, "/sys/module/fuse/parameters/enable_uring", 64, &text, &len) < 0) {
		*fix = "nothing to do with this kernel; Linux 6.14 has it";
		return "the kernel's fuse has no enable_uring (Linux 6.14 or newer, module fuse "
		       "loaded)";
	}
	if (read_number("/proc/sys/kernel/io_uring_disabled", &disabled) && disabled) {
		*fix = "as root: sysctl kernel.io_uring_disabled=0";
		return disabled == 1 ? "kernel.io_uring_disabled is 1 (a group only)"
				     : "kernel.io_uring_disabled is 2 (for nobody)";
	}
	long fd = syscall(SYS_io_uring_setup, 1U, &p);
	if (fd < 0) {
		*fix = "allow io_uring_setup in the container's seccomp profile";
		return errno == ENOSYS ? "the kernel has no io_uring"
				       : "io_uring_setup(2) is forbidden here (seccomp?)";
	}
	close((int)fd);
	if (text[0] != 'Y' && text[0] != '1') {
		*fix = "as root: echo 1 > /sys/module/fuse/parameters/enable_uring";
		return "the fuse module has enable_uring=N";
	}
	return NULL;
}

static void uring(struct findings *f)
{
	const char *fix;
	const char *why = uring_obstacle(&fix);
	cJSON *j = finding_add(f, FINDING_NOTE, "io_uring",
			       "it saves a context switch a request; rrm works the same without",
			       why ? "FUSE over io_uring cannot be used: %s"
				   : "FUSE over io_uring can be used%s",
			       why ? why : "");
	finding_path(f, j, "/sys/module/fuse/parameters/enable_uring");
	finding_fix(f, j, "%s", fix);
}

/* A virtual machine whose processors could stay awake for a moment before they halt, and do not. */
static void halting(struct findings *f)
{
	CLEANUP(freep) char *driver = NULL;
	size_t len;
	uint64_t ns;
	if (file_read(AT_FDCWD, "/sys/devices/system/cpu/cpuidle/current_driver", 64, &driver,
		      &len) < 0 ||
	    strncmp(driver, "haltpoll", 8) != 0 || !read_number(HARDEN_HALT_POLL, &ns) ||
	    ns >= HALT_POLL_NS_WANTED)
		return;
	cJSON *j = finding_add(f, FINDING_NOTE, "halting",
			       "who waits for an answer, of the mount or of any other program, is "
			       "woken 25 us later or "
			       "more; changes in the mount take two to three times as long",
			       "idle processors of this virtual machine halt after %llu us",
			       (unsigned long long)ns / 1000);
	finding_path(f, j, HARDEN_HALT_POLL);
	finding_fix(f, j, "sudo rrm harden --apply");
}

void doctor_machine(struct findings *f)
{
	nofile(f);
	inotify(f);
	halting(f);
	uring(f);
}
