#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/doctor.h"
#include "manager/opencode_config.h"
#include "manager/registry.h"

enum { DEFAULT_PORT = 4096, NOFILE_WANTED = 65535 };

/* Whose process it is: of the registry in the state directory that its environment names, whatever state base
 * that lies in. */
enum owner {
	OWNER_NONE,    /* by hand, by an SDK */
	OWNER_GONE,    /* of a backend that the registry knows no more */
	OWNER_INSIDE,  /* not the backend itself: started from within */
	OWNER_BACKEND, /* what the registry names */
};

static enum owner owner_of(const struct runtime *r)
{
	CLEANUP(freep)
	char *file = r->backend_of ? path_join(r->backend_of, "registry.json") : NULL;
	CLEANUP(json_deletep) cJSON *j = NULL;
	if (!file)
		return OWNER_NONE;
	if (json_read_file(AT_FDCWD, file, 64 << 10, &j, NULL) < 0)
		return OWNER_GONE;
	pid_t pid = (pid_t)json_int(j, "pid", 0);
	if (!proc_alive(pid, (uint64_t)json_int(j, "start_time", 0)))
		return OWNER_GONE;
	return pid == r->pid ? OWNER_BACKEND : OWNER_INSIDE;
}

static void share_directories(struct findings *f, const struct runtimes *all, int dir)
{
	for (size_t i = 0; i < all->n; i++) {
		const char *mine = all->items[i].dirs[dir];
		cJSON *j = NULL;
		bool told = !mine || all->items[i].embedded;
		for (size_t k = 0; k < i && !told; k++)
			told = !all->items[k].embedded && all->items[k].dirs[dir] &&
			       strcmp(all->items[k].dirs[dir], mine) == 0;
		for (size_t k = i + 1; k < all->n && !told; k++) {
			const struct runtime *other = &all->items[k];
			if (other->embedded || !other->dirs[dir] ||
			    strcmp(other->dirs[dir], mine) != 0)
				continue;
			if (!j)
				j = finding_add(f, FINDING_PROBLEM, "shared_directory",
						"they overwrite each other's files; a cold start "
						"of several "
						"at once "
						"crashes or leaves a blank screen",
						"running OpenCode processes share %s",
						runtime_dir_names[dir]);
			finding_pid(f, j, all->items[i].pid);
			finding_pid(f, j, other->pid);
		}
		if (j)
			finding_path(f, j, mine);
		finding_fix(f, j,
			    "end them and use `rrm attach` or `rrm ensure` in each repository "
			    "(`rrm shim install` makes "
			    "`opencode` do that); `rrm adopt` brings their sessions along");
	}
}

static bool has_file(const struct runtime *r, const struct runtime_file *file)
{
	for (size_t i = 0; i < r->n_dbs; i++)
		if (r->dbs[i].dev == file->dev && r->dbs[i].ino == file->ino)
			return true;
	return false;
}

/* One finding a database, also when both the file and its log are shared. */
static void share_database(struct findings *f, const struct runtimes *all, size_t at,
			   const struct runtime_file *file)
{
	cJSON *j = NULL;
	for (size_t k = 0; k < at; k++)
		if (has_file(&all->items[k], file))
			return;
	for (size_t k = at + 1; k < all->n; k++) {
		if (!has_file(&all->items[k], file))
			continue;
		if (!j)
			j = finding_add(f, FINDING_PROBLEM, "shared_database",
					"one writer makes the others stall for seconds, and a cold "
					"start fails with "
					"\"database is locked\"",
					"running OpenCode processes have the same SQLite database "
					"open");
		finding_pid(f, j, all->items[at].pid);
		finding_pid(f, j, all->items[k].pid);
	}
	if (!j)
		return;
	finding_path(f, j, file->path);
	finding_fix(f, j,
		    "end all but one, start them with `rrm attach REPO`; `rrm adopt` gives each "
		    "repository its "
		    "sessions in a database of its own");
}

static void share_databases(struct findings *f, const struct runtimes *all)
{
	for (size_t i = 0; i < all->n; i++)
		for (size_t n = 0; n < all->items[i].n_dbs; n++) {
			bool told = false;
			for (size_t m = 0; m < n; m++)
				told |= strcmp(all->items[i].dbs[m].path,
					       all->items[i].dbs[n].path) == 0;
			if (!told)
				share_database(f, all, i, &all->items[i].dbs[n]);
		}
}

