/*
 * <state>/undo/<n>: what foreign changes overwrote, cut off, replaced or removed, so that `rrm undo` can put
 * it back. The first change of a record (docs/FORMATS-gateway.md) that loses something keeps it: the content
 * of a regular file, the text of a symlink, the value of an extended attribute. What the file was besides
 * (mode, owner, times, size) stands in the record. Appending loses nothing.
 *
 * A reflink where the file system has them, else a copy of at most GATEWAY_UNDO_COPY_MAX bytes. That
 * something cannot be kept never fails the change: the record says why. Bounded by size and age, the oldest
 * go first. A copy has the file's extended attributes and ACL, too. n grows for ever: it is the wall clock in milliseconds, or one more than the last.
 *
 * Used by one thread.
 */
#pragma once
#include <stdint.h>

#include "manager/base/err.h"
#include "router/gateway_apply.h"
#include "router/gateway_record.h"

enum { GATEWAY_UNDO_COPY_MAX = 16 << 20 };

struct gateway_undo;

/* dirfd: the state directory, borrowed for life. max_bytes 0: nothing is kept. days 0: for ever. */
int gateway_undo_new(struct gateway_undo **out, int dirfd, uint64_t max_bytes, uint32_t days,
		     struct err *e);
struct gateway_undo *gateway_undo_free(struct gateway_undo *u); /* NULL is fine; returns NULL */

/*
 * Before m is applied to t: fills the note. before: the note of the record that m will continue, NULL for a
 * record of its own.
 */
void gateway_undo_keep(struct gateway_undo *u, struct gateway_apply *a, const struct mutation *m,
		       const struct gateway_target *t, const struct gateway_undo_note *before,
		       struct gateway_undo_note *note);
