/*
 * The table of commands (cmd.h) read by a program: its options and arguments as usage and help name them, so
 * that completion and man pages have no list of their own that could differ. Pure.
 *
 * An option is a line of the help that begins with blanks and "-", as "  -n, --lines N  only the last N", or
 * stands only in the usage, as "[--json]".
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "manager/cmd.h"

enum { USAGE_OPTIONS_MAX = 40, USAGE_WORD_MAX = 40, USAGE_TEXT_MAX = 160 };

struct usage_option {
	char shorter[3];            /* "-n", or "" */
	char name[USAGE_WORD_MAX];  /* "--lines", or "" */
	char value[USAGE_WORD_MAX]; /* "N", or "": it takes none */
	bool attached;              /* "--if-idle[=SECONDS]": the value is in the same word */
	char text[USAGE_TEXT_MAX];  /* the first line of what the help says */
};

/* At most USAGE_OPTIONS_MAX, --help and --version too; their number. */
size_t usage_options(const struct command *cmd, struct usage_option *out);

/*
 * The arguments that are no options: words of the usage like "REPO", "REPO/PATH", "DIR", "CMD", "install",
 * without "...", each once. At most USAGE_OPTIONS_MAX; their number.
 */
size_t usage_arguments(const struct command *cmd, char (*out)[USAGE_WORD_MAX]);
