#include "manager/base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"

enum { PROC_PATH = 64, ENVIRON_MAX = 16 << 20, STATUS_MAX = 4 << 20 };

/* A process that is gone shows as ENOENT at open and as ESRCH at read. */
static int proc_error(int r)
{
	if (r == -ENOENT)
		return -ESRCH;
	return r == -EPERM ? -EACCES : r;
}

static void entry_path(char path[PROC_PATH], pid_t pid, const char *name)
{
	snprintf(path, PROC_PATH, "/proc/%d/%s", (int)pid, name);
}

/* The first size - 1 bytes of /proc/<pid>/<name>, terminated; *len their number. */
static int read_head(pid_t pid, const char *name, char *buf, size_t size, size_t *len)
{
	char path[PROC_PATH];
	entry_path(path, pid, name);
	*len = 0;
	buf[0] = '\0';
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return proc_error(-errno);
	/* One read: /proc hands out all of such a file, or as much as there is room for, at once. */
	ssize_t n;
	while ((n = read(fd, buf, size - 1)) < 0 && errno == EINTR)
		;
	if (n < 0)
		return proc_error(-errno);
	*len = (size_t)n;
	buf[n] = '\0';
	return 0;
}

static int read_whole(pid_t pid, const char *name, size_t max, char **data, size_t *len)
{
	char path[PROC_PATH];
	entry_path(path, pid, name);
	return proc_error(file_read(AT_FDCWD, path, max, data, len));
}

static int read_link(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[PROC_PATH];
	entry_path(path, pid, name);
	ssize_t n = readlink(path, buf, size);
	if (n < 0)
		return proc_error(-errno);
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	buf[n] = '\0';
	return 0;
}

/* One decimal number and the blanks before it; *s moves behind it. */
static bool number(const char **s, int64_t *v)
{
	char *end;
	errno = 0;
	*v = strtoll(*s, &end, 10);
	if (end == *s || errno)
		return false;
	*s = end;
	return true;
}

/* Everything behind the name: " S <ppid> <pgid> <session> ... <22nd field: start> ...". */
static int parse_stat_tail(const char *s, struct proc_stat *out)
{
	enum { FIRST = 4, LAST = 22 };
	int64_t field[LAST + 1];
	while (*s == ' ')
		s++;
	if (*s == '\0')
		return -EPROTO;
	out->state = *s++;
	for (int i = FIRST; i <= LAST; i++) {
		if (!number(&s, &field[i]))
			return -EPROTO;
	}
	out->ppid = (pid_t)field[4];
	out->pgid = (pid_t)field[5];
	out->session = (pid_t)field[6];
	out->start = (uint64_t)field[22];
	out->cpu_ticks = (uint64_t)(field[14] + field[15] + field[16] + field[17]);
	return 0;
}

int proc_stat(pid_t pid, struct proc_stat *out)
{
	memset(out, 0, sizeof(*out));
	if (pid <= 0)
		return -ESRCH;
	char buf[1024];
	size_t len;
	int r = read_head(pid, "stat", buf, sizeof(buf), &len);
	if (r < 0)
		return r;
	/* A name may hold anything, ") S 1" too: it ends at the last parenthesis. */
	char *open_paren = strchr(buf, '(');
	char *close_paren = strrchr(buf, ')');
	if (!open_paren || !close_paren || close_paren < open_paren)
		return len ? -EPROTO : -ESRCH;
	*close_paren = '\0';
	snprintf(out->comm, sizeof(out->comm), "%s", open_paren + 1);
	out->pid = pid;
	return parse_stat_tail(close_paren + 1, out);
}

int proc_tgid(pid_t tid, pid_t *tgid)
{
	if (tid <= 0)
		return -ESRCH;
	char buf[1024]; /* Name, Umask, State, Tgid: the fourth line */
	size_t len;
	int r = read_head(tid, "status", buf, sizeof(buf), &len);
	if (r < 0)
		return r;
	const char *line = strstr(buf, "\nTgid:");
	int64_t v;
	if (!line)
		return -EPROTO;
	line += strlen("\nTgid:");
	if (!number(&line, &v))
		return -EPROTO;
	*tgid = (pid_t)v;
	return 0;
}

bool proc_alive(pid_t pid, uint64_t start)
{
	struct proc_stat st;
	return proc_stat(pid, &st) == 0 && st.start == start && st.state != 'Z' && st.state != 'X';
}

