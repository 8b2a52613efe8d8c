#include "router/gateway_engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/sha256.h"
#include "manager/base/stop_point.h"
#include "router/gateway_apply.h"
#include "router/gateway_audit.h"
#include "router/gateway_inflight.h"
#include "router/gateway_undo.h"

enum { HASH_MAX_BYTES = 16 << 20 };

struct gateway_engine {
	struct gateway_apply *apply; /* owned */
	struct gateway_audit *audit; /* owned */
	struct gateway_undo *undo;   /* owned */
	struct gateway_inflight inflight;
	uint64_t pending_ms;        /* when the pending record last grew */
	uint64_t deferred_ms;       /* when the deferred ones become "interrupted" */
	struct gateway_record next; /* of the mutation in hand; 10 KiB, so not on the stack */
	struct gateway_pending scratch;
};

/* SHA-256 of the file that r is about, NULL when it is gone, no file, too large or unreadable. */
static const char *hash_after(struct gateway_engine *g, const struct gateway_record *r,
			      char sha[SHA256_HEX_LEN])
{
	bool owned = false;
	if (!r->hash || r->ino == 0 || r->size_after < 0)
		return NULL;
	int fd = gateway_apply_reader(g->apply, *r->path2 ? r->path2 : r->path, r->dev, r->ino,
				      &owned);
	if (fd < 0)
		return NULL;
	int ret = sha256_fd(fd, HASH_MAX_BYTES, sha);
	if (owned)
		close(fd);
	return ret == 0 ? sha : NULL;
}

static int append(struct gateway_engine *g, const struct gateway_record *r, struct err *e)
{
	char sha[SHA256_HEX_LEN];
	return gateway_audit_append(g->audit, r, hash_after(g, r, sha), e);
}

/* The pending record becomes a line of the log. */
static int close_pending(struct gateway_engine *g, struct err *e)
{
	const struct gateway_pending *p = gateway_inflight_pending(&g->inflight);
	if (!p->used)
		return 0;
	/* A kill after the line was written and before it was forgotten here. */
	if (p->seq > gateway_audit_seq(g->audit)) {
		int r = append(g, &p->record, e);
		if (r < 0)
			return r;
	}
	stop_point("record-appended");
	g->inflight.f->recorded = p->number;
	gateway_inflight_drop_pending(&g->inflight);
	return 0;
}

/* What is in the work slot goes into the pending record, which must be free or be continued by it. */
static int record_work(struct gateway_engine *g, uint64_t now_ms, struct err *e)
{
	struct gateway_work *w = &g->inflight.f->work;
	const struct gateway_pending *p = gateway_inflight_pending(&g->inflight);
	if (w->number <= g->inflight.f->recorded || (p->used && w->number <= p->number))
		return 0;
	if (p->used && gateway_record_continues(&p->record, &w->record)) {
		g->scratch = *p;
		gateway_record_merge(&g->scratch.record, &w->record);
	} else {
		int r = close_pending(g, e);
		if (r < 0)
			return r;
		g->scratch.used = 1;
		g->scratch.seq = gateway_audit_seq(g->audit) + 1;
		g->scratch.record = w->record;
	}
	g->scratch.number = w->number;
	gateway_inflight_set_pending(&g->inflight, &g->scratch);
	g->pending_ms = now_ms;
	/* Only writing can be continued; the rest is in the log at once. */
	if (!gateway_record_continues(&w->record, &w->record))
		return close_pending(g, e);
	return 0;
}

/* The last steps of every mutation; also what the next start does with one that ended before them. */
static int finish_work(struct gateway_engine *g, uint64_t now_ms, struct err *e)
{
	const struct gateway_work *w = &g->inflight.f->work;
	if (w->state != GATEWAY_WORK_APPLIED)
		return 0;
	/* What came too late may come again in a newer turn, and that is not answered yet. */
	bool late = w->record.result == GATEWAY_RESULT_REFUSED && w->answer.error == ESTALE;
	if (!late && !gateway_inflight_answer(&g->inflight, w->id))
		gateway_inflight_put_answer(&g->inflight, &w->answer);
	stop_point("answer-kept");
	int r = record_work(g, now_ms, e);
	if (r < 0)
		return r;
	stop_point("record-pending");
	gateway_inflight_clear(&g->inflight);
	return 0;
}

