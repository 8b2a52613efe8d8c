/*
 * One line on stderr where an error stops travelling: "rrm-mount: level=warn event=submit repo=web ...".
 * fmt is `key=value` pairs without a newline. No file contents, no tokens. errno is preserved.
 */
#pragma once

/* Name put in front of each line; borrowed for the life of the process. Default "rrm". */
void log_program(const char *name);

void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
