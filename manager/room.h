/*
 * Room for one more backend (max_backends). <base>/backends.lock is held from the count until the new
 * one stands in its registry, so starts of different repos count each other.
 */
#pragma once
#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/repo.h"

/*
 * The caller holds r's start.lock. Living backends of other repos are counted; while there are
 * max_backends, the least recently used one that is idle (idle.h) is stopped. Where none is idle, it
 * waits a moment, then -EBUSY with "2 backends run (web, api), as many as max_backends allows, and all are
 * in use; stop one with `rrm stop NAME` or raise max_backends".
 * 0: *lock is to be closed once the new one is noted; -1 when there is no limit.
 */
int room_make(const struct config *c, const struct repo *r, uint64_t deadline_ms, int *lock,
	      struct err *e);
