/*
 * <state>/memory.jsonl: what a backend and all its descendants use, one line a sample:
 * {"ts","pid","processes","rss_kib","pss_kib","swap_kib"}. Source: /proc/<pid>/smaps_rollup of every
 * process of the tree. At 4 MiB the file becomes memory.1.jsonl (one is kept).
 */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/json.h"
#include "manager/registry.h"
#include "manager/repo.h"

struct memory_usage {
	uint64_t rss_kib, pss_kib, swap_kib;
	uint64_t cpu_ms;    /* processor time that they and their ended children have used */
	unsigned processes; /* counted; one that ended meanwhile is not */
};

/* pid and its descendants at this moment. -ESRCH when there is no such process. */
int memory_measure(pid_t pid, struct memory_usage *out);
/* The same, its descendants as they were in t (NULL: now). */
struct proc_table;
int memory_measure_in(const struct proc_table *t, pid_t pid, struct memory_usage *out);

/* Appends a line about what was measured. 0 or negative errno. */
int memory_append(const struct repo *r, pid_t pid, const struct memory_usage *u);

/* Measures and appends one line. 0 or negative errno (the measurement stands when only writing fails). */
int memory_sample(const struct repo *r, const struct endpoint *ep, struct memory_usage *out);

/* {rss_kib, pss_kib, swap_kib, processes}; NULL when out of memory. */
cJSON *memory_json(const struct memory_usage *u);
