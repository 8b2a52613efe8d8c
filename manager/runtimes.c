#include "manager/runtimes.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"

enum { TCP_LISTENING = 10, TABLE_MAX = 16 << 20 };

const char *const runtime_dir_names[RUNTIME_DIRS] = {"XDG_DATA_HOME", "XDG_CONFIG_HOME",
						     "XDG_CACHE_HOME", "XDG_STATE_HOME"};
static const char *const dir_defaults[RUNTIME_DIRS] = {".local/share", ".config", ".cache",
						       ".local/state"};

/* What the descriptors of a process are. */
struct descriptors {
	unsigned long *sockets; /* owned; inodes */
	size_t n_sockets;
	struct runtime *r; /* gets the databases */
};

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n > m && strcmp(s + n - m, end) == 0;
}

/* The database that an open file belongs to: the file itself, or that of a write-ahead log. Cuts. */
static bool is_database(char *path)
{
	if (ends_with(path, ".db-wal"))
		path[strlen(path) - strlen("-wal")] = '\0';
	return path[0] == '/' && ends_with(path, ".db");
}

static int add_database(struct runtime *r, const char *link, const char *path)
{
	struct statx st;
	/* Of what is open, and without a question to a server that may be dead. */
	if (statx(AT_FDCWD, link, AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
		return 0;
	uint64_t dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	for (size_t i = 0; i < r->n_dbs; i++)
		if (r->dbs[i].dev == dev && r->dbs[i].ino == st.stx_ino)
			return 0;
	struct runtime_file *dbs = reallocarray(r->dbs, r->n_dbs + 1, sizeof(*dbs));
	if (!dbs)
		return -ENOMEM;
	r->dbs = dbs;
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	dbs[r->n_dbs++] = (struct runtime_file){.dev = dev, .ino = st.stx_ino, .path = copy};
	return 0;
}

static int add_socket(struct descriptors *d, const char *target)
{
	unsigned long inode;
	if (sscanf(target, "socket:[%lu]", &inode) != 1)
		return 0;
	unsigned long *all = reallocarray(d->sockets, d->n_sockets + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	d->sockets = all;
	all[d->n_sockets++] = inode;
	return 0;
}

/* -EACCES when they may not be seen. */
static int read_descriptors(pid_t pid, struct descriptors *d)
{
	char dir[64], link[128], target[PATH_MAX];
	snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)pid);
	CLEANUP(closedirp) DIR *fds = opendir(dir);
	if (!fds)
		return errno == ENOENT ? -ESRCH : -errno;
	const struct dirent *de;
	int rc = 0;
	while (rc == 0 && (de = readdir(fds))) {
		snprintf(link, sizeof(link), "%s/%.32s", dir, de->d_name);
		ssize_t n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (target[0] == 's')
			rc = add_socket(d, target);
		else if (d->r && is_database(target))
			rc = add_database(d->r, link, target);
	}
	return rc;
}

static bool has_socket(const struct descriptors *d, unsigned long inode)
{
	for (size_t i = 0; i < d->n_sockets; i++)
		if (d->sockets[i] == inode)
			return true;
	return false;
}

/* hex: as /proc/net/tcp prints addresses, 32 bits at a time in the machine's order. */
static bool parse_address(const char *hex, struct runtime_listener *l)
{
	struct in6_addr six;
	uint32_t word[4] = {0};
	size_t n = strlen(hex);
	if (n != 8 && n != 32)
		return false;
	for (size_t i = 0; i < n / 8; i++)
		if (sscanf(hex + 8 * i, "%8x", &word[i]) != 1)
			return false;
	if (n == 8) {
		inet_ntop(AF_INET, word, l->address, sizeof(l->address));
		l->beyond = (ntohl(word[0]) >> 24) != 127;
		return true;
	}
	memcpy(&six, word, sizeof(six));
	inet_ntop(AF_INET6, &six, l->address, sizeof(l->address));
	l->beyond = !IN6_IS_ADDR_LOOPBACK(&six) &&
		    !(IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
	return true;
}

static int add_listeners(pid_t pid, const char *table, const struct descriptors *d,
			 struct runtime_listener **out, size_t *n)
{
	char path[64], line[512], hex[40];
	snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, table);
	CLEANUP(fclosep) FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		struct runtime_listener l = {.port = 0};
		unsigned port, state;
		unsigned long inode;
		if (sscanf(line, " %*d: %39[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*u %*d %lu", hex,
			   &port, &state, &inode) != 4 ||
		    state != TCP_LISTENING || !has_socket(d, inode) || !parse_address(hex, &l))
			continue;
		struct runtime_listener *all = reallocarray(*out, *n + 1, sizeof(*all));
		if (!all)
			return -ENOMEM;
		*out = all;
		l.port = (int)port;
		all[(*n)++] = l;
	}
	return 0;
}

