/* The subcommands of rrm that need the router: write, rm, lock, whoami. */
#pragma once
#include "manager/cmd.h"

extern const struct command router_commands[]; /* terminated by a NULL name */
