/*
 * OpenCode's configuration from a program: createOpencode({config}) of the SDK hands it to `opencode
 * serve` as OPENCODE_CONFIG_CONTENT. A repo has one backend, and OpenCode takes a configuration for a
 * process only when it starts (its PATCH /config writes config.json into the work tree instead). So a
 * backend that is not running is started with it, one that was started with the same text will do, and
 * otherwise the program is refused. <state>/config-content.json holds the text for as long as the backend
 * is registered, over crashes too; registry_clear() removes it.
 */
#pragma once
#include "manager/base/err.h"
#include "manager/repo.h"
#include "manager/spawn.h"

/* Takes OPENCODE_CONFIG_CONTENT out of our environment. *text is owned, NULL when it is unset or has no
 * key. -EINVAL with a sentence when it is no JSON object. */
int shimconfig_take(char **text, struct err *e);

/*
 * Before the backend is ensured. text NULL: nothing to do. 0: it is that of the backend that runs, or
 * will be that of the one that is started next; -EBUSY with a sentence: a backend without it runs.
 */
int shimconfig_offer(const struct repo *r, const char *text, struct err *e);

/* After it was ensured: 0, or -EBUSY with a sentence when it runs without text (it was stopped or
 * started by somebody else in between). */
int shimconfig_check(const struct repo *r, const char *text, struct err *e);

/* After a start with text failed: the next one is made without it. */
void shimconfig_withdraw(const struct repo *r, const char *text);

/* Puts it into the environment of a backend that is started. 0 or negative errno. */
int shimconfig_env(const struct repo *r, struct spawn_env *env);
