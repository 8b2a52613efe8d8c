/* What the parts of rrm-coherence share; stress.c says what it is. */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESSES = 3, THREADS = 2, WRITERS = PROCESSES * THREADS };

enum outside_kind { HOT, SAME_SIZE, RENAMED, TRUNCATED, TOUCHED, KINDS };

/* What all processes share. */
struct board {
	_Atomic bool stop;
	_Atomic unsigned stale;
	_Atomic uint64_t written[WRITERS]; /* what the write(2) of each had returned for */
	_Atomic uint64_t appended, reads, changes[KINDS];
	_Atomic uint64_t slowest_us[KINDS];
	_Atomic uint64_t late; /* changes outside that were seen after LATE_US */
};

extern struct board *board;
extern const char *mounted, *real; /* the directory inside, and the same one outside */

uint64_t now_us(void);
/* Counts, and says the first ones. */
void stale(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

pid_t start(void (*run)(void)); /* in a process of its own, which ends with us */
void finish(pid_t pid);         /* waits for it */

/* tree.c: names, attributes and content of a tree that is changed outside while it is read inside. */
void whole_tree(void);
