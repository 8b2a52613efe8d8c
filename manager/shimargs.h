/*
 * What an `opencode` command line asks for, as far as the shim must know: which of them are rrm's. Pure.
 *
 * No verb, or a project directory instead of one: the TUI. `serve` and `run`. Everything else, and
 * whatever asks only for help or the version, is the real program's.
 */
#pragma once
#include <stdbool.h>

enum shimargs_verb { SHIMARGS_TUI, SHIMARGS_RUN, SHIMARGS_SERVE, SHIMARGS_OTHER };

struct shimargs {
	enum shimargs_verb verb;
	int verb_at;     /* index of the verb in argv; -1: there is none */
	const char *dir; /* borrowed; the project, or run's --dir; NULL: the working directory */
	int dir_at, dir_words; /* where it stands in argv; 0 words: nowhere */
	const char *hostname;  /* borrowed; serve */
	const char *port;      /* borrowed; serve */
	const char
		*refused; /* borrowed; the first option that cannot be had with a shared backend */
};

/* argv[0] is the first argument, not the program. */
void shimargs_parse(int argc, const char *const *argv, struct shimargs *out);
