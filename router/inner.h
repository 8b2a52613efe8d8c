/*
 * What router.c, grant.c, submit.c, keeper.c and summon.c share: one repo as the router knows it, and
 * a request on its way.
 *
 * Threads of a repo, each started when there is work and gone after 10 s without:
 *   submit  takes the requests whose turn it is: sends mutations, runs granted()
 *   keeper  what must not wait behind a send: cancelled and expired requests, giving the file lock back,
 *           writer.json, home.jsonl, refused.jsonl
 *   await   waits in the kernel while another process has the file lock
 *   summon  one ensure of the backend; requests that need it wait aside, those that only wait for the
 *           turn do not
 *
 * Locks, in this order: router->lock (the list of repos), summon->lock, repo->lock. The tables of
 * identity.c, sessions.c, homelog.c, refusals.c, refusedlog.c and branch.c have leaf locks of their own. No lock is
 * held across a callback, a send, or a file system call; the struct turnlock belongs to whoever set
 * lock_busy.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "router/branch.h"
#include "router/client.h"
#include "router/homelog.h"
#include "router/identity.h"
#include "router/refusals.h"
#include "router/refusedlog.h"
#include "router/router.h"
#include "router/sessions.h"
#include "router/standoff.h"
#include "router/turn.h"
#include "router/turnlock.h"

enum {
	ROUTER_THREAD_IDLE_MS = 10000, /* a thread without work ends; router_hooks.idle_ms */
	ROUTER_LOCK_AWAY_MS = 12,      /* after giving way: more than it takes to wake another */
	ROUTER_LOCK_AWAY_TIMES = 40,   /* so often at most, while who waits has not come for it */
	ROUTER_POKE_MS = 1,            /* until the await thread has noticed */
	ROUTER_CIRCLE_MS = 20,         /* a wait under an explicit turn is looked at after this */
	ROUTER_STUCK_MS = 20, /* while another process has the turn explicitly: see circle.c */
	ROUTER_WANTED_MS =
		50, /* how often a long holder looks whether another process waits, and one
				* who waits for another process whether HEAD names another branch */
	ROUTER_WRITER_MS = 50, /* writer.json at most this often */
	ROUTER_ATTEMPTS = 8,   /* sends of one mutation */
	ROUTER_EINTR_MS = 100, /* a signal that its writer handles ends a wait after this */
};

/* What tests replace. */
struct router_hooks {
	int (*ensure)(const struct config *c, const struct repo *r, struct endpoint *ep,
		      struct err *e);
	int (*send)(struct client *c, const struct mutation *m, long timeout_ms,
		    struct mutation_answer *a, struct err *e);
	/* begin and finish: the halves of send */
	bool (*begin)(struct client *c, const struct mutation *m);
	int (*finish)(struct client *c, const struct mutation *m, long timeout_ms,
		      struct mutation_answer *a, struct err *e);
	unsigned idle_ms; /* 0: ROUTER_THREAD_IDLE_MS */
};

/* The router's own copy of the configuration; a summon that outlives the router holds it, too. */
struct shared_config {
	struct config c;
	_Atomic unsigned refs;
};

int shared_config_new(struct shared_config **out, const struct config *c);
void shared_config_put(struct shared_config *s);

enum ticket_kind { TICKET_HOME, TICKET_MUTATION, TICKET_ENDPOINT };
enum ticket_place {
	TICKET_NOWHERE, /* with the submit thread, or about to be put somewhere */
	TICKET_BACKEND, /* in repo->needing */
	TICKET_TURN,    /* in repo->turn's line */
	TICKET_URGENT,  /* in repo->urgent: the turn is held above it, by rrm lock */
	TICKET_ANSWER,  /* in repo->answers: ended without having gone */
};

struct router_ticket {
	struct turn_request rq; /* first: the turn's line knows only this */
	struct router_ticket *prev, *next;
	enum ticket_kind kind;
	enum ticket_place place;
	struct router_pass pass;
	struct mutation *m; /* owned */
	union {
		router_granted_fn granted;
		router_done_fn done;
		router_endpoint_fn endpoint;
	} fn;
	void *arg;
	bool borrowed; /* the turn is its caller's already: see router_pass.borrowed */
	bool sent;     /* at least once: whether it was applied is not ours to say */
	bool retried;  /* its backend died while it was started for it, and is started once more */
	bool flying; /* no answer came: it may be half done, so its turn stays until it is answered */
	uint64_t serial; /* never 0 once it waited for the turn */
	enum mutation_op op;
	char *path, *path2; /* owned; of a home change; may be NULL */
	uint64_t locks[4];  /* stuck_place()s that the kernel keeps locked as long as it waits */
	unsigned n_locks;
	struct held behind;  /* what works under that turn needs one of locks; pid 0: none does */
	struct claim *claim; /* owned; turns.json says that it waits */
	bool looked;         /* whether that is part of a circle, */
	uint64_t looked_version; /* with that branch */
	uint64_t look_ms;        /* not before; 0: at once when it is due */
	bool interrupted;        /* its deadline is for EINTR */
	bool stopped; /* its caller was interrupted by no signal that ends a wait: looked at again */
	unsigned attempts, late;
	uint64_t submitted_us, give_up_ms;
	int64_t since_wall_ms;
	int error; /* of an answer; negative */
	struct err sentence;
	struct endpoint ep;
};

