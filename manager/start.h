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
 * Starts it, on port preferred when that is free (0: any), and waits until it is ready. The registry
 * says "starting" from before its first instruction, then "ready"; when this fails the process is
 * ended and the registry says "failed" and why. -ETIMEDOUT, -ECHILD (it ended), ... with a sentence
 * that holds the end of its output.
 */
int start_backend(const struct config *c, const struct repo *r, int preferred, uint64_t deadline_ms,
		  struct endpoint *ep, struct err *e);

/*
 * For one that lives already, started by somebody who did not finish or slow to answer: waits until it
 * is ready and writes that down. Negative, with a sentence, when it is not the right one or does not
 * become ready; it was not ended.
 */
int start_adopt(const struct config *c, const struct repo *r, uint64_t deadline_ms,
		struct endpoint *ep, struct err *e);
