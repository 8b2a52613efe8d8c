/*
 * Each kind of operation below the working directory, a line for it. Run in a plain directory, at home in the mount
 * and in a foreign repo of it, the lines must be the same (same_as_a_plain_directory.sh).
 */
#pragma once
#include <stdbool.h>

#include "../say.h"

void same_data(bool tmpfile);
void same_names(void);
void same_attributes(void);
