#include "manager/harden.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"

#define WATCHES "fs.inotify.max_user_watches"
#define INSTANCES "fs.inotify.max_user_instances"

/* The first line behind the mark in the sysctl file: what undo puts back. */
#define BEFORE "# before: "

enum { SYSCTL_FILE, LIMITS_FILE, SYSTEM_FILE, USER_FILE, TMPFILES_FILE, FILE_MAX = 65536 };

static const char *const paths[HARDEN_FILES] = {
	"etc/sysctl.d/60-rrm.conf",
	"etc/security/limits.d/60-rrm.conf",
	"etc/systemd/system.conf.d/60-rrm.conf",
	"etc/systemd/user.conf.d/60-rrm.conf",
	"etc/tmpfiles.d/60-rrm.conf",
};

static uint64_t number_in(const char *path)
{
	CLEANUP(freep) char *text = NULL;
	size_t len;
	return file_read(AT_FDCWD, path, 4096, &text, &len) < 0 ? 0 : strtoull(text, NULL, 10);
}

void harden_look(struct harden_now *now)
{
	struct rlimit rl;
	now->watches = number_in("/proc/sys/fs/inotify/max_user_watches");
	now->instances = number_in("/proc/sys/fs/inotify/max_user_instances");
	now->nr_open = number_in("/proc/sys/fs/nr_open");
	now->halt_poll_ns = access(HARDEN_HALT_POLL, R_OK) == 0 ? number_in(HARDEN_HALT_POLL)
								: HARDEN_NOT_KNOWN;
	now->nofile_hard = getrlimit(RLIMIT_NOFILE, &rl) < 0 ? 0
			   : rl.rlim_max == RLIM_INFINITY    ? UINT64_MAX
							     : rl.rlim_max;
}

static uint64_t at_least(uint64_t now, uint64_t wanted)
{
	return now > wanted ? now : wanted;
}

static int tmpfiles_text(uint64_t now_ns, char **text)
{
	char before[64] = "";
	const bool known = now_ns != HARDEN_NOT_KNOWN;
	if (known)
		snprintf(before, sizeof(before), BEFORE "%llu\n", (unsigned long long)now_ns);
	return asprintf(
		text,
		HARDEN_MARK "%s# Who waits for an answer is woken 25 us sooner, in a virtual "
			    "machine that can do this.\n"
			    "w " HARDEN_HALT_POLL " - - - - %llu\n",
		before, (unsigned long long)at_least(known ? now_ns : 0, HARDEN_HALT_POLL_NS));
}

int harden_file(int i, const struct harden_now *now, const char **path, char **text)
{
	/* A hard limit beyond nr_open would make every login fail. */
	uint64_t most = now->nr_open ? now->nr_open : 1048576;
	uint64_t hard = at_least(now->nofile_hard, 1048576);
	unsigned long long h = hard < most ? hard : most;
	unsigned long long soft = h < HARDEN_NOFILE ? h : HARDEN_NOFILE;
	int n = -1;
	*path = paths[i];
	if (i == SYSCTL_FILE)
		n = asprintf(text,
			     HARDEN_MARK BEFORE "%llu %llu\n" WATCHES " = %llu\n" INSTANCES
						" = %llu\n",
			     (unsigned long long)now->watches, (unsigned long long)now->instances,
			     (unsigned long long)at_least(now->watches, HARDEN_WATCHES),
			     (unsigned long long)at_least(now->instances, HARDEN_INSTANCES));
	else if (i == LIMITS_FILE)
		n = asprintf(text,
			     HARDEN_MARK "* soft nofile %llu\n* hard nofile %llu\n"
					 "root soft nofile %llu\nroot hard nofile %llu\n",
			     soft, h, soft, h);
	else if (i == TMPFILES_FILE)
		n = tmpfiles_text(now->halt_poll_ns, text);
	else
		n = asprintf(text, HARDEN_MARK "[Manager]\nDefaultLimitNOFILE=%llu:%llu\n", soft,
			     h);
	if (n < 0)
		*text = NULL;
	return n < 0 ? -ENOMEM : 0;
}

/* 1: a file of ours, *text its content; 0: there is none; -EEXIST and others with a sentence. */
static int look_at(const char *path, char **text, struct err *e)
{
	size_t len;
	int rc = file_read(AT_FDCWD, path, FILE_MAX, text, &len);
	if (rc == -ENOENT || rc == -ENOTDIR)
		return 0;
	if (rc < 0)
		return err_errno(e, rc, "reading %s", path);
	if (strncmp(*text, HARDEN_MARK, strlen(HARDEN_MARK)) == 0)
		return 1;
	return err_set(e, -EEXIST, "%s is there and was not made by rrm harden; move it away first",
		       path);
}

/* The numbers in file i's line BEFORE; how many, 0 when it is not there. */
static int numbers_before(const char *root, int i, unsigned long long v[2])
{
	CLEANUP(freep) char *path = path_join(root, paths[i]);
	CLEANUP(freep) char *text = NULL;
	if (!path || look_at(path, &text, NULL) != 1)
		return 0;
	return sscanf(text + strlen(HARDEN_MARK), BEFORE "%llu %llu", &v[0], &v[1]);
}