static void look_at_ports(struct findings *f, const struct runtime *r)
{
	for (size_t i = 0; i < r->n_listeners; i++) {
		if (r->listeners[i].port != DEFAULT_PORT)
			continue;
		cJSON *j = finding_add(f, FINDING_PROBLEM, "default_port",
				       "the next one that is started the same way, or by an SDK "
				       "(createOpencode() takes "
				       "4096), fails or talks to the wrong repository",
				       "a runtime serves on the default port %d", DEFAULT_PORT);
		finding_pid(f, j, r->pid);
		finding_fix(f, j,
			    "end it (kill %d) and use `rrm ensure REPO`, which takes a free port "
			    "and records it",
			    (int)r->pid);
		break;
	}
	if (!r->fixed_port)
		return;
	cJSON *j =
		finding_add(f, FINDING_PROBLEM, "fixed_port",
			    "a second one, or another program, on this port makes the start fail",
			    "a runtime was started with the fixed port %d", r->fixed_port);
	finding_pid(f, j, r->pid);
	finding_fix(f, j,
		    "end it (kill %d) and use `rrm ensure REPO`, which takes a free port and "
		    "records it",
		    (int)r->pid);
}

static bool uses_port(const struct runtime *r, int port)
{
	for (size_t i = 0; i < r->n_listeners; i++)
		if (r->listeners[i].port == port)
			return true;
	return r->fixed_port == port;
}

/* One port, two processes: on two addresses, or one of them waits for it. */
static void collide(struct findings *f, const struct runtimes *all, size_t at, int port)
{
	for (size_t k = at + 1; port && k < all->n; k++) {
		if (!uses_port(&all->items[k], port))
			continue;
		cJSON *j = finding_add(f, FINDING_PROBLEM, "port_collision",
				       "who connects gets one or the other by chance, and one of "
				       "them cannot be started again",
				       "two runtimes use the port %d", port);
		finding_pid(f, j, all->items[at].pid);
		finding_pid(f, j, all->items[k].pid);
		finding_fix(f, j, "end both (kill %d %d) and use `rrm ensure REPO` for each",
			    (int)all->items[at].pid, (int)all->items[k].pid);
		return;
	}
}

static void outside(struct findings *f, const struct runtime *r, enum owner owner)
{
	struct proc_stat st, parent;
	char by[300] = "";
	if (proc_stat(r->pid, &st) < 0)
		return;
	if (r->backend_of)
		snprintf(by, sizeof(by),
			 owner == OWNER_GONE ? ", left over from the backend of %.200s"
					     : ", started inside the backend of %.200s",
			 path_basename(r->backend_of));
	else if (st.ppid > 1 && proc_stat(st.ppid, &parent) == 0)
		snprintf(by, sizeof(by), ", started by pid %d (%s)", (int)st.ppid, parent.comm);
	cJSON *j = finding_add(f, FINDING_PROBLEM, "outside_runtime",
			       "rrm neither finds nor isolates nor stops it, its writes take no "
			       "turn, and its repository may get "
			       "a second backend",
			       "a runtime (pid %d) runs outside rrm%s", (int)r->pid, by);
	finding_pid(f, j, r->pid);
	if (owner == OWNER_GONE)
		finding_fix(f, j, "kill %d", (int)r->pid);
	else
		finding_fix(f, j,
			    "`rrm shim install` takes `opencode` and SDK programs through rrm from "
			    "then on; end this one (kill %d)",
			    (int)r->pid);
}

static void beyond(struct findings *f, const struct runtime *r)
{
	for (size_t i = 0; i < r->n_listeners; i++) {
		const struct runtime_listener *l = &r->listeners[i];
		if (!l->beyond)
			continue;
		cJSON *j = finding_add(f, FINDING_PROBLEM, "open_listener",
				       "whoever reaches this machine can drive an agent, and with "
				       "it a shell",
				       "a backend listens on %s port %d, not on 127.0.0.1 alone",
				       l->address, l->port);
		finding_pid(f, j, r->pid);
		finding_fix(f, j,
			    "end it (kill %d); `rrm ensure REPO` listens on 127.0.0.1 with a "
			    "password",
			    (int)r->pid);
	}
}

static void few_files(struct findings *f, const struct runtimes *all)
{
	uint64_t least = NOFILE_WANTED;
	for (size_t i = 0; i < all->n; i++)
		if (all->items[i].nofile && all->items[i].nofile < least)
			least = all->items[i].nofile;
	if (least == NOFILE_WANTED)
		return;
	cJSON *j = finding_add(f, FINDING_PROBLEM, "backend_nofile",
			       "watchers, language servers and tools of a session run out of "
			       "descriptors (EMFILE)",
			       "running backends may open only %llu files (wanted: %d)",
			       (unsigned long long)least, NOFILE_WANTED);
	for (size_t i = 0; i < all->n; i++)
		if (all->items[i].nofile && all->items[i].nofile < NOFILE_WANTED)
			finding_pid(f, j, all->items[i].pid);
	finding_fix(f, j,
		    "`sudo rrm harden --apply`, log in again, rrm restart; now: sudo prlimit --pid "
		    "PID --nofile=%d:%d",
		    NOFILE_WANTED, NOFILE_WANTED);
}

