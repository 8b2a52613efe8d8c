/*
 * What `rrm report` is about: the memory of each backend over time (memory.jsonl), and of the audits who wrote
 * where, how long writers waited, and what failed. Memory is bounded by the numbers of repositories and of
 * different writers, not by the length of the logs.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "manager/auditstat.h"
#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/repo.h"

enum { REPORT_STEPS = 240, REPORT_FAILURES = 50 };

struct report_repo {
	const struct repo *repo; /* borrowed */
	char state[16];
	int64_t kib_now, kib_max;
	int64_t kib[REPORT_STEPS]; /* the most in each step; -1: no sample, nothing ran */
};

/* A record that did not end ok. */
struct report_failure {
	const struct repo *repo;                  /* borrowed */
	char *ts, *path, *who, *result, *message; /* owned */
};

struct report {
	struct repo_list repos_all; /* owned */
	int64_t since_ms, until_ms, step_ms;
	struct report_repo *repos; /* owned; in the order of repos_all */
	size_t n;
	struct auditstat *stat;            /* owned */
	const struct auditstat_sum **sums; /* owned array; most writes first */
	size_t n_sums;
	struct report_failure failures[REPORT_FAILURES]; /* a ring */
	uint64_t n_failures;                             /* in all */
};

/* 0 or negative errno with a sentence; report_deinit() in any case. */
int report_collect(struct report *rp, const struct config *c, int64_t since_ms, int64_t now_ms,
		   struct err *e);
void report_deinit(struct report *rp);

/* One HTML page that needs nothing else (report_html.c); its figures (report_plot.c) are inline SVG. */
void report_html(const struct report *rp, FILE *f);
void report_memory_plot(const struct report *rp, FILE *f);
void report_sparkline(const struct report *rp, const struct report_repo *r, FILE *f);
void report_matrix(const struct report *rp, FILE *f);

/* bytes as text of HTML, also within quotes: nothing in it is markup; what is no UTF-8, and controls, are U+FFFD. */
void report_text(FILE *f, const char *bytes);
/* The name of the repository with that repo_id, "nobody" for "". Borrowed. */
const char *report_name(const struct report *rp, const char *repo_id);
