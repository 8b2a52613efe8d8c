/* Numbers and people as `rrm status`, `top`, `log` and `report` say them. Pure but for the FILE. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "manager/base/json.h"

enum { WORDS_MAX = 32 };

/* "12s", "5m", "2h03m", "4d01h". */
const char *words_span(char buf[WORDS_MAX], int64_t seconds);
/* "512K", "211M", "1.4G". */
const char *words_memory(char buf[WORDS_MAX], int64_t kib);
/* "12s ago"; "in 3m", where the clock went backwards; "" for no time at all. ts is RFC 3339. */
const char *words_ago(char buf[WORDS_MAX], const char *ts, int64_t now_ms);

/* A text, or an object's comm, pid, home and session: "sh(812) of web-01234567 session ses_1". */
void words_who(FILE *f, const cJSON *who);
/* The same, short, cut to size: "sh(812) of web" with the slug of the home alone. */
void words_who_short(char *buf, size_t size, const cJSON *who);
