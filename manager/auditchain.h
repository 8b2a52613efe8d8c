/*
 * The chain of the audit: seq goes up by 1, prev is the SHA-256 of the line before, 64 zeros for the first.
 */
#pragma once
#include "manager/auditlog.h"

struct auditchain_check {
	uint64_t records; /* good lines seen */
	int64_t begins; /* seq of the first record that is kept; 0: none was cleared (auditkeep.h) */
	bool bad;
	struct err problem; /* "audit.jsonl line 12: prev is not the hash of the line before" */
	char file[AUDITLOG_FILE_MAX];
	uint64_t number; /* line of the first bad one */
};

/* 0 when the whole log was read: look at out->bad. Negative errno with a sentence. */
int auditchain_verify(const char *state_dir, struct auditchain_check *out, struct err *e);
