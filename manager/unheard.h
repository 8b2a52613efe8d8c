/*
 * Callers that an OpenCode which has just begun will never answer. It listens some time before it can answer (0.3 to 1 s
 * with 1.18.33, longer on a busy machine): a request that comes in between is accepted and forgotten. Who waits for
 * its answer without a limit, as an attached TUI does whose backend came back after a crash, waits for ever. When it is
 * ready their connections are ended, and they try again.
 */
#pragma once
#include <stdint.h>
#include <sys/types.h>

/* Ends the connections to port of pid and its descendants that have sent nothing, and got the last of their data
 * before before_ms (CLOCK_MONOTONIC). Returns how many those were, or negative errno: -EPERM where only an ancestor may look into a
 * process (Yama's ptrace_scope 1), then none is ended. */
int unheard_end(pid_t pid, int port, uint64_t before_ms);
