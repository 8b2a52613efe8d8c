/*
 * Watches the backends of all repositories as long as a mount serves: a process of its own, forked from
 * rrm-mount. It never touches the mount, nor is it the parent of a backend: what policy.h decides is done by
 * children (`rrm restart --if-dead`, `rrm stop --if-idle`, ...), which look again under start.lock. So two
 * mounts of one base, or a mount and an `rrm attach`, may watch the same backend.
 *
 * It looks at each registry.json and at /proc once a second, and at once when a backend ends. It
 * samples memory.jsonl every memory_every_s.
 */
#pragma once
#include <sys/types.h>

#include "manager/config.h"

struct supervisor {
	pid_t pid;
	int lifeline; /* owned; its end is the supervisor's end */
};

/* To be called before the program has a thread or a mount. 0 or negative errno. */
int supervisor_start(struct supervisor *s, const struct config *c);

/* Ends it, by force when it hangs. What its children do is finished by them. {.lifeline = -1} is fine. */
void supervisor_stop(struct supervisor *s);
