/*
 * The repositories that the mount shows: the registered ones, read again when <base>/repos changes.
 * A repo keeps its index while the mount lives, also when it was removed (nodes carry it).
 */
#pragma once
#include <sys/types.h>

#include "fs/overlay.h"
#include "manager/repo.h"

enum { REPOS_MAX = 4096, REPOS_NONE = 0xffff };

struct repos_entry {
	struct router_repo *rr; /* owned reference */
	struct repo *info;      /* owned: as it was registered when this entry was made */
	struct node *_Atomic root;
	dev_t dev;
	ino_t ino;
	_Atomic bool gone; /* unregistered since: not shown, files that are still open go on */
};

int repos_new(struct repos **out);
struct repos *repos_free(struct repos *r); /* after the router's end, which ends its part of them */

/* As the server before us had them: a repo keeps its index. To be called before repos_reload(). */
void repos_restore(struct overlay *o);

/* Reads the registry and makes the mount agree with it. Repos whose root cannot be opened are logged and
 * left out until the next time. 0 or negative errno with a sentence. */
int repos_reload(struct overlay *o, struct err *e);

/* The first time, and from now on the registry is watched. A successor goes on with what the server before it showed
 * when the registry cannot be read, as that one would have. */
int repos_load(struct overlay *o, struct err *e);

/* Entry of the top directory; counts one lookup. -ENOENT. */
int repos_lookup(struct overlay *o, const char *name, struct fuse_entry_param *e);
void repos_root_attr(struct overlay *o, struct stat *st);

/* Sets the repo of every known node anew, by the nearest root of a repo above it: after a repo inside
 * another came or went, and when a directory was moved from one to another. */
void repos_reown(struct overlay *o);

/* True when a registered repo's root has this name: what happens to such a directory may matter. */
bool repos_root_called(struct repos *r, const char *name);

/* Entry by index or by the name in the mount; NULL when there is none. The entry stays valid. */
struct repos_entry *repos_at(struct repos *r, uint16_t index);
struct repos_entry *repos_named(struct repos *r, const char *name);

/* How many indexes are in use (entries that are gone included). */
uint16_t repos_count(struct repos *r);
