#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "router/inner.h"

/* True, or out of memory. */
static bool copy_text(char **dst, const char *src)
{
	*dst = src ? strdup(src) : NULL;
	return !src || *dst;
}

static bool copy_roots(struct config *dst, char *const *roots)
{
	size_t n = 0;

	while (roots && roots[n])
		n++;
	dst->roots = calloc(n + 1, sizeof(*dst->roots));
	for (size_t i = 0; dst->roots && i < n; i++)
		if (!copy_text(&dst->roots[i], roots[i]))
			return false;
	return dst->roots != NULL;
}

static bool copy_policies(struct config *dst, const struct config *src)
{
	dst->policies = calloc(src->n_policies + 1, sizeof(*dst->policies));
	if (!dst->policies)
		return false;
	for (unsigned i = 0; i < src->n_policies; i++) {
		dst->policies[i].policy = src->policies[i].policy;
		if (!copy_text(&dst->policies[i].repo, src->policies[i].repo))
			return false;
		dst->n_policies = i + 1;
	}
	return true;
}

static void deinit(struct config *c)
{
	for (char **r = c->roots; r && *r; r++)
		free(*r);
	for (unsigned i = 0; i < c->n_policies; i++)
		free(c->policies[i].repo);
	free(c->roots);
	free(c->policies);
	free(c->base);
	free(c->mountpoint);
	free(c->opencode_command);
}

int shared_config_new(struct shared_config **out, const struct config *c)
{
	struct shared_config *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->refs = 1;
	s->c = *c;
	s->c.base = s->c.mountpoint = s->c.opencode_command = NULL;
	s->c.roots = NULL;
	s->c.policies = NULL;
	s->c.n_policies = 0;
	if (!copy_text(&s->c.base, c->base) || !copy_text(&s->c.mountpoint, c->mountpoint) ||
	    !copy_text(&s->c.opencode_command, c->opencode_command) ||
	    !copy_roots(&s->c, c->roots) || !copy_policies(&s->c, c)) {
		shared_config_put(s);
		return -ENOMEM;
	}
	*out = s;
	return 0;
}

void shared_config_put(struct shared_config *s)
{
	if (!s || --s->refs)
		return;
	deinit(&s->c);
	free(s);
}
