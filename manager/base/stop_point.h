/*
 * Named steps between a call and its reply, at which a test stops this process to kill it there (docs/ARCHITECTURE.md
 * lists them). Nothing at all unless built with -Dstop_points=true.
 *
 * RRM_STOP_DIR names a directory. Whoever comes to the point NAME and finds the file NAME there renames it to
 * NAME.<pid> and stops itself with SIGSTOP, all threads, until it is killed or continued: so one process stops, once.
 */
#pragma once
#include <stddef.h>

#ifdef RRM_STOP_POINTS
void stop_point(const char *name);
/* The first half of len when somebody is to stop at name: for a change that is half done there. */
size_t stop_point_part(const char *name, size_t len);
#else
static inline void stop_point(const char *name)
{
}

static inline size_t stop_point_part(const char *name, size_t len)
{
	return len;
}
#endif
