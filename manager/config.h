/*
 * Configuration: ${XDG_CONFIG_HOME:-~/.config}/rrm/config.json, all keys optional. Command line wins
 * over the environment, that over the file. An unknown key or a wrong type is an error that names the
 * key and its line. RRM_HOME sets the state base (default ~/.opencode).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "manager/base/err.h"

enum config_backend { CONFIG_BACKEND_AUTO, CONFIG_BACKEND_OPENCODE, CONFIG_BACKEND_EMBEDDED };
enum config_transport { CONFIG_TRANSPORT_DEV, CONFIG_TRANSPORT_AUTO, CONFIG_TRANSPORT_URING };
enum config_policy { CONFIG_POLICY_ROUTE, CONFIG_POLICY_READONLY };

struct config_repo_policy {
	char *repo; /* owned; name, repo_id or root */
	enum config_policy policy;
};

struct config {
	char *base;       /* owned; state base, absolute: $RRM_HOME or ~/.opencode */
	char *mountpoint; /* owned; absolute; default ~/rrm */
	char **roots; /* owned, NULL-terminated, absolute: registered at mount time by scanning */
	enum config_backend backend;
	enum config_transport
		transport; /* how rrm-mount gets its requests; auto: uring where root allowed it */
	uint32_t awake_ms; /* fs/awake.h; 0: never */
	char *opencode_command;    /* owned; default "opencode", looked up on PATH */
	uint32_t lock_timeout_ms;  /* 30000 */
	uint32_t linger_ms;        /* 20 */
	uint32_t max_turn_ms;      /* 2000 */
	uint32_t start_timeout_ms; /* 30000 */
	uint32_t idle_stop_s;      /* 0: never */
	uint32_t undo_keep_mib, undo_keep_days;
	uint32_t audit_file_mib;                  /* 64 */
	uint32_t audit_keep_mib, audit_keep_days; /* 0: for ever */
	uint32_t max_memory_mib;                  /* per backend; 0: no limit */
	uint32_t max_backends;                    /* 0: no limit */
	uint32_t memory_every_s;                  /* 30: samples in memory.jsonl; 0: none */
	struct config_repo_policy *policies;      /* owned */
	unsigned n_policies;
};

/*
 * Reads environment and file. *out owned; free with config_free(). -EINVAL with "…/config.json line 3:
 * unknown key "mountpont"; did you mean "mountpoint"?"; -EACCES for an unreadable file. A missing
 * file is all defaults. -ENOENT when there is neither HOME nor RRM_HOME.
 */
int config_load(struct config **out, struct err *e);
struct config *config_free(struct config *c); /* NULL is fine; returns NULL */

/* Pure: parses text of config.json into c (tests, config_load). path is for the sentences. */
int config_parse(struct config *c, const char *text, const char *path, struct err *e);

struct repo;
enum config_policy config_policy_of(const struct config *c, const struct repo *r);
