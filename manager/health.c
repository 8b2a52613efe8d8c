#include "manager/health.h"

#include <stdio.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/base/probe.h"
#include "manager/base/proc.h"

enum { ANSWER_MAX = 16384 };

const char *health_words(enum health h)
{
	switch (h) {
	case HEALTH_OK:
		return "is healthy";
	case HEALTH_DOWN:
		return "does not listen";
	case HEALTH_SILENT:
		return "accepts connections and does not answer";
	case HEALTH_LOCKED:
		return "refuses the password of this repository (401)";
	case HEALTH_STRANGER:
		return "answers as somebody else";
	case HEALTH_UNWELL:
		return "says that it is not healthy";
	case HEALTH_ORPHAN:
		return "belongs to another process";
	}
	return "is in an unknown state";
}

/* Shared by both probes: outcome of the exchange, the parsed answer when it was 200. */
static enum health ask(const struct probe *p, cJSON **answer)
{
	char body[ANSWER_MAX];
	int status;
	int r = probe_get(p, &status, body, sizeof(body));
	if (r == -ETIMEDOUT || r == -EAGAIN)
		return HEALTH_SILENT;
	if (r == -EPROTO)
		return HEALTH_STRANGER;
	if (r < 0)
		return HEALTH_DOWN;
	if (status == 401)
		return HEALTH_LOCKED;
	/* 500 and 503 are what a backend says that is not up yet, or not well. */
	if (status >= 500)
		return HEALTH_UNWELL;
	if (status != 200 || json_parse(body, strlen(body), answer, NULL) < 0)
		return HEALTH_STRANGER;
	if (!cJSON_IsObject(*answer) || !cJSON_HasObjectItem(*answer, "healthy"))
		return HEALTH_STRANGER;
	return json_bool(*answer, "healthy", false) ? HEALTH_OK : HEALTH_UNWELL;
}

enum health health_backend(const struct repo *r, const char *backend, int port, pid_t pid,
			   const char *password, int timeout_ms, char *version)
{
	CLEANUP(json_deletep) cJSON *answer = NULL;
	struct probe p = {.port = port,
			  .path = "/global/health",
			  .username = "opencode",
			  .password = password,
			  .timeout_ms = timeout_ms};
	enum health h = ask(&p, &answer);
	if (h != HEALTH_OK)
		return h;
	bool embedded = strcmp(backend, "embedded") == 0;
	const char *id = json_str(answer, "repo_id", embedded ? "" : r->id);
	if (strcmp(id, r->id) != 0 || json_int(answer, "pid", pid) != pid)
		return HEALTH_STRANGER;
	if (version)
		snprintf(version, 32, "%s", json_str(answer, "version", ""));
	return HEALTH_OK;
}

/* A launcher in between is fine: npm's `opencode` is a script that runs the program as its child. */
static bool descends(pid_t pid, pid_t from)
{
	struct proc_stat st;
	for (int hops = 0; hops < 8 && pid != from; hops++) {
		if (proc_stat(pid, &st) < 0 || st.ppid <= 1)
			return false;
		pid = st.ppid;
	}
	return pid == from;
}

enum health health_gateway(const struct repo *r, const char *socket_path, pid_t backend,
			   int timeout_ms)
{
	CLEANUP(json_deletep) cJSON *answer = NULL;
	struct probe p = {.unix_socket = socket_path, .path = "/health", .timeout_ms = timeout_ms};
	enum health h = ask(&p, &answer);
	if (h != HEALTH_OK)
		return h;
	if (strcmp(json_str(answer, "repo_id", ""), r->id) != 0)
		return HEALTH_STRANGER;
	int peer;
	if (probe_peer(socket_path, &peer) < 0)
		return HEALTH_DOWN;
	return descends(peer, backend) ? HEALTH_OK : HEALTH_ORPHAN;
}
