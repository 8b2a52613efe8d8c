/*
 * `rrm shim run -- ARGS`: what the installed shim (shimfile.h) calls with the arguments that were meant
 * for OpenCode. Without a verb: the TUI on the backend of the repo. serve: shimserve.h. run: the real
 * program with --attach. In a directory that belongs to no registered repository, and for every other
 * verb: the real program as it is.
 */
#pragma once
#include "manager/base/err.h"

/* argv[0] is the first of ARGS. Returns an exit code of cmd.h only when nothing could be executed. */
int shim_run(int argc, const char *const *argv, struct err *e);
