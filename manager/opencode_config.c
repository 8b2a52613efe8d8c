#include "manager/opencode_config.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/err.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "manager/base/path.h"

enum { CONFIG_FILE_MAX = 4 << 20 };

/* Behind blanks and the comments of jsonc. */
static const char *skip_comments(const char *s)
{
	for (;;) {
		s += strspn(s, " \t\r\n");
		if (s[0] == '/' && s[1] == '/') {
			s += strcspn(s, "\n");
		} else if (s[0] == '/' && s[1] == '*') {
			const char *end = strstr(s + 2, "*/");
			if (!end)
				return s;
			s = end + 2;
		} else {
			return s;
		}
	}
}

int opencode_config_with_schema(const char *text, char **out)
{
	static const char schema[] = "\n  \"$schema\": \"https://opencode.ai/config.json\",";
	*out = NULL;
	const char *begin = skip_comments(text);
	if (*begin != '{' || strstr(text, "\"$schema\""))
		return 0;
	int n = asprintf(out, "%.*s%s%s", (int)(begin + 1 - text), text, schema, begin + 1);
	return n < 0 ? -ENOMEM : 0;
}

static int complete(const char *path)
{
	/* The file itself: its link may be one of somebody's dotfiles. */
	CLEANUP(freep) char *real = realpath(path, NULL);
	CLEANUP(freep) char *text = NULL, *full = NULL;
	struct stat st;
	size_t len;
	if (!real || stat(real, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	/* Replaced, a file of another user would be ours. */
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || access(real, W_OK) < 0)
		return 0;
	int rc = file_read(AT_FDCWD, real, CONFIG_FILE_MAX, &text, &len);
	if (rc == 0 && strlen(text) == len)
		rc = opencode_config_with_schema(text, &full);
	if (rc < 0 || !full)
		return rc;
	char *slash = strrchr(real, '/');
	*slash = '\0';
	CLEANUP(closep) int dir = open(*real ? real : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -errno
		       : file_replace(dir, slash + 1, full, strlen(full), st.st_mode & 07777);
}

void opencode_config_complete(const char *path)
{
	int rc = complete(path);
	if (rc < 0) {
		errno = -rc;
		log_warn("event=config path=\"%s\" error=\"%m\"", path);
	}
}

void opencode_config_complete_dir(const char *dir)
{
	static const char *const names[] = {"config.json", "opencode.json", "opencode.jsonc"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		CLEANUP(freep) char *path = path_join(dir, names[i]);
		if (path)
			opencode_config_complete(path);
	}
}

/* Behind the string that begins at s. */
static char *skip_string(char *s)
{
	for (s++; *s && *s != '"'; s++)
		if (*s == '\\' && s[1])
			s++;
	return *s ? s + 1 : s;
}

static char *blank_comment(char *s)
{
	const char *end = skip_comments(s);
	for (; s < end; s++)
		if (*s != '\n')
			*s = ' ';
	return s;
}

void opencode_config_plain(char *text)
{
	char *comma = NULL; /* nothing but blanks behind it so far */
	for (char *s = text; *s;) {
		if (*s == '"') {
			comma = NULL;
			s = skip_string(s);
			continue;
		}
		if (s[0] == '/' && (s[1] == '/' || s[1] == '*')) {
			char *behind = blank_comment(s);
			s = behind > s ? behind : s + 1;
			continue;
		}
		if ((*s == '}' || *s == ']') && comma)
			*comma = ' ';
		if (*s == ',')
			comma = s;
		else if (!strchr(" \t\r\n", *s))
			comma = NULL;
		s++;
	}
}
