/*
 * What the subcommands share: configuration and repos, sentences for wrong usage, exit codes, and
 * file names as a terminal may see them.
 */
#pragma once
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "manager/base/err.h"
#include "manager/cmd.h"
#include "manager/config.h"
#include "manager/repo.h"

struct cmd_context {
	struct config *config;  /* owned */
	struct repo_list repos; /* owned */
};

/* 0 or negative errno with a sentence. deinit is fine after a failure and after {0}. */
int cmd_context_init(struct cmd_context *x, struct err *e);
void cmd_context_deinit(struct cmd_context *x);

/*
 * The repo that what names (repo_find()), or for NULL the one of the working directory: -ENOENT
 * "the working directory is in no registered repository; name one". *out borrowed from x.
 */
int cmd_find(const struct cmd_context *x, const char *what, const struct repo **out, struct err *e);

/* All of a command without options whose only argument is REPO/PATH, which fn gets. */
int cmd_with_path(int argc, char **argv, const char *command,
		  int (*fn)(const struct cmd_context *x, const char *what, struct err *e),
		  struct err *e);

/*
 * getopt_long() with our sentences; opterr is off. Returns the option, -1 at the end, '?' after wrong
 * usage with e set ("unknown option --jsn; did you mean --json? See rrm add --help"). Call it first with optind 0.
 */
int cmd_option(int argc, char **argv, const char *shorts, const struct option *longs,
	       struct err *e);

/* CMD_USAGE with "<why>; see rrm <name> --help". */
int cmd_usage(const char *name, struct err *e, const char *why);

/* A whole number in [min, max] from text, or false. */
bool cmd_number(const char *text, long long min, long long max, long long *out);

/* CMD_OK for 0, CMD_TIMED_OUT for -ETIMEDOUT, else CMD_FAILED. */
int cmd_exit(int r);

/* 0, or -errno when what went to stdout could not be written (a full disk, a closed pipe). */
int cmd_flush(struct err *e);

/* A file name with control bytes as \ooo, so that it cannot drive the terminal or end the line. */
void cmd_print_bytes(FILE *f, const char *bytes);
