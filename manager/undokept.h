/*
 * What the gateway kept for undo, as an audit record's `undo` names it (docs/FORMATS-gateway.md): a file of its
 * own below the state directory, or a piece of one.
 *
 * Calling sequence: undokept_open(); read fd from its start, undokept_attrs(); undokept_deinit().
 */
#pragma once
#include <stddef.h>

#include "manager/base/json.h"

struct undokept {
	int fd;           /* owned; the content, -1: nothing was lost */
	char *attrs;      /* owned; of a piece: its attributes as they are in the file; else NULL */
	size_t attrs_len; /* bytes */
};

/* undo: the record's. 0, -ENOENT when it is kept no longer, -EINVAL, or what reading it gave. */
int undokept_open(struct undokept *k, const char *state_dir, const cJSON *undo);
void undokept_deinit(struct undokept *k);

/* fn for each extended attribute until it returns other than 0, which is returned. */
int undokept_attrs(const struct undokept *k,
		   int (*fn)(const char *name, const void *value, size_t len, void *arg),
		   void *arg);
