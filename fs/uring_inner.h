/*
 * The insides of uring.c and uring_line.c: a line is a thread with its ring, an entry a buffer for one request and
 * its answer.
 */
#pragma once
#include <liburing.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/uio.h>

#include "fs/uring.h"

/* The kernel's interface, include/uapi/linux/fuse.h since 6.14; what a build has may be older. */
enum { CMD_REGISTER = 1, CMD_COMMIT_AND_FETCH = 2 };
enum { FLAGS2_OVER_IO_URING = 1 << 9 }; /* FUSE_OVER_IO_URING, 1 << 41 */

struct ring_head {
	char in_out[128]; /* struct fuse_in_header, then struct fuse_out_header */
	char op_in[128];
	struct {
		uint64_t flags, commit_id;
		uint32_t payload_size, padding;
		uint64_t reserved;
	} entry;
};

struct ring_cmd { /* in the command area of the submission */
	uint64_t flags, commit_id;
	uint16_t queue;
	uint8_t padding[6];
};

enum {
	LINES_MAX = 8,  /* threads a processor; fewer where there are many processors, */
	LINES_MIN = 3,  /* but these, */
	LINES_ALL = 64, /* so that there are about as many in all */
	KICK_US = 1000,
	SQ_ENTRIES = 8,
	PAGE = 4096,
	FLOOR = 8192, /* FUSE_MIN_READ_BUFFER */
};

struct line;

/* A buffer for one request and its answer. */
struct entry {
	struct line *line;       /* immutable, as are head, payload and iov */
	struct entry *next;      /* in line.entries; immutable once it is there */
	struct entry *next_done; /* in line.done */
	_Atomic uint64_t unique; /* of the request that waits for its answer; 0: none */
	uint64_t commit_id;
	struct ring_head *head;
	char *payload; /* what stands before the data is put right before it: one page is free there */
	struct iovec iov[2];
};

/* A thread and its ring. All but what is marked is its thread's own. */
struct line {
	struct uring *u;
	unsigned cpu;
	pthread_t thread;
	bool started, ringed, over;
	struct io_uring ring;
	int wake;                      /* eventfd */
	bool grown;                    /* registered one more: somebody may wait for it */
	unsigned free;                 /* entries that the kernel may fill */
	struct entry *_Atomic entries; /* owned; others look for theirs */
	pthread_mutex_t lock;          /* leaf */
	struct entry *done;            /* protected by lock: answered by other threads */
};

struct uring {
	struct overlay *o;
	unsigned n, each;   /* lines; those of a processor */
	struct line *lines; /* owned */
	size_t payload;     /* bytes of an entry's data, from the answer to INIT */
	bool told;          /* INIT was answered */
	sem_t begin;
	_Atomic bool refusing, end;
	_Atomic unsigned serving; /* handlers that run */
	pthread_t kicker;
	bool kicks;              /* kicker was started */
	sem_t grown;             /* posted when a line of a processor has grown */
	_Atomic bool *has_grown; /* owned; by processor, as held */
	_Atomic unsigned *held;  /* owned; requests whose answer came or comes later */
};

/* Makes line i of u, with its thread, which waits for u->begin. 0 or -errno. */
int line_start(struct uring *u, unsigned i);

/* Waits for its thread to end; its ring and entries go. Also one that line_start() failed at. */
void line_free(struct line *l);

/* To have a look at what there is for it besides requests. */
void line_wake(struct line *l);

/* The entry that has this request; NULL: none. */
struct entry *line_entry_of(struct uring *u, uint64_t unique);

/* Puts an answer into e. Its length, as writev(2) would say. */
ssize_t line_answer(struct entry *e, struct iovec *iov, int count);
