#include "router/held.h"

#include <stdio.h>
#include <string.h>

bool held_parse(const char *text, const char *repo_id, struct held *out)
{
	unsigned long long start, epoch = 0;
	long long offset;
	int pid, end = 0, more = 0;

	if (sscanf(text, "%d-%llu-%lld%n", &pid, &start, &offset, &end) != 3)
		return false;
	if (text[end] == '-' && sscanf(text + end, "-%llu%n", &epoch, &more) == 1)
		end += more;
	if (!strchr(" \n", text[end]) || !*repo_id || strlen(repo_id) >= REPO_ID_MAX)
		return false;
	memset(out, 0, sizeof(*out));
	strcpy(out->repo, repo_id);
	out->pid = pid;
	out->start = start;
	out->offset = offset;
	out->epoch = epoch;
	return true;
}

/* The next word of *s, "" at the end; one that is too long is cut, and names nothing then. */
static void word(const char **s, char *out, size_t size)
{
	size_t len;

	*s += strspn(*s, " ");
	len = strcspn(*s, " ");
	snprintf(out, size, "%.*s", (int)len, *s);
	*s += len;
}

void held_parse_list(const char *repos, const char *holders, struct held_list *out)
{
	char repo[REPO_ID_MAX], holder[REPO_ID_MAX];

	out->n = 0;
	while (repos && holders && out->n < HELD_MAX) {
		word(&repos, repo, sizeof(repo));
		word(&holders, holder, sizeof(holder));
		if (!held_parse(holder, repo, &out->items[out->n]))
			break;
		out->n++;
	}
}

void held_text(const struct held_list *l, char repos[HELD_TEXT_MAX], char holders[HELD_TEXT_MAX])
{
	size_t r = 0, h = 0;

	repos[0] = holders[0] = '\0';
	for (unsigned i = 0; i < l->n; i++) {
		const struct held *x = &l->items[i];
		const char *blank = i ? " " : "";

		r += (size_t)snprintf(repos + r, HELD_TEXT_MAX - r, "%s%s", blank, x->repo);
		h += (size_t)snprintf(holders + h, HELD_TEXT_MAX - h, "%s%d-%llu-%lld-%llu", blank,
				      (int)x->pid, (unsigned long long)x->start,
				      (long long)x->offset, (unsigned long long)x->epoch);
	}
}

const struct held *held_find(const struct held_list *l, const char *repo_id, int64_t offset)
{
	for (unsigned i = 0; i < l->n; i++)
		if (strcmp(l->items[i].repo, repo_id) == 0 &&
		    (l->items[i].offset == HELD_ALL || l->items[i].offset == offset))
			return &l->items[i];
	return NULL;
}

bool held_same(const struct held *a, const struct held *b)
{
	return a->pid == b->pid && a->start == b->start && a->offset == b->offset &&
	       strcmp(a->repo, b->repo) == 0;
}

bool held_has(const struct held_list *l, const struct held *h)
{
	for (unsigned i = 0; i < l->n; i++)
		if (held_same(&l->items[i], h))
			return true;
	return false;
}

void held_remove_at(struct held_list *l, unsigned i)
{
	l->n--;
	memmove(&l->items[i], &l->items[i + 1], (l->n - i) * sizeof(l->items[0]));
}

bool held_push(struct held_list *l, const struct held *h)
{
	struct held copy = *h;

	for (unsigned i = 0; i < l->n; i++) {
		if (held_same(&l->items[i], h)) {
			held_remove_at(l, i);
			break;
		}
	}
	if (l->n == HELD_MAX)
		return false;
	memmove(&l->items[1], &l->items[0], l->n * sizeof(l->items[0]));
	l->items[0] = copy;
	l->n++;
	return true;
}
