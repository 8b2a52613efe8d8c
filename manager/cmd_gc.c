/*
 * What is cleared, and under which lock: what belongs to a backend (registry, socket, survivors) under
 * the repo's start.lock, so that one being started is left alone; whole state directories under
 * repos.lock as well, so that one being registered is.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/probe.h"
#include "manager/base/proc.h"
#include "manager/cmdutil.h"
#include "manager/mountstate.h"
#include "manager/registry.h"
#include "manager/start.h"
#include "manager/stop.h"

enum { KEEP_DAYS = 30, TEMP_DAYS = 1, DAY_S = 86400, GRACE_MS = 5000 };

struct gc {
	const struct cmd_context *x;
	bool purge, json;
	cJSON *done; /* owned; array of {what, path, why} */
	int error;   /* first that could not be cleared */
	struct err *e;
};

static void say(struct gc *g, const char *what, const char *path, const char *why)
{
	cJSON *j = cJSON_CreateObject();

	if (!g->json) {
		printf("%s ", what);
		cmd_print_bytes(stdout, path);
		printf(": %s\n", why);
	}
	if (!j || !cJSON_AddItemToArray(g->done, j)) {
		cJSON_Delete(j);
		g->error = -ENOMEM;
	} else if (json_add_str(j, "what", what) || json_add_bytes(j, "path", path) ||
		   json_add_str(j, "why", why)) {
		g->error = -ENOMEM;
	}
}

/* The rest is still tried; the first failure decides the exit code. */
static void failed(struct gc *g, int r, const char *path)
{
	if (!g->error)
		g->error = err_errno(g->e, r, "clearing %s", path);
}

static bool older_than(const struct stat *st, int days)
{
	return st->st_mtime < time(NULL) - (time_t)days * DAY_S;
}

/* why NULL: its process is gone; else it is ended. */
static void clear_entry(struct gc *g, const struct repo *r, const struct endpoint *ep,
			const char *reason)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "registry.json");
	char why[64];

	/* what outlived the backend cannot be found any more once its pid is forgotten */
	int rc = stop_processes(r, ep, false, GRACE_MS, g->e);
	if (!rc)
		rc = registry_clear(r);
	if (rc) {
		failed(g, rc, path ? path : r->state_dir);
		return;
	}
	snprintf(why, sizeof(why), "its backend, pid %d, is gone", (int)ep->pid);
	say(g, "registry entry", path ? path : r->state_dir, reason ? reason : why);
}

static void clear_socket(struct gc *g, const struct repo *r)
{
	char sock[256];
	struct stat st;
	int pid;

	if (registry_gateway_socket(r, sock, sizeof(sock), NULL) || lstat(sock, &st) ||
	    probe_peer(sock, &pid) != -ECONNREFUSED)
		return;
	if (unlink(sock) && errno != ENOENT)
		failed(g, -errno, sock);
	else
		say(g, "socket", sock, "nobody listens there");
}

/* A start that failed stays to be seen in rrm status until the next start or boot. */
static bool worth_keeping(const struct endpoint *ep)
{
	char boot_id[40];

	return !strcmp(ep->state, "failed") && !proc_boot_id(boot_id, sizeof(boot_id)) &&
	       !strcmp(boot_id, ep->boot_id);
}

/* True when a backend of r lives, or is being started this moment. */
static bool clear_backend(struct gc *g, const struct repo *r)
{
	CLEANUP(closep) int lock = -1;
	struct endpoint ep;
	bool alive = false;

	if (start_lock(r, clock_mono_ms(), &lock, NULL))
		return true;
	int known = registry_read(r, &ep, &alive, NULL);
	if (!known && alive && registry_root(r, &ep) == REGISTRY_ROOT_GONE)
		clear_entry(g, r, &ep, "its repository's directory is gone");
	else if (!known && alive)
		return true;
	else if (!known && !worth_keeping(&ep))
		clear_entry(g, r, &ep, NULL);
	clear_socket(g, r);
	return false;
}

/* "backend.log.1", "memory.1.jsonl", "repo.json.corrupt-2" and what a crash left half written. */
static int keep_days(const char *name)
{
	if (!strncmp(name, ".rrm-tmp-", 9) || !strncmp(name, ".writer.json.", 13))
		return TEMP_DAYS;
	if (!strncmp(name, "backend.log.", 12) || !strcmp(name, "memory.1.jsonl") ||
	    strstr(name, ".corrupt-"))
		return KEEP_DAYS;
	return -1;
}

static void clear_logs(struct gc *g, const char *dir)
{
	CLEANUP(closedirp) DIR *d = opendir(dir);
	const struct dirent *de;
	struct stat st;
	char why[64];

	while (d && (de = readdir(d))) {
		int days = keep_days(de->d_name);
		if (days < 0 || fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISREG(st.st_mode) || !older_than(&st, days))
			continue;
		CLEANUP(freep) char *path = path_join(dir, de->d_name);
		if (!path || (unlink(path) && errno != ENOENT)) {
			failed(g, -errno, path ? path : dir);
			continue;
		}
		snprintf(why, sizeof(why), "older than %d day%s", days, days == 1 ? "" : "s");
		say(g, "file", path, why);
	}
}

