/*
 * The ancestors of a caller. Most callers have the same ones, so those are remembered, each with a handle
 * (a pidfd) that tells when it ended: as long as none of a chain has, no parent of it changed, and no pid
 * in it is another process. Their directories are believed for a few milliseconds.
 * Private to identity*.c. Any thread; the table's lock is held over a poll() that does not wait, so that no
 * handle in it is closed meanwhile, and over nothing else.
 */
#pragma once
#include "router/identity.h"

enum { CHAIN_MAX = 64, CWD_MAX = 4352 /* PATH_MAX and " (deleted)" */ };

struct chain {
	struct proc_stat procs[CHAIN_MAX]; /* the caller first */
	unsigned n;
	char *environ; /* owned; NULL when it cannot be read */
	size_t environ_len;
};

struct kin;

int kin_new(struct kin **out, const struct identity_world *w); /* w borrowed */
struct kin *kin_free(struct kin *k);

/* c->procs[0] is filled in; fills in the others. */
void kin_chain(struct kin *k, struct chain *c);
/* The working directory of p, one of a chain. 0 or negative errno. */
int kin_cwd(struct kin *k, const struct proc_stat *p, uint64_t now_ms, char buf[CWD_MAX]);
/* The session of `rrm run` that p began. stamp: world.session_stamp(), of before. 0 or negative errno. */
int kin_session(struct kin *k, const struct proc_stat *p, uint64_t stamp, char repo_id[REPO_ID_MAX],
		char session[SESSION_ID_MAX]);
