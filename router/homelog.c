#include "router/homelog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <uthash.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "router/jsonw.h"

enum { ROTATE_BYTES = 16 << 20 };

struct entry_key {
	uint64_t file;
	uint64_t session;
};

struct entry {
	struct entry_key key;
	bool fresh; /* something to write; else it is kept a while for its path */
	char *path; /* owned, as path2 */
	char *path2;
	uint32_t ops; /* 1 << enum mutation_op */
	uint64_t writes, bytes;
	uint64_t first_ms, last_ms;
	int64_t ts_first, ts_last;
	struct actor actor;
	UT_hash_handle hh;
};

struct homelog {
	char *dir; /* owned */
	bool complained;
	pthread_mutex_t lock;
	struct entry *entries; /* protected by lock, as n_fresh */
	unsigned n_fresh;
};

int homelog_new(struct homelog **out, const char *state_dir)
{
	struct homelog *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->dir = strdup(state_dir);
	if (!l->dir) {
		free(l);
		return -ENOMEM;
	}
	pthread_mutex_init(&l->lock, NULL);
	*out = l;
	return 0;
}

static void entry_free(struct entry *x)
{
	free(x->path);
	free(x->path2);
	free(x);
}

struct homelog *homelog_free(struct homelog *l)
{
	struct entry *x, *next;

	if (!l)
		return NULL;
	HASH_ITER (hh, l->entries, x, next) {
		HASH_DEL(l->entries, x);
		entry_free(x);
	}
	pthread_mutex_destroy(&l->lock);
	free(l->dir);
	free(l);
	return NULL;
}

static struct entry *find_locked(struct homelog *l, uint32_t session, uint64_t key)
{
	struct entry_key k = {.file = key, .session = session};
	struct entry *x;

	HASH_FIND(hh, l->entries, &k, sizeof(k), x);
	return x;
}

bool homelog_knows(struct homelog *l, uint32_t session, uint64_t key)
{
	struct entry *x;

	LOCK_SCOPE(&l->lock);
	x = find_locked(l, session, key);
	return x && x->fresh;
}

static struct entry *add_locked(struct homelog *l, const struct homelog_change *c)
{
	struct entry *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->key = (struct entry_key){.file = c->key, .session = c->session};
	HASH_ADD(hh, l->entries, key, sizeof(x->key), x);
	return x;
}

static void replace_text(char **text, const char *with)
{
	char *copy = with && (!*text || strcmp(*text, with) != 0) ? strdup(with) : NULL;

	if (!copy)
		return;
	free(*text);
	*text = copy;
}

bool homelog_note(struct homelog *l, const struct homelog_change *c, uint64_t now_ms,
		  int64_t wall_ms)
{
	bool first;
	struct entry *x;

	LOCK_SCOPE(&l->lock);
	x = find_locked(l, c->session, c->key);
	if (!x)
		x = add_locked(l, c);
	if (!x)
		return true;
	first = !l->n_fresh;
	if (!x->fresh) {
		x->fresh = true;
		x->first_ms = now_ms;
		x->ts_first = wall_ms;
		x->actor = *c->actor;
		l->n_fresh++;
	}
	replace_text(&x->path, c->path);
	replace_text(&x->path2, c->path2);
	x->ops |= 1U << c->op;
	x->writes++;
	x->bytes += c->bytes;
	x->last_ms = now_ms;
	x->ts_last = wall_ms;
	return first || l->n_fresh == HOMELOG_MAX;
}

static uint64_t due_of(const struct entry *x)
{
	uint64_t idle = x->last_ms + HOMELOG_IDLE_MS, old = x->first_ms + HOMELOG_OLD_MS;

	return idle < old ? idle : old;
}

uint64_t homelog_due(struct homelog *l, uint64_t now_ms)
{
	uint64_t at = HOMELOG_NEVER;
	struct entry *x, *next;

	LOCK_SCOPE(&l->lock);
	if (l->n_fresh >= HOMELOG_MAX)
		return now_ms;
	HASH_ITER (hh, l->entries, x, next) {
		/* One that was written is dropped when it has been idle as long again. */
		if (due_of(x) < at)
			at = due_of(x);
	}
	return at;
}

/* ops as one text, "create+write", in the order of enum mutation_op */
static void write_ops(struct jsonw *w, uint32_t ops)
{
	char text[256] = "";
	size_t len = 0;

	for (unsigned op = 0; op < MUTATION_N_OPS; op++) {
		if (!(ops & (1U << op)) || len >= sizeof(text) - 1)
			continue;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", len ? "+" : "",
					mutation_op_name((enum mutation_op)op));
	}
	jsonw_str(w, "op", text);
}

/* One line with its newline, owned by the caller; NULL when out of memory. */
static char *line_of(const struct entry *x)
{
	struct jsonw w = {.text = NULL};
	char first[CLOCK_ISO_LEN], last[CLOCK_ISO_LEN];

	jsonw_open(&w, NULL);
	jsonw_str(&w, "ts_first", clock_iso(first, x->ts_first));
	jsonw_str(&w, "ts_last", clock_iso(last, x->ts_last));
	write_ops(&w, x->ops);
	jsonw_bytes(&w, "path", x->path);
	if (x->path2)
		jsonw_bytes(&w, "path2", x->path2);
	jsonw_u64(&w, "writes", x->writes);
	jsonw_u64(&w, "bytes", x->bytes);
	mutation_put_actor(&w, &x->actor);
	jsonw_close(&w);
	return jsonw_steal(&w);
}

static void settle(struct homelog *l, struct entry *x, uint64_t now_ms)
{
	x->fresh = false;
	x->ops = 0;
	x->writes = x->bytes = 0;
	x->first_ms = x->last_ms = now_ms;
	l->n_fresh--;
	/* After a rename the name under which it was known is the new one. */
	if (x->path2) {
		free(x->path);
		x->path = x->path2;
		x->path2 = NULL;
	}
}

/* The lines that are due as one text (owned); the entries start anew. *len 0: nothing. */
static char *collect(struct homelog *l, uint64_t now_ms, bool all, size_t *len)
{
	struct entry *x, *next;
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	if (!f)
		return NULL;
	pthread_mutex_lock(&l->lock);
	all = all || l->n_fresh >= HOMELOG_MAX;
	HASH_ITER (hh, l->entries, x, next) {
		char *line;

		if (!all && due_of(x) > now_ms)
			continue;
		if (!x->fresh) {
			HASH_DEL(l->entries, x);
			entry_free(x);
			continue;
		}
		line = line_of(x);
		if (line)
			fprintf(f, "%s\n", line);
		free(line);
		settle(l, x, now_ms);
	}
	pthread_mutex_unlock(&l->lock);
	fclose(f);
	return text;
}

int homelog_flush(struct homelog *l, uint64_t now_ms, bool all)
{
	size_t len = 0;
	CLEANUP(freep) char *text = collect(l, now_ms, all, &len);
	int rc;

	if (!text)
		return -ENOMEM;
	if (!len)
		return 0;
	rc = file_append_bounded(l->dir, "home.jsonl", "home.1.jsonl", ROTATE_BYTES, text, len);
	if (rc < 0 && !l->complained)
		log_warn("event=homelog dir=%s error=%s lost_bytes=%zu", l->dir, strerror(-rc),
			 len);
	l->complained = rc < 0;
	return rc;
}
