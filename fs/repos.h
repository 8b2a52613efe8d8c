/*
 * The repositories that the mount shows: the registered ones, read again when <base>/repos changes.
 * A repo keeps its index while the mount lives, also when it was removed (nodes carry it).
 */
#pragma once
#include <sys/types.h>

#include "fs/overlay.h"

enum { REPOS_MAX = 4096, REPOS_NONE = 0xffff };

struct repos_entry {
	struct router_repo *rr;  /* owned reference */
	const struct repo *info; /* borrowed from rr */
	struct node *root;       /* NULL while the root directory cannot be opened */
	dev_t dev;
	ino_t ino;
	bool gone; /* unregistered since: not shown, files that are still open go on */
};

int repos_new(struct repos **out);
struct repos *repos_free(struct overlay *o, struct repos *r);

/* Reads the registry and makes the mount agree with it. Repos whose root cannot be opened are logged and
 * left out until the next time. 0 or negative errno with a sentence. */
int repos_reload(struct overlay *o, struct err *e);

/* Entry of the top directory; counts one lookup. -ENOENT. */
int repos_lookup(struct overlay *o, const char *name, struct fuse_entry_param *e);
void repos_root_attr(struct overlay *o, struct stat *st);

/* The repo whose root directory this is, else fallback: a nested repo owns its part. */
uint16_t repos_of_dir(struct repos *r, dev_t dev, ino_t ino, uint16_t fallback);

/* Entry by index or by the name in the mount; NULL when there is none. The entry stays valid. */
struct repos_entry *repos_at(struct repos *r, uint16_t index);
struct repos_entry *repos_named(struct repos *r, const char *name);

/* How many indexes are in use (entries that are gone included). */
uint16_t repos_count(struct repos *r);
