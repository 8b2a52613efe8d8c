/*
 * One mutation from request to answer: seen before? of this turn? room for its record? note it, apply
 * it, record it, answer. The calls that change anything come from one thread, so there are no locks.
 *
 * Exactly once, across kill -9. An id has its record when its mutation was applied, failed or was
 * refused, and a repeated id gets the answer that it got before (the last 1024). What a killed gateway
 * was applying is judged at the next start by the state before and after, and waits, unrecorded, as
 * "deferred": sent again under its id it is answered as done when it was applied (its record: "ok" and
 * a message that says so), else it is applied now (an ordinary record; an append that wrote a part is
 * completed where it began). Not sent again within GATEWAY_ENGINE_DEFER_MS, or until the gateway
 * stops, its record says "interrupted" and whether it was found applied. So an interrupted mutation
 * can show in the tree up to 35 s before it does in the log.
 *
 * Consecutive writes wait in the pending record (gateway_record.h) until something else comes, a
 * release, who reads the log (gateway_engine_settle()), or nothing for GATEWAY_ENGINE_COALESCE_MS.
 */
#pragma once
#include <stdint.h>

#include "manager/base/err.h"
#include "router/mutation.h"

enum { GATEWAY_ENGINE_COALESCE_MS = 100, GATEWAY_ENGINE_DEFER_MS = 35000 };

struct gateway_engine;

struct gateway_engine_config {
	const char *root; /* absolute; borrowed during new() only, as are the others */
	int state;        /* fd of the state directory; borrowed for life */
	const char *repo_id;
	uint64_t rotate_bytes;     /* 0: 64 MiB */
	uint64_t undo_bytes;       /* 0: nothing is kept */
	uint32_t undo_days;        /* 0: for ever */
	uint64_t audit_keep_bytes; /* of the rotated parts; 0: any size */
	uint32_t audit_keep_days;  /* 0: for ever */
};

int gateway_engine_new(struct gateway_engine **out, const struct gateway_engine_config *c,
		       uint64_t now_ms, struct err *e);
/* Records what is pending or deferred. NULL is fine; returns NULL. */
struct gateway_engine *gateway_engine_free(struct gateway_engine *g);

/* Always answers; the outcome is in *a. m keeps its members but may have changed op and offset. */
void gateway_engine_handle(struct gateway_engine *g, struct mutation *m, uint64_t now_ms,
			   struct mutation_answer *a);

/* What is due at now_ms (CLOCK_MONOTONIC). Returns milliseconds until it wants to run again; -1: never
 * by itself. */
int gateway_engine_tick(struct gateway_engine *g, uint64_t now_ms);

/* Writes out the pending record. *seq: of the last record. 0 or negative errno with a sentence. */
int gateway_engine_settle(struct gateway_engine *g, uint64_t *seq, struct err *e);

uint64_t gateway_engine_epoch(const struct gateway_engine *g); /* the newest seen */
