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
	LINES = 3,  /* threads a processor; the last one is the spare one */
	SPARE = 16, /* free buffers of that one */
	KICK_US = 1000,
	POOL = 8, /* threads that serve what comes to those */
	SQ_ENTRIES = 8,
	PAGE = 4096,
	FLOOR = 8192, /* FUSE_MIN_READ_BUFFER */
};

struct line;

/* A buffer for one request and its answer. */
struct entry {
	struct line *line;       /* immutable, as are head, payload and iov */
	struct entry *next;      /* in line.entries; immutable once it is there */
	struct entry *next_done; /* in line.done or uring.work */
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
	bool started, ringed, over, spare;
	struct io_uring ring;
	int wake;                      /* eventfd */
	bool low;                      /* spare: they ran low */
	unsigned free;                 /* entries that the kernel may fill */
	struct entry *_Atomic entries; /* owned; others look for theirs */
	pthread_mutex_t lock;          /* leaf */
	struct entry *done;            /* protected by lock: answered by other threads */
};

struct uring {
	struct overlay *o;
	unsigned n;
	struct line *lines; /* owned */
	size_t payload;     /* bytes of an entry's data, from the answer to INIT */
	bool told;          /* INIT was answered */
	sem_t begin;
	_Atomic bool refusing, end;
	_Atomic unsigned serving; /* handlers that run */
	pthread_t pool[POOL];
	unsigned n_pool;
	pthread_t kicker;
	bool kicks;             /* kicker was started */
	sem_t low;              /* posted when a processor's buffers ran low */
	_Atomic bool *is_low;   /* owned; by processor, as held */
	_Atomic unsigned *held; /* owned; requests whose answer came or comes later */
	sem_t more;             /* posted for each entry in work */
	pthread_mutex_t lock;
	struct entry *work, **work_end; /* protected by lock; first come, first served */
};

/* Makes line i of u, with its thread, which waits for u->begin. 0 or -errno. */
int line_start(struct uring *u, unsigned i);

/* Waits for its thread to end; its ring and entries go. Also one that line_start() failed at. */
void line_free(struct line *l);

/* To have a look at what there is for it besides requests. */
void line_wake(struct line *l);

/* Serves the request in e. True when its answer is there; false when somebody gives it later, or did so meanwhile:
 * then e may have another request already. */
bool line_serve(struct entry *e);

/* Hands e, which has its answer, to the thread whose ring has it. */
void line_give_back(struct entry *e);

/* The entry that has this request; NULL: none. */
struct entry *line_entry_of(struct uring *u, uint64_t unique);

/* Puts an answer into e. Its length, as writev(2) would say. */
ssize_t line_answer(struct entry *e, struct iovec *iov, int count);
