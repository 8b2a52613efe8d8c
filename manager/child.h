/*
 * Runs another rrm as a child: how a long-lived process (rrm-mount, its supervisor, a program with
 * librrm) has a backend started, stopped or restarted without becoming its parent or handing it an fd.
 * The child has a session of its own, so a Ctrl-C that ends the caller does not end it half-way.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/config.h"

enum { CHILD_TEXT_MAX = 8192 };

struct child {
	pid_t pid;
	int err_fd; /* owned; its stderr; -1: it was not asked for */
	size_t len;
	char text[CHILD_TEXT_MAX]; /* what it said there, terminated; beyond that it is dropped */
};

/* args: what follows "rrm", NULL-terminated. listen: collect stderr, else it goes to ours. */
int child_start(const struct config *c, const char *const *args, bool listen, struct child *ch,
		struct err *e);

/* Waits for it, until deadline_ms (CLOCK_MONOTONIC), then kills it. Its exit status; -ETIMEDOUT. */
int child_wait(struct child *ch, uint64_t deadline_ms);

/* The last line that it said, which is the sentence, without "rrm: " in front. Changes ch->text. */
const char *child_sentence(struct child *ch);

/* All of it: 0 when it ended with 0; -ETIMEDOUT when it ended with 124 or did not end; else -EIO; with its
 * sentence. */
int child_run(const struct config *c, const char *const *args, uint64_t timeout_ms, struct err *e);
