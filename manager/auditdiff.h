/*
 * What an audit record changed, as diff(1) shows it: from what the gateway kept in <state>/undo/ to what
 * the record's sha256_after names, which is the file as it is now or what a later record of it kept.
 */
#pragma once
#include <stdio.h>

#include "manager/base/json.h"
#include "manager/repo.h"

/* Prints below the record's line; what cannot be shown is said in one line. f is flushed. */
void auditdiff_print(FILE *f, const struct repo *r, const cJSON *record);