static uint64_t signals_of(const char *status, const char *name)
{
	const char *line = strstr(status, name);
	return line ? strtoull(line + strlen(name), NULL, 16) : 0;
}

enum proc_signal proc_signal(pid_t tid)
{
	/* What ends nobody by itself: who handles it does not want his calls to fail. */
	static const int mild[] = {SIGSTOP, SIGCONT, SIGCHLD, SIGURG, SIGWINCH};
	static const int stops[] = {SIGTSTP, SIGTTIN, SIGTTOU};
	char buf[STATUS_MAX];
	size_t len;
	if (tid <= 0 || read_head(tid, "status", buf, sizeof(buf), &len) < 0 ||
	    !strstr(buf, "\nSigPnd:"))
		return PROC_DYING;
	uint64_t own = signals_of(buf, "\nSigPnd:");
	if (own >> (SIGKILL - 1) & 1)
		return PROC_DYING;
	uint64_t pending = (own | signals_of(buf, "\nShdPnd:")) & ~signals_of(buf, "\nSigBlk:");
	uint64_t handled = signals_of(buf, "\nSigCgt:");
	for (size_t i = 0; i < sizeof(mild) / sizeof(*mild); i++)
		pending &= ~(1ull << (mild[i] - 1));
	for (size_t i = 0; i < sizeof(stops) / sizeof(*stops); i++)
		pending &= ~(1ull << (stops[i] - 1)) | handled;
	return pending ? PROC_SIGNALLED : PROC_UNSIGNALLED;
}

int proc_cwd(pid_t pid, char *buf, size_t size)
{
	return read_link(pid, "cwd", buf, size);
}

int proc_environ(pid_t pid, const char *name, char **out)
{
	*out = NULL;
	CLEANUP(freep) char *data = NULL;
	size_t len;
	int r = read_whole(pid, "environ", ENVIRON_MAX, &data, &len);
	if (r < 0)
		return r;
	size_t name_len = strlen(name);
	for (const char *s = data; s < data + len; s += strlen(s) + 1) {
		if (strncmp(s, name, name_len) != 0 || s[name_len] != '=')
			continue;
		*out = strdup(s + name_len + 1);
		return *out ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

int proc_exe(pid_t pid, char *buf, size_t size)
{
	return read_link(pid, "exe", buf, size);
}

int proc_cmdline(pid_t pid, char *buf, size_t size)
{
	size_t len;
	int r = read_head(pid, "cmdline", buf, size, &len);
	if (r < 0)
		return r;
	while (len > 0 && buf[len - 1] == '\0')
		len--;
	for (size_t i = 0; i < len; i++) {
		if (buf[i] == '\0')
			buf[i] = ' ';
	}
	return 0;
}

static struct {
	pthread_once_t once;
	char id[64];
	int rc;
} boot = {.once = PTHREAD_ONCE_INIT};

static void read_boot_id(void)
{
	CLEANUP(freep) char *data = NULL;
	size_t len;
	boot.rc = file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 256, &data, &len);
	if (boot.rc < 0)
		return;
	data[strcspn(data, "\n")] = '\0';
	boot.rc = strlen(data) < sizeof(boot.id) ? 0 : -ENAMETOOLONG;
	if (boot.rc == 0)
		strcpy(boot.id, data);
}

int proc_boot_id(char *buf, size_t size)
{
	pthread_once(&boot.once,
		     read_boot_id); /* the kernel takes its time for it, and it stays the same */
	if (boot.rc < 0)
		return boot.rc;
	if (strlen(boot.id) >= size)
		return -ENAMETOOLONG;
	strcpy(buf, boot.id);
	return 0;
}

int proc_each(int (*fn)(pid_t pid, void *arg), void *arg)
{
	CLEANUP(closedirp) DIR *d = opendir("/proc");
	if (!d)
		return -errno;
	for (;;) {
		errno = 0;
		struct dirent *de = readdir(d);
		if (!de)
			return -errno;
		char *end;
		long pid = strtol(de->d_name, &end, 10);
		if (pid <= 0 || *end)
			continue;
		int r = fn((pid_t)pid, arg);
		if (r != 0)
			return r;
	}
}

struct proc_table {
	struct member {
		pid_t pid, ppid;
	} * all; /* owned; every process of the machine */
	size_t n, cap;
};

static int note_process(pid_t pid, void *arg)
{
	struct proc_table *t = arg;
	struct proc_stat st;
	if (proc_stat(pid, &st) < 0)
		return 0; /* gone since the directory was read */
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 256;
		struct member *all = reallocarray(t->all, cap, sizeof(*all));
		if (!all)
			return -ENOMEM;
		t->all = all;
		t->cap = cap;
	}
	t->all[t->n++] = (struct member){.pid = pid, .ppid = st.ppid};
	return 0;
}

