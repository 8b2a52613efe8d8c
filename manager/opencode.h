/*
 * What is special about OpenCode as a backend: its own directories, seeded and linked to the user's
 * login and configuration; its environment; the request that boots an instance.
 *
 * Isolated below the repo's state directory: data/ config/ cache/ state/ tmp/ (XDG_DATA_HOME, ...,
 * TMPDIR). Linked to the user's: auth.json and mcp-auth.json (OpenCode writes through the links), and
 * each entry of ~/.config/opencode but node_modules, package*.json and .gitignore. The plugin rrm.js is
 * a copy, in whichever of plugin/ and plugins/ the user does not use. Configuration directories of ours
 * are seeded so that OpenCode does not run npm before its first answer.
 */
#pragma once
#include <stdbool.h>

#include "manager/base/err.h"
#include "manager/config.h"
#include "manager/repo.h"
#include "manager/spawn.h"

/* The program: c->opencode_command on PATH, never our shim. *path owned. -ENOENT, -EACCES, -ELOOP (the
 * configuration names the shim) with a sentence. */
int opencode_find(const struct config *c, char **path, struct err *e);

/*
 * The oldest version with all that rrm uses: a shell.env hook that is told the session (RRM_SESSION),
 * Basic auth, /global/dispose, and attach --dir. Tried: 1.1.65 and 1.2.1 do not say the session; 1.2.27 does.
 */
#define OPENCODE_LEAST "1.2.27"
#define OPENCODE_TOO_OLD                                                                           \
	"it is OpenCode %.31s, and rrm needs " OPENCODE_LEAST                                      \
	" or newer: update it (npm install -g opencode-ai), or set opencode_command"

/* Pure. A version that is no number, and 0.0.0-..., which its developers build, is not too old. */
bool opencode_too_old(const char *version);

/* Makes and seeds the directories, links, installs the plugin. Repeatable; what the user added or
 * removed since is followed. A file in the way of a link is kept as "<name>.before-rrm". */
int opencode_prepare(const struct config *c, const struct repo *r, struct err *e);

/* Adds what its process needs to env (a copy of ours). */
int opencode_env(const struct config *c, const struct repo *r, const char *password,
		 struct spawn_env *env, struct err *e);

/* For a client that the user sees: takes the marks of the backend that we may run in out of env, and gives
 * the user's own directories back. 0 or -ENOMEM. */
int opencode_leave(struct spawn_env *env);

/* GET /path?directory=<dir>: boots the instance of the directory, and with it the plugin. 0 when it
 * answered 200; -EAGAIN when it did not (yet); waits at most timeout_ms. */
int opencode_boot(int port, const char *password, const char *dir, int timeout_ms);

/* POST /global/dispose: ends the children of its bash tool. Best effort, bounded. */
void opencode_dispose(int port, const char *password, int timeout_ms);
