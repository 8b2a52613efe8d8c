/*
 * Requests through io_uring instead of read(2) and write(2) of /dev/fuse, where root allowed it
 * (/sys/module/fuse/parameters/enable_uring, kernel 6.14). A caller's request is answered by a thread on the
 * caller's own processor, and the answer fetches the next request: one system call for both.
 *
 * libfuse has such a transport too; it is not used, because it serves all requests of a processor in turn, hands
 * requests to whichever thread answered one last, though that may wait for a gateway, and lets two threads
 * write one ring. Here each processor has some threads that serve, each with a ring of its own that nobody else
 * touches, and with one buffer that is free. The kernel gives a request to the buffer that became free last, so one
 * caller after the other is served by the same thread; a thread that waits for a disk has none that others would wait
 * for. When all are busy the kernel keeps what comes until one has answered. An answer that comes later (a turn, a gateway,
 * fsync) is handed to the thread whose ring has the request, which meanwhile has registered another buffer: any number
 * may wait. What found no free buffer the kernel hands out when a request of that processor is answered, and not when
 * a buffer is registered; so after that the toucher makes a request to be answered.
 *
 * libfuse still decodes requests and builds answers: the reply of each request comes back through
 * fuse_session_custom_io(). FORGET, INTERRUPT and what the kernel sent before the rings were ready come from
 * /dev/fuse (loop.c) as ever; notifications go there.
 *
 * The rings are of this process: when it is killed the connection is to be aborted, nobody can go on with it.
 */
#pragma once
#include "fs/overlay.h"
#include "manager/base/err.h"

struct uring;

/*
 * After fuse_session_mount(), before the first request: as the key `transport` says, makes rings and threads
 * (o->uring) and will answer INIT so that the kernel uses them. An error only where the key insists.
 */
int uring_choose(struct overlay *o, struct err *e);

/* From now on every request is refused; returns when those in hand are served. NULL is fine. */
void uring_refuse(struct uring *u);

/* Ends the threads; no request is waiting for an answer any more. NULL is fine. */
struct uring *uring_free(struct uring *u);

/* On a thread of a ring: where the answer of the request in hand goes in the end; NULL elsewhere, or when it is
 * shorter than size. Data that is put there is not copied once more. */
char *uring_answer_buffer(size_t size);
