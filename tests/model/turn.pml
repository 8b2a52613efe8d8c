/*
 * The turn within a process joined with the lock between processes: router/grant.c, submit.c, await.c and
 * keeper.c, turn.c without its numbers. A mount (MOUNT) with two sessions that write at home, and another
 * process (OTHER: rrm lock, rrm write, a second mount). HEAD changes once, at any moment, or never.
 *
 * An atomic {} is what runs under repo->lock; the steps between are what it lets go of the lock for. Time is
 * a process that makes any deadline pass at any moment. A thread that sleeps without a deadline is stuck until it
 * is woken: a lost wake-up is an end in which a writer still waits, which spin reports as an invalid end state.
 *
 * What OTHER runs may write in the mount: that needs no turn of MOUNT, but its submit thread.
 *
 * Checked: nobody changes a branch but who has its lock, and one session at a time (assert); every writer ends.
 * -DCANCEL: one of the writers may be interrupted, or meet its bound, while it waits. -DBUG_...: what spin must find.
 */
#ifndef ROUNDS
#define ROUNDS 2
#endif
#define NOBODY 0
#define MOUNT 1
#define OTHER 2
#define NONE 9

mtype = { OUT, QUEUED, RUNS, ANSWERED, ENDED };

byte owner[2];  /* kernel: who has the lock of a branch */
bool mark;      /* kernel: MOUNT waits for a lock */
bool omark;     /* kernel: OTHER does */
byte head;      /* the branch that HEAD names */
bool poked;     /* a signal for the await thread */

/* struct router_repo */
bool busy, held, awaiting, blocked, giving, away, marked;
byte branch_held, awaited;
/* struct turn */
bool thold, idle, overdue;
byte holder, flight;
mtype place[2];
/* threads */
bool submit_sleeps, keeper_sleeps, await_sleeps;
bool submit_timed, keeper_timed; /* they have a deadline */
bool wanted_due;                 /* time to look for other processes */
bool urgent;                     /* a change in the turn that OTHER has, by the submit thread */

byte inside[2]; /* ghost: changes of each session under way */
byte moves = 1;

#define queued (place[0] == QUEUED || place[1] == QUEUED)
#define has(b) (held && branch_held == b)
#define is_idle (!thold || (flight == 0 && idle))
#define others_of(s) (place[1 - (s)] == QUEUED)
/* turn_would() and turn_peek() */
#define would(s) ((!thold && !queued) || (thold && holder != s && !queued && is_idle) || \
	(thold && holder == s && (!others_of(s) || (!is_idle && !overdue))))
#define may_pop(s) (place[s] == QUEUED && (!thold || \
	(holder != s && (is_idle || (flight == 0 && overdue))) || \
	(holder == s && (!others_of(s) || (!is_idle && !overdue)))))
#define peek (may_pop(0) || may_pop(1))

inline wake_submit() { submit_sleeps = false; }
inline wake_keeper() { keeper_sleeps = false; }
inline wake_await() { await_sleeps = false; }

/* grant_unbusy_locked() */
inline unbusy() {
	busy = false;
#ifndef BUG_UNBUSY_WAKES_NOBODY
	if :: queued || urgent -> wake_submit() :: else fi;
#endif
	if :: awaiting -> wake_await() :: else fi;
	wake_keeper();
}

/* give(): counted as in flight */
inline give(s) {
	if
	:: !thold || holder != s -> assert(flight == 0); thold = true; holder = s; overdue = false
	:: else -> if :: is_idle -> overdue = false :: else fi
	fi;
	flight++;
	idle = false;
}

/* grant_taken_locked() */
inline taken(b) {
	held = true;
	branch_held = b;
	marked = false;
#ifndef BUG_AWAITS_WHAT_IT_HAS
	awaiting = false
#endif
}

/* grant_end_locked() */
inline end() {
	flight--;
	idle = false;
	if :: flight == 0 -> if :: queued -> wake_submit() :: else fi; wake_keeper() :: else fi;
}

