/*
 * Word about how far the start is: to systemd (Type=notify: a datagram to $NOTIFY_SOCKET) and, where a person
 * waits, a line on stderr. Best effort: nothing of it ever fails.
 */
#pragma once
#include <stddef.h>

/* First of all: takes NOTIFY_SOCKET out of the environment, so that no backend speaks in our name. */
void notify_take(void);

/* It serves. */
void notify_ready(void);

/* "rrm-mount: <text>" on stderr, and as systemd's status line. */
void notify_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* file_read_full(), with a word every two seconds that it still waits. */
int notify_await(int fd, char *buf, size_t size, size_t *got);
