#include "manager/base/path.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"

bool path_below(const char *root, const char *path, const char **rel)
{
	size_t n = strlen(root);
	if (n == 1 && root[0] == '/')
		n = 0; /* every absolute path has "" and a slash in front */
	if (strncmp(root, path, n) != 0 || (path[n] != '/' && path[n] != '\0'))
		return false;
	if (path[0] == '\0')
		return false;
	if (rel)
		*rel = path[n] == '/' ? path + n + 1 : path + n;
	return true;
}

static bool component_ok(const char *name, size_t len)
{
	if (len == 0 || len > NAME_MAX)
		return false;
	if (name[0] != '.')
		return true;
	return !(len == 1 || (len == 2 && name[1] == '.'));
}

bool path_relative_ok(const char *rel)
{
	size_t total = 0;
	for (const char *s = rel;; s++) {
		size_t n = strcspn(s, "/");
		if (!component_ok(s, n))
			return false;
		total += n + 1;
		if (total > PATH_MAX)
			return false;
		s += n;
		if (*s == '\0')
			return true;
	}
}

bool path_name_ok(const char *name)
{
	return !strchr(name, '/') && component_ok(name, strlen(name));
}

char *path_join(const char *dir, const char *name)
{
	size_t dir_len = strlen(dir);
	while (dir_len > 0 && dir[dir_len - 1] == '/')
		dir_len--;
	size_t name_len = strlen(name);
	bool slash = dir[0] != '\0';
	char *out = malloc(dir_len + slash + name_len + 1);
	if (!out)
		return NULL;
	memcpy(out, dir, dir_len);
	if (slash)
		out[dir_len] = '/';
	memcpy(out + dir_len + slash, name, name_len + 1);
	return out;
}

int path_canonical(const char *path, char **out, struct err *e)
{
	*out = NULL;
	if (path[0] == '\0')
		return err_set(e, -ENOENT, "an empty path names nothing");
	char *real = realpath(path, NULL);
	if (!real)
		return err_errno(e, -errno, "%s", path);
	*out = real;
	return 0;
}

const char *path_basename(const char *path)
{
	const char *slash = strrchr(path, '/');
	if (!slash)
		return path;
	return slash[1] ? slash + 1 : slash;
}
