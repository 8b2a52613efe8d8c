/* `rrm status` on a terminal: one row a repository, details below those that have any, and a sum. */
#pragma once
#include <stdint.h>
#include <stdio.h>

#include "manager/base/json.h"
#include "manager/term.h"

/* all: what status_json() gives. 0 or -ENOMEM. */
int statusview_print(const cJSON *all, const struct term *t, int64_t now_ms, FILE *f);

/* The colour that a state has everywhere. */
enum term_colour statusview_colour(const char *state);

/* pss_kib of a status object, rss_kib where that cannot be read, 0 when nothing runs. */
int64_t statusview_memory(const cJSON *repo);