struct thread {
	pthread_t id;
	bool joinable; /* id is one to join */
	bool alive;    /* it will look at the repo again */
	pthread_cond_t wake;
	bool spins;               /* looks a little while for more before it sleeps */
	bool asleep;              /* in the kernel */
	int bell;                 /* owned eventfd, instead of wake; -1: none */
	_Atomic uint64_t wake_at; /* when it looks without being woken; 0 while it runs */
};

struct summon;

struct router_repo {
	struct router *router; /* borrowed */
	struct router_repo *prev, *next;
	unsigned refs; /* protected by router->lock */
	struct repo info;
	enum config_policy policy;
	struct branch branch;
	struct homelog *log;
	struct refusedlog *refused;

	pthread_mutex_t lock; /* protects all below */
	bool stopping;
	struct turn turn;
	struct turnlock *file; /* owned */
	struct turnlock *
		counter; /* owned; the same file, opened once more: of the submit thread, for epochs */
	bool lock_busy;    /* a thread uses file without the lock */
	bool lock_held;    /* file is locked for branch_held */
	bool lock_nominal; /* locking failed for good: only this process is kept apart; logged */
	bool lock_marked;  /* file says that we wait */
	bool awaiting;     /* the await thread is to wait for file, or does */
	bool blocked;      /* it does: lock_busy is its, and await.id may be poked */
	uint64_t awaited_version; /* of the branch that it waits for */
	uint64_t stuck_ms;    /* when to look for those who need a lock of our waiters; 0: soon */
	uint64_t stuck_stamp; /* of turns.json when that was read */
	struct claim *stuck;  /* owned: who they are */
	size_t n_stuck;
	bool giving_way; /* another process waits too long: no new change begins */
	uint64_t lock_since_ms;
	uint64_t lock_not_before_ms;
	unsigned away_left;      /* it was given back, and perhaps to one who has not come yet */
	uint64_t wanted_at_ms;   /* when to look for waiters of other processes again */
	uint64_t branch_version; /* of branch_held */
	char branch_held[BRANCH_MAX];
	uint64_t epoch, epoch_generation;
	uint64_t borrowed_epoch,
		borrowed_from; /* the last one in an explicit turn, and that of the turn */

	struct router_ticket *needing, *urgent, *answers;
	uint64_t
		stopped_ms; /* when to look again at tickets with `stopped`; TURN_NO_DEADLINE: there is none */
	bool backend_good;     /* the last exchange with the gateway went well */
	struct summon *summon; /* owned reference; NULL when none runs */
	struct client *client; /* of the submit thread; while that sleeps, of who has the lock */
	struct router_ticket *wire; /* sent with client by another thread: its answer is to come */
	bool client_stale;
	bool taking; /* another thread takes the turn for what it sends: client and counter are its */
	struct thread submit, keeper, await;

	/* The keeper's: writer.json */
	struct actor holder; /* of the last request let through */
	char *holder_path;   /* owned; may be NULL */
	int64_t holder_wall_ms;
	uint64_t holder_generation;
	bool writer_written;
	uint64_t writer_ms;
	uint64_t writer_seen; /* line_changes when it was written */
	uint64_t line_changes;
};

struct router {
	struct shared_config *config; /* owned reference */
	struct identity_world world;
	struct identities *ids;
	struct sessions *sessions;
	struct refusals *refusals;
	struct router_hooks hooks;
	_Atomic uint64_t serials; /* of tickets */
	pthread_mutex_t lock;
	struct router_repo *repos; /* protected by lock */
};

/* ---- grant.c: the turn within this process joined with the lock between processes ---- */

/* rr->lock is held throughout the _locked functions; those marked (drops) let go of it meanwhile. */

/*
 * (drops) True: the file lock of the present branch is ours. version: of branch_poll(), called before
 * the lock was taken. mark: leave the sign that we wait.
 */
bool grant_ready_locked(struct router_repo *rr, uint64_t version, bool mark, uint64_t now_ms);
/* (drops) Gives the file lock back, when nothing is in flight. */
void grant_release_locked(struct router_repo *rr);
/* How an attempt at file ended: 0, or an error that no waiting helps. */
void grant_taken_locked(struct router_repo *rr, uint64_t version, const char *name, int rc);
/* lock_busy is over: wakes those who found it so. */
void grant_unbusy_locked(struct router_repo *rr);
/* (drops) The epoch of the turn that t's mutation is part of; 0 or negative errno, -ESTALE when the holder
 * of the explicit turn that it goes in is no more, -EAGAIN without wait when another process counts just now. */
