#include "router/refusals.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/err.h"

enum { N_LINES = 200, LINE_MAX_BYTES = 6144 };

struct refusals {
	pthread_mutex_t lock;
	char *lines[N_LINES]; /* owned; a ring; protected by lock, as next */
	unsigned next;
};

int refusals_new(struct refusals **out)
{
	struct refusals *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	pthread_mutex_init(&r->lock, NULL);
	*out = r;
	return 0;
}

struct refusals *refusals_free(struct refusals *r)
{
	if (!r)
		return NULL;
	for (unsigned i = 0; i < N_LINES; i++)
		free(r->lines[i]);
	pthread_mutex_destroy(&r->lock);
	free(r);
	return NULL;
}

/* One line stays one line, whatever a file is called. */
static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = ' ';
}

void refusals_add(struct refusals *r, const struct actor *a, const char *op, const char *repo,
		  const char *path, int error, const char *sentence)
{
	char line[LINE_MAX_BYTES], ts[CLOCK_ISO_LEN];
	char *copy;

	snprintf(line, sizeof(line), "%s pid=%d comm=%s %s %s/%s: %s: %s",
		 clock_iso(ts, clock_wall_ms()), (int)a->pid, a->comm[0] ? a->comm : "?", op, repo,
		 path ? path : "", err_name(error), sentence);
	one_line(line);
	copy = strdup(line);
	if (!copy)
		return;
	LOCK_SCOPE(&r->lock);
	free(r->lines[r->next % N_LINES]);
	r->lines[r->next++ % N_LINES] = copy;
}

char *refusals_text(struct refusals *r)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	pthread_mutex_lock(&r->lock);
	for (unsigned i = r->next; i < r->next + N_LINES; i++)
		if (r->lines[i % N_LINES])
			fprintf(f, "%s\n", r->lines[i % N_LINES]);
	pthread_mutex_unlock(&r->lock);
	fclose(f);
	return text;
}
