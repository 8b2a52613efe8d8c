/*
 * Sessions as small numbers: (home repo_id or "", session key) <-> uint32_t from 1 on. A number stays what it is as
 * long as it is known, and is never given twice. The SESSIONS_MAX that were used last are known; one that was
 * forgotten gets a new number when it comes again. Any thread; its own lock.
 */
#pragma once
#include <stdint.h>

#include "manager/repo.h"
#include "manager/session.h"

enum { SESSIONS_MAX = 20000 }; /* about 3 MiB */

struct sessions;

int sessions_new(struct sessions **out);
struct sessions *sessions_free(struct sessions *s);

/* 0 when out of memory. */
uint32_t sessions_intern(struct sessions *s, const char *home, const char *session);
/* 0, or -ENOENT for a number that is not known (any more). */
int sessions_lookup(struct sessions *s, uint32_t id, char home[REPO_ID_MAX],
		    char session[SESSION_ID_MAX]);
