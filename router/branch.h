/*
 * The branch of a work tree, read cheaply: HEAD is looked at (one stat) at most every 2 ms.
 * The text is that of repo_branch(): what HEAD names, or the commit when detached, "" without git.
 * Any thread; no lock is held over a file system call.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { BRANCH_MAX = 256, BRANCH_LOOK_MS = 2 };

struct branch {
	pthread_mutex_t lock;
	char *root;      /* owned */
	char *head_path; /* owned; NULL: no git yet; protected by lock */
	_Atomic uint64_t looked_ms;
	_Atomic uint64_t version; /* one more for each change of name */
	_Atomic uint64_t looks;   /* begun */
	uint64_t
		remembered; /* number of the look that the next three are from; protected by lock, as they are */
	struct stat head; /* as last seen */
	bool head_seen;
	char name[BRANCH_MAX];
};

int branch_init(struct branch *b, const char *root); /* root is copied; reads HEAD. 0, -ENOMEM */
void branch_deinit(struct branch *b);

/* Looks at HEAD when it is time; returns the version, which differs from before when it moved. */
uint64_t branch_poll(struct branch *b, uint64_t now_ms);
/* The name and the version that it belongs to. */
uint64_t branch_name(struct branch *b, char name[BRANCH_MAX]);