/* The change itself: three steps, in which anything may happen. */
inline change(s, b) {
	atomic { inside[s]++; assert(inside[1 - s] == 0); assert(owner[b] == MOUNT) }
	atomic { assert(inside[1 - s] == 0); assert(owner[b] == MOUNT); inside[s]-- }
}

/* turnlock_try(): releases what was held for another branch first */
inline try_lock(b, got, want_mark) {
	d_step {
		if :: owner[1 - b] == MOUNT -> owner[1 - b] = NOBODY :: else fi;
		if
		:: owner[b] == NOBODY || owner[b] == MOUNT -> owner[b] = MOUNT; got = true; mark = false
		:: else -> got = false; if :: want_mark -> mark = true :: else fi
		fi
	}
}

inline failed(want_mark) {
	marked = want_mark;
	if :: thold -> thold = false :: else fi;
	if :: want_mark -> awaiting = true; wake_await() :: else fi;
}

/* fs: router_begin(), router_wait(), router_cancel() */
proctype Writer(byte s)
{
	byte n = ROUNDS, b;
	bool got;

	do
	:: n == 0 -> break
	:: n > 0 ->
		n--;
		atomic {
			b = head;
			if
			:: would(s) && has(b) && !giving -> give(s); goto runs
			:: would(s) && !has(b) && !busy && flight == 0 && !giving && !away ->
				busy = true; held = false
			:: else -> goto wait
			fi
		}
		try_lock(b, got, false);
		atomic {
			if :: got -> taken(b) :: else -> failed(false) fi;
			unbusy();
			if
			:: got && would(s) && !giving -> give(s)
			:: else -> goto wait
			fi
		}
runs:		change(s, b);
		atomic { end() }
		goto next;
wait:		atomic { place[s] = QUEUED; wake_submit(); wake_keeper() }
		if
		:: place[s] == ENDED
#ifdef CANCEL
		:: atomic { s == 1 && place[s] == QUEUED -> place[s] = ANSWERED;
#ifndef BUG_CANCEL_WAKES_NOBODY
			wake_keeper()
#endif
			}
			place[s] == ENDED
#endif
		fi;
next:		place[s] = OUT
	od
}

/* submit_main(), step_locked() */
proctype Submit()
{
	byte b, s;
	bool got;

endsleep: do
	:: atomic {
		!submit_sleeps ->
		b = head;
		if :: urgent -> urgent = false; goto next :: else fi;
		if
		:: !peek -> submit_sleeps = true; submit_timed = queued && flight == 0; goto next
		:: peek && has(b) && !giving -> goto pop
		:: peek && has(b) && giving -> submit_sleeps = true; submit_timed = false; goto next
		:: peek && !has(b) && (busy || flight > 0 || giving) ->
			submit_sleeps = true; submit_timed = false; goto next
		:: peek && !has(b) && !busy && flight == 0 && !giving && away ->
			submit_sleeps = true; submit_timed = true; goto next
		:: peek && !has(b) && !busy && flight == 0 && !giving && !away ->
			busy = true; held = false
		fi
	   }
	   try_lock(b, got, true);
	   atomic {
		if :: got -> taken(b) :: else -> failed(true) fi;
		unbusy();
		if
#ifndef BUG_FORGETS_WHO_CAME_MEANWHILE
		:: !got && urgent -> goto next
		:: !got && !urgent -> submit_sleeps = true; submit_timed = false; goto next
#else
		:: !got -> submit_sleeps = true; submit_timed = false; goto next
#endif
		:: else
		fi
	   }
pop:	   atomic {
		/* grant_ready_locked() was true under this hold of the lock, or nothing was let go of since */
		if
		:: may_pop(0) && has(b) && !giving -> s = 0
		:: may_pop(1) && has(b) && !giving -> s = 1
		:: else -> goto next
		fi;
		place[s] = RUNS;
		give(s)
	   }
	   change(s, b);
	   atomic { end(); place[s] = ENDED }
next:	   skip
	:: atomic { submit_sleeps && submit_timed && ((thold && is_idle) || overdue || !away) -> submit_sleeps = false }
	od
}

