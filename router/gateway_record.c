#include "router/gateway_record.h"

#include <stdio.h>
#include <string.h>

#include "manager/base/clock.h"
#include "manager/base/err.h"
#include "router/jsonw.h"

static bool is_writing(uint32_t op)
{
	return op == MUTATION_CREATE || op == MUTATION_WRITE || op == MUTATION_APPEND ||
	       op == MUTATION_TRUNCATE || op == MUTATION_FALLOCATE;
}

void gateway_record_init(struct gateway_record *r, const struct mutation *m, int64_t ts_ms)
{
	r->ts_ms = ts_ms;
	r->epoch = m->epoch;
	r->op = is_writing(m->op) && m->op != MUTATION_CREATE ? MUTATION_WRITE : m->op;
	r->result = GATEWAY_RESULT_DONE;
	r->error = 0;
	r->hash = is_writing(m->op) || m->op == MUTATION_RENAME;
	r->writes = 1;
	r->bytes = 0;
	r->size_before = r->size_after = -1;
	r->wait_us = m->wait_us;
	r->apply_us = 0;
	r->dev = r->ino = 0;
	r->actor = m->actor;
	r->message[0] = '\0';
	r->undo = (struct gateway_undo_note){.before = 0};
	strcpy(r->branch, m->branch);
	strcpy(r->path, m->path);
	strcpy(r->path2, m->path2 ? m->path2 : "");
}

static bool is_good_write(const struct gateway_record *r)
{
	return is_writing(r->op) && r->result == GATEWAY_RESULT_DONE && r->error == 0 &&
	       !*r->message;
}

bool gateway_record_continues(const struct gateway_record *r, const struct gateway_record *next)
{
	return is_good_write(r) && is_good_write(next) && r->epoch == next->epoch &&
	       r->actor.pid == next->actor.pid && r->actor.uid == next->actor.uid &&
	       strcmp(r->actor.session, next->actor.session) == 0 &&
	       strcmp(r->actor.home, next->actor.home) == 0 &&
	       strcmp(r->branch, next->branch) == 0 && strcmp(r->path, next->path) == 0;
}

void gateway_record_merge(struct gateway_record *r, const struct gateway_record *next)
{
	r->writes += next->writes;
	r->bytes += next->bytes;
	r->wait_us += next->wait_us;
	r->apply_us += next->apply_us;
	r->size_after = next->size_after;
	r->undo = next->undo;
	r->dev = next->dev;
	r->ino = next->ino;
}

static void put_size(struct jsonw *w, const char *key, int64_t size)
{
	if (size < 0)
		jsonw_null(w, key);
	else
		jsonw_i64(w, key, size);
}

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

static const char *result_name(const struct gateway_record *r)
{
	if (r->result == GATEWAY_RESULT_REFUSED)
		return "refused";
	if (r->result == GATEWAY_RESULT_INTERRUPTED)
		return "interrupted";
	return r->error ? err_name(r->error) : "ok";
}

/* null: nothing was there before. */
static void put_undo(struct jsonw *w, const struct gateway_undo_note *u)
{
	char kept[40];
	if (!u->before && !u->exchange) {
		jsonw_null(w, "undo");
		return;
	}
	snprintf(kept, sizeof(kept), "undo/%llu", (unsigned long long)u->kept.n);
	jsonw_open(w, "undo");
	if (u->exchange)
		jsonw_bool(w, "exchange", true);
	if (u->before) {
		jsonw_str(w, "kept", u->kept.n ? kept : NULL);
		if (u->kept.len || u->kept.attrs) {
			jsonw_u64(w, "kept_at", u->kept.at);
			jsonw_u64(w, "kept_len", u->kept.len);
			jsonw_u64(w, "kept_attrs", u->kept.attrs);
		}
		jsonw_str(w, "why", or_null(u->why));
		jsonw_u64(w, "mode", u->mode);
		jsonw_u64(w, "uid", u->uid);
		jsonw_u64(w, "gid", u->gid);
		jsonw_i64(w, "size", u->size);
		jsonw_time(w, "atime", &u->atime);
		jsonw_time(w, "mtime", &u->mtime);
	}
	if (u->rdev)
		jsonw_u64(w, "rdev", u->rdev);
	if (*u->xattr) {
		jsonw_bytes(w, "xattr", u->xattr);
		jsonw_bool(w, "had_xattr", u->had_xattr);
	}
	jsonw_close(w);
}

char *gateway_record_text(const struct gateway_record *r, uint64_t seq, const char *repo_id,
			  const char *sha, const char *prev)
{
	struct jsonw w = {0};
	char iso[CLOCK_ISO_LEN];
	jsonw_open(&w, NULL);
	jsonw_u64(&w, "seq", seq);
	jsonw_str(&w, "ts", clock_iso(iso, r->ts_ms));
	jsonw_str(&w, "repo_id", repo_id);
	jsonw_bytes(&w, "branch", r->branch);
	jsonw_u64(&w, "epoch", r->epoch);
	jsonw_str(&w, "op", mutation_op_name((enum mutation_op)r->op));
	jsonw_bytes(&w, "path", r->path);
	jsonw_bytes(&w, "path2", or_null(r->path2));
	jsonw_u64(&w, "writes", r->writes);
	jsonw_u64(&w, "bytes", r->bytes);
	put_size(&w, "size_before", r->size_before);
	put_size(&w, "size_after", r->size_after);
	jsonw_str(&w, "sha256_after", sha);
	jsonw_str(&w, "result", result_name(r));
	jsonw_str(&w, "message", or_null(r->message));
	jsonw_u64(&w, "wait_us", r->wait_us);
	jsonw_u64(&w, "apply_us", r->apply_us);
	put_undo(&w, &r->undo);
	mutation_put_actor(&w, &r->actor);
	jsonw_str(&w, "prev", prev);
	jsonw_close(&w);
	return jsonw_steal(&w);
}
