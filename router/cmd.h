/* The subcommands of rrm that need the router: write, rm, lock, whoami. */
#pragma once
#include "manager/cmd.h"

extern const struct command router_commands[]; /* terminated by a NULL name */

int cmd_write(int argc, char **argv, struct err *e);
int cmd_rm(int argc, char **argv, struct err *e);
int cmd_undo(int argc, char **argv, struct err *e);
int cmd_lock(int argc, char **argv, struct err *e);
int cmd_whoami(int argc, char **argv, struct err *e);
