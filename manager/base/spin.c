#include "manager/base/spin.h"

#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "manager/base/clock.h"

enum {
	LOOK_US = 100,
	LONG_US = 20, /* between two looks: somebody else ran */
	TIMES = 3, /* that happened in so many more looks than it did not: the processor is wanted */
	BUSY_US = 2000, /* so sleep at once for that long */
};

static _Thread_local uint64_t busy_until_us;
static _Thread_local unsigned disturbed;

/* On one processor whoever could bring work waits for us. */
static bool alone(void)
{
	static _Atomic int processors;
	if (processors == 0)
		processors = (int)sysconf(_SC_NPROCESSORS_ONLN);
	return processors < 2;
}

struct spin spin_begin(void)
{
	uint64_t now = clock_mono_us();
	bool sleep = now < busy_until_us || alone();
	if (!sleep && disturbed)
		disturbed--;
	return (struct spin){.end_us = sleep ? now : now + LOOK_US, .last_us = now};
}

bool spin_more(struct spin *s)
{
	if (s->last_us >= s->end_us)
		return false;
	sched_yield();
	uint64_t now = clock_mono_us();
	if (now - s->last_us > LONG_US) {
		disturbed += 2;
		s->end_us = now;
		if (disturbed > TIMES) {
			disturbed = TIMES;
			busy_until_us = now + BUSY_US;
		}
	}
	s->last_us = now;
	return true;
}