int grant_epoch_locked(struct router_repo *rr, const struct router_ticket *t, bool wait,
		       uint64_t *epoch);
/* (drops) True when others have counted since: the present turn counts anew before it goes on. */
bool grant_outrun_locked(struct router_repo *rr);
/* Something of the holder has begun: remembers it for writer.json. path: NULL when it is not known yet. */
void grant_begun_locked(struct router_repo *rr, const struct actor *a, const char *path);
void grant_path_locked(struct router_repo *rr, const char *path);
void grant_end_locked(struct router_repo *rr, uint64_t now_ms);

/* ---- await.c: another process has the turn ---- */

/* Somebody here wants file's lock. 0 or negative errno: the caller has to try again by itself. */
int await_start_locked(struct router_repo *rr);
/* (drops) Ends a wait that nobody wants any more. When to call it again: TURN_NO_DEADLINE, never. */
uint64_t await_tend_locked(struct router_repo *rr, uint64_t now_ms);
void await_stop(struct router_repo *rr); /* lock not held; stopping is set */

/* ---- circle.c: a write that works under an explicit turn waits for another turn ---- */

/* (drops) Looks at those in line, and ends one that would wait for ever with -EDEADLK. */
void circle_tend_locked(struct router_repo *rr, uint64_t now_ms);
uint64_t circle_due_locked(const struct router_repo *rr);
/* What a wait for that change keeps locked; either path may be NULL. */
void circle_locks(struct router_ticket *t, enum mutation_op op, const char *path,
		  const char *path2);
/* (drops) t does not wait any more. */
void circle_leave_locked(struct router_repo *rr, struct router_ticket *t);

/* ---- refuse.c: what no gateway was asked about ---- */

/* Notes it in errors and for refused.jsonl, which the keeper has to be woken to write. True: it was the first. */
bool refuse_note(struct router_repo *rr, const struct router_pass *pass,
		 const struct router_note *what, const char *sentence);

/* ---- submit.c, keeper.c, summon.c ---- */

/* Starts the thread unless it is alive. 0 or negative errno. */
int thread_ensure_locked(struct router_repo *rr, struct thread *t, void *(*main)(void *));
void thread_init(struct thread *t);
void thread_deinit(struct thread *t);
/* (drops) Waits for a wake-up or until at_ms (TURN_NO_DEADLINE: 10 s, then false: end). */
bool thread_sleep_locked(struct router_repo *rr, struct thread *t, uint64_t at_ms);
/* Wakes it if it would sleep beyond at_ms; 0: in any case. */
void thread_wake_locked(struct thread *t, uint64_t at_ms);
/* What it looks for is there, or makes its socket readable. */
void thread_hint_locked(struct thread *t);
void thread_stop(struct router_repo *rr, struct thread *t); /* lock not held; stopping is set */

int submit_start_locked(struct router_repo *rr); /* both threads */
void *submit_main(void *repo);
void *keeper_main(void *repo);
int keeper_start_locked(struct router_repo *rr);
/* Answers on the calling thread what the keeper left; lock not held. */
void keeper_drain(struct router_repo *rr);

/*
 * (drops) Takes the turn, when it is free, and sends t at once on the calling thread, which then does not wake the submit
 * thread: the answer does. False: it has to wait, or something is to be done first that may take long. version: of
 * branch_poll() just now.
 */
bool submit_now_locked(struct router_repo *rr, struct router_ticket *t, uint64_t version);
/* Puts t where it has to wait: for the backend, in line, or in front. */
void submit_place_locked(struct router_repo *rr, struct router_ticket *t);
/* Ends t without its having gone; the keeper answers. error is negative, e may be NULL. */
void submit_fail_locked(struct router_repo *rr, struct router_ticket *t, int error,
			const struct err *e);
/* Takes t out of wherever it waits. False when it does not wait. */
bool submit_take_out_locked(struct router_repo *rr, struct router_ticket *t);
void submit_expire_locked(struct router_repo *rr, uint64_t now_ms);
/* Its caller was interrupted: see router_cancel(). The other one asks again for those who were only stopped. */
void submit_interrupt_locked(struct router_repo *rr, struct router_ticket *t);
void submit_look_at_stopped_locked(struct router_repo *rr, uint64_t now_ms);
void submit_fail_all_locked(struct router_repo *rr, int error, const char *sentence);
void ticket_free(struct router_ticket *t);
const char *ticket_path(const struct router_ticket *t); /* NULL: not known */
struct router_ticket *ticket_of(struct turn_request *rq);

/* Makes sure that an ensure is under way for those in rr->needing. 0 or negative errno. */
int summon_start_locked(struct router_repo *rr);
/* The repo goes; one under way ends by itself. Lock not held. */
void summon_abandon(struct router_repo *rr);
