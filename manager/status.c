#include "manager/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "manager/auditlog.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/memlog.h"
#include "manager/opencode.h"
#include "manager/program.h"
#include "manager/registry.h"
#include "manager/start.h"

enum { WRITER_JSON_MAX = 1 << 20 };

/* cJSON_AddItemToObject() with the item freed when it fails. */
static int add(cJSON *j, const char *key, cJSON *item)
{
	if (item && cJSON_AddItemToObject(j, key, item))
		return 0;
	cJSON_Delete(item);
	return -ENOMEM;
}

static int64_t uptime_s(uint64_t start_ticks)
{
	struct timespec now;
	long hz = sysconf(_SC_CLK_TCK);

	if (hz <= 0 || clock_gettime(CLOCK_BOOTTIME, &now))
		return 0;
	int64_t s = (int64_t)now.tv_sec - (int64_t)(start_ticks / (uint64_t)hz);
	return s > 0 ? s : 0;
}

/* A key that is null unless a backend lives. */
static int add_process(cJSON *j, const struct endpoint *ep, bool alive, const struct proc_table *t)
{
	struct memory_usage use;

	if (!alive) {
		static const char *const keys[] = {"pid",      "url",    "backend", "version",
						   "uptime_s", "memory", "cpu_ms"};
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (json_add_str(j, keys[i], NULL))
				return -ENOMEM;
		return 0;
	}
	if (json_add_int(j, "pid", ep->pid) || json_add_str(j, "url", ep->url) ||
	    json_add_str(j, "backend", ep->backend) || json_add_str(j, "version", ep->version) ||
	    json_add_int(j, "uptime_s", uptime_s(ep->start_time)))
		return -ENOMEM;
	if (memory_measure_in(t, ep->pid, &use))
		return json_add_str(j, "memory", NULL) || json_add_str(j, "cpu_ms", NULL) ? -ENOMEM
											  : 0;
	int r = json_add_int(j, "cpu_ms", (int64_t)use.cpu_ms);
	return r ? r : add(j, "memory", memory_json(&use));
}

static bool same_program(const struct endpoint_program *a, const struct endpoint_program *b)
{
	return strcmp(a->path, b->path) == 0 && a->dev == b->dev && a->ino == b->ino &&
	       a->size == b->size && a->mtime_ms == b->mtime_ms;
}

/* Whether a start now would execute another file than the one that runs. Looked at, not executed. */
static bool installed_changed(const struct config *c, const struct endpoint *ep)
{
	CLEANUP(freep) char *path = NULL;
	struct endpoint_program now;
	bool opencode = strcmp(ep->backend, "opencode") == 0;
	if (!ep->program.path[0])
		return false;
	int rc =
		opencode ? opencode_find(c, &path, NULL) : program_find("rrm-backend", &path, NULL);
	return rc == 0 && start_note_program(path, &now) == 0 && !same_program(&now, &ep->program);
}

/* What happened to it without anybody's order, and what is to be known about it. */
static int add_history(cJSON *j, const struct config *c, const struct repo *r,
		       const struct endpoint *ep, bool alive)
{
	char since[CLOCK_ISO_LEN], notice[256] = "";
	bool changed = alive && installed_changed(c, ep);
	if (changed)
		snprintf(notice, sizeof(notice),
			 "%s %s runs, the installed one has changed since; rrm restart %.64s",
			 strcmp(ep->backend, "opencode") == 0 ? "opencode" : "rrm-backend",
			 ep->version, r->name);
	cJSON *last = ep->restarted_ms ? cJSON_CreateObject() : cJSON_CreateNull();
	if (add(j, "last_restart", last))
		return -ENOMEM;
	if (ep->restarted_ms && (json_add_str(last, "ts", clock_iso(since, ep->restarted_ms)) ||
				 json_add_str(last, "why", ep->restarted_why)))
		return -ENOMEM;
	if (json_add_bool(j, "installed_changed", changed) ||
	    json_add_bool(j, "scope", alive && ep->scope[0]))
		return -ENOMEM;
	return json_add_str(j, "notice", notice[0] ? notice : NULL);
}

static int add_backend(cJSON *j, const struct config *c, const struct repo *r,
		       const struct proc_table *t)
{
	char error[sizeof(((struct err *)NULL)->text)] = "";
	struct err why = ERR_INIT;
	struct endpoint ep = {.pid = 0};
	const char *state = "stopped";
	bool alive = false;

	int rc = registry_read(r, &ep, &alive, &why);
	if (rc && rc != -ENOENT)
		snprintf(error, sizeof(error), "%.*s", (int)sizeof(error) - 1, why.text);
	else if (!rc && (alive || !strcmp(ep.state, "failed")))
		state = ep.state;
	if (!rc && ep.error[0])
		snprintf(error, sizeof(error), "%s", ep.error);
	else if (!rc && !alive && strcmp(ep.state, "failed") != 0)
		snprintf(error, sizeof(error),
			 "the backend with pid %d is gone without having been stopped",
			 (int)ep.pid);
	if (registry_root(r, &ep) == REGISTRY_ROOT_GONE) {
		registry_root_gone(r, &why);
		snprintf(error, sizeof(error), "%s", why.text);
	}
	rc = json_add_str(j, "state", state);
	if (!rc)
		rc = add_process(j, &ep, alive, t);
	if (!rc)
		rc = add_history(j, c, r, &ep, alive);
	return rc ? rc : json_add_str(j, "last_error", error[0] ? error : NULL);
}

