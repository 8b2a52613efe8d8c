/*
 * What is to be done about a backend: decisions over facts, without a clock, a file or a process of
 * their own. Who gathers the facts and does what comes out: supervisor.c, recover.c, room.c.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	POLICY_DEATHS = 8,         /* remembered; the newest ones */
	POLICY_LIMIT = 3,          /* so many deaths ... */
	POLICY_WINDOW_MS = 60000,  /* ... within this: no more starts by itself */
	POLICY_FORGET_MS = 600000, /* older ones do not make it wait */
	POLICY_DELAY_MAX_MS = 4000,
	POLICY_MEMORY_AGAIN_MS = 600000, /* not more often is one restarted for its memory */
	POLICY_FRESH_MS = 2000, /* used within this: its caller may only be about to connect */
};

/*
 * deaths_ms[n]: times at which a backend died or failed to start, oldest first, the newest being what
 * is decided on. Milliseconds to wait before the next start: 0, 1000, 2000, 4000, 4000, ...; -1: none,
 * it died POLICY_LIMIT times within POLICY_WINDOW_MS.
 */
int policy_delay_ms(const int64_t *deaths_ms, size_t n, int64_t now_ms);

/* All times in milliseconds of the wall clock; 0: never. */
struct policy_facts {
	enum { POLICY_ABSENT, POLICY_STARTING, POLICY_READY, POLICY_FAILED } state;
	bool alive;
	bool watched;   /* it lived while somebody watched: its death is news */
	bool root_gone; /* the directory is gone, or is another one than at its start */
	bool root_replaced;
	int64_t now_ms;
	int64_t retry_at_ms;            /* failed: when it is to be tried again; 0: not by itself */
	int64_t used_ms;                /* last sign of use: ensure, write, client seen */
	int64_t restarted_ms;           /* for its memory */
	uint64_t memory_kib, limit_kib; /* 0: not measured now; no limit */
	uint64_t idle_stop_ms;          /* 0: never */
};

enum policy_action {
	POLICY_NOTHING,
	POLICY_RECOVER,        /* it died, or a retry is due */
	POLICY_STOP_GONE,      /* its repository is not there any more */
	POLICY_REPLACE,        /* another directory is where its repository was */
	POLICY_STOP_IDLE,      /* unused for long: stop it unless clients or sessions are found */
	POLICY_RESTART_MEMORY, /* over the limit: restart it unless it is at work */
};
enum policy_action policy_decide(const struct policy_facts *f);

/* One that could make room for another backend. */
struct policy_candidate {
	int64_t used_ms;
	bool refused; /* it was looked at, and is in use */
};
/* Index of the least recently used one that was not refused and was not used just now; -1: none. */
int policy_victim(const struct policy_candidate *all, size_t n, int64_t now_ms);