/* The tree's state now, for what w was about. */
static void look_now(struct gateway_engine *g, const struct gateway_work *w,
		     struct gateway_side *now, struct gateway_side *now2)
{
	union {
		const char *in;
		char *out; /* struct mutation owns its strings; here they are borrowed and not changed */
	} path = {w->record.path}, path2 = {w->record.path2}, xattr = {w->xattr};
	struct mutation m = {.op = (enum mutation_op)w->op,
			     .path = path.out,
			     .path2 = *w->record.path2 ? path2.out : NULL,
			     .xattr = xattr.out};
	struct gateway_target t;
	bool outside;
	/* A failure is an absence: what was found until then is in t. */
	if (gateway_apply_open(g->apply, &m, &t, &outside, NULL) == 0)
		gateway_target_close(&t);
	gateway_side_fill(now, t.exists, &t.st, t.had_xattr);
	gateway_side_fill(now2, t.exists2, &t.st2, false);
}

static void note_size(int64_t *size, bool exists, const struct stat *st)
{
	*size = exists && S_ISREG(st->st_mode) ? st->st_size : -1;
}

/* Its record is in the log: who asks later hears what became of it, and it is never done again. */
static void forget_interrupted(struct gateway_engine *g, struct gateway_work *w)
{
	struct mutation_answer *a = &w->answer;
	*a = (struct mutation_answer){.error = w->applied ? 0 : EIO};
	memcpy(a->id, w->id, sizeof(a->id));
	memcpy(a->message, w->record.message, sizeof(a->message));
	gateway_inflight_put_answer(&g->inflight, a);
	w->state = GATEWAY_WORK_FREE;
}

/* Deferred ones whose last step was done when the gateway was killed again. */
static void settle_deferred(struct gateway_engine *g)
{
	for (int n = 0; n < GATEWAY_DEFERRED; n++) {
		struct gateway_work *w = &g->inflight.f->deferred[n];
		if (w->state == GATEWAY_WORK_FREE)
			continue;
		if (gateway_inflight_answer(&g->inflight, w->id))
			w->state = GATEWAY_WORK_FREE;
		else if (w->claim && w->claim <= gateway_audit_seq(g->audit))
			forget_interrupted(g, w);
		else
			w->claim = 0;
	}
}

/* The end of a deferred mutation that nobody asked for again. */
static int interrupt(struct gateway_engine *g, struct gateway_work *w, struct err *e)
{
	struct stat st;
	int r = close_pending(g, e);
	if (r < 0)
		return r;
	struct gateway_record *rec = &w->record;
	const char *path = w->applied && *rec->path2 ? rec->path2 : rec->path;
	note_size(&rec->size_after, gateway_apply_look(g->apply, path, &st) == 0, &st);
	rec->result = GATEWAY_RESULT_INTERRUPTED;
	snprintf(rec->message, sizeof(rec->message),
		 "the gateway was killed while it did this, and nobody asked for it again; %s",
		 w->applied ? "it was found applied"
			    : "it was not applied, or only in part, as far as can be told");
	w->claim = gateway_audit_seq(g->audit) + 1;
	r = append(g, rec, e);
	if (r < 0) {
		w->claim = 0;
		return r;
	}
	forget_interrupted(g, w);
	return 0;
}

