#include "manager/shim.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "manager/attach.h"
#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "manager/cmdutil.h"
#include "manager/opencode.h"
#include "manager/shimargs.h"
#include "manager/shimconfig.h"
#include "manager/shimserve.h"

enum { SDK_PORT = 4096 };

/* One call: what was asked for, and of which repo. */
struct call {
	struct cmd_context x;
	int argc;
	const char *const *argv;
	struct shimargs args;
	const struct repo *r; /* borrowed from x; NULL: in no registered repository */
	char *content;        /* owned; configuration of the program, or NULL */
};

static void call_deinit(struct call *k)
{
	cmd_context_deinit(&k->x);
	free(k->content);
}

static bool names_dir(const struct call *k, int i)
{
	return i >= k->args.dir_at && i < k->args.dir_at + k->args.dir_words;
}

/* The real program with the same arguments, or with n of add behind the verb, in place of the directory. */
static int become(const struct call *k, const char *program, const struct spawn_env *env,
		  const char *const *add, int n, struct err *e)
{
	size_t count = (size_t)k->argc + (size_t)n + 2;
	CLEANUP(freep) const char **argv = calloc(count, sizeof(*argv));
	int to = 0;
	if (!argv)
		return -ENOMEM;
	argv[to++] = program;
	for (int i = 0; i < k->argc; i++) {
		if (!n || !names_dir(k, i))
			argv[to++] = k->argv[i];
		for (int j = 0; j < n && i == k->args.verb_at; j++)
			argv[to++] = add[j];
	}
	/* execve takes char *const[] for historical reasons; it does not change the strings. */
	execve(program, (char *const *)(uintptr_t)argv, env->vars);
	return err_errno(e, -errno, "running %s", program);
}

static int real(const struct call *k, struct err *e)
{
	CLEANUP(freep) char *program = NULL;
	CLEANUP(spawn_env_deinit) struct spawn_env env = {0};
	int rc = opencode_find(k->x.config, &program, e);
	if (rc == 0)
		rc = spawn_env_init(&env, environ);
	if (rc == 0)
		rc = opencode_leave(&env);
	return rc < 0 ? rc : become(k, program, &env, NULL, 0, e);
}

/* The arguments are attach's, but for the project, which named the repo. */
static int tui(const struct call *k, struct err *e)
{
	CLEANUP(freep) const char **args = calloc((size_t)k->argc + 1, sizeof(*args));
	int n = 0;
	if (!args)
		return -ENOMEM;
	for (int i = 0; i < k->argc; i++)
		if (!names_dir(k, i))
			args[n++] = k->argv[i];
	return attach_exec(k->x.config, k->r, args, e);
}

static int run(const struct call *k, struct err *e)
{
	CLEANUP(attach_client_deinit) struct attach_client a = {.program = NULL};
	int rc = attach_client_init(&a, k->x.config, k->r, e);
	if (rc == 0)
		rc = shimconfig_check(k->r, k->content, e);
	const char *const add[] = {"--attach", a.ep.url, "--dir", a.place.dir};
	return rc < 0 ? rc : become(k, a.program, &a.env, add, 4, e);
}

static int serve(const struct call *k, struct err *e)
{
	CLEANUP(freep) char *program = NULL;
	long long port = 0;
	if (k->args.port && !cmd_number(k->args.port, 0, 65535, &port))
		return err_set(e, -EINVAL, "\"%s\" is no port", k->args.port);
	int rc = attach_find_program(k->x.config, k->r, &program, e);
	if (rc < 0)
		return rc;
	struct shimserve_options o = {
		.c = k->x.config,
		.r = k->r,
		.hostname = k->args.hostname ? k->args.hostname : "127.0.0.1",
		/* The SDK asks for its default in every program: anyone does. */
		.port = port == SDK_PORT ? 0 : (int)port,
		.content = k->content,
	};
	return shimserve_run(&o, e);
}

/* The repo of the directory that is meant; k->r stays NULL when nobody has registered one. */
static int find_repo(struct call *k, struct err *e)
{
	char cwd[PATH_MAX];
	if (!getcwd(cwd, sizeof(cwd)))
		return err_errno(e, -errno, "the working directory");
	const char *dir = k->args.dir ? k->args.dir : ".";
	CLEANUP(freep) char *path = dir[0] == '/' ? strdup(dir) : path_join(cwd, dir);
	if (!path)
		return -ENOMEM;
	int rc = repo_find(k->x.config, &k->x.repos, path, &k->r, NULL, e);
	if (rc != -ENOENT)
		return rc;
	k->r = NULL;
	fprintf(stderr,
		"rrm: %s is in no registered repository, so OpenCode runs there without rrm "
		"(rrm add PATH registers one)\n",
		path);
	return 0;
}

static int refuse(const struct call *k, struct err *e)
{
	CLEANUP(freep) char *program = NULL;
	opencode_find(k->x.config, &program, NULL);
	return err_set(e, -EINVAL,
		       "%s cannot be had with the one backend of %s; leave it out, or run the real "
		       "program, %s",
		       k->args.refused, k->r->name, program ? program : "which is not found");
}

static int dispatch(struct call *k, struct err *e)
{
	int rc = cmd_context_init(&k->x, e);
	/* Before its start OpenCode was looked for on PATH, and this was found behind a wrapper. */
	if (rc == 0 && getenv("RRM_BACKEND_OF"))
		return err_set(e, -ELOOP,
			       "opencode_command \"%s\" leads to rrm's own shim; name the real "
			       "program there",
			       k->x.config->opencode_command);
	if (rc == 0 && k->args.verb != SHIMARGS_OTHER)
		rc = find_repo(k, e);
	if (rc < 0)
		return rc;
	if (!k->r)
		return real(k, e);
	if (k->args.refused)
		return refuse(k, e);
	rc = shimconfig_take(&k->content, e);
	if (rc == 0 && k->args.verb == SHIMARGS_SERVE)
		return serve(k, e);
	if (rc == 0)
		rc = shimconfig_offer(k->r, k->content, e);
	if (rc < 0)
		return rc;
	rc = k->args.verb == SHIMARGS_RUN ? run(k, e) : tui(k, e);
	/* Still here, so it failed: perhaps because OpenCode does not take that configuration. */
	shimconfig_withdraw(k->r, k->content);
	return rc;
}

int shim_run(int argc, const char *const *argv, struct err *e)
{
	CLEANUP(call_deinit) struct call k = {.argc = argc, .argv = argv};
	shimargs_parse(argc, argv, &k.args);
	return cmd_exit(dispatch(&k, e));
}
