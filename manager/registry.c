#include "manager/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/log.h"
#include "manager/base/proc.h"

enum { REGISTRY_JSON_MAX = 64 << 10 };

void registry_add_death(struct endpoint *ep, int64_t now_ms)
{
	if (ep->n_deaths == POLICY_DEATHS) {
		memmove(ep->deaths_ms, ep->deaths_ms + 1,
			(POLICY_DEATHS - 1) * sizeof(ep->deaths_ms[0]));
		ep->n_deaths--;
	}
	ep->deaths_ms[ep->n_deaths++] = now_ms;
}

enum registry_root registry_root(const struct repo *r, const struct endpoint *ep)
{
	struct stat st;
	if (stat(r->root, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? REGISTRY_ROOT_GONE
							   : REGISTRY_ROOT_SAME;
	if (!S_ISDIR(st.st_mode))
		return REGISTRY_ROOT_GONE;
	if (ep->root_ino == 0 || (st.st_dev == ep->root_dev && st.st_ino == ep->root_ino))
		return REGISTRY_ROOT_SAME;
	return REGISTRY_ROOT_REPLACED;
}

int registry_root_gone(const struct repo *r, struct err *e)
{
	return err_set(
		e, -ENOENT,
		"its directory %s is gone; if it was moved, run rrm add where it is now; rrm "
		"remove %s forgets it",
		r->root, r->name);
}

static int open_state(const struct repo *r)
{
	int fd = open(r->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void copy(char *to, size_t size, const cJSON *j, const char *key)
{
	snprintf(to, size, "%s", json_str(j, key, ""));
}

static void fill_life(struct endpoint *ep, const cJSON *j)
{
	const cJSON *program = cJSON_GetObjectItemCaseSensitive(j, "program"), *item;
	const cJSON *deaths = cJSON_GetObjectItemCaseSensitive(j, "deaths_ms");
	CLEANUP(freep) char *path = NULL;
	if (json_get_bytes(program, "path", &path) == 0 && path)
		snprintf(ep->program.path, sizeof(ep->program.path), "%s", path);
	ep->program.dev = (uint64_t)json_int(program, "dev", 0);
	ep->program.ino = (uint64_t)json_int(program, "ino", 0);
	ep->program.size = json_int(program, "size", 0);
	ep->program.mtime_ms = json_int(program, "mtime_ms", 0);
	ep->root_dev = (uint64_t)json_int(j, "root_dev", 0);
	ep->root_ino = (uint64_t)json_int(j, "root_ino", 0);
	copy(ep->scope, sizeof(ep->scope), j, "scope");
	ep->died = json_bool(j, "died", false);
	cJSON_ArrayForEach (item, deaths)
		if (cJSON_IsNumber(item))
			registry_add_death(ep, (int64_t)item->valuedouble);
	ep->retry_at_ms = json_int(j, "retry_at_ms", 0);
	ep->restarted_ms = json_int(j, "restarted_ms", 0);
	copy(ep->restarted_why, sizeof(ep->restarted_why), j, "restarted_why");
}

/* NULL, or a word for what is wrong. */
static const char *fill(struct endpoint *ep, const cJSON *j, const struct repo *r)
{
	memset(ep, 0, sizeof(*ep));
	copy(ep->repo_id, sizeof(ep->repo_id), j, "repo_id");
	copy(ep->boot_id, sizeof(ep->boot_id), j, "boot_id");
	copy(ep->url, sizeof(ep->url), j, "url");
	copy(ep->backend, sizeof(ep->backend), j, "backend");
	copy(ep->version, sizeof(ep->version), j, "version");
	copy(ep->state, sizeof(ep->state), j, "state");
	copy(ep->started, sizeof(ep->started), j, "started");
	copy(ep->error, sizeof(ep->error), j, "error");
	int64_t pid = json_int(j, "pid", 0), port = json_int(j, "port", 0);
	int64_t start = json_int(j, "start_time", 0);
	if (!cJSON_IsObject(j))
		return "it is no JSON object";
	if (strcmp(ep->repo_id, r->id) != 0)
		return "repo_id is another one's";
	if (pid < 0 || pid > INT32_MAX || port < 0 || port > 65535 || start < 0)
		return "pid, port or start_time is out of range";
	if (strcmp(ep->state, "starting") != 0 && strcmp(ep->state, "ready") != 0 &&
	    strcmp(ep->state, "failed") != 0)
		return "state is none of starting, ready, failed";
	ep->pid = (pid_t)pid;
	ep->port = (int)port;
	ep->start_time = (uint64_t)start;
	fill_life(ep, j);
	return NULL;
}

static int set_aside(int dirfd, const struct repo *r, const char *why)
{
	char moved[NAME_MAX + 1] = "";
	int rc = file_move_aside(dirfd, "registry.json", moved);

	if (rc != -ENOENT) /* else another process was faster */
		log_warn("event=corrupt_registry repo=%s dir=%s why=\"%s\" moved=%s", r->name,
			 r->state_dir, why, rc ? err_name(-rc) : moved);
	return -ENOENT;
}

bool registry_this_boot(const struct endpoint *ep)
{
	char boot_id[40];

	return !proc_boot_id(boot_id, sizeof(boot_id)) && !strcmp(boot_id, ep->boot_id);
}

static bool is_alive(const struct endpoint *ep)
{
	return ep->pid > 0 && registry_this_boot(ep) && proc_alive(ep->pid, ep->start_time);
}

int registry_read(const struct repo *r, struct endpoint *out, bool *alive, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	struct err why = ERR_INIT;
	CLEANUP(closep) int dirfd = open_state(r);

	if (alive)
		*alive = false;
	int rc = dirfd < 0 ? dirfd
			   : json_read_file(dirfd, "registry.json", REGISTRY_JSON_MAX, &j, &why);
	if (rc == -EINVAL || rc == -EFBIG) {
		rc = set_aside(dirfd, r, why.text);
	} else if (!rc) {
		const char *bad = fill(out, j, r);
		if (bad)
			rc = set_aside(dirfd, r, bad);
	}
	if (rc == -ENOENT)
		return err_set(e, rc, "%s has no backend running", r->name);
	if (rc)
		return err_errno(e, rc, "reading %s/registry.json", r->state_dir);
	if (alive)
		*alive = is_alive(out);
	return 0;
}

static int add_program(cJSON *j, const struct endpoint_program *p)
{
	cJSON *o = p->path[0] ? cJSON_AddObjectToObject(j, "program") : NULL;
	if (!p->path[0])
		return 0;
	if (!o || json_add_bytes(o, "path", p->path) || json_add_int(o, "dev", (int64_t)p->dev) ||
	    json_add_int(o, "ino", (int64_t)p->ino) || json_add_int(o, "size", p->size))
		return -ENOMEM;
	return json_add_int(o, "mtime_ms", p->mtime_ms);
}

/* What most backends never have is left out: every warm ensure parses this file. */
static int add_life(cJSON *j, const struct endpoint *ep)
{
	int rc = add_program(j, &ep->program);
	if (!rc && ep->scope[0])
		rc = json_add_str(j, "scope", ep->scope);
	if (!rc && ep->died)
		rc = json_add_bool(j, "died", true);
	cJSON *deaths = !rc && ep->n_deaths ? cJSON_AddArrayToObject(j, "deaths_ms") : NULL;
	for (unsigned i = 0; !rc && i < ep->n_deaths; i++) {
		/* below 2^53 */
		cJSON *item = cJSON_CreateNumber((double)ep->deaths_ms[i]);
		if (!item || !cJSON_AddItemToArray(deaths, item)) {
			cJSON_Delete(item);
			rc = -ENOMEM;
		}
	}
	if (!rc && ep->retry_at_ms)
		rc = json_add_int(j, "retry_at_ms", ep->retry_at_ms);
	if (!rc && ep->restarted_ms)
		rc = json_add_int(j, "restarted_ms", ep->restarted_ms);
	if (!rc && ep->restarted_why[0])
		rc = json_add_str(j, "restarted_why", ep->restarted_why);
	return rc;
}

static cJSON *to_json(const struct repo *r, const struct endpoint *ep)
{
	cJSON *j = cJSON_CreateObject();

	if (j && !json_add_str(j, "repo_id", r->id) && !json_add_bytes(j, "root", r->root) &&
	    !json_add_int(j, "pid", ep->pid) &&
	    !json_add_int(j, "start_time", (int64_t)ep->start_time) &&
	    !json_add_str(j, "boot_id", ep->boot_id) && !json_add_int(j, "port", ep->port) &&
	    !json_add_str(j, "url", ep->url) && !json_add_str(j, "backend", ep->backend) &&
	    !json_add_str(j, "version", ep->version) && !json_add_str(j, "state", ep->state) &&
	    !json_add_str(j, "started", ep->started) && !json_add_str(j, "error", ep->error) &&
	    !json_add_int(j, "root_dev", (int64_t)ep->root_dev) &&
	    !json_add_int(j, "root_ino", (int64_t)ep->root_ino) && !add_life(j, ep))
		return j;
	cJSON_Delete(j);
	return NULL;
}

static int write_port(int dirfd, const struct endpoint *ep)
{
	char text[16];

	if (ep->pid <= 0 || ep->port <= 0)
		return unlinkat(dirfd, "port", 0) && errno != ENOENT ? -errno : 0;
	int n = snprintf(text, sizeof(text), "%d\n", ep->port);
	return file_replace(dirfd, "port", text, (size_t)n, 0600);
}

int registry_write(const struct repo *r, const struct endpoint *ep, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = to_json(r, ep);
	CLEANUP(closep) int dirfd = open_state(r);

	int rc = !j ? -ENOMEM : dirfd < 0 ? dirfd : write_port(dirfd, ep);
	if (!rc)
		rc = json_replace_file(dirfd, "registry.json", j, 0600);
	return rc ? err_errno(e, rc, "writing %s/registry.json", r->state_dir) : 0;
}

int registry_clear(const struct repo *r)
{
	CLEANUP(closep) int dirfd = open_state(r);
	int rc = 0;

	if (dirfd < 0)
		return dirfd == -ENOENT ? 0 : dirfd;
	if (unlinkat(dirfd, "registry.json", 0) && errno != ENOENT)
		rc = -errno;
	if (unlinkat(dirfd, "port", 0) && errno != ENOENT && !rc)
		rc = -errno;
	if (unlinkat(dirfd, "config-content.json", 0) && errno != ENOENT && !rc)
		rc = -errno;
	return rc;
}

int registry_gateway_socket(const struct repo *r, char *buf, size_t size, struct err *e)
{
	int n = snprintf(buf, size, "%s/gateway.sock", r->state_dir);
	size_t limit = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (n < 0 || (size_t)n >= size || (size_t)n > limit)
		return err_set(e, -ENAMETOOLONG,
			       "the gateway socket %s/gateway.sock has %d bytes, and a unix socket "
			       "address ends at %zu; set RRM_HOME to a shorter path",
			       r->state_dir, n, limit);
	return 0;
}
