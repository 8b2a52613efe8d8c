/*
 * How long the audit is kept: the oldest audit.<seq>.jsonl go when all of them together are too large or one
 * is too old; audit.jsonl and the newest of them stay. <state>/audit.begin then says where the chain begins:
 * {seq, prev, ts} of the first record that is kept, so that rrm log --verify still proves that none is missing
 * behind it. It is written before anything is removed.
 */
#pragma once
#include <stdint.h>

#include "manager/base/err.h"
#include "manager/base/sha256.h"

/* max_bytes 0: any size; days 0: for ever. Their number, or negative errno with a sentence. */
int auditkeep_clear(int dirfd, uint64_t max_bytes, uint32_t days, int64_t now_ms, struct err *e);

struct auditkeep_begin {
	int64_t seq; /* 0: the chain begins with the first record ever */
	char prev[SHA256_HEX_LEN];
};

/* 0, also when there is no such file; -EINVAL when it is damaged. */
int auditkeep_read(int dirfd, struct auditkeep_begin *out, struct err *e);
