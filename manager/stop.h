/*
 * Ending a backend with everything that belongs to it: its descendants; its process group; what it left
 * behind in sessions of its own (a bash tool's children: OPENCODE_PID=<pid> and RRM_REPO_ID=<id> in
 * /proc/<pid>/environ); all of its systemd scope, where it has one (scope.h); and processes of earlier backends of this repo that no registry knows any more
 * (RRM_BACKEND_OF=<state directory>, which only backends and gateways have).
 *
 * rrm-mount is spared wherever it was started, and so is the caller.
 */
#pragma once
#include <stdbool.h>

#include "manager/base/err.h"
#include "manager/registry.h"
#include "manager/repo.h"

/*
 * The caller holds start.lock. ep: what the registry says, alive or not; NULL when it says nothing.
 * polite: OpenCode is asked to dispose of its instances first. TERM, then KILL to what is left after
 * grace_ms; waits until all are gone. Removes gateway.sock and empties tmp/; the registry is the
 * caller's. -EBUSY with a sentence when a process survives SIGKILL for 5 s.
 */
int stop_processes(const struct repo *r, const struct endpoint *ep, bool polite, int grace_ms,
		   struct err *e);
