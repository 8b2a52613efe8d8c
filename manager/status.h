/*
 * What `rrm status --json` and <mount>/.rrm/status print: an array, one object a repo: {repo_id, name,
 * root, branch, state ("stopped"|"starting"|"ready"|"failed"), pid, url, backend, version, uptime_s,
 * memory {rss_kib, pss_kib, swap_kib, processes}, turn {holder, since, waiters[]} from writer.json,
 * last_write {ts, path, actor} from audit.jsonl, last_error}. Reads files and /proc only: it never
 * probes and never touches the mount.
 */
#pragma once
#include "manager/base/json.h"
#include "manager/config.h"
#include "manager/repo.h"

/* only NULL: all repos. *out owned. */
int status_json(const struct config *c, const struct repo *only, cJSON **out, struct err *e);
