/*
 * librrm: find or start the backend of a repository.
 *
 *     struct rrm_endpoint ep;
 *     char error[512];
 *     if (rrm_ensure_running("/srv/src/web", &ep, error, sizeof(error)) != 0)
 *             fprintf(stderr, "%s\n", error);
 *
 * Link with `pkg-config --cflags --libs rrm`. Thread-safe.
 */
#pragma once
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rrm_endpoint {
	char repo_id[64];
	char name[256];
	char root[4096];
	char url[64]; /* http://127.0.0.1:<port> */
	int port;
	int pid;
	char backend[16]; /* "opencode" or "embedded" */
	char version[32];
	char username[32];
	char password_file[4096]; /* 0600; the password is its first line */
};

/*
 * repo: a path in the repository, its mount name or its repo_id. Starts the backend when none is
 * healthy and waits until it is, at most start_timeout_ms of the configuration. 0, or a negative errno
 * with one sentence in error (cut to size; error may be NULL).
 */
int rrm_ensure_running(const char *repo, struct rrm_endpoint *out, char *error, size_t size);

const char *rrm_version(void);

#ifdef __cplusplus
}
#endif
