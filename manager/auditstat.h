/*
 * Sums over audit records: per repository and writer (home repository and program). Memory grows with the
 * number of different writers, not with that of the records.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manager/auditview.h"
#include "manager/term.h"

struct auditstat_sum {
	const struct repo *repo; /* borrowed: where it wrote to */
	char *home;              /* owned; a repo_id, "" for none */
	char *comm;              /* owned */
	uint64_t records, writes, bytes;
	uint64_t failed;  /* records with another result than ok */
	uint64_t refused; /* of those, auditview_refused() */
	uint64_t wait_us, wait_max_us;
	char last[32]; /* ts of the newest */
};

struct auditstat;

struct auditstat *auditstat_new(void); /* NULL when out of memory */
struct auditstat *auditstat_free(struct auditstat *s);

/* For logshow_options.take; arg is the auditstat. 0 or -ENOMEM. */
int auditstat_take(void *arg, const struct repo *r, const cJSON *record);

/* The sums, those with most writes first. They stay s's; the array is owned. NULL: none, or no memory. */
const struct auditstat_sum **auditstat_sums(const struct auditstat *s, size_t *n);

/* A table, or with json an array of {repo_id, name, home, comm, records, writes, bytes, failed, refused,
 * wait_us, wait_max_us, last}. 0 or -ENOMEM. */
int auditstat_print(const struct auditstat *s, const struct auditview *v, const struct term *t,
		    bool json);
