/*
 * Showing the records of one or several audit logs and of what was refused before a gateway was asked, in the
 * order of their times: all, the last ones, and what comes after. Memory is bounded by the longest line, with `lines` by that many of them.
 *
 * Calling sequence: fill in o, repos and f; logshow_open(); logshow_run(); logshow_close().
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "manager/auditview.h"
#include "manager/repo.h"

struct logshow_options {
	long long lines; /* the last so many; -1: all */
	bool follow, json, diff;
	struct auditview view;
	/* Instead of printing: gets each record. 0, or what ends it all. May be NULL. */
	int (*take)(void *arg, const struct repo *r, const cJSON *record);
	void *arg;
};

struct logshow;

/* n repos, borrowed, as is o. 0 or negative errno with a sentence. */
int logshow_open(struct logshow **out, const struct logshow_options *o, const struct repo *repos,
		 size_t n, struct err *e);
struct logshow *logshow_close(struct logshow *sh); /* NULL is fine; returns NULL */

/* Prints to stdout; a damaged line is passed by, with a sentence on stderr. With follow it ends when
 * nobody reads what is printed any more. 0 or negative errno with a sentence. */
int logshow_run(struct logshow *sh, struct err *e);