/* What it was before the first apply, when ours is there. */
static void remember(const char *root, struct harden_now *now)
{
	unsigned long long v[2];
	if (numbers_before(root, SYSCTL_FILE, v) == 2) {
		now->watches = v[0];
		now->instances = v[1];
	}
	if (numbers_before(root, TMPFILES_FILE, v) >= 1)
		now->halt_poll_ns = v[0];
}

static int write_number(const char *path, const char *name, uint64_t value, FILE *out,
			struct err *e)
{
	char text[32];
	if (number_in(path) == value)
		return 0;
	int n = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)value);
	CLEANUP(closep) int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int rc = fd < 0 ? -errno : file_write_all(fd, text, (size_t)n);
	if (rc < 0)
		return err_errno(e, rc, "setting %s to %s", name, text);
	fprintf(out, "set %s = %s", name, text);
	return 0;
}

static int write_sysctl(const char *name, uint64_t value, FILE *out, struct err *e)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", name + strlen("fs.inotify."));
	return value ? write_number(path, name, value, out, e) : 0;
}

static int write_halt_poll(uint64_t value, FILE *out, struct err *e)
{
	if (access(HARDEN_HALT_POLL, F_OK) < 0)
		return 0;
	return write_number(HARDEN_HALT_POLL, HARDEN_HALT_POLL, value, out, e);
}

static int write_file(const char *path, const char *text, struct err *e)
{
	CLEANUP(freep) char *dir = strdup(path);
	if (!dir)
		return -ENOMEM;
	char *slash = strrchr(dir, '/');
	*slash = '\0';
	int rc = file_mkdirs(dir, 0755);
	CLEANUP(closep) int fd = rc < 0 ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc == 0)
		rc = fd < 0 ? -errno : file_replace(fd, slash + 1, text, strlen(text), 0644);
	if (rc == -EACCES || rc == -EPERM)
		return err_set(e, rc, "only root may write %s: sudo rrm harden --apply", path);
	return rc < 0 ? err_errno(e, rc, "writing %s", path) : 0;
}

int harden_apply(const char *root, FILE *out, struct err *e)
{
	const char *at = *root ? root : "/";
	struct harden_now now;
	int rc = 0;
	/* An image is for other machines: theirs is not known. */
	if (*root)
		now = (struct harden_now){.halt_poll_ns = HARDEN_NOT_KNOWN};
	else
		harden_look(&now);
	remember(at, &now);
	for (int i = 0; rc >= 0 && i < HARDEN_FILES; i++) {
		CLEANUP(freep) char *path = path_join(at, paths[i]);
		CLEANUP(freep) char *old = NULL;
		rc = path ? look_at(path, &old, e) : -ENOMEM;
	}
	for (int i = 0; rc >= 0 && i < HARDEN_FILES; i++) {
		CLEANUP(freep) char *path = path_join(at, paths[i]);
		CLEANUP(freep) char *text = NULL;
		const char *name;
		rc = path ? harden_file(i, &now, &name, &text) : -ENOMEM;
		if (rc == 0)
			rc = write_file(path, text, e);
		if (rc == 0)
			fprintf(out, "wrote %s\n", path);
	}
	if (rc < 0 || *root)
		return rc;
	rc = write_sysctl(WATCHES, at_least(now.watches, HARDEN_WATCHES), out, e);
	if (rc == 0)
		rc = write_sysctl(INSTANCES, at_least(now.instances, HARDEN_INSTANCES), out, e);
	if (rc == 0 && now.halt_poll_ns != HARDEN_NOT_KNOWN)
		rc = write_halt_poll(at_least(now.halt_poll_ns, HARDEN_HALT_POLL_NS), out, e);
	return rc;
}

int harden_undo(const char *root, FILE *out, struct err *e)
{
	const char *at = *root ? root : "/";
	struct harden_now before = {.halt_poll_ns = HARDEN_NOT_KNOWN};
	int rc = 0;
	remember(at, &before);
	for (int i = 0; rc >= 0 && i < HARDEN_FILES; i++) {
		CLEANUP(freep) char *path = path_join(at, paths[i]);
		CLEANUP(freep) char *text = NULL;
		rc = path ? look_at(path, &text, e) : -ENOMEM;
		if (rc == 1 && unlink(path) < 0)
			rc = err_errno(e, -errno, "removing %s", path);
		else if (rc == 1)
			fprintf(out, "removed %s\n", path);
	}
	if (rc < 0 || *root)
		return rc;
	rc = write_sysctl(WATCHES, before.watches, out, e);
	if (rc == 0)
		rc = write_sysctl(INSTANCES, before.instances, out, e);
	if (rc == 0 && before.halt_poll_ns != HARDEN_NOT_KNOWN)
		rc = write_halt_poll(before.halt_poll_ns, out, e);
	return rc;
}
