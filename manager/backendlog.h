/* <state>/backend.log: what a backend prints. Beyond 4 MiB it becomes backend.log.1 at the next start. */
#pragma once
#include <stddef.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/repo.h"

/* For writing at its end, and reading. *end: where new output will begin. */
int backendlog_open(const struct repo *r, int *fd, off_t *end, struct err *e);

/* The tail of a sentence about what stands there behind from: "it printed: ..." with the last lines, or
 * "it printed nothing". One line of UTF-8 without control bytes; what does not fit is cut off its front. fd -1: as if it were empty. */
void backendlog_tail(int fd, off_t from, char *out, size_t size);

/* The same about the end of the whole file. */
void backendlog_last(const struct repo *r, char *out, size_t size);

/* Copies text, cut to size between characters. Bytes that are no UTF-8 become '?'. */
void backendlog_copy(char *out, size_t size, const char *text);
