/*
 * Tells the kernel to forget. Two queues and, while there is something in them, two threads per repo: a
 * notification may wait in the kernel for a directory's or a page's lock that a request of that repo
 * holds. Never called from inside a request.
 *
 * Cached data of a file that programs in the mount write is dropped while nobody writes it: the kernel puts
 * what is written into its cache before it sends the WRITE. Were the cache dropped between the two, a READ
 * could overtake the WRITE and bring the old bytes back for good. So the second queue's thread has
 * the toucher call fdatasync() on the file in the mount, for which the kernel takes the lock that writers hold,
 * and the FSYNC that comes of it is answered after the data was dropped (invalidate_now()). Nobody tells us who is
 * about to write a file for the first time: there, when a READ came after the drop, the answer to the WRITE waits until
 * the data was dropped again.
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

/* For an FSYNC of the toucher: drops the data; answer it afterwards. Not to be called on a worker. */
void invalidate_now(struct overlay *o, fuse_ino_t ino);

/*
 * Before the answer to a WRITE of size bytes at off, on any thread: drops them again. Of its last page, if that is not
 * whole, the writer may hold the lock (the kernel reads it anew after the answer): so this does not wait long for one.
 */
void invalidate_before_reply(struct overlay *o, fuse_ino_t ino, off_t off, size_t size);

/* data: attributes and all cached content (of a directory: its cached listing), else attributes only. */
void invalidate_inode(struct overlay *o, uint16_t repo, fuse_ino_t ino, bool data);
