/*
 * <base>/mount.json: {mountpoint, pid, start_time, boot_id, server, replaceable}: which rrm-mount serves this state
 * base, written by it when it serves, removed when it ends. pid is the process that the mount lives as long as,
 * server the one that answers for it now, replaceable whether another may take its place. How commands find the
 * mount without touching it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/config.h"

struct mountstate {
	char *mountpoint; /* owned */
	pid_t pid, server;
	uint64_t start_time;
	bool replaceable;
};

int mountstate_write(const struct config *c, const char *mountpoint, pid_t pid, bool replaceable,
		     struct err *e);

/* Removes it, unless another living pid is in it. */
void mountstate_clear(const struct config *c, pid_t pid);

/* 0 when a living rrm-mount serves this base; -ENOENT otherwise. mountstate_deinit() frees. */
int mountstate_read(const struct config *c, struct mountstate *out);
void mountstate_deinit(struct mountstate *m);

/* Where the mount of this base shows what is called name: that of a living one (true), else where the
 * configuration would put it. *out owned, NULL when out of memory. */
bool mountstate_place(const struct config *c, const char *name, char **out);
