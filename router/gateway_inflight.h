/*
 * <state>/inflight: what a killed gateway must not forget, in a file that is mmapped and allocated in
 * full (so that storing into it needs no disk space). The page cache outlives the process: nothing
 * here is lost by kill -9. It is no log: a crash of the machine may lose the last second of it.
 *
 * Layout (struct gateway_inflight_file, native byte order, fixed sizes): magic "rrminfl\n", version,
 * the newest epoch seen; the work slot: the one mutation that is being applied; deferred slots: what
 * former gateways left in the work slot; the pending audit record in two copies, of which `pending_at`
 * names the valid one; the last 1024 answers, a ring.
 *
 * One mutation: NOTED before it is applied (id, op, paths, state before), APPLIED with its answer when
 * it was, or was refused; its answer goes into the ring, its record to the audit, then FREE. Every
 * step may be the last of this process; the next one continues from what it finds.
 *
 * A file that is damaged (magic, version, size, values out of range) is moved aside by
 * file_move_aside(), logged, and begun anew. One thread; no locks.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "manager/base/err.h"
#include "router/gateway_apply.h"
#include "router/gateway_record.h"
#include "router/mutation.h"

enum { GATEWAY_WORK_FREE, GATEWAY_WORK_NOTED, GATEWAY_WORK_APPLIED };
enum { GATEWAY_DEFERRED = 8, GATEWAY_ANSWERS = 1024 };

/* One side of a mutation before it was applied. */
struct gateway_side {
	uint32_t exists;
	uint32_t had_xattr;
	uint64_t dev, ino;
	int64_t size;
};

struct gateway_work {
	uint32_t state;   /* GATEWAY_WORK_*; written last */
	uint32_t applied; /* deferred: it was found to have been applied */
	uint64_t number;  /* counts mutations; 0 is none */
	uint64_t
		claim; /* deferred: the seq that its record "interrupted" has or will have; 0: none */
	uint32_t op;   /* enum mutation_op */
	uint32_t pad;
	char id[MUTATION_ID_MAX];
	uint64_t len;   /* bytes of the body */
	int64_t offset; /* as in the mutation */
	int64_t length;
	uint32_t flags;
	char xattr[256];
	struct gateway_side path, path2;
	struct gateway_record record; /* what will be in the audit */
	struct mutation_answer answer;
};

struct gateway_inflight_file {
	char magic[8];
	uint32_t version;
	uint32_t size; /* of this struct */
	uint64_t epoch;
	uint64_t number;   /* of the last mutation noted */
	uint64_t recorded; /* number of the last one whose record is in audit.jsonl */
	uint32_t pending_at;
	uint32_t n_answers; /* written so far, modulo 2^32 */
	struct gateway_work work;
	struct gateway_work deferred[GATEWAY_DEFERRED];
	struct gateway_pending {
		uint32_t used;
		uint32_t pad;
		uint64_t number; /* of the last mutation in it */
		uint64_t seq;    /* that it will have in audit.jsonl */
		struct gateway_record record;
	} pending[2];
	struct mutation_answer answers[GATEWAY_ANSWERS];
};

struct gateway_inflight {
	struct gateway_inflight_file *f;  /* owned; the mapping */
	uint64_t hashes[GATEWAY_ANSWERS]; /* of the answers' ids, so that a search reads 8 KiB */
};

/* dirfd: the state directory. -ENOSPC when there is no room for it. */
int gateway_inflight_open(struct gateway_inflight *i, int dirfd, struct err *e);
void gateway_inflight_close(struct gateway_inflight *i);

/* Fills the work slot from m and the state before it. t NULL: nothing will be changed for it (it is refused, or
 * was applied long ago), so the slot stays FREE until gateway_inflight_applied(). */
void gateway_inflight_note(struct gateway_inflight *i, const struct mutation *m,
			   const struct gateway_target *t, const struct gateway_record *r);
void gateway_inflight_applied(struct gateway_inflight *i, const struct mutation_answer *a);
void gateway_inflight_clear(struct gateway_inflight *i);

/* The valid copy of the pending record; used is 0 when there is none. */
const struct gateway_pending *gateway_inflight_pending(const struct gateway_inflight *i);
void gateway_inflight_set_pending(struct gateway_inflight *i, const struct gateway_pending *p);
void gateway_inflight_drop_pending(struct gateway_inflight *i);

/* NULL when the id is not among the last answers. */
const struct mutation_answer *gateway_inflight_answer(const struct gateway_inflight *i,
						      const char *id);
void gateway_inflight_put_answer(struct gateway_inflight *i, const struct mutation_answer *a);

struct gateway_work *gateway_inflight_deferred(struct gateway_inflight *i, const char *id);

void gateway_side_fill(struct gateway_side *s, bool exists, const struct stat *st, bool had_xattr);

/*
 * Was it applied? Pure. now, now2: the state of path and path2 at this moment. Right for all that may
 * not be applied twice; false for what may (write, truncate, chmod, ...).
 */
bool gateway_work_was_applied(const struct gateway_work *w, const struct gateway_side *now,
			      const struct gateway_side *now2);
