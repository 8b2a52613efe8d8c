#include "posix.h"

#include <stdio.h>
#include <unistd.h>

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(200);
	umask(022);
	posix_errors();
	posix_renames();
	posix_times();
	posix_dirs();
	posix_files();
	posix_io();
	posix_processes();
	if (geteuid() == 0)
		posix_users();
	return 0;
}
