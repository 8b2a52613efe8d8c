/*
 * Kernel locks, where they hide a deadlock of standoff.h: who waits in the mount to make, remove or rename a name
 * keeps the kernel's lock of that directory meanwhile, and who waits to write to a file that of the file. What
 * works under the turn that is waited for may need the same lock, and then no request of it ever comes.
 *
 * The holder (`rrm lock`) looks at what it runs: a thread in uninterruptible sleep (/proc/<pid>/task/<tid>/stat) in one
 * system call (/proc/<pid>/task/<tid>/syscall) about a place in the mount, at two looks after each other. It says which
 * in its claim, and the mount compares that with what each of its waiters keeps locked. Places are told as
 * 64-bit FNV-1a hashes of the real path.
 *
 * /proc/<pid>/syscall of a descendant can be read by its own user where ptrace(2) of it is allowed (Yama's default
 * allows descendants). A path that leads through symbolic links is not recognised. What is not seen ends with EBUSY.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/repo.h"

enum { STUCK_MAX = 8 };

struct stuck {
	uint64_t needs[STUCK_MAX]; /* one of these is locked by somebody else */
	unsigned n;
	uint64_t call; /* of which thread and call that is; 0: nobody is stuck */
};

/* What a descendant of pid is stuck in. mountpoint: as text. */
void stuck_find(pid_t pid, const struct repo_list *l, const char *mountpoint, struct stuck *out);

/* Pure. The name of a real path in `needs`; of its directory when parent. */
uint64_t stuck_place(const char *real, bool parent);
/* A rename from one directory to another has a lock of the whole mount besides. */
#define STUCK_RENAME ((uint64_t)1)
bool stuck_needs(const struct stuck *s, uint64_t place);
