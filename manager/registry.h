/*
 * <state>/registry.json: where a repo's backend answers: {repo_id, root, pid, start_time, boot_id,
 * port, url, backend, version, state, started, ...}. Replaced atomically; absent when stopped. Written
 * by whoever holds <state>/start.lock. <state>/port holds the port in decimal and a newline.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/repo.h"

struct endpoint {
	char repo_id[REPO_ID_MAX];
	pid_t pid;           /* leader of the backend's process group */
	uint64_t start_time; /* field 22 of /proc/<pid>/stat */
	char boot_id[40];
	int port;
	char url[64];     /* http://127.0.0.1:<port> */
	char backend[16]; /* "opencode" or "embedded" */
	char version[32];
	char state[16];   /* "starting", "ready", "failed" */
	char started[32]; /* RFC 3339 */
	char error[512];  /* why it failed, "" otherwise */
};

/*
 * 0; -ENOENT when there is none. A corrupt file is moved aside, logged, and reads as -ENOENT.
 * *alive (may be NULL) says whether pid, start time and boot id still name a living process.
 */
int registry_read(const struct repo *r, struct endpoint *out, bool *alive, struct err *e);
int registry_write(const struct repo *r, const struct endpoint *ep, struct err *e);
/* Also config-content.json (shimconfig.h), which is this backend's alone. */
int registry_clear(const struct repo *r);

/* Path of the gateway's socket, "<state>/gateway.sock"; -ENAMETOOLONG with a sentence when it is
 * beyond the 107 bytes of a unix socket address (set RRM_HOME to a shorter path). */
int registry_gateway_socket(const struct repo *r, char *buf, size_t size, struct err *e);
