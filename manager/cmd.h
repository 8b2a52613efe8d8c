/*
 * Subcommands of rrm: one file each, cmd_<name>.c. argv[0] is the subcommand. Results go to stdout;
 * an error becomes one sentence in e and the exit code below; main prints it once.
 */
#pragma once
#include "manager/base/err.h"

enum {
	CMD_OK = 0,
	CMD_FAILED = 1,
	CMD_USAGE = 2,
	CMD_FOUND_PROBLEMS = 3,
	CMD_TIMED_OUT = 124,
};

struct command {
	const char *name;
	const char *usage;   /* "[--json] REPO" */
	const char *summary; /* one line for the list in --help */
	const char *help;    /* the whole text of --help, after the usage line */
	int (*run)(int argc, char **argv, struct err *e);
};

/* Terminated by an entry whose name is NULL. main (router/rrm_main.c) joins this with router's. */
extern const struct command manager_commands[];

/* Each in its own file; the table with their usage and help is cmds.c. --help and --version are taken
 * out by main before these run. */
int cmd_add(int argc, char **argv, struct err *e);
int cmd_adopt(int argc, char **argv, struct err *e);
int cmd_attach(int argc, char **argv, struct err *e);
int cmd_blame(int argc, char **argv, struct err *e);
int cmd_doctor(int argc, char **argv, struct err *e);
int cmd_ensure(int argc, char **argv, struct err *e);
int cmd_env(int argc, char **argv, struct err *e);
int cmd_gc(int argc, char **argv, struct err *e);
int cmd_harden(int argc, char **argv, struct err *e);
int cmd_list(int argc, char **argv, struct err *e);
int cmd_log(int argc, char **argv, struct err *e);
int cmd_login(int argc, char **argv, struct err *e);
int cmd_remove(int argc, char **argv, struct err *e);
int cmd_report(int argc, char **argv, struct err *e);
int cmd_restart(int argc, char **argv, struct err *e);
int cmd_run(int argc, char **argv, struct err *e);
int cmd_scan(int argc, char **argv, struct err *e);
int cmd_shim(int argc, char **argv, struct err *e);
int cmd_status(int argc, char **argv, struct err *e);
int cmd_top(int argc, char **argv, struct err *e);
int cmd_stop(int argc, char **argv, struct err *e);
