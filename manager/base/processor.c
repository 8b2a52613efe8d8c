#include "manager/base/processor.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

int processor_keep(unsigned cpu)
{
	cpu_set_t set;
	if (cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

void processor_free(void)
{
	cpu_set_t set;
	if (sched_getaffinity(getpid(), sizeof(set), &set) == 0)
		sched_setaffinity(0, sizeof(set), &set);
}
