#include "manager/attach.h"

#include <stdint.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/ensure.h"
#include "manager/opencode.h"
#include "manager/password.h"
#include "manager/revive.h"

int attach_find_program(const struct config *c, const struct repo *r, char **program, struct err *e)
{
	if (c->backend == CONFIG_BACKEND_EMBEDDED)
		return err_set(
			e, -ENOTSUP,
			"%s has no TUI: \"backend\" is \"embedded\" in the configuration; set "
			"it to \"auto\" or \"opencode\"",
			r->name);
	return opencode_find(c, program, e);
}

static int client_env(struct attach_client *a, const struct config *c, const struct repo *r,
		      struct err *e)
{
	char password[PASSWORD_MAX];
	int rc = password_read(r, password);
	if (rc < 0)
		return err_errno(e, rc, "reading %s/password", r->state_dir);
	rc = spawn_env_init(&a->env, environ);
	if (rc == 0)
		rc = opencode_leave(&a->env);
	if (rc == 0)
		rc = spawn_env_set(&a->env, "RRM_HOME", c->base);
	if (rc == 0)
		rc = spawn_env_set(&a->env, "OPENCODE_SERVER_USERNAME", PASSWORD_USER);
	if (rc == 0)
		rc = spawn_env_set(&a->env, "OPENCODE_SERVER_PASSWORD", password);
	explicit_bzero(password, sizeof(password));
	return rc < 0 ? err_errno(e, rc, "the environment of OpenCode") : 0;
}

int attach_client_init(struct attach_client *a, const struct config *c, const struct repo *r,
		       struct err *e)
{
	*a = (struct attach_client){.program = NULL};
	int rc = attach_find_program(c, r, &a->program, e);
	if (rc == 0)
		rc = ensure_start(c, r, &a->ep, e);
	if (rc == 0 && strcmp(a->ep.backend, "opencode") != 0)
		rc = err_set(
			e, -ENOTSUP,
			"%s has no TUI: its backend is the embedded one; rrm restart %s starts "
			"OpenCode instead",
			r->name, r->name);
	if (rc == 0)
		rc = place_of(c, r, &a->place);
	return rc < 0 ? rc : client_env(a, c, r, e);
}

void attach_client_deinit(struct attach_client *a)
{
	free(a->program);
	spawn_env_deinit(&a->env);
	place_deinit(&a->place);
}

static bool has_dir(const char *const *args)
{
	for (; *args && strcmp(*args, "--") != 0; args++)
		if (strcmp(*args, "--dir") == 0 || strncmp(*args, "--dir=", 6) == 0)
			return true;
	return false;
}

static int become(struct attach_client *a, const char *const *args, struct err *e)
{
	size_t n = 0, to = 0;
	while (args[n])
		n++;
	CLEANUP(freep) const char **argv = calloc(n + 6, sizeof(*argv));
	if (!argv)
		return -ENOMEM;
	argv[to++] = a->program;
	argv[to++] = "attach";
	argv[to++] = a->ep.url;
	if (!has_dir(args)) {
		argv[to++] = "--dir";
		argv[to++] = a->place.dir;
	}
	memcpy(argv + to, args, n * sizeof(*argv));
	/* execve takes char *const[] for historical reasons; it does not change the strings. */
	execve(a->program, (char *const *)(uintptr_t)argv, a->env.vars);
	return err_errno(e, -errno, "running %s", a->program);
}

int attach_exec(const struct config *c, const struct repo *r, const char *const *args,
		struct err *e)
{
	CLEANUP(attach_client_deinit) struct attach_client a = {.program = NULL};
	CLEANUP(freep) char *program = NULL; /* what will never work is told first */
	int rc = attach_find_program(c, r, &program, e);
	if (rc < 0)
		return rc;
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return err_set(
			e, -ENOTTY,
			"the TUI needs a terminal; run this in one, or use `rrm ensure --json "
			"%s` from a program",
			r->name);
	rc = attach_client_init(&a, c, r, e);
	if (rc < 0)
		return rc;
	rc = place_enter(&a.place);
	if (rc < 0)
		return err_errno(e, rc, "entering %s", a.place.dir);
	rc = spawn_env_set(&a.env, "PWD", a.place.dir);
	if (rc == 0)
		rc = revive_watch(c, r, getpid(), e);
	return rc < 0 ? rc : become(&a, args, e);
}
