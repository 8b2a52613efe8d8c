/*
 * <state>/audit.jsonl: one record a line (docs/FORMATS.md), each with the SHA-256 of the line before.
 * Written by one thread of one gateway alone; a second thread inside does nothing but fdatasync(),
 * at most once a second (group commit).
 *
 * At the start the tail is read: a last line that is torn or no record is moved to
 * audit.corrupt-<n>, the file cut behind the last good one, and the chain goes on from there. Beyond
 * rotate_bytes the file becomes audit.<seq of its first record>.jsonl and the chain goes on in a new one.
 *
 * Room for the next records is allocated ahead, so a disk that is full is known before a change is
 * applied, not after. Errors: 0 or negative errno with a sentence.
 */
#pragma once
#include <stdint.h>

#include "manager/base/err.h"
#include "router/gateway_record.h"

struct gateway_audit;

/* dirfd: the state directory, borrowed for life. rotate_bytes: 0 is 64 MiB. */
int gateway_audit_new(struct gateway_audit **out, int dirfd, const char *repo_id,
		      uint64_t rotate_bytes, struct err *e);
/* Syncs, gives back the room not used. NULL is fine; returns NULL. */
struct gateway_audit *gateway_audit_free(struct gateway_audit *a);

/* From now on, and at each rotation, the oldest parts go as auditkeep.h says. */
void gateway_audit_keep(struct gateway_audit *a, uint64_t max_bytes, uint32_t days);

uint64_t gateway_audit_seq(const struct gateway_audit *a);   /* of the last record; 0: none */
uint64_t gateway_audit_epoch(const struct gateway_audit *a); /* of the last record at the start */

/* Makes sure that a few records more have room. -ENOSPC. */
int gateway_audit_reserve(struct gateway_audit *a, struct err *e);

/* Appends r as the record after the last; sha as gateway_record_text(). */
int gateway_audit_append(struct gateway_audit *a, const struct gateway_record *r, const char *sha,
			 struct err *e);