/* Only what repo_id_of() could have made is ever removed as a whole. */
static bool looks_like_id(const char *name)
{
	size_t n = strlen(name);

	return n > 17 && n < REPO_ID_MAX && name[n - 17] == '-' &&
	       strspn(name + n - 16, "0123456789abcdef") == 16;
}

static bool is_registered(const struct repo_list *l, const char *id)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].id, id))
			return true;
	return false;
}

/* The state directory of a repo that is registered no more. */
static void clear_removed(struct gc *g, char *dir, const char *id)
{
	struct repo r = {.root = dir, .name = dir, .state_dir = dir, .added = dir};
	struct stat st;

	if (lstat(dir, &st) || !S_ISDIR(st.st_mode))
		return;
	snprintf(r.id, sizeof(r.id), "%s", id);
	/* looking in changes the time of a directory: a lock file may be made */
	if ((!g->purge && !older_than(&st, KEEP_DAYS)) || clear_backend(g, &r))
		return;
	int rc = file_remove_tree(AT_FDCWD, dir);
	if (rc)
		failed(g, rc, dir);
	else
		say(g, "state directory", dir,
		    g->purge ? "its repository was removed"
			     : "its repository was removed long ago");
}

static void clear_removed_repos(struct gc *g)
{
	CLEANUP(closep) int lock = repo_lock(g->x->config, g->e);
	CLEANUP(freep) char *path = path_join(g->x->config->base, "repos");
	CLEANUP(closedirp) DIR *d = path ? opendir(path) : NULL;
	struct repo_list l;
	const struct dirent *de;

	if (lock < 0) {
		g->error = g->error ? g->error : lock;
		return;
	}
	if (!d || repo_list_load(g->x->config, &l, g->e))
		return;
	while ((de = readdir(d))) {
		if (!looks_like_id(de->d_name) || is_registered(&l, de->d_name))
			continue;
		CLEANUP(freep) char *dir = path_join(path, de->d_name);
		if (dir)
			clear_removed(g, dir, de->d_name);
	}
	repo_list_deinit(&l);
}

/* "<pid>.json" whose process is gone, or that says nothing usable. */
static bool session_is_dead(int dir, const char *name)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	char boot_id[40];

	int r = json_read_file(dir, name, 16 << 10, &j, NULL);
	if (r && r != -EINVAL && r != -EFBIG)
		return false;
	return r || proc_boot_id(boot_id, sizeof(boot_id)) ||
	       strcmp(boot_id, json_str(j, "boot_id", "")) != 0 ||
	       !proc_alive((pid_t)json_int(j, "pid", 0), (uint64_t)json_int(j, "start_time", 0));
}

static void clear_sessions(struct gc *g)
{
	CLEANUP(freep) char *path = path_join(g->x->config->base, "sessions");
	CLEANUP(closedirp) DIR *d = path ? opendir(path) : NULL;
	const struct dirent *de;

	while (d && (de = readdir(d))) {
		size_t digits = strspn(de->d_name, "0123456789");
		if (!digits || strcmp(de->d_name + digits, ".json") != 0 ||
		    !session_is_dead(dirfd(d), de->d_name))
			continue;
		CLEANUP(freep) char *file = path_join(path, de->d_name);
		if (unlinkat(dirfd(d), de->d_name, 0) && errno != ENOENT)
			failed(g, -errno, file ? file : path);
		else
			say(g, "session", file ? file : path, "its process is gone");
	}
	if (path)
		clear_logs(g, path);
}

static void clear_mount(struct gc *g)
{
	CLEANUP(freep) char *path = path_join(g->x->config->base, "mount.json");
	struct mountstate m;

	if (!path || access(path, F_OK))
		return;
	if (!mountstate_read(g->x->config, &m)) {
		mountstate_deinit(&m);
		return;
	}
	mountstate_clear(g->x->config, 0);
	if (access(path, F_OK))
		say(g, "mount entry", path, "its rrm-mount is gone");
}

static int run(struct gc *g, struct err *e)
{
	for (size_t i = 0; i < g->x->repos.n; i++) {
		clear_backend(g, &g->x->repos.items[i]);
		clear_logs(g, g->x->repos.items[i].state_dir);
	}
	clear_removed_repos(g);
	clear_sessions(g);
	clear_mount(g);
	clear_logs(g, g->x->config->base);
	if (g->json) {
		CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
		if (!j || !cJSON_AddItemReferenceToObject(j, "done", g->done) || json_print(j))
			return err_errno(e, -ENOMEM, "writing what was done");
	} else if (!cJSON_GetArraySize(g->done) && !g->error) {
		puts("nothing to clear");
	}
	return g->error ? g->error : cmd_flush(e);
}

int cmd_gc(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"purge", no_argument, NULL, 'p'},
					      {"json", no_argument, NULL, 'j'},
					      {NULL, 0, NULL, 0}};
	struct cmd_context x;
	struct gc g = {.x = &x, .e = e};

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		g.purge |= opt == 'p';
		g.json |= opt == 'j';
	}
	if (optind != argc)
		return cmd_usage("gc", e, "gc takes no REPO");
	int r = cmd_context_init(&x, e);
	if (!r) {
		g.done = cJSON_CreateArray();
		r = g.done ? run(&g, e) : err_errno(e, -ENOMEM, "clearing");
		cJSON_Delete(g.done);
	}
	cmd_context_deinit(&x);
	return cmd_exit(r);
}
