#include "manager/base/mountinfo.h"

#include <string.h>

#include "manager/base/cleanup.h"

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *out = s;
	for (; *s; s++) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

int mountinfo_each(int (*fn)(const char *mountpoint, const char *type, void *arg), void *arg)
{
	CLEANUP(fclosep) FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEANUP(freep) char *line = NULL;
	size_t cap = 0;
	int rc = f ? 0 : -errno;
	while (f && rc == 0 && getline(&line, &cap, f) > 0) {
		/* id parent major:minor root mountpoint options [tags] - type source options */
		char *save = NULL, *field = strtok_r(line, " ", &save);
		for (int i = 0; i < 4 && field; i++)
			field = strtok_r(NULL, " ", &save);
		char *mountpoint = field;
		while (field && strcmp(field, "-") != 0)
			field = strtok_r(NULL, " ", &save);
		const char *type = field ? strtok_r(NULL, " ", &save) : NULL;
		if (!mountpoint || !type)
			continue;
		unescape(mountpoint);
		rc = fn(mountpoint, type, arg);
	}
	return rc;
}
