/*
 * Deadlocks of explicit turns: router/standoff.c, oneshot.c (wait_in_line, have, oneshot_turn_give), circle.c.
 * Three commands, each under `rrm lock` of one repo and then of another one (any, its own branch's excepted),
 * or of none. What each turns.json update does under flock is atomic; the kernel's locks are taken and given back in
 * steps of their own. A command may be killed, and a wait may meet its bound.
 *
 * Checked: -EDEADLK is given only in a real circle (assert), and no circle stays: three commands that wait for
 * each other for ever are an invalid end state. -DBUG_...: what spin must find.
 */
#define NOBODY 9

byte owner[3]; /* kernel: whose lock of each repo */
byte wants[3]; /* the truth: what each command waits for, NOBODY: nothing */
/* turns.json */
bool holds[9];	    /* 3 * command + repo */
byte claim[3];	    /* what it says that each waits for; NOBODY: nothing */

#define who_says(r) (holds[r] -> 0 : (holds[3 + r] -> 1 : (holds[6 + r] -> 2 : NOBODY)))
/* standoff_find() over three: me waits for r; next is who holds it by the file */
inline look(me, r, found) {
	d_step {
		next = who_says(r);
		found = false;
		if
		:: next == me -> found = true
		:: next != me && next != NOBODY && claim[next] != NOBODY ->
			next = who_says(claim[next]);
			if
			:: next == me -> found = true
			:: next != me && next != NOBODY && claim[next] != NOBODY ->
				next = who_says(claim[next]);
				if :: next == me -> found = true :: else fi
			:: else
			fi
		:: else
		fi
	}
}

/* The truth: does waiting for r close a circle? */
inline truth(me, r, real) {
	d_step {
		next = owner[r];
		real = false;
		if
		:: next == me -> real = true
		:: next != me && next != NOBODY && wants[next] != NOBODY ->
			next = owner[wants[next]];
			if
			:: next == me -> real = true
			:: next != me && next != NOBODY && wants[next] != NOBODY ->
				next = owner[wants[next]];
				if :: next == me -> real = true :: else fi
			:: else
			fi
		:: else
		fi
	}
}

inline drop(who, what) {
#ifdef BUG_GIVES_BEFORE_IT_DROPS
	owner[what] = NOBODY;
	holds[3 * who + what] = false
#else
	holds[3 * who + what] = false;
	owner[what] = NOBODY
#endif
}

proctype Command(byte me)
{
	byte r, next;
	bool found, real;

	r = me;
again:
	/* the first turn: it works under none, so it makes no claim as it waits */
	atomic { owner[r] == NOBODY -> owner[r] = me }
	holds[3 * me + r] = true;
	if
	:: true -> goto over
	:: r = (me + 1) % 3
	:: r = (me + 2) % 3
	fi;
	/* the second one, under the first */
#ifdef BUG_LOOKS_BEFORE_IT_CLAIMS
	look(me, r, found);
	atomic { wants[me] = r; claim[me] = r }
#else
	atomic {
		wants[me] = r;
		look(me, r, found);
		if
		:: found -> truth(me, r, real); assert(real); wants[me] = NOBODY
		:: else -> claim[me] = r
		fi
	}
#endif
	if
	:: found -> wants[me] = NOBODY; goto over
	:: else
	fi;
	if
	:: atomic { owner[r] == NOBODY -> owner[r] = me; wants[me] = NOBODY }
#ifdef BOUND
	/* -ETIMEDOUT; one that meets its bound this moment counts as waiting until its claim is gone */
	:: atomic { wants[me] = NOBODY; claim[me] = NOBODY; goto over }
#endif
	fi;
	atomic { claim[me] = NOBODY; holds[3 * me + r] = true } /* have(): in the place of the wait */
	drop(me, r);
over:	if
	:: drop(me, me)
	:: atomic { /* killed: the dead do not count, and the kernel has its locks */
		holds[3 * me + me] = false; owner[me] = NOBODY }
	fi;
	r = me;
	if :: goto again :: true fi
}

init {
	atomic {
		owner[0] = NOBODY; owner[1] = NOBODY; owner[2] = NOBODY;
		wants[0] = NOBODY; wants[1] = NOBODY; wants[2] = NOBODY;
		claim[0] = NOBODY; claim[1] = NOBODY; claim[2] = NOBODY;
		run Command(0); run Command(1); run Command(2)
	}
}
