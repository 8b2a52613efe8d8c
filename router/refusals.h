/*
 * The last refused or failed operations, one line each, for <mount>/.rrm/errors. Bounded; any thread.
 */
#pragma once
#include "router/mutation.h"

struct refusals;

int refusals_new(struct refusals **out);
struct refusals *refusals_free(struct refusals *r);

/* error: positive errno. "<time> pid=<pid> comm=<comm> <op> <repo>/<path>: <ERRNO>: <sentence>" */
void refusals_add(struct refusals *r, const struct actor *a, const char *op, const char *repo,
		  const char *path, int error, const char *sentence);

char *refusals_text(struct refusals *r); /* owned by the caller; NULL when out of memory */
