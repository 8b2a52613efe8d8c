/*
 * A backend whose TUI is attached comes back after a crash, also where no rrm-mount looks after it: a
 * small process beside the TUI waits for the end of either. What it finds dead it recovers (recover.h):
 * one that was stopped is left alone until somebody starts it, and so is one that failed too often.
 */
#pragma once
#include <sys/types.h>

#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/repo.h"

/*
 * Forks the watcher, in a session of its own and not a child of ours, and returns at once. It ends when
 * client does. For a single-threaded caller. 0 or negative errno with a sentence.
 */
int revive_watch(const struct config *c, const struct repo *r, pid_t client, struct err *e);
