/*
 * The write turn between processes: open-file-description locks (fcntl F_OFD_SETLK) on <state>/lock.
 * Other programs may take them too; NFSv4 and CephFS carry them between machines.
 *
 *     bytes 0-31     the epoch counter as decimal text and a newline, padded with spaces
 *     byte 0         write-locked while the counter is raised
 *     byte 4096 + n  the turn of one branch; n = first 4 bytes (big endian) of SHA-256 of its name
 *     from 4096 on, 2^32 bytes: the turns of all branches
 *     the same bytes + 2^40: held shared by those who wait for them, so that a holder can see it
 *
 * A holder that dies loses its locks at once (the kernel closes its fds). One struct is used by one
 * thread at a time. Whoever waits sleeps in the kernel; SIGURG, which nothing else here uses, wakes it early.
 * The file is never removed while rrm uses it; one that was is made anew.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"

struct turnlock;

/* Opens (makes, 0600) <state_dir>/lock. 0 or negative errno with a sentence. */
int turnlock_open(struct turnlock **out, const char *state_dir, struct err *e);
struct turnlock *turnlock_close(struct turnlock *l); /* gives everything back; NULL is fine */

/*
 * Tries to take the turn of branch (NULL: of all branches); never waits. 0: held, and the wait mark
 * is gone. -EAGAIN: somebody else has it, and with mark the file now says that we wait. Others: the
 * file system's word (-ENOLCK, -ENOSPC, -EIO). Held already for the same branch is 0.
 */
int turnlock_try(struct turnlock *l, const char *branch, bool mark);

/*
 * Marks, and waits in the kernel, in its line, until the turn is held. 0, or -EINTR (the mark stays) after
 * turnlock_poke(): that one may come before the wait has begun, so it is repeated until this returned.
 */
int turnlock_block(struct turnlock *l, const char *branch);
void turnlock_poke(pthread_t thread);

/* turnlock_block() with a bound, without a mark afterwards: -ETIMEDOUT after timeout_ms. */
int turnlock_wait(struct turnlock *l, const char *branch, uint32_t timeout_ms);

void turnlock_unmark(struct turnlock *l); /* no longer waiting */
void turnlock_release(struct turnlock *l);
bool turnlock_held(const struct turnlock *l);

/* True when another process waits for what l holds. */
bool turnlock_wanted(const struct turnlock *l);

/* True when the turn of branch is free, and another process waits for it: it was woken, and has not run yet. */
bool turnlock_awaited(const struct turnlock *l, const char *branch);

/* True when somebody else holds the turn of branch (NULL: of any branch) this moment. */
bool turnlock_taken(const struct turnlock *l, const char *branch);

/*
 * A number higher than all before it for this repo; somebody who waits for it holds the turn, by l or by
 * another struct. A missing or damaged
 * counter starts anew at the wall clock in milliseconds, which is beyond any that was counted.
 */
int turnlock_next_epoch(struct turnlock *l, uint64_t *epoch);

/* As that one, and -EAGAIN at once when another process counts this moment. */
int turnlock_try_epoch(struct turnlock *l, uint64_t *epoch);

/*
 * For changes under a turn that somebody above the caller holds: *epoch stays when it is the newest, else
 * it becomes a new one. Others have turns in between when HEAD names another branch for a while.
 */
int turnlock_renew_epoch(struct turnlock *l, uint64_t *epoch);

/* Pure: offset of branch's byte. */
off_t turnlock_offset(const char *branch);
