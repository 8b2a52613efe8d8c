/*
 * OpenCode's terminal interface on the one backend of a repo: ensure, then become `opencode attach URL`.
 * The password goes by the environment, which other users cannot read, never by the command line. The
 * client keeps the user's own XDG directories; it works in the repo's place in the mount when that is up.
 */
#pragma once
#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/place.h"
#include "manager/registry.h"
#include "manager/repo.h"
#include "manager/spawn.h"

/* args: more arguments of `opencode attach`, NULL-terminated. Returns only when it could not be done,
 * negative with a sentence: no terminal, no OpenCode, a backend without TUI, a start that failed. */
int attach_exec(const struct config *c, const struct repo *r, const char *const *args,
		struct err *e);

/* opencode_find(), but -ENOTSUP with a sentence where the configuration has no OpenCode as backend: before
 * the start of one that would be of no use. */
int attach_find_program(const struct config *c, const struct repo *r, char **program,
			struct err *e);

/* A client of r's OpenCode: its program, the environment with the password, where it works; ep of the backend,
 * which was ensured. attach_client_deinit() frees, also after a failure. */
struct attach_client {
	char *program; /* owned */
	struct spawn_env env;
	struct place place; /* the directory of its sessions */
	struct endpoint ep;
};
int attach_client_init(struct attach_client *a, const struct config *c, const struct repo *r,
		       struct err *e);
void attach_client_deinit(struct attach_client *a);
