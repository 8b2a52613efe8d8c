#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "manager/repo.h"
#include "manager/resolve.h"

/* What is looked for, and what was found. */
struct search {
	const struct config *c;
	const struct repo_list *repos;
	bool with_rest;
	const struct repo *found; /* borrowed from repos */
	char *rest;               /* owned */
};

static const struct repo *named(const struct repo_list *l, const char *word, size_t len)
{
	for (size_t i = 0; i < l->n; i++)
		if (strlen(l->items[i].name) == len && !memcmp(l->items[i].name, word, len))
			return &l->items[i];
	for (size_t i = 0; i < l->n; i++)
		if (strlen(l->items[i].id) == len && !memcmp(l->items[i].id, word, len))
			return &l->items[i];
	return NULL;
}

static bool path_like(const char *what)
{
	return what[0] == '/' || !strcmp(what, ".") || !strcmp(what, "..") ||
	       !strncmp(what, "./", 2) || !strncmp(what, "../", 3);
}

static int try_path(struct search *s, const char *what, bool must_exist, bool follow_last)
{
	struct resolved at;
	const char *rel;
	int r = resolve_path(s->c, s->repos, what, follow_last, &at);

	if (r)
		return r;
	s->found = repo_owner(s->repos, at.path, &rel);
	if (!s->found || (must_exist && !at.exists))
		r = -ENOENT;
	else if (!(s->rest = strdup(rel)))
		r = -ENOMEM;
	free(at.path);
	return r;
}

static int by_path(struct search *s, const char *what, bool must_exist)
{
	int r = try_path(s, what, must_exist, !s->with_rest);

	return r == -ENOENT && s->with_rest ? try_path(s, what, must_exist, true) : r;
}

/* "<name or id>" or "<name or id>/<path>"; the latter means the same as below the root's path,
 * symlinks and nested repos included. */
static int by_name(struct search *s, const char *what)
{
	size_t len = strcspn(what, "/");
	const struct repo *r = named(s->repos, what, len);

	if (!r)
		return -ENOENT;
	const char *rel = what + len + strspn(what + len, "/");
	if (*rel) {
		CLEANUP(freep) char *path = path_join(r->root, rel);
		return path ? by_path(s, path, false) : -ENOMEM;
	}
	s->found = r;
	s->rest = strdup("");
	return s->rest ? 0 : -ENOMEM;
}

static int find(struct search *s, const char *what)
{
	bool like = path_like(what);
	int r = by_path(s, what, !like);

	if (!like && r == -ENOENT)
		r = by_name(s, what);
	if (!like && r == -ENOENT && s->with_rest)
		r = by_path(s, what, false);
	return r;
}

int repo_find(const struct config *c, const struct repo_list *l, const char *what,
	      const struct repo **out, char **rest, struct err *e)
{
	struct search s = {.c = c, .repos = l, .with_rest = rest != NULL};

	if (!what[0])
		return err_set(e, -ENOENT, "an empty text names no repository");
	int r = find(&s, what);
	if (r == -ENOENT)
		return err_set(e, r,
			       "%s is not a registered repository%s; rrm add PATH registers one",
			       what, strchr(what, '/') ? ", nor inside one" : "");
	if (r)
		return err_errno(e, r, "%s", what);
	*out = s.found;
	if (rest)
		*rest = s.rest;
	else
		free(s.rest);
	return 0;
}
