/*
 * `opencode serve` of the shim: listens on loopback in the backend's stead, prints OpenCode's ready line,
 * and passes every connection of its own user on to the backend of the repo, with the password added.
 * Requests wait while the backend is started, and while it comes back after a crash; when that fails
 * they are answered 503 with the reason. Ends with the process; the backend stays.
 *
 * One thread a connection. A connection of another user is closed without an answer.
 */
#pragma once
#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/repo.h"

struct shimserve_options {
	const struct config *c;
	const struct repo *r;
	const char *hostname; /* an address of 127.0.0.0/8, or "localhost" */
	int port;             /* 0: any */
	const char *content;  /* configuration of the program (shimconfig.h), or NULL */
};

/* Returns only when it could not begin: negative errno with a sentence, nothing was printed. */
int shimserve_run(const struct shimserve_options *o, struct err *e);