int proc_table_new(struct proc_table **out)
{
	struct proc_table *t = calloc(1, sizeof(*t));
	int r = t ? proc_each(note_process, t) : -ENOMEM;
	if (r < 0) {
		proc_table_free(t);
		return r;
	}
	*out = t;
	return 0;
}

struct proc_table *proc_table_free(struct proc_table *t)
{
	if (t)
		free(t->all);
	free(t);
	return NULL;
}

int proc_table_tree(const struct proc_table *t, pid_t pid, pid_t **pids, size_t *n)
{
	*pids = NULL;
	*n = 0;
	CLEANUP(freep) pid_t *out = calloc(t->n + 1, sizeof(*out));
	if (!out)
		return -ENOMEM;
	size_t have = 0;
	for (size_t i = 0; i < t->n; i++) {
		if (t->all[i].pid == pid)
			out[have++] = pid;
	}
	if (have == 0)
		return -ESRCH;
	/* Each process has one parent: none is found twice, so out cannot overflow. */
	for (size_t i = 0; i < have; i++) {
		for (size_t k = 0; k < t->n; k++) {
			if (t->all[k].ppid == out[i] && t->all[k].pid != pid)
				out[have++] = t->all[k].pid;
		}
	}
	*pids = steal(&out);
	*n = have;
	return 0;
}

int proc_tree(pid_t pid, pid_t **pids, size_t *n)
{
	struct proc_table *t = NULL;
	*pids = NULL;
	*n = 0;
	int r = proc_table_new(&t);
	if (r == 0)
		r = proc_table_tree(t, pid, pids, n);
	proc_table_free(t);
	return r;
}

/* The number behind "\nkey:" in KiB; 0 when the line is missing. */
static uint64_t kib_line(const char *text, const char *key)
{
	const char *line = strstr(text, key);
	return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

int proc_memory(pid_t pid, struct proc_memory *out)
{
	memset(out, 0, sizeof(*out));
	if (pid <= 0)
		return -ESRCH;
	char buf[4096];
	size_t len;
	if (read_head(pid, "smaps_rollup", buf, sizeof(buf), &len) == 0 && len > 0) {
		out->rss_kib = kib_line(buf, "\nRss:");
		out->pss_kib = kib_line(buf, "\nPss:");
		out->swap_kib = kib_line(buf, "\nSwap:");
		return 0;
	}
	int r = read_head(pid, "statm", buf, sizeof(buf), &len);
	if (r < 0)
		return r;
	const char *s = buf;
	int64_t size_pages;
	int64_t rss_pages;
	if (!number(&s, &size_pages) || !number(&s, &rss_pages))
		return -EPROTO;
	out->rss_kib = (uint64_t)rss_pages * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
	return 0;
}

int proc_groups(pid_t tid, gid_t **groups, size_t *n)
{
	*groups = NULL;
	*n = 0;
	if (tid <= 0)
		return -ESRCH;
	CLEANUP(freep) char *data = NULL;
	size_t len;
	int r = read_whole(tid, "status", STATUS_MAX, &data, &len);
	if (r < 0)
		return r;
	char *line = strstr(data, "\nGroups:");
	if (!line)
		return -EPROTO;
	line += strlen("\nGroups:");
	line[strcspn(line, "\n")] = '\0';
	/* A group takes two bytes at least. */
	CLEANUP(freep) gid_t *out = calloc(strlen(line) / 2 + 1, sizeof(*out));
	if (!out)
		return -ENOMEM;
	size_t have = 0;
	for (char *end; *(line += strspn(line, " \t")); line = end) {
		out[have++] = (gid_t)strtoul(line, &end, 10);
		if (end == line)
			return -EPROTO;
	}
	*groups = steal(&out);
	*n = have;
	return 0;
}
