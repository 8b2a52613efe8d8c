/*
 * Reading <state>/audit.jsonl and the rotated audit.<seq>.jsonl, oldest first by <seq>, as one long file
 * of lines. The gateway writes it; this only reads, in bounded memory, while it grows and is rotated.
 * refused.jsonl, which the mount writes of what no gateway was asked about, is read in the same way: its lines are
 * records without seq and prev.
 *
 * A record's line is at most AUDITLOG_LINE_MAX bytes; a longer one is given cut, with `oversized` set.
 * Bytes behind the last newline are not a line yet. One struct is used by one thread at a time.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manager/base/err.h"
#include "manager/base/json.h"

enum { AUDITLOG_LINE_MAX = 256 << 10, AUDITLOG_FILE_MAX = 64 };

struct auditlog;

struct auditlog_line {
	const char *text; /* borrowed until the next call; no newline; NUL behind it */
	size_t len;
	bool oversized;
	bool refused;                 /* it is of refused.jsonl */
	uint64_t number;              /* of the line in its file, from 1; 0 when read backwards */
	uint64_t offset;              /* of its first byte in its file */
	char file[AUDITLOG_FILE_MAX]; /* "audit.jsonl" */
};

/* For who shows the log: the gateway, when there is one, writes out what it has not yet written (GET /audit). At most
 * 2 s; no failure, for the log is then as it is. */
void auditlog_settle(const char *state_dir);

/* 0 also when there is no log (yet). The directory must exist. */
int auditlog_open(struct auditlog **out, const char *state_dir, struct err *e);
int auditlog_open_refused(struct auditlog **out, const char *state_dir, struct err *e);
struct auditlog *auditlog_close(struct auditlog *a); /* NULL is fine; returns NULL */

/* 1: *line is the next one. 0: none for now; call again later for what was written meanwhile, also
 * behind a rotation. Negative errno with a sentence. */
int auditlog_next(struct auditlog *a, struct auditlog_line *line, struct err *e);

/* After the end (0) was reached: the bytes behind the last newline, 0 when there are none. *line (may be NULL): file and
 * number of the line that they would be. */
size_t auditlog_torn(const struct auditlog *a, struct auditlog_line *line);

/*
 * Calls fn for each line from the newest to the oldest, until it returns non-zero (which is returned).
 * Starts at the end as it is now. *end (may be NULL) becomes a log whose auditlog_next() gives what is
 * written behind that end; owned by the caller.
 */
int auditlog_backwards(const char *state_dir,
		       int (*fn)(const struct auditlog_line *line, void *arg), void *arg,
		       struct auditlog **end, struct err *e);
int auditlog_backwards_refused(const char *state_dir,
			       int (*fn)(const struct auditlog_line *line, void *arg), void *arg,
			       struct auditlog **end, struct err *e);

/* A record, or -EINVAL with what is wrong with the line. *out owned. Pure. */
int auditlog_parse(const struct auditlog_line *line, cJSON **out, struct err *e);
