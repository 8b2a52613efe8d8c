/* rrm: joins the subcommands of manager and router. An error is shown here, once. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "manager/base/log.h"
#include "manager/cmd.h"
#include "manager/complete.h"
#include "manager/suggest.h"
#include "manager/summary.h"
#include "router/cmd.h"

enum { COMMANDS_MAX = 64 };

/* All commands, terminated by NULL, and their names. */
struct table {
	const struct command *commands[COMMANDS_MAX + 1];
	const char *names[COMMANDS_MAX + 1];
	unsigned n;
};

static void join(struct table *t, const struct command *list)
{
	for (; list->name && t->n < COMMANDS_MAX; list++) {
		t->commands[t->n] = list;
		t->names[t->n++] = list->name;
	}
}

static const struct command *find(const struct table *t, const char *name)
{
	for (unsigned i = 0; i < t->n; i++)
		if (!strcmp(t->names[i], name))
			return t->commands[i];
	return NULL;
}

static void print_commands(const struct table *t)
{
	puts("usage: rrm COMMAND [OPTIONS] [ARGS]\n\n"
	     "Many coding agents, many git repositories, one server, nobody in another's way.\n");
	for (unsigned i = 0; i < t->n; i++)
		printf("  %-9s %s\n", t->names[i], t->commands[i]->summary);
	puts("\nrrm COMMAND --help says more about one. rrm-mount mounts all repositories (default "
	     "~/rrm).");
}

static void print_help(const struct command *cmd)
{
	size_t n = strlen(cmd->help);

	printf("usage: rrm %s%s%s\n\n%s%s", cmd->name, cmd->usage[0] ? " " : "", cmd->usage,
	       cmd->help, n && cmd->help[n - 1] == '\n' ? "" : "\n");
}

/* Prints for --help or --version among the arguments before "--". */
static bool answered(const struct command *cmd, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			print_help(cmd);
			return true;
		}
		if (!strcmp(argv[i], "--version")) {
			puts("rrm " RRM_VERSION);
			return true;
		}
	}
	return false;
}

static int unknown(const struct table *t, const char *name)
{
	const char *near = suggest(name, t->names);

	if (name[0] == '-')
		fprintf(stderr, "rrm: unknown option %s; see rrm --help\n", name);
	else if (near)
		fprintf(stderr, "rrm: unknown command \"%s\"; did you mean \"%s\"?\n", name, near);
	else
		fprintf(stderr, "rrm: unknown command \"%s\"; rrm --help lists them\n", name);
	return CMD_USAGE;
}

static int run(const struct command *cmd, int argc, char **argv)
{
	struct err e = ERR_INIT;
	int code = cmd->run(argc, argv, &e);

	if (code != CMD_OK && e.text[0]) {
		fflush(stdout); /* results first, where both go to one terminal */
		fprintf(stderr, "rrm: %s\n", e.text);
	}
	return code;
}

static int summary(void)
{
	struct err e = ERR_INIT;
	if (!summary_print(stdout, &e))
		return CMD_OK;
	fprintf(stderr, "rrm: %s\n", e.text);
	return CMD_FAILED;
}

int main(int argc, char **argv)
{
	struct table t = {.n = 0};

	log_program("rrm");
	join(&t, manager_commands);
	join(&t, router_commands);
	if (argc < 2)
		return summary();
	const char *name = argv[1];
	if (!strcmp(name, "__complete")) {
		complete_print(t.commands, argv + 2, argc - 2, stdout);
		return CMD_OK;
	}
	if (!strcmp(name, "--version")) {
		puts("rrm " RRM_VERSION);
		return CMD_OK;
	}
	if (!strcmp(name, "help") && argc > 2) {
		const struct command *cmd = find(&t, argv[2]);
		if (!cmd)
			return unknown(&t, argv[2]);
		print_help(cmd);
		return CMD_OK;
	}
	if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
		print_commands(&t);
		return CMD_OK;
	}
	const struct command *cmd = find(&t, name);
	if (!cmd)
		return unknown(&t, name);
	if (answered(cmd, argc - 1, argv + 1))
		return CMD_OK;
	return run(cmd, argc - 1, argv + 1);
}
