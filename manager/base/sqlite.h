/*
 * SQLite databases of others. libsqlite3 is loaded when the first one is opened. What is read is never locked
 * against its owner nor changed: a database with a write-ahead log is opened read-only (a reader of a log keeps no
 * writer waiting), one without as immutable.
 */
#pragma once
#include <stddef.h>

#include "manager/base/err.h"

enum sqlite_mode {
	SQLITE_READ,   /* of another program, which may have it open */
	SQLITE_WRITE,  /* there is one, and nobody has it open */
	SQLITE_CREATE, /* there may be none */
};

struct sqlite;

/* -ENOSYS without libsqlite3, -ENOENT, -EIO, each with a sentence that names path. */
int sqlite_open(struct sqlite **out, const char *path, enum sqlite_mode mode, struct err *e);
struct sqlite *sqlite_close(struct sqlite *db); /* NULL is fine; returns NULL */

/* One row: the n columns as text, NULL for NULL; non-zero ends the query and is passed on. */
typedef int sqlite_row(void *arg, int n, char **values, char **names);

/* One or more statements without parameters; row may be NULL. 0, what row returned, or -EIO with a sentence. */
int sqlite_run(struct sqlite *db, const char *sql, sqlite_row *row, void *arg, struct err *e);

/* As sqlite_run() for a text that is formatted with SQLite's own %Q (a quoted string), %w (a quoted name), %d. */
int sqlite_runf(struct sqlite *db, sqlite_row *row, void *arg, struct err *e, const char *fmt, ...);

/* sqlite_close() for CLEANUP. */
void sqlite_closep(struct sqlite **db);
