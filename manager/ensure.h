/*
 * ensureRunning: one healthy backend per repo, started when there is none.
 *
 * Three doors to one thing. ensure_warm() never starts anything. ensure_start() does, and becomes for
 * a moment the parent of the backend (double fork, setsid, all fds closed): only short-lived programs
 * call it. ensure_running() is for everybody else (rrm-mount, librrm): warm in-process, otherwise it
 * runs `rrm ensure --json <repo_id>` as a child and waits for that, so a long-lived process is never
 * the parent of a backend and nothing inherits its fds.
 */
#pragma once
#include "manager/base/err.h"
#include "manager/base/json.h"
#include "manager/config.h"
#include "manager/registry.h"
#include "manager/repo.h"

enum { ENSURE_COLD = 1 };

/*
 * 0: *ep names a backend that was probed this moment: pid, start time and boot id match a living
 * process, its URL answers health with our password and says this repo, gateway.sock answers health
 * with this repo_id. ENSURE_COLD: there is none (stale entries are left to ensure_start). Takes at
 * most probe_ms for each of the two probes.
 */
int ensure_warm(const struct config *c, const struct repo *r, int probe_ms, struct endpoint *ep);

/*
 * As above, or starts one: single flight between processes by <state>/start.lock (30 at once start
 * one; the others wait and then find it warm). Bounded by start_timeout_ms, and as much again where
 * many OpenCodes start at once (startslot.h): -ETIMEDOUT, or the error of the start, with a sentence
 * that holds the end of the backend's own output.
 */
int ensure_start(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e);

/* See above. Blocks up to twice start_timeout_ms and a little. Any thread; no lock may be held. */
int ensure_running(const struct config *c, const struct repo *r, struct endpoint *ep,
		   struct err *e);

/*
 * Stops a backend: TERM to its process group, KILL after 5 s, and whatever of its tree survives in
 * other sessions (children by ppid, OPENCODE_PID in their environment) or in its systemd scope. Clears
 * registry, port and socket. Not running is success.
 */
int ensure_stop(const struct config *c, const struct repo *r, struct err *e);

/*
 * The same unless it is in use (idle.h) or was used within unused_ms: then IDLE_IN_USE with a sentence.
 * Whoever ensures it at the same time finds it running, or gets a new one.
 * Waits at most wait_ms for whoever starts or stops it.
 */
int ensure_stop_if_idle(const struct config *c, const struct repo *r, int64_t unused_ms,
			uint64_t wait_ms, struct err *e);

/*
 * Both in one, under one start.lock, and on the same port, so that attached clients reconnect. Starts it
 * when it was not running. why: only unless a session is at work in it (else IDLE_IN_USE with a
 * sentence), and `rrm status` tells the reason; NULL: in any case. For short-lived programs, as
 * ensure_start().
 */
int ensure_restart(const struct config *c, const struct repo *r, const char *why,
		   struct endpoint *ep, struct err *e);

/* What ensure_start() does under start.lock, which the caller holds. */
int ensure_locked(const struct config *c, const struct repo *r, uint64_t deadline_ms,
		  struct endpoint *ep, struct err *e);

/* What `rrm ensure --json` prints: {repo_id, name, root, url, pid, backend, version, state, username,
 * password_file}. *out owned. 0 or -ENOMEM. */
int ensure_json(const struct repo *r, const struct endpoint *ep, cJSON **out);
