/*
 * The threads that take requests from /dev/fuse and serve them.
 *
 * One at a time reads (it has the token), so requests are counted, and writes noted on their node, in the
 * very order in which the kernel sent them (read.c needs that). Waking a thread costs more than
 * most requests, so the reader answers a lone request itself and keeps the token, looks for the next one for
 * some microseconds before it sleeps, and wakes another only when a second request is there already. A
 * request that takes long does not hold up others: a watch takes the token from its thread within a
 * millisecond or two.
 */
#pragma once
#include "fs/overlay.h"

/* Serves with n threads until the session ends (unmounted or loop_stop()); blocks. 0 or -errno. */
int loop_run(struct overlay *o, unsigned n);

/* In a successor, before loop_run(): tells libfuse what the kernel said at the start of the mount, and asks the
 * kernel for what the server before us had read and not answered. 0 or negative errno. */
void loop_take_over(struct overlay *o);
int loop_resend(struct overlay *o);

/* Number of the request that this thread has in hand, 0 when there is none; *again (may be NULL): a server
 * before us had read it, and may have done it. */
uint64_t loop_unique(bool *again);
/* Counts a request that has just been received; a WRITE is noted on its node. */
void loop_note(struct overlay *o, const void *request, size_t len);

/* Serves what can be read from /dev/fuse now: with io_uring (uring.h) that is FORGETs, which nothing else keeps
 * from falling behind. Any thread. */
void loop_catch_up(struct overlay *o);

/* Ends loop_run() after the requests in hand. Any thread. */
void loop_stop(struct overlay *o);

/* After loop_run(), until the end of the session: every request that still comes is refused at once, so
 * that nobody waits in the kernel with something locked. NULL when there is no thread for it; then nothing
 * is refused, and those wait for the end of the connection. */
struct loop_refusal;
struct loop_refusal *loop_refuse(struct overlay *o);
void loop_refuse_end(struct loop_refusal *r);
