/*
 * Out of one OpenCode database that repositories share into each repository's own: rows of the sessions whose
 * directory lies in its work tree, with all that hangs on them, by the columns session_id, aggregate_id and project_id
 * (tried: OpenCode 1.18.33). Logins and accounts are not copied: auth.json is shared by a link anyway.
 *
 * The old database is copied as a file first (nobody may have it open) and the copy is read: nothing is ever
 * written to the old one, nor locked. Rows that are there already stay as they are, so doing it again adds what
 * is new. OpenCode lists sessions by their exact directory, so with a mount up they move to the place there.
 */
#pragma once
#include <stddef.h>

#include "manager/cmdutil.h"

/* The sessions of one work tree. */
struct adopt_share {
	char *root;              /* owned */
	const struct repo *repo; /* borrowed from x; NULL: not registered */
	char **directories;      /* owned, as the sessions have them */
	size_t n_directories;
	unsigned sessions;
};

struct adopt {
	const struct cmd_context *x; /* borrowed */
	char *database;              /* owned */
	char *copy;                  /* owned; <base>/adopt.XXXXXX/<name>: removed by adopt_end() */
	struct adopt_share *shares;  /* owned */
	size_t n;
};

/* -EBUSY with a sentence that names pid and command when an OpenCode has path open; a database that cannot be read. */
int adopt_begin(struct adopt *a, const struct cmd_context *x, const char *path, struct err *e);
void adopt_end(struct adopt *a);

/* Copies one share. *added: sessions that were not there yet. -EBUSY while the repository's backend runs; -ESTALE
 * when its database is of another version of OpenCode; all or nothing. */
int adopt_copy(const struct adopt *a, const struct adopt_share *s, unsigned *added, struct err *e);
