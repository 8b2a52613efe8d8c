/*
 * Whose process is this: the home repo and the session of a caller, by the three rules of
 * CONCURRENCY.md, from /proc, the registry files of the known repos and the session files.
 *
 *   rule 1  the nearest registered ancestor, itself included: the backend of a repo, or a session of
 *           `rrm run`. Else, from its own environment, RRM_HOME_REPO (a known repo_id), or the backend
 *           with the pid OPENCODE_PID.
 *   rule 2  the topmost ancestor whose working directory lies in a repo inside the mount
 *   rule 3  none
 *
 * The session: RRM_SESSION of its environment; else that of `rrm run`; else "<pid>-<start>" of the
 * ancestor that decided; for rule 3 of its process group's leader, or its own.
 *
 * Answers are cached per thread id and start time. At most every 5 ms the start time and, for rule 2,
 * the directory that decided are looked at again; rule 3 is resolved again then, everything after 1 s.
 * Ancestors are remembered as long as they live (identity_chain.h). One that cannot be read counts as outside
 * the mount; a caller that cannot be read is rule 3.
 * Any thread. No lock is held while a file is read.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/base/json.h"
#include "manager/base/proc.h"
#include "manager/config.h"
#include "manager/registry.h"
#include "manager/repo.h"
#include "manager/session.h"
#include "router/held.h"

#define IDENTITY_NO_SESSIONS ((uint64_t)1)

enum identity_by {
	IDENTITY_BY_NOTHING,      /* rule 3 */
	IDENTITY_BY_BACKEND,      /* rule 1: anchor is the backend of home */
	IDENTITY_BY_RUN,          /* rule 1: anchor was begun by rrm run */
	IDENTITY_BY_ENVIRONMENT,  /* rule 1: RRM_HOME_REPO */
	IDENTITY_BY_OPENCODE_PID, /* rule 1: anchor is the backend that OPENCODE_PID names */
	IDENTITY_BY_DIRECTORY,    /* rule 2: anchor's working directory */
	IDENTITY_BY_KERNEL,       /* tid 0: the last session that changed the file, if any */
};

struct identity {
	pid_t pid; /* the process; 0 for the kernel */
	uint64_t start;
	char comm[17];
	int rule; /* 1-3 */
	enum identity_by by;
	pid_t anchor;
	char home[REPO_ID_MAX]; /* "" when none */
	char session[SESSION_ID_MAX];
	uint32_t session_id;   /* sessions_intern(home, session) */
	bool named;            /* session is RRM_SESSION of its environment */
	struct held_list held; /* the explicit turns above it, without those whose holder is dead */
};

/* Where facts come from; identity_world() fills in the real ones, tests their own. */
struct identity_world {
	int (*stat)(void *arg, pid_t pid, struct proc_stat *out);
	int (*tgid)(void *arg, pid_t tid, pid_t *tgid);
	int (*cwd)(void *arg, pid_t pid, char *buf, size_t size);
	int (*environ)(void *arg, pid_t pid, char **data, size_t *len); /* NUL-separated; owned */
	int (*session)(void *arg, pid_t pid, uint64_t start, char *repo_id, char *session);
	/* Changes with what session() would say; 0: it may be about to; IDENTITY_NO_SESSIONS: there is none. */
	uint64_t (*session_stamp)(void *arg);
	/* A handle that tells whether the process ended; negative: none can be had, and pid is read anew each
	 * time. NULL: likewise, and the two others are not called. */
	int (*open)(void *arg, pid_t pid);
	bool (*alive)(void *arg, const int *handles, unsigned n); /* all of them */
	void (*close)(void *arg, int handle);
	uint64_t (*registry_stamp)(void *arg,
				   const struct repo *r); /* 0: no file; else changes with it */
	int (*registry)(void *arg, const struct repo *r, struct endpoint *ep); /* -ENOENT */
	void *arg;
};

struct identities;
struct sessions;

void identity_world(struct identity_world *w, const struct config *c); /* c is borrowed */

/* mountpoint: as text, copied; NULL when there is none (rule 2 then never answers). sessions borrowed. */
int identities_new(struct identities **out, const struct identity_world *w, const char *mountpoint,
		   struct sessions *s);
struct identities *identities_free(struct identities *t);

int identities_add_repo(struct identities *t, const struct repo *r); /* copied; same id: replaced */
void identities_remove_repo(struct identities *t, const char *repo_id);

/* Who runs thread tid. Never fails: what cannot be read is rule 3. */
void identity_of(struct identities *t, pid_t tid, uint64_t now_ms, struct identity *out);

/*
 * A tool of OpenCode that writes a file does so in the backend's own process, which has many sessions. While
 * one runs, the plugin (manager/rrm.js) holds the turn of repo_id for its session by a child `rrm lock`, and
 * <base>/repos/<home>/turns/<repo_id> says so: "<session> <pid>-<start>-<offset>\n", of the holder, with
 * turnlock_offset() of the branch. When who is the backend or a child of it that names no session (a
 * formatter), and that holder lives, who gets its session and its turn; only its session when "-" stands for
 * the holder. For anybody else no file is read.
 */
void identity_announced(const struct identity_world *w, const char *base, const char *repo_id,
			struct sessions *s, struct identity *who);

/* One clause for whoami: "its ancestor 812 is the backend of web-0123". */
void identity_why(const struct identity *who, char *buf, size_t size);

/* Pure: the real path that a directory of the mount stands for, or NULL; owned. */
char *identity_real_path(const struct repo_list *l, const char *mountpoint, const char *cwd);

/* {pid, comm, home (null when none), name (of home, when told), session, rule, why}; *out owned. */
int identity_json(const struct identity *who, const char *name, cJSON **out);
