/*
 * The OpenCode processes of this machine, and rrm-backend's, as /proc shows them at one moment: what `rrm doctor`
 * looks at and `rrm adopt` asks whether a database is in use. An OpenCode is a process whose program is called
 * opencode (or, for its exe cannot be read, that calls itself so); clients of a server (attach, --attach), which
 * keep no state, Bun children of one (BUN_BE_BUN) and children that it has just forked are none. Processes of other users are seen by root only.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/err.h"

enum { RUNTIME_DIRS = 4 };
/* "XDG_DATA_HOME", ...: the order of runtime.dirs. */
extern const char *const runtime_dir_names[RUNTIME_DIRS];

struct runtime_file {
	uint64_t dev, ino;
	char *path; /* owned; of the database, without -wal */
};

struct runtime_listener {
	char address[64]; /* "127.0.0.1", "::1", "0.0.0.0" */
	int port;
	bool beyond; /* reached from other machines */
};

struct runtime {
	pid_t pid, ppid;
	char *command;            /* owned; cut to some 4 KiB */
	bool embedded;            /* rrm-backend */
	int fixed_port;           /* --port of its command line; 0: none */
	char *dirs[RUNTIME_DIRS]; /* owned; what it takes for XDG_*_HOME; NULL: not known */
	char *backend_of; /* owned; RRM_BACKEND_OF, the state directory it was started for; NULL */
	struct runtime_file *dbs; /* owned; SQLite databases that it has open, also by -wal */
	size_t n_dbs;
	struct runtime_listener *listeners; /* owned */
	size_t n_listeners;
	uint64_t nofile; /* soft limit of open files; 0: not known */
};

struct runtimes {
	struct runtime *items; /* owned; by pid */
	size_t n;
	pid_t *hidden; /* owned; called opencode, but cannot be looked into */
	size_t n_hidden;
};

/* 0 or negative errno with a sentence. Processes that end meanwhile are left out. */
int runtimes_read(struct runtimes *out, struct err *e);
void runtimes_deinit(struct runtimes *r);

/* Every listening TCP socket of fd table pid; owned by the caller. 0 or negative errno (-EACCES). */
int runtimes_listeners(pid_t pid, struct runtime_listener **out, size_t *n);
