/*
 * <state>/registry.json: where a repo's backend answers: {repo_id, root, pid, start_time, boot_id,
 * port, url, backend, version, state, started, error, root_dev, root_ino, program {path, dev, ino, size,
 * mtime_ms}, scope, died, deaths_ms[], retry_at_ms, restarted_ms, restarted_why}. Replaced atomically;
 * absent when stopped. Written by whoever holds <state>/start.lock. <state>/port holds the port in decimal
 * and a newline.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/policy.h"
#include "manager/repo.h"

/* A file as it was when it was executed. */
struct endpoint_program {
	char path[1024]; /* canonical; "" when it is not known */
	uint64_t dev, ino;
	int64_t size, mtime_ms;
};

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
	uint64_t root_dev,
		root_ino; /* the repository's directory as it was at the start; 0: not known */
	struct endpoint_program program;
	char scope
		[512]; /* directory of the cgroup of its systemd scope; "": it has none (scope.h) */
	/* All times in milliseconds of the wall clock. What happened to it without anybody's order: */
	bool died; /* failed: it had been ready, so error is no start's */
	unsigned n_deaths;
	int64_t deaths_ms[POLICY_DEATHS]; /* oldest first */
	int64_t retry_at_ms;              /* failed: it is started again then; 0: it is not */
	int64_t restarted_ms;             /* last time; 0: never */
	char restarted_why[256];
};

/*
 * 0; -ENOENT when there is none. A corrupt file is moved aside, logged, and reads as -ENOENT.
 * *alive (may be NULL) says whether pid, start time and boot id still name a living process.
 */
int registry_read(const struct repo *r, struct endpoint *out, bool *alive, struct err *e);
int registry_write(const struct repo *r, const struct endpoint *ep, struct err *e);
/* Also config-content.json (shimconfig.h), which is this backend's alone. */
int registry_clear(const struct repo *r);

/* Whether the machine has not been booted since it was written. */
bool registry_this_boot(const struct endpoint *ep);

/* Adds a death; the oldest goes when there is no room. */
void registry_add_death(struct endpoint *ep, int64_t now_ms);

enum registry_root { REGISTRY_ROOT_SAME, REGISTRY_ROOT_GONE, REGISTRY_ROOT_REPLACED };
/* Whether the repository's directory is there, and is the one that the backend was started for. */
enum registry_root registry_root(const struct repo *r, const struct endpoint *ep);
/* -ENOENT with the sentence for REGISTRY_ROOT_GONE. */
int registry_root_gone(const struct repo *r, struct err *e);

/* Path of the gateway's socket, "<state>/gateway.sock"; -ENAMETOOLONG with a sentence when it is
 * beyond the 107 bytes of a unix socket address (set RRM_HOME to a shorter path). */
int registry_gateway_socket(const struct repo *r, char *buf, size_t size, struct err *e);
