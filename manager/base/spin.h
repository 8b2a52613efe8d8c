/*
 * Looking for more work for a moment before sleeping: waking a sleeper costs more than the look, but only while
 * nobody else wants the processor. So a look that took long, because others ran in between, is the last one, and
 * the thread sleeps at once for a while.
 *
 *	struct spin s = spin_begin();
 *	while (!(found = look()) && spin_more(&s))
 *		;
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct spin {
	uint64_t end_us, last_us;
};

struct spin spin_begin(void);

/* Lets others run. False: sleep now. There is one look after each true. */
bool spin_more(struct spin *s);
