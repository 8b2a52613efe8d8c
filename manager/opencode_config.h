/*
 * Configuration files of the user that several OpenCodes share through links.
 *
 * OpenCode writes "$schema" into an opencode.json that has none, at its start and in place: one of twelve
 * that start at once may read what another has just cut to nothing, and goes on without any configuration.
 * So that is done here first, in one step; then no OpenCode writes into a file that others read.
 */
#pragma once

/* Completes <dir>/config.json, opencode.json and opencode.jsonc. Best effort: a file that is not there, is
 * not ours to write, or is no JSON object is left to OpenCode. */
void opencode_config_complete_dir(const char *dir);

/* The same for one file; links are followed to the file itself. */
void opencode_config_complete(const char *path);

/* Pure: text with "$schema" as its first member, as OpenCode writes it. *out owned; NULL when text has it,
 * or is no object. -ENOMEM. */
int opencode_config_with_schema(const char *text, char **out);

/* Pure: blanks the comments of jsonc and the commas before a closing bracket, in place: then it is JSON. */
void opencode_config_plain(char *text);
