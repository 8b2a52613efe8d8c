/*
 * What `rrm top` shows: one row a repository, from status.h, with what needs two looks or a question:
 * processor use since the look before, sessions at work, writes of the last minute.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/repo.h"
#include "manager/table.h"

struct top_row {
	char id[REPO_ID_MAX];
	char *name; /* owned */
	char state[16];
	pid_t pid;       /* 0: none runs */
	int64_t pss_kib; /* of the process tree */
	int64_t cpu_ms;  /* used so far by it */
	double cpu; /* percent of one processor since the look before, at first since its start */
	int64_t uptime_s;
	int sessions;   /* of OpenCode at work, and of rrm run; -1: it does not say */
	char turn[128]; /* who has the write turn; "" nobody */
	unsigned waiters;
	uint64_t writes; /* of others, in the last minute */
};

struct top_sample {
	struct top_row *rows; /* owned */
	size_t n;
	uint64_t mono_ms; /* when */
};

enum top_order { TOP_MEMORY, TOP_CPU, TOP_NAME, TOP_UPTIME, TOP_SESSIONS, TOP_WRITES, TOP_ORDERS };
/* "memory", "cpu", "name", ...; -1 for another word. */
int top_order_of(const char *word);
const char *top_order_word(enum top_order o);

/* before (may be NULL): the look before. May wait some seconds for backends that do not answer. */
int top_take(const struct config *c, const struct top_sample *before, struct top_sample *out,
	     struct err *e);
/* 0 or -ENOMEM. */
int top_copy(const struct top_sample *s, struct top_sample *out);
void top_sample_deinit(struct top_sample *s);

/* The biggest first, names from a to z; the other way round with reverse. */
void top_sort(struct top_sample *s, enum top_order o, bool reverse);

/* The rows as a table; NULL when out of memory. */
struct table *top_table(const struct top_sample *s);
enum { TOP_COLUMN_NAME, TOP_COLUMN_STATE, TOP_COLUMN_TURN = 6 };

/* "12 repositories, 3 ready, ... 1.4G, 12% CPU, 3 writes/min". */
void top_sum(const struct top_sample *s, char *buf, size_t size);
