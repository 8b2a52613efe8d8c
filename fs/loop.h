/*
 * The threads that take requests from /dev/fuse and serve them.
 *
 * One at a time waits in read(2) (leader), the others behind a lock: so requests are counted, and
 * writes noted on their node, in the very order in which the kernel sent them (read.c needs that).
 */
#pragma once
#include "fs/overlay.h"

/* Serves with n threads until the session ends (unmounted or loop_stop()); blocks. 0 or -errno. */
int loop_run(struct overlay *o, unsigned n);

/* Ends loop_run() after the requests in hand. Any thread. */
void loop_stop(struct overlay *o);