/* Whether an entry of writer.json still counts: the process that made it lives ("process": its pid). An
 * entry that does not say who made it is believed. */
static bool counts(const cJSON *entry)
{
	int64_t made_by = json_int(entry, "process", 0);
	struct proc_stat st;

	if (!entry || cJSON_IsNull(entry))
		return false;
	return made_by <= 0 || (!proc_stat((pid_t)made_by, &st) && st.state != 'Z');
}

/* The holder, else another one that holds the turn of another branch; detached from writer. */
static cJSON *take_holder(cJSON *writer)
{
	cJSON *holder = cJSON_GetObjectItemCaseSensitive(writer, "holder"), *item;
	cJSON *others = cJSON_GetObjectItemCaseSensitive(writer, "others");

	if (counts(holder))
		return cJSON_DetachItemViaPointer(writer, holder);
	cJSON_ArrayForEach (item, others)
		if (counts(item))
			return cJSON_DetachItemViaPointer(others, item);
	return NULL;
}

static int add_waiters(cJSON *turn, cJSON *writer)
{
	cJSON *list = cJSON_CreateArray(), *item, *next;
	cJSON *all = cJSON_GetObjectItemCaseSensitive(writer, "waiters");

	if (add(turn, "waiters", list))
		return -ENOMEM;
	for (item = cJSON_IsArray(all) ? all->child : NULL; item; item = next) {
		next = item->next;
		if (counts(item) &&
		    !cJSON_AddItemToArray(list, cJSON_DetachItemViaPointer(all, item)))
			return -ENOMEM;
	}
	return 0;
}

/* holder as writer.json has it (an object with session, home, comm, pid, ...), since and branch of it. */
static int add_turn(cJSON *j, const struct repo *r)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "writer.json");
	CLEANUP(json_deletep) cJSON *writer = NULL;
	cJSON *turn = cJSON_CreateObject();

	if (add(j, "turn", turn) || !path)
		return -ENOMEM;
	/* a missing or damaged one only means that nobody is known to write */
	if (json_read_file(AT_FDCWD, path, WRITER_JSON_MAX, &writer, NULL))
		writer = NULL;
	cJSON *holder = take_holder(writer);
	const char *since = json_str(holder, "since", json_str(writer, "since", NULL));
	const char *branch = json_str(holder, "branch", NULL);
	if (json_add_str(turn, "since", holder ? since : NULL) ||
	    json_add_str(turn, "branch", branch) ||
	    add(turn, "holder", holder ? holder : cJSON_CreateNull()))
		return -ENOMEM;
	return add_waiters(turn, writer);
}

/* The newest record that changed something. */
static int take_last(const struct auditlog_line *line, void *arg)
{
	cJSON **out = arg;
	CLEANUP(json_deletep) cJSON *j = NULL;

	if (auditlog_parse(line, &j, NULL) || strcmp(json_str(j, "result", ""), "ok") != 0)
		return 0;
	*out = steal(&j);
	return 1;
}

static int add_last_write(cJSON *j, const struct repo *r)
{
	static const char *const keys[] = {"ts", "op", "path", "path_hex", "actor", "seq"};
	CLEANUP(json_deletep) cJSON *record = NULL;

	if (auditlog_backwards(r->state_dir, take_last, &record, NULL, NULL) != 1)
		return json_add_str(j, "last_write", NULL);
	cJSON *last = cJSON_CreateObject();
	if (add(j, "last_write", last))
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		cJSON *had = cJSON_DetachItemFromObjectCaseSensitive(record, keys[i]);
		if (had && add(last, keys[i], had))
			return -ENOMEM;
	}
	return 0;
}

static int describe(cJSON *all, const struct config *c, const struct repo *r,
		    const struct proc_table *t)
{
	char branch[256];
	cJSON *j = cJSON_CreateObject();

	if (!j || !cJSON_AddItemToArray(all, j)) {
		cJSON_Delete(j);
		return -ENOMEM;
	}
	if (repo_branch(r->root, branch, sizeof(branch)))
		branch[0] = '\0';
	if (json_add_str(j, "repo_id", r->id) || json_add_bytes(j, "name", r->name) ||
	    json_add_bytes(j, "root", r->root) || json_add_bytes(j, "branch", branch))
		return -ENOMEM;
	int rc = add_backend(j, c, r, t);
	if (!rc)
		rc = add_turn(j, r);
	return rc ? rc : add_last_write(j, r);
}

int status_json(const struct config *c, const struct repo *only, cJSON **out, struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = cJSON_CreateArray();
	struct repo_list l = {NULL, 0};
	struct proc_table *t = NULL;
	int r = all ? 0 : -ENOMEM;

	if (!r && !only) {
		r = repo_list_load(c, &l, e);
		if (r)
			return r;
	}
	/* one look at all processes for all repos; without, each backend looks for itself */
	if (!r && l.n > 1)
		(void)proc_table_new(&t);
	if (!r && only)
		r = describe(all, c, only, NULL);
	for (size_t i = 0; !r && i < l.n; i++)
		r = describe(all, c, &l.items[i], t);
	proc_table_free(t);
	repo_list_deinit(&l);
	if (r)
		return err_errno(e, r, "reading the status");
	*out = steal(&all);
	return 0;
}
