/*
 * What `rrm status --json` and <mount>/.rrm/status print: an array, one object a repo: {repo_id, name,
 * root, branch, state ("stopped"|"starting"|"ready"|"failed"), pid, url, backend, version, uptime_s,
 * memory {rss_kib, pss_kib, swap_kib, processes}, cpu_ms, turn {holder, since, branch, waiters[]} from
 * writer.json (its entries as router/writer.h says; those of dead processes are left out), last_write
 * {ts, op, path, actor, seq}: the newest record of audit.jsonl with result "ok", last_error, last_restart
 * {ts, why}: the last one that nobody ordered, installed_changed: another file would be executed by a
 * start now, scope: whether it has a systemd scope, notice: a sentence about that}. What is not known is
 * null. Reads files and /proc only: it never probes and never touches the mount. A backend
 * that is gone without having been stopped is "stopped", with that in last_error.
 */
#pragma once
#include "manager/base/json.h"
#include "manager/config.h"
#include "manager/repo.h"

/* only NULL: all repos. *out owned. */
int status_json(const struct config *c, const struct repo *only, cJSON **out, struct err *e);
