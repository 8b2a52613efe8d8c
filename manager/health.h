/*
 * Is this the backend, and the gateway, of this repo? Plain probes (base/probe.h), no libcurl.
 *
 * GET http://127.0.0.1:<port>/global/health with the repo's password: {healthy, version} from OpenCode,
 * {healthy, version, repo_id, root, pid} from rrm-backend. OpenCode does not know repo ids: there the
 * password, random for each repo, says who it is.
 * GET /health over gateway.sock: {healthy, repo_id, root, pid, version, epoch}; the process behind the
 * socket (SO_PEERCRED) must be the backend or a descendant of it.
 */
#pragma once
#include <stddef.h>
#include <sys/types.h>

#include "manager/repo.h"

enum health {
	HEALTH_OK = 0,
	HEALTH_DOWN,     /* nobody listens */
	HEALTH_SILENT,   /* accepts, does not answer in time */
	HEALTH_LOCKED,   /* 401: it has another password */
	HEALTH_STRANGER, /* speaks something else, or is of another repo */
	HEALTH_UNWELL,   /* answers as ours, and says that it is not healthy */
	HEALTH_ORPHAN,   /* the gateway of this repo, but not of this backend */
};

/* The tail of a sentence about it: "does not answer". */
const char *health_words(enum health h);

/* GET /global/health on 127.0.0.1. backend is "embedded" or "opencode"; pid the process that should
 * answer. version (may be NULL) gets 32 bytes. */
enum health health_backend(const struct repo *r, const char *backend, int port, pid_t pid,
			   const char *password, int timeout_ms, char *version);

/* GET /health over socket_path, and its peer. */
enum health health_gateway(const struct repo *r, const char *socket_path, pid_t backend,
			   int timeout_ms);
