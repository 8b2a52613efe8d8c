/*
 * Is a backend in use? Three signs: somebody asked for it lately (mtime of <state>/start.lock, set by every
 * ensure and by whoever sees a client; mtime of audit.jsonl); a client holds a TCP connection to its
 * port (/proc/<pid>/net/tcp: an attached terminal and an SDK's event stream do, a probe does not for
 * long); a session of OpenCode is at work (GET /session/status of the instances of its working directory
 * and of the repo's root).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "manager/base/err.h"
#include "manager/registry.h"
#include "manager/repo.h"

enum { IDLE_IN_USE = 1 };

/* Milliseconds of the wall clock; 0 when it was never used. */
int64_t idle_used_ms(const struct repo *r);

/* Of that, when somebody asked for it. */
int64_t idle_touched_ms(const struct repo *r);

/* It is being used now. A few microseconds; a failure only makes it look less used. */
void idle_touch(const struct repo *r);

/* Established connections to its port; negative errno. */
int idle_clients(const struct endpoint *ep);

enum idle_scope { IDLE_SESSIONS, IDLE_SESSIONS_AND_CLIENTS };
/*
 * 0: not in use. IDLE_IN_USE with a sentence ("1 client is attached to it"): it is, or it does not say.
 * used within fresh_ms counts as in use. A client or a session that is found is a use, too. Waits for the backend, some seconds at most.
 */
int idle_look(const struct repo *r, const struct endpoint *ep, enum idle_scope what,
	      int64_t fresh_ms, struct err *e);

/* Sessions of OpenCode at work in it; 0 for another backend; negative errno when it does not say within
 * timeout_ms. */
int idle_sessions(const struct repo *r, const struct endpoint *ep, int timeout_ms);

/* Pure: sessions in an answer of /session/status that are at work; negative when it is none. */
int idle_busy_sessions(const char *answer);