static int listeners_of(pid_t pid, const struct descriptors *d, struct runtime_listener **out,
			size_t *n)
{
	int rc = add_listeners(pid, "tcp", d, out, n);
	return rc ? rc : add_listeners(pid, "tcp6", d, out, n);
}

int runtimes_listeners(pid_t pid, struct runtime_listener **out, size_t *n)
{
	struct descriptors d = {0};
	*out = NULL;
	*n = 0;
	int rc = read_descriptors(pid, &d);
	if (rc == 0 && d.n_sockets)
		rc = listeners_of(pid, &d, out, n);
	free(d.sockets);
	return rc;
}

/* What the process takes for dirs[i]: the variable, else the default below its HOME. */
static int effective_dir(pid_t pid, int i, char **out)
{
	CLEANUP(freep) char *home = NULL;
	int rc = proc_environ(pid, runtime_dir_names[i], out);
	if (rc == 0 && **out)
		return 0;
	free(steal(out));
	if (rc && rc != -ENOENT)
		return rc;
	rc = proc_environ(pid, "HOME", &home);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	*out = path_join(home, dir_defaults[i]);
	return *out ? 0 : -ENOMEM;
}

/* ... --port N ... or --port=N. */
static int port_option(const char *command)
{
	const char *at = strstr(command, " --port");
	if (!at || (at[7] != ' ' && at[7] != '='))
		return 0;
	long port = strtol(at + 8, NULL, 10);
	return port > 0 && port < 65536 ? (int)port : 0;
}

static uint64_t nofile_of(pid_t pid)
{
	char path[64];
	CLEANUP(freep) char *text = NULL;
	size_t len;
	snprintf(path, sizeof(path), "/proc/%d/limits", (int)pid);
	if (file_read(AT_FDCWD, path, 65536, &text, &len) < 0)
		return 0;
	const char *line = strstr(text, "Max open files");
	return line ? strtoull(line + strlen("Max open files"), NULL, 10) : 0;
}

enum what { NOTHING, OPENCODE, EMBEDDED, HIDDEN };

static enum what what_is(pid_t pid, const char *command, pid_t *ppid)
{
	char exe[PATH_MAX];
	struct proc_stat st;
	/* One that is ending has no command line any more. */
	if (proc_stat(pid, &st) < 0 || st.state == 'Z' || !*command)
		return NOTHING;
	*ppid = st.ppid;
	int rc = proc_exe(pid, exe, sizeof(exe));
	char *deleted = rc == 0 && ends_with(exe, " (deleted)") ? strrchr(exe, '(') - 1 : NULL;
	if (deleted)
		*deleted = '\0';
	const char *name = rc == 0 ? path_basename(exe) : st.comm;
	if (strcmp(name, "rrm-backend") == 0)
		return rc == 0 && strstr(command, " --serve") ? EMBEDDED : NOTHING;
	if (strcmp(name, "opencode") != 0)
		return NOTHING;
	if (rc < 0)
		return rc == -EACCES ? HIDDEN : NOTHING;
	if (strstr(command, " attach ") || strstr(command, " --attach"))
		return NOTHING;
	return OPENCODE;
}

