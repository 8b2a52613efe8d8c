/*
 * What `rrm doctor` looks at, in four parts. Each adds to the findings (finding.h); what cannot be looked at is a
 * finding of its own, a note, never a failure of the whole. Nothing is changed, locked or started.
 */
#pragma once
#include "manager/cmdutil.h"
#include "manager/finding.h"
#include "manager/registry.h"
#include "manager/runtimes.h"

/* Running OpenCodes: shared_directory, shared_database, default_port, fixed_port, port_collision,
 * outside_runtime, open_listener, backend_nofile, hidden_process. */
void doctor_runtimes(struct findings *f, const struct cmd_context *x, const struct runtimes *all);

/* The machine's limits: nofile, inotify_watches, inotify_instances, and io_uring (a note). */
void doctor_machine(struct findings *f);

/* What ended without having been cleared: stale_entry, dead_mount. */
void doctor_state(struct findings *f, const struct cmd_context *x);

/* Databases with sessions of several work trees or branches: session_branches, unreadable_database. */
void doctor_sessions(struct findings *f, const struct cmd_context *x, const struct runtimes *all);

/* registry_read() of what is sound: false when there is none, or a damaged one, which stays where it is. */
bool doctor_registry(const struct repo *r, struct endpoint *ep, bool *alive);
