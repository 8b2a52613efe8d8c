/*
 * OpenCode's database (tried: 1.18.33): <data>/opencode/opencode.db, other channels opencode-<channel>.db. A
 * session belongs to the directory in session.directory; no branch is stored (but a workspace's), so the branch of a
 * session is the one that its work tree had checked out when it was used, by the reflog of HEAD.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "manager/base/err.h"
#include "manager/cmdutil.h"

/* What this user's own OpenCode takes for XDG_DATA_HOME; owned, NULL when out of memory or without HOME. */
char *opencode_db_user_data(void);

/* The databases in <data>/opencode; *paths and each of them owned (opencode_db_free_list). A data that is not
 * there has none. 0 or -ENOMEM. */
int opencode_db_list(const char *data, char ***paths, size_t *n);
void opencode_db_free_list(char **paths, size_t n);

/* The work tree that a session's directory lies in: a registered repository's root, by its place in a mount too
 * (nothing in a mount is touched), else the nearest parent with .git, else the directory itself. *root owned. */
int opencode_db_tree(const struct cmd_context *x, const char *directory, char **root);

/* The branch of the work tree root at a time, by the reflog; "" when there is no git. buf of at least 256 bytes. */
void opencode_db_branch(const char *root, int64_t at_ms, char *buf, size_t size);

/* Pure: the same from the text of a reflog, oldest line first; now: the branch at present. */
void opencode_db_branch_of(const char *reflog, const char *now, int64_t at_ms, char *buf,
			   size_t size);
