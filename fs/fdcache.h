/*
 * Real file descriptors of nodes, bounded.
 *
 * Three kinds: an O_PATH descriptor per node (keeps a file that is deleted outside reachable; the
 * least recently used ones are closed beyond the limit and found again by parent and name, checked by
 * device, inode and birth time), and small pools of descriptors for reading and for writing. Nothing is told when
 * programs close a file (FUSE.md), so write descriptors are closed by fds_expire() a few
 * milliseconds after their last use: an open one would make execve() of the real file fail.
 *
 * Locking: one leaf lock; never held over a system call that touches a file.
 */
#pragma once
#include <stdint.h>

#include "fs/estate.h"
#include "fs/node.h"

struct fdcache;

/* A descriptor in use; fds_put() gives it back. */
struct fd_hold {
	int fd;
	struct node *node;
	int kind; /* private */
	int slot; /* private */
};

enum fd_kind { FD_READ, FD_WRITE };

/* limit: how many descriptors this process may have open (RLIMIT_NOFILE). */
int fdcache_new(struct fdcache **out, struct nodes *nodes, unsigned limit);
/* Takes over what a server before us had open, and lets our successor do the same. Once, at the start. */
void fdcache_adopt(struct fdcache *c, struct estate *es);
struct fdcache *fdcache_free(struct fdcache *c);

/* O_PATH. -ESTALE when the file cannot be found any more. */
int fds_path(struct fdcache *c, struct node *n, struct fd_hold *h);

/* Like fds_path(), but only when it is open already: false otherwise. */
bool fds_path_cached(struct fdcache *c, struct node *n, struct fd_hold *h);

/* Open for reading or writing; what its mode forbids to open is found when it is kept (below). */
int fds_open(struct fdcache *c, struct node *n, enum fd_kind kind, struct fd_hold *h);

/* The write descriptor of n, only when it is open already: false otherwise. */
bool fds_write_cached(struct fdcache *c, struct node *n, struct fd_hold *h);

void fds_put(struct fdcache *c, struct fd_hold *h);

/* True when there are more O_PATH descriptors than there should be, and none of them can be closed before the
 * kernel forgets a node. */
bool fds_over(struct fdcache *c);

/* Takes over fd as the O_PATH descriptor of n, or closes it when there is one. */
void fds_give_path(struct fdcache *c, struct node *n, int fd);

/*
 * Some descriptors are kept, since the file's mode forbids to open it again and whoever has it open may go on. Nothing
 * tells when nobody has: so until the node goes, or half of the pool is kept and others were used later, or, of a
 * program, which cannot be run from outside meanwhile, until it was not used for a second.
 */

/* Takes over fd, open for reading and writing, as the write descriptor of n, which was just created with mode.
 * keep: it cannot be opened so again. */
void fds_give_write(struct fdcache *c, struct node *n, int fd, mode_t mode, bool keep);

/* Keeps a descriptor of this kind, if it can be had now: before a mode change that would forbid to open it later. */
void fds_pin(struct fdcache *c, struct node *n, enum fd_kind kind);

/* Closes all that belongs to n; nobody else may be using it (it is dead). */
void fds_drop(struct fdcache *c, struct node *n);

/* What was removed is freed some milliseconds later, on another thread; this does it now. wait (for who found no room):
 * also waits a moment for what is being freed. False: there was nothing. */
bool fds_settle(struct fdcache *c, bool wait);

/* What has these descriptors is a file of this mode now: how long they are kept. */
void fds_mode(struct fdcache *c, struct node *n, mode_t mode);

/* Closes write descriptors not used since before_ms (CLOCK_MONOTONIC) and takes NODE_CONTENDED from their
 * nodes; returns how many are left. */
unsigned fds_expire(struct fdcache *c, uint64_t before_ms);

/* True when n has a write descriptor open: it was written through the mount just now. One that is kept tells that
 * only while it was used since since_ms (CLOCK_MONOTONIC). */
bool fds_written(struct fdcache *c, const struct node *n, uint64_t since_ms);

/* wake is called (no lock held) when there is a first one for fds_expire(), and now when there is one. */
void fds_on_write(struct fdcache *c, void (*wake)(void *arg), void *arg);
