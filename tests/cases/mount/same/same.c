#include "same.h"

#include <stdio.h>
#include <unistd.h>

/* With an argument: without O_TMPFILE, which the mount has not with a libfuse older than 3.17. */
int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(100);
	umask(022);
	same_data(argc == 1);
	same_names();
	same_attributes();
	return 0;
}
