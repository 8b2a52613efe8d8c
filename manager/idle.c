#include "manager/idle.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/probe.h"
#include "manager/password.h"

enum { ASK_MS = 5000, ANSWER_MAX = 256 << 10, TCP_ESTABLISHED = 1 };

static int64_t mtime_ms(const char *dir, const char *name)
{
	CLEANUP(freep) char *path = path_join(dir, name);
	struct stat st;
	if (!path || stat(path, &st) < 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

int64_t idle_touched_ms(const struct repo *r)
{
	return mtime_ms(r->state_dir, "start.lock");
}

int64_t idle_used_ms(const struct repo *r)
{
	int64_t asked = idle_touched_ms(r);
	int64_t written = mtime_ms(r->state_dir, "audit.jsonl");
	return asked > written ? asked : written;
}

void idle_touch(const struct repo *r)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "start.lock");
	if (path)
		(void)utimensat(AT_FDCWD, path, NULL, 0);
}

static int count_in(pid_t pid, const char *table, int port)
{
	char path[64], line[512];
	snprintf(path, sizeof(path), "/proc/%d/net/%s", (int)pid, table);
	CLEANUP(fclosep) FILE *f = fopen(path, "re");
	int n = 0;
	if (!f)
		return errno == ENOENT ? 0 : -errno;
	while (fgets(line, sizeof(line), f)) {
		unsigned int local_port, state;
		n += sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x", &local_port,
			    &state) == 2 &&
		     (int)local_port == port && state == TCP_ESTABLISHED;
	}
	return n;
}

int idle_clients(const struct endpoint *ep)
{
	int four = count_in(ep->pid, "tcp", ep->port);
	int six = count_in(ep->pid, "tcp6", ep->port);
	return four < 0 ? four : six < 0 ? six : four + six;
}

int idle_busy_sessions(const char *answer)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	const cJSON *session;
	int n = 0;
	if (json_parse(answer, strlen(answer), &j, NULL) < 0 || !cJSON_IsObject(j))
		return -EPROTO;
	cJSON_ArrayForEach (session, j)
		n += strcmp(json_str(session, "type", "busy"), "idle") != 0;
	return n;
}

/* dir NULL: what the backend takes for a client that names none. */
static int busy_in(const struct endpoint *ep, const char *password, const char *dir, int timeout_ms)
{
	CLEANUP(freep) char *path = calloc(1, 64 + (dir ? 3 * strlen(dir) : 0));
	CLEANUP(freep) char *answer = malloc(ANSWER_MAX);
	int status;
	if (!path || !answer)
		return -ENOMEM;
	size_t n = (size_t)sprintf(path, "/session/status%s", dir ? "?directory=" : "");
	for (const unsigned char *p = (const unsigned char *)dir; p && *p; p++)
		n += (size_t)sprintf(path + n, isalnum(*p) || strchr("/-._~", *p) ? "%c" : "%%%02X",
				     *p);
	struct probe q = {.port = ep->port,
			  .path = path,
			  .username = PASSWORD_USER,
			  .password = password,
			  .timeout_ms = timeout_ms};
	int rc = probe_get(&q, &status, answer, ANSWER_MAX);
	return rc < 0 ? rc : status != 200 ? -EPROTO : idle_busy_sessions(answer);
}

int idle_sessions(const struct repo *r, const struct endpoint *ep, int timeout_ms)
{
	char password[PASSWORD_MAX];
	if (strcmp(ep->backend, "opencode") != 0)
		return 0;
	int rc = password_read(r, password);
	int here = rc < 0 ? rc : busy_in(ep, password, NULL, timeout_ms);
	int root = here < 0 ? here : busy_in(ep, password, r->root, timeout_ms);
	return root < 0 ? root : here > root ? here : root;
}

/* As idle_look(), without the question of when it was used last. */
static int look_now(const struct repo *r, const struct endpoint *ep, enum idle_scope what,
		    struct err *e)
{
	int clients = what == IDLE_SESSIONS ? 0 : idle_clients(ep);
	if (clients < 0)
		return err_set(e, IDLE_IN_USE, "its connections cannot be seen: %s",
			       strerror(-clients));
	if (clients > 0)
		return err_set(e, IDLE_IN_USE, "%d connection%s to it %s open", clients,
			       clients == 1 ? "" : "s", clients == 1 ? "is" : "are");
	int sessions = idle_sessions(r, ep, ASK_MS);
	if (sessions < 0)
		return err_set(e, IDLE_IN_USE, "it does not say whether a session is at work: %s",
			       strerror(-sessions));
	if (sessions > 0)
		return err_set(e, IDLE_IN_USE, "%d session%s at work in it", sessions,
			       sessions == 1 ? " is" : "s are");
	return 0;
}

int idle_look(const struct repo *r, const struct endpoint *ep, enum idle_scope what,
	      int64_t fresh_ms, struct err *e)
{
	int64_t ago_ms = clock_wall_ms() - idle_used_ms(r);
	if (ago_ms < fresh_ms)
		return err_set(e, IDLE_IN_USE, "it was used %lld s ago", (long long)ago_ms / 1000);
	int rc = look_now(r, ep, what, e);
	if (rc == IDLE_IN_USE)
		idle_touch(r);
	return rc;
}
