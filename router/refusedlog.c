#include "router/refusedlog.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "router/jsonw.h"

enum { ROTATE_BYTES = 1 << 20 };

struct refusedlog {
	char *dir, *repo_id;       /* owned */
	bool complained, dropping; /* said already */
	pthread_mutex_t lock;      /* protects all below */
	char *lines[REFUSEDLOG_MAX];
	unsigned n;
	uint64_t dropped;
	uint64_t next_ms; /* not written before */
};

int refusedlog_new(struct refusedlog **out, const char *state_dir, const char *repo_id)
{
	struct refusedlog *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	l->dir = strdup(state_dir);
	l->repo_id = strdup(repo_id);
	if (!l->dir || !l->repo_id) {
		refusedlog_free(l);
		return -ENOMEM;
	}
	*out = l;
	return 0;
}

struct refusedlog *refusedlog_free(struct refusedlog *l)
{
	if (!l)
		return NULL;
	while (l->n)
		free(l->lines[--l->n]);
	pthread_mutex_destroy(&l->lock);
	free(l->dir);
	free(l->repo_id);
	free(l);
	return NULL;
}

/* Owned by the caller; NULL when out of memory. */
static char *text_of(const struct refusedlog *l, const struct refusedlog_line *line,
		     int64_t wall_ms)
{
	struct jsonw w = {.text = NULL};
	char ts[CLOCK_ISO_LEN];

	jsonw_open(&w, NULL);
	jsonw_str(&w, "ts", clock_iso(ts, wall_ms));
	jsonw_str(&w, "repo_id", l->repo_id);
	jsonw_bytes(&w, "branch", line->branch);
	jsonw_str(&w, "op", mutation_op_name(line->op));
	jsonw_bytes(&w, "path", line->path);
	jsonw_bytes(&w, "path2", line->path2);
	jsonw_str(&w, "result", err_name(line->error));
	jsonw_str(&w, "message", line->message);
	jsonw_u64(&w, "wait_us", line->wait_us);
	mutation_put_actor(&w, line->actor);
	jsonw_close(&w);
	return jsonw_steal(&w);
}

bool refusedlog_add(struct refusedlog *l, const struct refusedlog_line *line, int64_t wall_ms)
{
	LOCK_SCOPE(&l->lock);
	char *text = l->n < REFUSEDLOG_MAX ? text_of(l, line, wall_ms) : NULL;

	if (!text) {
		l->dropped++;
		return false;
	}
	l->lines[l->n++] = text;
	return l->n == 1;
}

uint64_t refusedlog_due(struct refusedlog *l)
{
	LOCK_SCOPE(&l->lock);
	return l->n ? l->next_ms : REFUSEDLOG_NEVER;
}

/* The lines as one text (owned), which are ours no more; how many more there were. */
static char *collect(struct refusedlog *l, uint64_t now_ms, size_t *len, uint64_t *dropped)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	if (!f)
		return NULL;
	LOCK_SCOPE(&l->lock);
	for (unsigned i = 0; i < l->n; i++) {
		fprintf(f, "%s\n", l->lines[i]);
		free(l->lines[i]);
	}
	*dropped = l->dropped;
	l->n = 0;
	l->dropped = 0;
	l->next_ms = now_ms + REFUSEDLOG_MS;
	fclose(f);
	return text;
}

int refusedlog_flush(struct refusedlog *l, uint64_t now_ms)
{
	size_t len = 0;
	uint64_t dropped = 0;
	CLEANUP(freep) char *text = collect(l, now_ms, &len, &dropped);
	int rc;

	if (!text)
		return -ENOMEM;
	if (!len)
		return 0;
	if (dropped && !l->dropping)
		log_warn("event=refused-log dir=%s dropped=%llu", l->dir,
			 (unsigned long long)dropped);
	l->dropping = dropped;
	rc = file_append_bounded(l->dir, "refused.jsonl", "refused.1.jsonl", ROTATE_BYTES, text,
				 len);
	if (rc < 0 && !l->complained)
		log_warn("event=refused-log dir=%s error=%s lost_bytes=%zu", l->dir, strerror(-rc),
			 len);
	l->complained = rc < 0;
	return rc;
}
