/*
 * How many OpenCodes start at once: each needs 3-4 s of processor time, so many at once all come up as late
 * as the last one of a queue would, and the more there are the more exceed start_timeout_ms. A
 * slot is an open-file-description lock on one byte of <base>/starts.lock; there are twice as many as
 * this process may use processors.
 */
#pragma once
#include <stdint.h>

#include "manager/config.h"

/*
 * Waits for a slot until deadline_ms (CLOCK_MONOTONIC). *fd: closing it gives the slot back, also when
 * the process dies; -1 when there was none in time (or no lock file could be had): better to start
 * late than never.
 */
void startslot_take(const struct config *c, uint64_t deadline_ms, int *fd);
