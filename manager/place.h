/*
 * Where a program works in a repo: the repo's place in the mount while that is up, else its real root.
 */
#pragma once
#include <stdbool.h>

#include "manager/config.h"
#include "manager/repo.h"

struct place {
	char *dir; /* owned */
	bool in_mount;
};

/* 0 or -ENOMEM. place_deinit() frees. The directory itself is not touched. */
int place_of(const struct config *c, const struct repo *r, struct place *out);
void place_deinit(struct place *p);

/* Makes it the working directory, and PWD. A repo registered this moment may not be shown in the mount
 * yet: waits up to 2 s for that. 0 or negative errno. */
int place_enter(const struct place *p);
