/*
 * What a shell may offer for a command line of rrm that is being typed; completion for bash, zsh and fish
 * (docs/completion/) asks `rrm __complete WORD...` on each Tab. From the table of commands and the registry
 * alone: nothing is started, the mount is not touched.
 */
#pragma once
#include <stdio.h>

#include "manager/cmd.h"

/*
 * words: what stands behind "rrm", the last one being typed ("" when it is not begun). commands: NULL-terminated.
 * Prints a candidate a line, "<word>\t<what it is>"; or one line ":files" or ":dirs", for the shell's own;
 * or ":command <n>": from word n on (counted from 0) it is the line of another command.
 */
void complete_print(const struct command *const *commands, char *const *words, int n, FILE *f);
