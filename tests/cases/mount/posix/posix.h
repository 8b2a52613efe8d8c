/* What POSIX suites ask of a file system, each part in a file of its own. */
#pragma once
#include "../say.h"

void posix_errors(void);
void posix_renames(void);
void posix_times(void);
void posix_dirs(void);
void posix_files(void);
void posix_io(void);
void posix_processes(void);
void posix_users(void);
