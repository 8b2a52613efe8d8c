/*
 * The router: whose path, whose caller, whose turn; sends what is foreign; records what is home.
 *
 * Calling sequence, for each change that a program makes in the mount:
 *
 *     verdict = router_begin(r, repo, &caller, key, &pass)
 *       ROUTER_HOME    at home and the turn is held now: apply it, then router_end(r, &pass, &note)
 *       ROUTER_WAIT    at home, but another session has the turn: copy the request, then
 *                      router_wait(); granted() runs on a router thread: apply, router_end(), reply
 *       ROUTER_FOREIGN copy the request into a mutation, then router_submit(); done() replies
 *       negative       -EROFS by policy: router_refused(), then reply; -ENOMEM
 *
 * Threads: router_begin(), router_end() and router_refused() never block (a /proc read at most) and may be
 * called by any FUSE worker. done() and granted() run with no router lock held; they answer one request and call
 * nothing of the router but router_end(). Those with error 0 run on the repo's submit thread, one at a
 * time per repo; those with an error may run at the same time on its keeper thread, since they must not
 * wait behind a gateway that hangs.
 * A repo whose backend hangs delays only itself.
 * Locking: router.c says the order; nothing is held across a callback.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/base/json.h"
#include "manager/config.h"
#include "manager/ensure.h"
#include "manager/repo.h"
#include "router/mutation.h"

struct router;
struct router_repo;   /* a registered repo as the router knows it; opaque, reference-counted */
struct router_ticket; /* a request that waits or is under way */

enum { ROUTER_HOME = 0, ROUTER_WAIT = 1, ROUTER_FOREIGN = 2 };

struct router_caller {
	pid_t tid; /* thread id from the FUSE request; 0: the kernel itself */
	uid_t uid;
	gid_t gid;
	uint32_t
		last; /* session that last changed this file by a call of its own (router_pass.session), for
	                  tid 0; 0: nobody */
};

struct router_pass {
	struct router_repo *repo; /* borrowed */
	uint32_t
		session; /* interned (home repo, session); 0: none. Stable while the router lives */
	struct actor actor;
	uint64_t begun_us;
	bool note_path; /* router_end() wants note.path: first change of this session to this key lately */
	/* Private. borrowed: it goes in an explicit turn above it, of this epoch, and needs none of its own as
	 * long as that one's holder lives. */
	bool borrowed;
	pid_t holder_pid;
	uint64_t holder_start, epoch;
	bool in_turn; /* private: it works under an explicit turn, of whatever repo */
	pid_t tid;    /* private: of the caller; 0: not known */
};

/* What a change was, for home.jsonl and for who refuses it. */
struct router_note {
	enum mutation_op op;
	uint64_t key;      /* same as in router_begin(): one file */
	const char *path;  /* relative to the root; borrowed; read when pass.note_path or path2 */
	const char *path2; /* of rename and link: always told, else NULL */
	uint64_t bytes;
	int error; /* 0 or positive errno: a failed one is not logged */
};

/* mountpoint: absolute, as text; the working directories of callers are compared with it. */
int router_new(struct router **out, const struct config *c, const char *mountpoint, struct err *e);
/* Waits for nobody: requests still queued are answered with -EIO, threads are joined (bounded by the
 * request in flight). Turns are given back. NULL is fine; returns NULL. */
struct router *router_free(struct router *r);

/* The number of a session, as in router_pass; 0 when out of memory. A mount that is taken over knows the text only. */
uint32_t router_session(struct router *r, const char *home, const char *session);

/* Repos come and go while the mount lives. The pointer stays valid until router_repo_put(). */
int router_repo_get(struct router *r, const struct repo *repo, struct router_repo **out);
/* The last put ends the repo's threads: it may take as long as the request in flight. */
void router_repo_put(struct router *r, struct router_repo *rr);
const struct repo *router_repo_info(const struct router_repo *rr);

/* key: any number that names the file (the mount's node), for home.jsonl's coalescing. For a name in a
 * directory it is of directory and name together: changes with one key are one line with one path. */
int router_begin(struct router *r, struct router_repo *repo, const struct router_caller *caller,
		 uint64_t key, struct router_pass *pass);
/* The policy refused pass: tells who, and what it was (op, paths), in errors and refused.jsonl. */
void router_refused(struct router *r, const struct router_pass *pass,
		    const struct router_note *what);
/* The mount itself refused what is of no repository: tells in errors. */
void router_refused_by_mount(struct router *r, pid_t tid, const struct router_note *what,
			     const char *sentence);
void router_end(struct router *r, const struct router_pass *pass, const struct router_note *note);

/* error: 0 with the turn held (then apply and router_end()), or -EBUSY, -EINTR, -EDEADLK, -EIO
 * (router_free). The ticket is gone when this returns. */
typedef void (*router_granted_fn)(void *arg, int error, const struct router_pass *pass);
/* *ticket (may be NULL) is valid until granted() is called, for router_cancel(). It is set before this
 * returns and before granted() can run. what: op, path and path2 (either may be NULL) of what waits. */
int router_wait(struct router *r, const struct router_pass *pass, const struct router_note *what,
		router_granted_fn granted, void *arg, struct router_ticket **ticket);

/* error: 0, and *a holds the answer of the gateway (a->error is the call's result); or -EBUSY, -EINTR,
 * -EDEADLK, -EIO, -ETIMEDOUT as -EIO with a NULL a. */
typedef void (*router_done_fn)(void *arg, int error, const struct mutation_answer *a,
			       const struct router_pass *pass);
/*
 * m is taken over in any case. id (unless the caller has one: the same request again has the same), epoch,
 * branch, actor and wait_us are filled here. Order: requests of
 * one session to one repo are applied in the order of submission.
 */
int router_submit(struct router *r, const struct router_pass *pass, struct mutation *m,
		  router_done_fn done, void *arg, struct router_ticket **ticket);

/*
 * The caller was interrupted: a request that still waits (for the turn, for the backend) ends with
 * -EINTR and is not applied, at once when the caller is dying, else when the turn has not come within ROUTER_EINTR_MS
 * (of a signal that it handles; who is only stopped for a while goes on waiting); one already sent goes on. Safe with a ticket that is ending this moment
 * on another thread as long as done()/granted() has not returned: the FUSE side guards that.
 */
void router_cancel(struct router *r, struct router_ticket *ticket);

/* Ensures the repo's backend on its submit thread, for <mount>/.rrm/repos/<name>/endpoint. */
typedef void (*router_endpoint_fn)(void *arg, int error, const struct endpoint *ep,
				   const char *sentence);
int router_endpoint(struct router *r, struct router_repo *repo, router_endpoint_fn fn, void *arg);

/* {pid, home, session, rule} for <mount>/.rrm/whoami: home a repo_id or null, rule 1-3, plus name and
 * why in words. *out owned. */
int router_whoami(struct router *r, pid_t tid, cJSON **out);

/* The last refused or failed operations, newest last, one line each:
 * "<time> pid=<pid> comm=<comm> <op> <repo>/<path>: <ERRNO>: <sentence>". Owned by the caller. */
char *router_errors(struct router *r);
