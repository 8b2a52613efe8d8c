/* Time, read in one place so that tests can pass their own. */
#pragma once
#include <stdint.h>

uint64_t clock_mono_us(void); /* CLOCK_MONOTONIC, microseconds */
uint64_t clock_mono_ms(void);
uint64_t clock_coarse_ms(void); /* CLOCK_MONOTONIC_COARSE: cheap, 1-4 ms steps */
int64_t clock_wall_ms(void);    /* CLOCK_REALTIME, milliseconds since the epoch */

/* RFC 3339 in UTC with milliseconds, "2026-11-22T17:40:00.123Z"; buf holds CLOCK_ISO_LEN bytes. */
enum { CLOCK_ISO_LEN = 32 };
const char *clock_iso(char buf[CLOCK_ISO_LEN], int64_t wall_ms);

/* Milliseconds since the epoch from such a text; -EINVAL when it is none. */
int clock_parse_iso(const char *text, int64_t *wall_ms);
