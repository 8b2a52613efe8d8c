/*
 * Tells the kernel to forget. One queue and, while there is something in it, one thread per repo: a
 * notification may wait in the kernel for a directory's or a page's lock that a request of that repo
 * holds. Never called from inside a request.
 */
#pragma once
#include "fs/overlay.h"

int invalidate_new(struct overlay *o, struct invalidate **out);
/* Ends the threads; what is still queued is dropped (the connection is going away). */
struct invalidate *invalidate_free(struct invalidate *v);

/* The name in a directory (positive or negative). repo: whose queue. */
void invalidate_entry(struct overlay *o, uint16_t repo, fuse_ino_t parent, const char *name);

/* The same, but only ask for it again: a directory that is right stays the working directory of those
 * who are in it. */
void invalidate_expire(struct overlay *o, uint16_t repo, fuse_ino_t parent, const char *name);

/* data: attributes and all cached content (of a directory: its cached listing), else attributes only. */
void invalidate_inode(struct overlay *o, uint16_t repo, fuse_ino_t ino, bool data);
