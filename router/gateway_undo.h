/*
 * <state>/undo/<n>: what foreign changes overwrote, cut off, replaced or removed, so that `rrm undo` can put
 * it back. The first change of a record (docs/FORMATS-gateway.md) that loses something keeps it: the content
 * of a regular file, the text of a symlink, the value of an extended attribute. What the file was besides
 * (mode, owner, times, size) stands in the record. Appending loses nothing.
 *
 * What is small is a piece: appended with its extended attributes to a file that has many, for to make a file
 * for each takes most of the time of a removal (ext4: 0.04-0.7 ms, appending 2 KiB to an open one 0.01). Such a file
 * takes more as long as it is the newest one, is not full and not old, and this gateway lives: never one that
 * another gateway left. What is larger has a file of its own: a reflink where the file system has them, else a copy of at most
 * GATEWAY_UNDO_COPY_MAX bytes. The inode itself is never moved here instead: who has it open would still see a link, and
 * could change what is kept, for writing also by opening it again in /proc.
 *
 * That something cannot be kept never fails the change: the record says why. Bounded by size and age, the oldest
 * files go first. n grows for ever: it is the wall clock in milliseconds, or one more than the last.
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
