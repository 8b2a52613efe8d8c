/*
 * Starting the one backend of a repo. The caller holds start.lock all the way.
 *
 * Which program: `backend` of the configuration; auto is OpenCode when its command is found on PATH,
 * else rrm-backend. It is ready when its process lives, its URL answers health with our password, and
 * gateway.sock answers for this repo from it or a descendant; OpenCode in addition must have answered
 * the request that boots the instance of its working directory, because that loads the plugin, and the
 * plugin starts the gateway.
 */
#pragma once
#include <stdint.h>

#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/registry.h"
#include "manager/repo.h"

/* Takes <state>/start.lock (flock) in *fd. -ETIMEDOUT at deadline_ms (CLOCK_MONOTONIC), -ENOENT when the
 * state directory is gone. Closing *fd gives it back. */
int start_lock(const struct repo *r, uint64_t deadline_ms, int *fd, struct err *e);

/*
 * Starts it and waits until it is ready, until deadline_ms and as much later as it had to wait for
 * others that are starting (startslot.h; at most start_timeout_ms). before: what is known of the one before it, whose port is taken
 * again when it is free, and whose deaths and restarts stay known; NULL: there was none. The registry
 * says "starting" from before its first instruction, then "ready"; when this fails the process is
 * ended and the registry says "failed" and why. -ETIMEDOUT, -ECHILD (it ended), -EBUSY (max_backends),
 * ... with a sentence that holds the end of its output.
 */
int start_backend(const struct config *c, const struct repo *r, const struct endpoint *before,
		  uint64_t deadline_ms, struct endpoint *ep, struct err *e);

/* The file that path leads to, as it is now. 0 or negative errno, *out then empty. */
int start_note_program(const char *path, struct endpoint_program *out);

/*
 * For one that lives already, started by somebody who did not finish or slow to answer: waits until it
 * is ready and writes that down. Negative, with a sentence, when it is not the right one or does not
 * become ready; it was not ended.
 */
int start_adopt(const struct config *c, const struct repo *r, uint64_t deadline_ms,
		struct endpoint *ep, struct err *e);