/* ---- ports that are configured or recorded, of what does not run now ---- */

static int configured_port(const char *path)
{
	CLEANUP(freep) char *text = NULL;
	CLEANUP(json_deletep) cJSON *j = NULL;
	size_t len;
	if (file_read(AT_FDCWD, path, 4 << 20, &text, &len) < 0)
		return 0;
	opencode_config_plain(text);
	if (json_parse(text, strlen(text), &j, NULL) < 0)
		return 0;
	int64_t port = json_int(cJSON_GetObjectItem(j, "server"), "port", 0);
	return port > 0 && port < 65536 ? (int)port : 0;
}

struct config_port {
	int port;
	char path[PATH_MAX];
};

static size_t configured_ports(const struct cmd_context *x, struct config_port *out, size_t max)
{
	static const char *const names[] = {"opencode.json", "opencode.jsonc",
					    ".opencode/opencode.json", ".opencode/opencode.jsonc"};
	size_t n = 0;
	for (size_t i = 0; i < x->repos.n; i++)
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]) && n < max; k++) {
			struct config_port *p = &out[n];
			if (snprintf(p->path, sizeof(p->path), "%s/%s", x->repos.items[i].root,
				     names[k]) >= (int)sizeof(p->path))
				continue;
			p->port = configured_port(p->path);
			if (p->port) {
				n++;
				break; /* one repository does not collide with itself */
			}
		}
	return n;
}

static void collide_in_configs(struct findings *f, const struct cmd_context *x)
{
	enum { CONFIGS_MAX = 256 };
	CLEANUP(freep) struct config_port *all = calloc(CONFIGS_MAX, sizeof(*all));
	size_t n = all ? configured_ports(x, all, CONFIGS_MAX) : 0;
	for (size_t i = 0; i < n; i++) {
		cJSON *j = NULL;
		for (size_t k = i + 1; all[i].port && k < n; k++) {
			if (all[k].port != all[i].port)
				continue;
			if (!j) {
				j = finding_add(
					f, FINDING_PROBLEM, "port_collision",
					"run beside each other without rrm, one of them does "
					"not start",
					"several repositories set the same server.port %d",
					all[i].port);
				finding_path(f, j, all[i].path);
				finding_fix(f, j,
					    "remove server.port from these files; rrm gives each "
					    "backend a free port");
			}
			finding_path(f, j, all[k].path);
			all[k].port = 0;
		}
	}
}

/* A port that a stopped or failed backend is to have again, and somebody else has. */
static void collide_with_registry(struct findings *f, const struct cmd_context *x,
				  const struct runtimes *all)
{
	for (size_t i = 0; i < x->repos.n; i++) {
		const struct repo *r = &x->repos.items[i];
		struct endpoint ep;
		bool alive = true;
		if (!doctor_registry(r, &ep, &alive) || alive || !ep.port)
			continue;
		for (size_t k = 0; k < all->n; k++) {
			if (!uses_port(&all->items[k], ep.port))
				continue;
			cJSON *j = finding_add(f, FINDING_PROBLEM, "port_collision",
					       "terminals attached to it do not find it again; it "
					       "comes back on another port",
					       "the port %d that the backend of %s had is taken",
					       ep.port, r->name);
			finding_pid(f, j, all->items[k].pid);
			finding_fix(f, j, "rrm restart %s", r->name);
		}
	}
}

static void hidden(struct findings *f, const struct runtimes *all)
{
	cJSON *j = NULL;
	if (!all->n_hidden)
		return;
	j = finding_add(f, FINDING_NOTE, "hidden_process",
			"what it shares with others is not known",
			"%zu OpenCode process%s cannot be looked into (another user's, or "
			"protected)",
			all->n_hidden, all->n_hidden == 1 ? "" : "es");
	for (size_t i = 0; i < all->n_hidden; i++)
		finding_pid(f, j, all->hidden[i]);
	finding_fix(f, j, "run rrm doctor as root as well");
}

void doctor_runtimes(struct findings *f, const struct cmd_context *x, const struct runtimes *all)
{
	for (int i = 0; i < RUNTIME_DIRS; i++)
		share_directories(f, all, i);
	share_databases(f, all);
	for (size_t i = 0; i < all->n; i++) {
		const struct runtime *r = &all->items[i];
		enum owner owner = owner_of(r);
		if (owner != OWNER_BACKEND) {
			look_at_ports(f, r);
			outside(f, r, owner);
		}
		beyond(f, r);
		if (r->fixed_port)
			collide(f, all, i, r->fixed_port);
		for (size_t k = 0; k < r->n_listeners; k++)
			if (r->listeners[k].port != r->fixed_port)
				collide(f, all, i, r->listeners[k].port);
	}
	few_files(f, all);
	collide_in_configs(f, x);
	collide_with_registry(f, x, all);
	hidden(f, all);
}