/* await.c */
proctype Await()
{
	byte b;
	bool got;

endsleep: do
	:: atomic {
		!await_sleeps ->
		if
		:: !awaiting || busy -> await_sleeps = true; goto next
		:: else -> busy = true; blocked = true; marked = true; b = head; awaited = b; wake_keeper()
		fi
	   }
	   poked = false; /* a signal that comes before the wait begins is lost */
	   /* turnlock_block(): try, then F_OFD_SETLKW */
	   try_lock(b, got, true);
	   if
	   :: got
	   :: !got ->
		if
		:: atomic { owner[b] == NOBODY -> owner[b] = MOUNT; mark = false; got = true }
		:: atomic { poked -> poked = false }
		fi
	   fi;
	   atomic {
		blocked = false;
		awaiting = false;
		if :: got -> taken(b) :: else fi;
		unbusy()
	   }
next:	   skip
	od
}

#define release_now (held && !busy && flight == 0 && (giving || (!queued && is_idle)))
#define look_now (held && !busy && !giving && wanted_due)
#define unmark_now (marked && !queued && !busy)
#define poke_now (blocked && (!queued || awaited != head) && !poked)
#ifdef BUG_POKED_ONCE
#define keeper_due (release_now || look_now)
#else
#define keeper_due (release_now || look_now || poke_now)
#endif
#define answer_now (place[0] == ANSWERED || place[1] == ANSWERED)

/* keeper_main(): all that it may have to do, in any order */
proctype Keeper()
{
	bool wanted;

endsleep: do
	:: atomic {
		!keeper_sleeps ->
		if
		:: place[0] == ANSWERED -> place[0] = ENDED; goto next
		:: place[1] == ANSWERED -> place[1] = ENDED; goto next
		:: release_now ->
			if :: giving -> away = true :: else fi;
			thold = false; held = false; giving = false; busy = true; goto release
		:: look_now -> busy = true; wanted_due = false; goto look
		:: unmark_now -> marked = false; busy = true; goto unmark
		:: poke_now -> poked = true; goto next
		:: !release_now && !look_now && !unmark_now && !poke_now && !answer_now ->
			keeper_sleeps = true; goto next
		fi
	   }
release:   owner[branch_held] = NOBODY;
	   atomic { unbusy() }
	   goto next;
look:	   wanted = omark;
	   atomic { giving = wanted; unbusy() }
	   goto next;
unmark:	   mark = false;
	   atomic { unbusy() }
next:	   skip
	/* its deadlines: the turn is idle, look for others, poke again, HEAD while it waits */
	:: atomic { keeper_sleeps && keeper_due -> keeper_sleeps = false }
	od
}

/* Another process: it waits in the kernel, and may be killed there or while it has the lock. */
proctype Other()
{
	byte n = ROUNDS;

	do
	:: n == 0 -> break
	:: n > 0 ->
		n--;
		omark = true;
		if
		:: atomic { owner[0] == NOBODY -> owner[0] = OTHER; omark = false }
		   atomic { assert(owner[0] == OTHER); assert(head == 1 || inside[0] + inside[1] == 0) }
		   if
		   :: owner[0] = NOBODY /* by itself, or by the kernel after its death */
		   :: atomic { urgent = true; wake_submit() } /* what rrm lock runs writes in the mount */
		      !urgent;
		      owner[0] = NOBODY
		   :: head == 1 && moves == 0 -> /* for ever: no matter for those on the other branch */
endforever:		false
		   fi
		:: omark = false /* killed, or its bound */
		fi
	od
}

/* Deadlines pass; HEAD moves. */
proctype Time()
{
endtime: do
	:: atomic { thold && flight == 0 && !idle -> idle = true }
	:: atomic { thold && !overdue && queued -> overdue = true }
	:: atomic { held && omark && !wanted_due -> wanted_due = true }
	:: atomic { away -> away = false }
	:: atomic { moves > 0 -> moves--; if :: head = 1 - head :: skip fi }
	od
}

init {
	atomic {
		place[0] = OUT; place[1] = OUT;
		submit_sleeps = true; keeper_sleeps = true; await_sleeps = true;
		run Writer(0); run Writer(1); run Submit(); run Await(); run Keeper(); run Other(); run Time()
	}
}
