/*
 * A backend that ended without having been stopped is started again, on its port.
 *
 * Any number of watchers may see the same death (rrm-mount's supervisor, an `rrm attach`): each calls
 * recover_backend(); what is done is decided under start.lock, by what registry.json says then, so one
 * of them starts it and the others find it running. Deaths are noted in registry.json (registry.h).
 * Between a death and the next start lie 0, 1, 2, 4 s; after 3 within a minute it is `failed` and stays
 * so until the next ensure. See policy.h.
 */
#pragma once
#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/registry.h"
#include "manager/repo.h"

enum { RECOVER_STOPPED = 1 };

/*
 * For any process, also a long-lived one: runs `rrm restart --if-dead <repo_id>` as a child and waits for
 * it, at most for the waits between tries and start_timeout_ms each. 0: a healthy one runs (again).
 * RECOVER_STOPPED: it was stopped on purpose, so there is nothing to do. Negative: it is failed, with
 * the sentence that `rrm status` shows.
 */
int recover_backend(const struct config *c, const struct repo *r, struct err *e);

/* The same in this process, which becomes the parent of the backend for a moment: for short-lived
 * programs. ep: the running one when 0 is returned. */
int recover_here(const struct config *c, const struct repo *r, struct endpoint *ep, struct err *e);