static int interrupt_all(struct gateway_engine *g, struct err *e)
{
	for (int n = 0; n < GATEWAY_DEFERRED; n++) {
		struct gateway_work *w = &g->inflight.f->deferred[n];
		int r = w->state != GATEWAY_WORK_FREE ? interrupt(g, w, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static bool has_deferred(const struct gateway_engine *g)
{
	for (int n = 0; n < GATEWAY_DEFERRED; n++)
		if (g->inflight.f->deferred[n].state != GATEWAY_WORK_FREE)
			return true;
	return false;
}

/* What the last gateway was applying when it died moves to a deferred slot, judged. */
static int defer_work(struct gateway_engine *g, struct err *e)
{
	struct gateway_work *w = &g->inflight.f->work, *slot = NULL;
	struct gateway_side now, now2;
	if (w->state != GATEWAY_WORK_NOTED)
		return 0;
	/* Taken up again from a slot and killed again, before the slot was freed or after. */
	slot = gateway_inflight_deferred(&g->inflight, w->id);
	for (int n = 0; n < GATEWAY_DEFERRED && !slot; n++)
		if (g->inflight.f->deferred[n].state == GATEWAY_WORK_FREE)
			slot = &g->inflight.f->deferred[n];
	if (!slot) {
		slot = &g->inflight.f->deferred[0];
		int r = interrupt(g, slot, e);
		if (r < 0)
			return r;
	}
	look_now(g, w, &now, &now2);
	w->applied = gateway_work_was_applied(w, &now, &now2);
	*slot = *w;
	slot->claim = 0;
	log_warn("event=interrupted id=%s op=%s applied=%u", w->id,
		 mutation_op_name((enum mutation_op)w->op), w->applied);
	stop_point("interrupted-judged");
	gateway_inflight_clear(&g->inflight);
	return 0;
}

/* What the last gateway left. A log that cannot be written now is tried again at every request. */
static void take_over(struct gateway_engine *g, uint64_t now_ms)
{
	struct err e = ERR_INIT;
	int r = finish_work(g, now_ms, &e);
	if (r == 0)
		r = close_pending(g, &e);
	settle_deferred(g);
	if (r == 0)
		r = defer_work(g, &e);
	if (r < 0)
		log_error("event=audit error=\"%s\"", e.text);
}

int gateway_engine_new(struct gateway_engine **out, const struct gateway_engine_config *c,
		       uint64_t now_ms, struct err *e)
{
	struct gateway_engine *g = calloc(1, sizeof(*g));
	if (!g)
		return err_errno(e, -ENOMEM, "starting the gateway");
	int r = gateway_inflight_open(&g->inflight, c->state, e);
	if (r == 0)
		r = gateway_apply_new(&g->apply, c->root, e);
	if (r == 0)
		r = gateway_audit_new(&g->audit, c->state, c->repo_id, c->rotate_bytes, e);
	if (r == 0)
		gateway_audit_keep(g->audit, c->audit_keep_bytes, c->audit_keep_days);
	if (r == 0)
		r = gateway_undo_new(&g->undo, c->state, c->undo_bytes, c->undo_days, e);
	if (r == 0)
		take_over(g, now_ms);
	if (r < 0) {
		gateway_undo_free(g->undo);
		gateway_apply_free(g->apply);
		gateway_audit_free(g->audit);
		gateway_inflight_close(&g->inflight);
		free(g);
		return r;
	}
	/* A new inflight file must not let an old turn in. */
	if (g->inflight.f->epoch < gateway_audit_epoch(g->audit))
		g->inflight.f->epoch = gateway_audit_epoch(g->audit);
	g->deferred_ms = now_ms + GATEWAY_ENGINE_DEFER_MS;
	*out = g;
	return 0;
}

struct gateway_engine *gateway_engine_free(struct gateway_engine *g)
{
	struct err e = ERR_INIT;
	if (!g)
		return NULL;
	if (finish_work(g, 0, &e) < 0 || close_pending(g, &e) < 0 || interrupt_all(g, &e) < 0)
		log_error("event=audit_unfinished kept_in=inflight error=\"%s\"", e.text);
	gateway_undo_free(g->undo);
	gateway_audit_free(g->audit);
	gateway_apply_free(g->apply);
	gateway_inflight_close(&g->inflight);
	free(g);
	return NULL;
}

int gateway_engine_settle(struct gateway_engine *g, uint64_t *seq, struct err *e)
{
	int r = close_pending(g, e);
	*seq = gateway_audit_seq(g->audit);
	return r;
}

uint64_t gateway_engine_epoch(const struct gateway_engine *g)
{
	return g->inflight.f->epoch;
}

int gateway_engine_tick(struct gateway_engine *g, uint64_t now_ms)
{
	struct err e = ERR_INIT;
	uint64_t due = UINT64_MAX;
	int r = 0;
	if (gateway_inflight_pending(&g->inflight)->used) {
		due = g->pending_ms + GATEWAY_ENGINE_COALESCE_MS;
		if (now_ms >= due) {
			r = close_pending(g, &e);
			due = UINT64_MAX;
		}
	}
	if (r == 0 && has_deferred(g)) {
		if (now_ms >= g->deferred_ms)
			r = interrupt_all(g, &e);
		else if (g->deferred_ms < due)
			due = g->deferred_ms;
	}
	if (r < 0) {
		log_error("event=audit error=\"%s\"", e.text);
		return 1000;
	}
	int kept_ms = gateway_apply_expire(g->apply, now_ms);
	if (kept_ms >= 0 && now_ms + (uint64_t)kept_ms < due)
		due = now_ms + (uint64_t)kept_ms;
	return due == UINT64_MAX ? -1 : (int)(due - now_ms);
}

/* An answer without a change: refused, failed before it began, or a mutation that needs no record. */
static void fail(struct mutation_answer *a, int r, const struct err *e)
{
	a->error = -r;
	snprintf(a->message, sizeof(a->message), "%.*s", (int)sizeof(a->message) - 1, e->text);
}

static void fill_before(struct mutation_before *b, bool exists, const struct stat *st)
{
	*b = (struct mutation_before){.exists = exists};
	if (exists) {
		b->ino = st->st_ino;
		b->size = st->st_size;
		b->mtime = st->st_mtim;
		b->ctime = st->st_ctim;
	}
}

/* fsync and release: no turn, no record, no id. */
static void handle_quiet(struct gateway_engine *g, const struct mutation *m,
			 struct mutation_answer *a)
{
	struct err e = ERR_INIT;
	struct gateway_target t;
	bool outside;
	if (m->op == MUTATION_RELEASE) {
		const struct gateway_pending *p = gateway_inflight_pending(&g->inflight);
		if (p->used && strcmp(p->record.path, m->path) == 0 && close_pending(g, &e) < 0)
			log_error("event=audit error=\"%s\"", e.text);
		gateway_apply_release(g->apply, m);
		return;
	}
	int r = gateway_apply_open(g->apply, m, &t, &outside, &e);
	if (r == 0) {
		fill_before(&a->before, t.exists, &t.st);
		r = gateway_apply_commit(g->apply, m, &t, a, &e);
		gateway_target_close(&t);
	}
	if (r < 0)
		fail(a, r, &e);
}

/* The outcome into the work slot, the answer and the record. t NULL: it never got that far. */
static void complete(struct gateway_engine *g, const struct mutation *m,
		     const struct gateway_target *t, uint64_t begun_us, struct mutation_answer *a,
		     uint64_t now_ms)
{
	struct err e = ERR_INIT;
	struct gateway_record *r = &g->inflight.f->work.record;
	r->error = a->error;
	r->bytes = (uint64_t)a->bytes;
	snprintf(r->message, sizeof(r->message), "%s", a->message);
	if (t) {
		note_size(&r->size_before, t->exists, &t->st);
		fill_before(&a->before, t->exists, &t->st);
	}
	if (a->has_attr) {
		note_size(&r->size_after, true, &a->attr);
		r->dev = a->attr.st_dev;
		r->ino = a->attr.st_ino;
	} else if (t && a->error) {
		r->size_after = r->size_before;
	}
	r->apply_us = clock_mono_us() - begun_us;
	gateway_inflight_applied(&g->inflight, a);
	stop_point("applied-noted");
	if (finish_work(g, now_ms, &e) < 0)
		log_error("event=audit error=\"%s\"", e.text);
}

static void refuse(struct gateway_engine *g, const struct mutation *m, int r, const struct err *e,
		   bool refused, uint64_t begun_us, struct mutation_answer *a, uint64_t now_ms)
{
	fail(a, r, e);
	if (refused)
		g->next.result = GATEWAY_RESULT_REFUSED;
	gateway_inflight_note(&g->inflight, m, NULL, &g->next);
	complete(g, m, NULL, begun_us, a, now_ms);
}

/* An interrupted mutation that was found applied is asked for again: answer, and record it at last. */
static void answer_deferred(struct gateway_engine *g, const struct mutation *m,
			    struct gateway_work *d, uint64_t begun_us, struct mutation_answer *a,
			    uint64_t now_ms)
{
	const char *path = m->path2 ? m->path2 : m->path;
	bool removal = m->op == MUTATION_UNLINK || m->op == MUTATION_RMDIR;
	const struct gateway_side before = d->path;
	a->has_attr = !removal && gateway_apply_look(g->apply, path, &a->attr) == 0;
	if (m->op == MUTATION_APPEND) {
		a->bytes = (int64_t)d->len;
		a->offset = before.size;
	}
	snprintf(a->message, sizeof(a->message),
		 "the gateway was killed while it did this; it was found applied");
	g->next.undo = d->record.undo;
	gateway_inflight_note(&g->inflight, m, NULL, &g->next);
	g->inflight.f->work.record.size_before = before.exists ? before.size : -1;
	complete(g, m, NULL, begun_us, a, now_ms);
	d->state = GATEWAY_WORK_FREE;
}

/* Room for the record, and nothing left over that could not be written. */
static int prepare_record(struct gateway_engine *g, uint64_t now_ms, struct err *e)
{
	int r = finish_work(g, now_ms, e);
	if (r == 0)
		r = gateway_audit_reserve(g->audit, e);
	const struct gateway_pending *p = gateway_inflight_pending(&g->inflight);
	if (r == 0 && p->used && !gateway_record_continues(&p->record, &g->next))
		r = close_pending(g, e);
	return r;
}

static void keep_undo(struct gateway_engine *g, const struct mutation *m,
		      const struct gateway_target *t)
{
	const struct gateway_pending *p = gateway_inflight_pending(&g->inflight);
	bool continues = p->used && gateway_record_continues(&p->record, &g->next);
	gateway_undo_keep(g->undo, g->apply, m, t, continues ? &p->record.undo : NULL,
			  &g->next.undo);
}

static void apply_now(struct gateway_engine *g, struct mutation *m, struct gateway_work *d,
		      uint64_t begun_us, struct mutation_answer *a, uint64_t now_ms)
{
	struct gateway_target t;
	struct err e = ERR_INIT;
	bool outside;
	int r = gateway_apply_open(g->apply, m, &t, &outside, &e);
	if (r < 0) {
		refuse(g, m, r, &e, outside, begun_us, a, now_ms);
		return;
	}
	if (d) /* asked for again: what was kept the first time is what there was before it */
		g->next.undo = d->record.undo;
	else
		keep_undo(g, m, &t);
	stop_point("undo-kept");
	gateway_inflight_note(&g->inflight, m, &t, &g->next);
	stop_point("inflight-noted");
	if (d && d->op == MUTATION_APPEND && t.st.st_ino == d->path.ino &&
	    t.st.st_size >= d->path.size && t.st.st_size < d->path.size + (int64_t)d->len) {
		/* A part of it may be there: write all of it where it began. */
		g->inflight.f->work.path.size = d->path.size;
		m->op = MUTATION_WRITE;
		m->offset = d->path.size;
	}
	r = gateway_apply_commit(g->apply, m, &t, a, &e);
	stop_point("applied");
	if (r < 0)
		fail(a, r, &e);
	complete(g, m, &t, begun_us, a, now_ms);
	gateway_target_close(&t);
}

void gateway_engine_handle(struct gateway_engine *g, struct mutation *m, uint64_t now_ms,
			   struct mutation_answer *a)
{
	struct err e = ERR_INIT;
	uint64_t begun_us = clock_mono_us();
	const struct mutation_answer *old;
	*a = (struct mutation_answer){0};
	memcpy(a->id, m->id, sizeof(a->id));
	if (m->op == MUTATION_FSYNC || m->op == MUTATION_RELEASE) {
		handle_quiet(g, m, a);
		return;
	}
	if ((old = gateway_inflight_answer(&g->inflight, m->id))) {
		*a = *old;
		return;
	}
	gateway_record_init(&g->next, m, clock_wall_ms());
	int r = prepare_record(g, now_ms, &e);
	if (r < 0) {
		/* No record can be kept, so nothing is done and the id may try again. */
		log_error("event=refused id=%s error=\"%s\"", m->id, e.text);
		fail(a, r == -ENOSPC ? r : -EIO, &e);
		return;
	}
	struct gateway_work *d = gateway_inflight_deferred(&g->inflight, m->id);
	if (d && d->applied) {
		answer_deferred(g, m, d, begun_us, a, now_ms);
		return;
	}
	uint64_t newest = g->inflight.f->epoch;
	if (m->epoch < newest) {
		r = err_set(&e, -ESTALE, "epoch %llu is older than %llu: the turn was lost",
			    (unsigned long long)m->epoch, (unsigned long long)newest);
		/* d stays: it may be half done, and comes again in a newer turn, or is interrupted. */
		refuse(g, m, r, &e, true, begun_us, a, now_ms);
		return;
	}
	g->inflight.f->epoch = m->epoch;
	apply_now(g, m, d, begun_us, a, now_ms);
	if (d)
		d->state = GATEWAY_WORK_FREE;
}
