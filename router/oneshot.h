/*
 * Routed mutations and turns without a mount, for commands: rrm write, rm, lock, whoami, undo. The
 * calling process is the actor, by the rules of identity.h. Blocking; short-lived programs only.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "manager/config.h"
#include "manager/repo.h"
#include "router/identity.h"
#include "router/mutation.h"
#include "router/stuck.h"

/* Who pid is. *home (may be NULL) is the repo, borrowed from l, or NULL. 0 or -ENOMEM. */
int oneshot_identity(const struct config *c, const struct repo_list *l, pid_t pid,
		     struct identity *who, const struct repo **home);

/* ---- a turn ---- */

struct oneshot_turn;

struct oneshot_want {
	const struct config *config; /* borrowed, as is all here */
	const struct repo *repo;
	const char *branch; /* NULL: the present one */
	bool all;           /* all branches */
	const char *path;   /* for writer.json; may be NULL */
	uint32_t timeout_ms;
	struct actor actor;
	const struct identity
		*who;  /* its turns: this one may be held above us by rrm lock; may be NULL */
	bool explicit; /* it is held for as long as a command runs */
};

/* 0 with the turn held (writer.json says so); -ETIMEDOUT with a sentence that says who has it; -EDEADLK
 * with one that says who waits for whom (standoff.h). */
int oneshot_turn_take(struct oneshot_turn **out, const struct oneshot_want *w, struct err *e);
struct oneshot_turn *oneshot_turn_give(struct oneshot_turn *t); /* NULL is fine; returns NULL */
/* Another process waits for it. */
bool oneshot_turn_wanted(struct oneshot_turn *t);
/* What we run is stuck there (stuck.h), or is not any more: for those who wait. */
int oneshot_turn_stuck(struct oneshot_turn *t, const struct stuck *s);
/* The turns that what we run works under, this one first. */
const struct held_list *oneshot_turn_held(const struct oneshot_turn *t);

/* ---- mutations ---- */

struct oneshot;

/*
 * A turn is lost (-ESTALE, nothing of that mutation was done) when HEAD came to name another branch and somebody
 * had the turn of that: all that belongs together is done again from the beginning, so often at most.
 */
enum { ONESHOT_AGAIN = 5 };

/* May who write in r at all? 0; -EROFS and the sentence: policy readonly, and who is not at home there. */
int oneshot_allowed(const struct config *c, const struct repo *r, const struct identity *who,
		    struct err *e);

/* Backend ensured, turn taken (lock_timeout_ms). path: for writer.json. */
int oneshot_begin(struct oneshot **out, const struct config *c, const struct repo_list *l,
		  const struct repo *r, const char *path, struct err *e);
/*
 * One mutation; m stays the caller's; id, epoch, branch, actor and wait_us are filled in here. 0, or the
 * gateway's errno (negative) with its sentence, or that no gateway could be had. A gateway that dies is
 * replaced, and the mutation sent again under its id. a may be NULL.
 */
int oneshot_send(struct oneshot *o, struct mutation *m, struct mutation_answer *a, struct err *e);
struct oneshot *oneshot_end(struct oneshot *o); /* gives the turn back; NULL is fine */

/* The file's content becomes what fd (a regular file) holds from its start. */
int oneshot_write(struct oneshot *o, const char *path, int fd, struct err *e);
int oneshot_remove(struct oneshot *o, const char *path, struct err *e);
