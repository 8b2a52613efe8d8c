/*
 * Where a thread runs. One that serves is kept on the processor of who asks; what it starts, threads and processes,
 * inherits that and has to be let go.
 */
#pragma once

/* This thread runs on processor cpu only. 0, or negative errno: it may not. */
int processor_keep(unsigned cpu);

/* This thread runs wherever its process may: where the main thread may, which is never kept. */
void processor_free(void);
