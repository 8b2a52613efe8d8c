/*
 * Epochs, fencing at the gateway, and a mutation that is sent again under its id: router/grant.c
 * (grant_epoch_locked), submit.c (send, again, regroup), oneshot.c, gateway_engine.c, gateway_inflight.c.
 * A writer with turns of its own (rrm-mount, rrm write), and another one that works under the explicit turn of
 * a holder (rrm lock), and without it takes its own. Everybody may be killed at any step, and the gateway once. A
 * writer may give up waiting for an answer while what it sent is still on its way.
 *
 * Checked: what is applied never goes back in epochs, so nobody changes anything after somebody else did whose
 * turn is newer; nothing is applied twice; an answer is the truth; who has the turn is not refused; each
 * writer that lives comes to an end. -DBUG_...: what spin must find.
 */
#define HOLDER 4
#define slot(who, attempt) (((who) - 1) * TRIES + (attempt) - 1)
#define TRIES 2
#define KILLS 1 /* of the gateway */

mtype = { NONE, APPLIED, REFUSED, LOST };

byte owner;   /* kernel: who has the lock; it goes with its owner's death */
byte counter; /* bytes 0-31 of the lock file */
byte kills;
bool alive[5];
bool child_over;
byte held_epoch; /* of HOLDER's turn; 0: it has none yet */

/* the gateway's inflight file: outlives the gateway */
byte newest;
mtype answer_of[3];
byte noted; /* the work slot: whose mutation is being applied; 0: none */
/* the repository */
byte last_applied;
byte times[3];

byte wire[4]; /* the epoch of what is on its way, by writer and attempt; connections overtake each other */
mtype back[3]; byte back_of[3];			 /* the last answer to each, and to which attempt */

inline answer(what) {
	atomic { if :: attempt >= back_of[who] -> back[who] = what; back_of[who] = attempt :: else fi }
}

/* gateway_engine_handle(), in steps; it may be killed between any two */
proctype Gateway()
{
	byte who, attempt, e;

endidle: do
	:: atomic {
		if
		:: wire[0] > 0 -> who = 1; attempt = 1
		:: wire[1] > 0 -> who = 1; attempt = 2
		:: wire[2] > 0 -> who = 2; attempt = 1
		:: wire[3] > 0 -> who = 2; attempt = 2
		fi;
		e = wire[slot(who, attempt)];
		wire[slot(who, attempt)] = 0
	   }
		if :: skip :: kills < KILLS -> kills++; goto next fi; /* killed with it unread */
		if
#ifndef BUG_ID_IS_NOT_LOOKED_UP
		:: answer_of[who] != NONE -> answer(answer_of[who])
#endif
#ifndef BUG_EPOCH_IS_NOT_CHECKED
		:: answer_of[who] == NONE && e < newest ->
#ifdef BUG_REFUSAL_IS_KEPT
			answer_of[who] = REFUSED;
#endif
			answer(REFUSED)
		:: answer_of[who] == NONE && e >= newest ->
#else
		:: answer_of[who] == NONE ->
#endif
			goto apply
#ifdef BUG_ID_IS_NOT_LOOKED_UP
		:: answer_of[who] != NONE && e >= newest -> goto apply
		:: answer_of[who] != NONE && e < newest -> answer(REFUSED)
#endif
		fi;
		goto next;
apply:		atomic { newest = (e > newest -> e : newest); noted = who }
		if :: skip :: kills < KILLS -> kills++; goto killed fi;
		atomic {
			assert(e >= last_applied);
			last_applied = e;
			times[who]++;
			assert(times[who] == 1)
		}
		if :: skip :: kills < KILLS -> kills++; goto killed fi;
		atomic { answer_of[who] = APPLIED; noted = 0 }
		if :: skip :: kills < KILLS -> kills++; goto next fi;
		answer(APPLIED);
		goto next;
killed:		/* its successor looks whether what was noted was applied */
		atomic {
#ifndef BUG_SUCCESSOR_FORGETS
			if :: times[noted] > 0 -> answer_of[noted] = APPLIED :: else fi;
#endif
			noted = 0
		}
next:		atomic { who = 0; attempt = 0; e = 0 } /* fewer states */
	od
}

/* proc_alive() of the holder; then the epoch of its turn, else one of its own */
inline take_turn(me) {
#ifdef BUG_EPOCH_BEFORE_LOCK
	counter++; e = counter;
#endif
	atomic { owner == 0 -> owner = me }
#ifndef BUG_EPOCH_BEFORE_LOCK
	atomic { counter++; e = counter }
#endif
}

inline give_turn(me) {
	atomic { if :: owner == me -> owner = 0 :: else fi }
}

inline talk(me) {
	wire[slot(me, tries)] = e;
	do
	:: back_of[me] == tries -> got = back[me]; break
	:: got = LOST; break /* killed gateway, no answer in time */
	od
}

/* A writer with one mutation. under: it works under HOLDER's turn as long as HOLDER lives. */
proctype Writer(byte me; bool under)
{
	byte e, tries;
	bool borrowed;
	mtype got;

	{
		if :: under -> held_epoch > 0 || !alive[HOLDER] :: else fi;
		do
		:: tries == TRIES -> break /* EIO: it is not known whether it was applied */
		:: tries < TRIES ->
			atomic {
				tries++;
				borrowed = under && alive[HOLDER];
				if :: borrowed -> e = held_epoch; goto send :: else fi
			}
			take_turn(me);
send:			talk(me);
			atomic {
				/* Refused: only its holder's death can be why. Then it needs a turn of its own. */
				assert(got != APPLIED || times[me] == 1);
				assert(got != REFUSED || (borrowed && !alive[HOLDER]));
				if :: !borrowed && owner == me -> owner = 0 :: else fi;
				e = 0;
				if :: got == APPLIED -> break :: else got = LOST fi
			}
		od;
		give_turn(me)
	} unless { !alive[me] };
	atomic {
		e = 0; tries = 0; borrowed = false; got = LOST;
		back[me] = NONE; back_of[me] = 0;
		if :: owner == me -> owner = 0 :: else fi;
		if :: under -> child_over = true :: else fi
	}
}

/* rrm lock: holds the turn while its command runs */
proctype Holder()
{
	byte e;

	{
		take_turn(HOLDER);
		held_epoch = e;
		child_over
	} unless { !alive[HOLDER] };
	atomic { alive[HOLDER] = false; if :: owner == HOLDER -> owner = 0 :: else fi }
}

/* One of them may be killed, at any step; beside the gateway. */
proctype Fate()
{
	if
	:: alive[1] = false
	:: alive[2] = false
	:: atomic { alive[HOLDER] = false; if :: owner == HOLDER -> owner = 0 :: else fi }
	:: skip
	fi
}

init {
	atomic {
		alive[1] = true; alive[2] = true; alive[HOLDER] = true;
		answer_of[1] = NONE; answer_of[2] = NONE;
		run Gateway(); run Writer(1, false); run Writer(2, true); run Holder(); run Fate()
	}
}
