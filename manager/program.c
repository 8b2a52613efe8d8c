#include "manager/program.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"

/* Relative to the directory of the executable or of librrm. */
static const char *const program_places[] = {
	"%s/%s",              /* bin/ */
	"%s/../router/%s",    /* build tree: rrm and rrm-backend, from manager/ or fs/ */
	"%s/../../router/%s", /* build tree: from tests/unit/ */
	"%s/../fs/%s",        /* build tree: rrm-mount, from router/ */
	"%s/../manager/%s",   /* build tree: rrm-top, from router/ */
	"%s/../../fs/%s",
	"%s/../bin/%s",    /* from lib/ */
	"%s/../../bin/%s", /* from lib/<triplet>/ */
	NULL,
};

static const char *const data_places[] = {
	"%s/../share/rrm/%s",
	"%s/../../share/rrm/%s",
	"%s/../manager/%s",
	"%s/../../manager/%s",
	"%s/%s",
	NULL,
};

/* 0 for a regular file with the right; -ENOENT, -EACCES otherwise. */
static int usable(const char *path, int mode)
{
	struct stat st;
	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	return access(path, mode) == 0 ? 0 : -EACCES;
}

/* The directory that holds this code: of the executable, or of librrm. Both are tried. */
static int own_dir(int which, char *buf, size_t size)
{
	if (which == 0) {
		ssize_t n = readlink("/proc/self/exe", buf, size - 1);
		if (n < 0)
			return -errno;
		buf[n] = '\0';
	} else {
		Dl_info info;
		if (!dladdr(program_places, &info) || !info.dli_fname || info.dli_fname[0] != '/')
			return -ENOENT;
		snprintf(buf, size, "%s", info.dli_fname);
	}
	char *slash = strrchr(buf, '/');
	if (!slash)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

static int find_in(const char *const *places, const char *name, int mode, char **out)
{
	char dir[PATH_MAX], path[2 * PATH_MAX];
	for (int which = 0; which < 2; which++) {
		if (own_dir(which, dir, sizeof(dir)) < 0)
			continue;
		for (const char *const *p = places; *p; p++) {
/* the formats are the constants above */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(path, sizeof(path), *p, dir, name);
#pragma GCC diagnostic pop
			if (usable(path, mode) == 0)
				return path_canonical(path, out, NULL);
		}
	}
	return -ENOENT;
}

static int find_by_env(const char *variable, const char *name, int mode, char **out)
{
	const char *dir = getenv(variable);
	if (!dir || !*dir)
		return -ENOENT;
	CLEANUP(freep) char *path = path_join(dir, name);
	if (!path)
		return -ENOMEM;
	int r = usable(path, mode);
	return r < 0 ? r : path_canonical(path, out, NULL);
}

int program_on_path(const char *name, char **path)
{
	return program_on_path_but(name, NULL, path);
}

int program_on_path_but(const char *name, bool (*skip)(const char *path), char **path)
{
	if (strchr(name, '/')) {
		int r = usable(name, X_OK);
		if (r == 0 && skip && skip(name))
			return -ELOOP;
		return r < 0 ? r : path_canonical(name, path, NULL);
	}
	const char *dirs = getenv("PATH");
	int result = -ENOENT;
	while (dirs && *dirs) {
		size_t len = strcspn(dirs, ":");
		char candidate[PATH_MAX];
		int n = snprintf(candidate, sizeof(candidate), "%.*s/%s", (int)len, dirs, name);
		dirs += len + (dirs[len] == ':');
		if (len == 0 || n >= (int)sizeof(candidate) || candidate[0] != '/')
			continue; /* a relative PATH entry would mean another program in each directory */
		int r = usable(candidate, X_OK);
		if (r == 0 && skip && skip(candidate))
			continue;
		if (r == 0) {
			/* Not canonical: a wrapper may look at the name that it was called by. */
			*path = strdup(candidate);
			return *path ? 0 : -ENOMEM;
		}
		if (r == -EACCES)
			result = r;
	}
	return result;
}

int program_find(const char *name, char **path, struct err *e)
{
	int r = find_by_env("RRM_BINDIR", name, X_OK, path);
	if (r < 0)
		r = find_in(program_places, name, X_OK, path);
	if (r < 0)
		r = program_on_path(name, path);
	if (r < 0)
		return err_set(
			e, r,
			"%s is not found beside this program nor on PATH; install rrm or set "
			"RRM_BINDIR to the directory that holds it",
			name);
	return 0;
}

int program_data(const char *name, char **path, struct err *e)
{
	int r = find_by_env("RRM_DATADIR", name, R_OK, path);
	if (r < 0)
		r = find_in(data_places, name, R_OK, path);
	if (r < 0)
		return err_set(
			e, r,
			"%s is not found; install rrm or set RRM_DATADIR to the directory that "
			"holds it (PREFIX/share/rrm)",
			name);
	return 0;
}
