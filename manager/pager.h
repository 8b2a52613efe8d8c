/*
 * Long output through a pager, as git does it: $RRM_PAGER, else $PAGER, else less, run by sh; LESS is -FRX
 * unless it is set, so that what fits the screen is just printed. Only when stdout is a terminal that
 * can move its cursor; "cat" and "" are none.
 */
#pragma once
#include <sys/types.h>

/* From here on stdout goes to the pager. Its pid, or 0 when there is none: also when it cannot be run. */
pid_t pager_begin(void);

/* Closes stdout and waits until the reader has seen enough. pid 0 is fine. */
void pager_end(pid_t pid);
