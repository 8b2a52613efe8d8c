#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/mountstate.h"
#include "manager/repo.h"
#include "manager/resolve.h"

enum { MODULES_MAX = 1 << 20, MODULE_DEPTH = 8 };

struct scan {
	const struct config *c;
	char *mountpoint; /* owned; of a running mount, may be NULL */
	size_t found;
};

static bool passed_by(const struct scan *s, const char *path)
{
	return !strcmp(path, s->c->base) || !strcmp(path, s->c->mountpoint) ||
	       (s->mountpoint && !strcmp(path, s->mountpoint));
}

static bool has_git(const char *dir)
{
	CLEANUP(freep) char *git = path_join(dir, ".git");
	return git && !access(git, F_OK);
}

static bool register_one(struct scan *s, const char *path)
{
	struct err e = ERR_INIT;
	struct repo *r;

	if (repo_add(s->c, path, NULL, false, &r, &e)) {
		log_warn("event=scan_skipped why=\"%s\"", e.text);
		return false;
	}
	repo_free(r);
	s->found++;
	return true;
}

/* The value of a line "path = <value>" of .gitmodules, or NULL; text of the line is changed. */
static const char *module_path(char *line)
{
	line += strspn(line, " \t");
	if (strncmp(line, "path", 4) != 0)
		return NULL;
	line += 4 + strspn(line + 4, " \t");
	if (*line != '=')
		return NULL;
	line += 1 + strspn(line + 1, " \t");
	size_t n = strlen(line);
	while (n && strchr(" \t\r", line[n - 1]))
		line[--n] = '\0';
	if (n >= 2 && line[0] == '"' && line[n - 1] == '"') {
		line[n - 1] = '\0';
		line++;
	}
	return path_relative_ok(line) ? line : NULL;
}

static void scan_modules(struct scan *s, const char *root, int level)
{
	CLEANUP(freep) char *file = path_join(root, ".gitmodules"), *text = NULL;
	char *save = NULL;
	size_t len;

	if (level >= MODULE_DEPTH || !file || file_read(AT_FDCWD, file, MODULES_MAX, &text, &len))
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char *rel = module_path(line);
		CLEANUP(freep) char *sub = rel ? path_join(root, rel) : NULL;
		if (sub && has_git(sub) && register_one(s, sub))
			scan_modules(s, sub, level + 1);
	}
}

static bool is_dir(const char *path, const struct dirent *de)
{
	struct stat st;

	if (de->d_type != DT_UNKNOWN)
		return de->d_type == DT_DIR;
	return !lstat(path, &st) && S_ISDIR(st.st_mode);
}

static int scan_dir(struct scan *s, const char *dir, int depth)
{
	if (passed_by(s, dir))
		return 0;
	if (has_git(dir) && register_one(s, dir)) {
		scan_modules(s, dir, 0);
		return 0;
	}
	if (depth <= 0)
		return 0;
	CLEANUP(closedirp) DIR *d = opendir(dir);
	if (!d)
		return -errno;
	const struct dirent *de;
	while ((de = readdir(d))) {
		if (de->d_name[0] == '.')
			continue;
		CLEANUP(freep) char *sub = path_join(dir, de->d_name);
		if (!sub)
			return -ENOMEM;
		int r = is_dir(sub, de) ? scan_dir(s, sub, depth - 1) : 0;
		if (r == -ENOMEM)
			return r;
		if (r)
			log_warn("event=scan_unreadable path=%s error=%s", sub, err_name(-r));
	}
	return 0;
}

int repo_scan(const struct config *c, const char *dir, int depth, size_t *found, struct err *e)
{
	struct scan s = {.c = c};
	struct mountstate m;
	struct resolved at;
	struct stat st;
	struct repo_list l;

	int r = repo_list_load(c, &l, e);
	if (r)
		return r;
	r = resolve_path(c, &l, dir, true, &at);
	repo_list_deinit(&l);
	if (r == -ENOENT || (!r && at.in_mount)) {
		free(at.path);
		return err_set(e, -EINVAL, "%s lies in the mount; scan the real directory instead",
			       dir);
	}
	CLEANUP(freep) char *path = at.path;
	if (!r && !at.exists)
		return err_set(e, -ENOENT, "%s does not exist", dir);
	if (!r && !stat(path, &st) && !S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s is not a directory", dir);
	if (!r && !mountstate_read(c, &m))
		s.mountpoint = m.mountpoint;
	if (!r)
		r = scan_dir(&s, path, depth);
	free(s.mountpoint);
	*found = s.found;
	return r ? err_errno(e, r, "%s", dir) : 0;
}
