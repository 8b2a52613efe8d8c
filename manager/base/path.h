/* Paths as text: pure functions, no file system but path_canonical(). */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "manager/base/err.h"

/* True when path is root or lies below it, by components: /a/b is below /a, /ab is not. Both
 * absolute, normalised, without a trailing slash ("/" itself allowed). *rel (may be NULL) points
 * into path behind root and its slash, "" for root itself. */
bool path_below(const char *root, const char *path, const char **rel);

/* A relative path that stays inside: not empty, not absolute, no "", "." or ".." component, each at
 * most NAME_MAX, in all at most PATH_MAX - 1 bytes. "." alone is not valid. */
bool path_relative_ok(const char *rel);

/* One directory entry name: 1-255 bytes, no slash, not "." or "..". */
bool path_name_ok(const char *name);

/* "dir/name" in a new string (no double slash); NULL when out of memory. */
char *path_join(const char *dir, const char *name);

/* realpath(3) in a new string. 0 or negative errno, with a sentence in e. */
int path_canonical(const char *path, char **out, struct err *e);

/* The last component, borrowed from path; "/" for the root. */
const char *path_basename(const char *path);