static void runtime_deinit(struct runtime *r)
{
	for (int i = 0; i < RUNTIME_DIRS; i++)
		free(r->dirs[i]);
	for (size_t i = 0; i < r->n_dbs; i++)
		free(r->dbs[i].path);
	free(r->command);
	free(r->backend_of);
	free(r->dbs);
	free(r->listeners);
}

static int look_into(struct runtime *r)
{
	CLEANUP(freep) char *bun = NULL;
	struct descriptors d = {.r = r};
	int rc = proc_environ(r->pid, "BUN_BE_BUN", &bun);
	if (rc == 0)
		return -ESRCH;
	if (rc != -ENOENT)
		return rc;
	rc = proc_environ(r->pid, "RRM_BACKEND_OF", &r->backend_of);
	if (rc == -ENOENT)
		rc = 0;
	for (int i = 0; rc == 0 && i < RUNTIME_DIRS; i++)
		rc = effective_dir(r->pid, i, &r->dirs[i]);
	if (rc == 0)
		rc = read_descriptors(r->pid, &d);
	if (rc == 0)
		rc = listeners_of(r->pid, &d, &r->listeners, &r->n_listeners);
	r->nofile = nofile_of(r->pid);
	free(d.sockets);
	return rc;
}

static int add_hidden(struct runtimes *all, pid_t pid)
{
	pid_t *hidden = reallocarray(all->hidden, all->n_hidden + 1, sizeof(*hidden));
	if (!hidden)
		return -ENOMEM;
	all->hidden = hidden;
	hidden[all->n_hidden++] = pid;
	return 0;
}

static int note(pid_t pid, void *arg)
{
	struct runtimes *all = arg;
	char command[4096];
	if (proc_cmdline(pid, command, sizeof(command)) < 0)
		return 0;
	pid_t ppid = 0;
	enum what what = what_is(pid, command, &ppid);
	if (what == NOTHING)
		return 0;
	if (what == HIDDEN)
		return add_hidden(all, pid);
	struct runtime r = {.pid = pid, .ppid = ppid, .embedded = what == EMBEDDED};
	r.fixed_port = port_option(command);
	r.command = strdup(command);
	int rc = r.command ? look_into(&r) : -ENOMEM;
	struct runtime *items =
		rc == 0 ? reallocarray(all->items, all->n + 1, sizeof(*items)) : NULL;
	if (!items) {
		runtime_deinit(&r);
		return rc == 0 || rc == -ENOMEM ? -ENOMEM
		       : rc == -EACCES          ? add_hidden(all, pid)
						: 0;
	}
	all->items = items;
	items[all->n++] = r;
	return 0;
}

/* A child that is about to execute something else still looks like its parent, with all its files. */
static bool just_forked(const struct runtimes *all, const struct runtime *r)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->items[i].pid == r->ppid && strcmp(all->items[i].command, r->command) == 0)
			return true;
	return false;
}

static void drop_just_forked(struct runtimes *all)
{
	for (size_t i = all->n; i-- > 0;) {
		if (!just_forked(all, &all->items[i]))
			continue;
		runtime_deinit(&all->items[i]);
		all->n--;
		memmove(&all->items[i], &all->items[i + 1], (all->n - i) * sizeof(all->items[0]));
	}
}

int runtimes_read(struct runtimes *out, struct err *e)
{
	*out = (struct runtimes){0};
	int rc = proc_each(note, out);
	drop_just_forked(out);
	if (rc == 0)
		return 0;
	runtimes_deinit(out);
	return err_errno(e, rc, "looking at the processes in /proc");
}

void runtimes_deinit(struct runtimes *r)
{
	for (size_t i = 0; i < r->n; i++)
		runtime_deinit(&r->items[i]);
	free(r->items);
	free(r->hidden);
	*r = (struct runtimes){0};
}
