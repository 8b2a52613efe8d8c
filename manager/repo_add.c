/*
 * Registering: names are unique among all repos, so whoever changes the list holds <base>/repos.lock
 * (flock) from reading the list until repo.json is written. The lock ends with the process.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/mountstate.h"
#include "manager/repo.h"
#include "manager/resolve.h"

enum { LOCK_WAIT_MS = 10000, LOCK_POLL_US = 5000 };

int repo_lock(const struct config *c, struct err *e)
{
	CLEANUP(freep) char *path = path_join(c->base, "repos.lock");
	CLEANUP(closep) int fd = -1;
	uint64_t until = clock_mono_ms() + LOCK_WAIT_MS;

	int r = path ? file_mkdirs(c->base, 0700) : -ENOMEM;
	if (r)
		return err_errno(e, r, "the state directory %s cannot be made", c->base);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, -errno, "opening %s", path);
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_errno(e, -errno, "locking %s", path);
		if (clock_mono_ms() >= until)
			return err_set(e, -ETIMEDOUT,
				       "another rrm has held %s for 10 s; see who with fuser %s",
				       path, path);
		usleep(LOCK_POLL_US);
	}
	return steal_fd(&fd);
}

/* realpath of the longest part that exists; owned. Only for directories of ours. */
static char *real_or_same(const char *path)
{
	char *real = realpath(path, NULL);
	return real ? real : strdup(path);
}

static bool overlaps(const char *a, const char *b)
{
	return path_below(a, b, NULL) || path_below(b, a, NULL);
}

static int check_mountpoint(const char *root, const char *mountpoint, struct err *e)
{
	CLEANUP(freep) char *parent = strdup(mountpoint), *real = NULL, *point = NULL;
	char *slash = parent ? strrchr(parent, '/') : NULL;

	if (!slash)
		return err_errno(e, -ENOMEM, "adding %s", root);
	*slash = '\0'; /* the mountpoint itself is not touched: it may be a dead mount */
	real = real_or_same(*parent ? parent : "/");
	point = real ? path_join(real, path_basename(mountpoint)) : NULL;
	if (!point)
		return err_errno(e, -ENOMEM, "adding %s", root);
	if (!overlaps(root, point) && !overlaps(root, mountpoint))
		return 0;
	return err_set(e, -EINVAL,
		       path_below(root, point, NULL) || path_below(root, mountpoint, NULL)
			       ? "%s holds the mountpoint %s, so the mount would contain itself; "
				 "set another \"mountpoint\" in config.json"
			       : "%s lies in the mountpoint %s; add the real directory instead",
		       root, mountpoint);
}

static int check_place(const struct config *c, const char *root, struct err *e)
{
	CLEANUP(freep) char *base = real_or_same(c->base);
	struct mountstate m;

	if (!base)
		return err_errno(e, -ENOMEM, "adding %s", root);
	if (path_below(base, root, NULL))
		return err_set(e, -EINVAL,
			       "%s lies in the state directory %s, which is rrm's own; add a "
			       "repository outside it",
			       root, base);
	int r = check_mountpoint(root, c->mountpoint, e);
	if (!r && !mountstate_read(c, &m)) {
		r = check_mountpoint(root, m.mountpoint, e);
		mountstate_deinit(&m);
	}
	return r;
}

static bool is_bare(const char *root)
{
	CLEANUP(freep) char *head = path_join(root, "HEAD"), *objects = path_join(root, "objects");
	return head && objects && !access(head, F_OK) && !access(objects, F_OK);
}

static int check_repo(const char *root, bool force, struct err *e)
{
	struct stat st;

	if (stat(root, &st))
		return err_errno(e, -errno, "%s", root);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "%s is not a directory", root);
	if (strlen(root) >= PATH_MAX)
		return err_errno(e, -ENAMETOOLONG, "%s", root);
	CLEANUP(freep) char *git = path_join(root, ".git");
	if (!git)
		return err_errno(e, -ENOMEM, "adding %s", root);
	if (force || !access(git, F_OK))
		return 0;
	if (errno != ENOENT)
		return err_errno(e, -errno, "%s", git);
	if (is_bare(root))
		return err_set(
			e, -EINVAL,
			"%s is a bare git repository: it has no files to work on; add a clone "
			"or a worktree of it",
			root);
	return err_set(e, -EINVAL,
		       "%s is not a git repository (it has no .git); run git init there, or add it "
		       "as it is with --force",
		       root);
}

static int real_root(const struct config *c, const struct repo_list *l, const char *path,
		     char **out, struct err *e)
{
	struct resolved at;

	if (!path[0])
		return err_set(e, -EINVAL, "an empty path names no repository");
	int r = resolve_path(c, l, path, true, &at);
	CLEANUP(freep) char *real = at.path;
	if (at.in_mount && (r == -ENOENT || (!r && !at.exists)))
		return err_set(e, -ENOENT,
			       "%s lies in the mount and is nobody's; add the real "
			       "directory instead",
			       path);
	if (r)
		return err_errno(e, r, "%s", path);
	if (!at.exists)
		return err_set(e, -ENOENT, "%s does not exist", path);
	*out = steal(&real);
	return 0;
}

static int bad_name(const char *name, struct err *e)
{
	const char *why = "holds a control byte";

	if (!name[0])
		why = "is empty";
	else if (strchr(name, '/'))
		why = "holds a slash";
	else if (strlen(name) > NAME_MAX)
		why = "is longer than the 255 bytes of a directory entry";
	else if (!strcmp(name, ".") || !strcmp(name, ".."))
		why = "means a directory that is there already";
	else if (!strcmp(name, ".rrm"))
		why = "is the mount's control directory";
	return err_set(e, -EINVAL, "the name \"%.300s\" %s; give another with --name", name, why);
}

/* The basename with what a name may not hold turned into '-'; then made unique. */
static char *default_name(const struct repo_list *l, const char *root)
{
	CLEANUP(freep) char *name = strdup(path_basename(root));

	if (!name)
		return NULL;
	for (char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '/')
			*p = '-';
	return repo_free_name(l, strcmp(name, ".rrm") != 0 ? name : "rrm");
}

static int choose_name(const struct repo_list *l, const char *root, const char *name, char **out,
		       struct err *e)
{
	for (size_t i = 0; name && i < l->n; i++)
		if (!strcmp(l->items[i].name, name))
			return err_set(
				e, -EEXIST,
				"the name %s belongs to %s already; give another with --name", name,
				l->items[i].root);
	*out = name ? strdup(name) : default_name(l, root);
	return *out ? 0 : err_errno(e, -ENOMEM, "adding %s", root);
}

static int write_repo(const struct repo *r, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	CLEANUP(freep) char *path = path_join(r->state_dir, "repo.json");

	if (!j || !path || json_add_str(j, "repo_id", r->id) ||
	    json_add_bytes(j, "root", r->root) || json_add_bytes(j, "name", r->name) ||
	    json_add_str(j, "added", r->added))
		return err_errno(e, -ENOMEM, "adding %s", r->root);
	int rc = file_mkdirs(r->state_dir, 0700);
	if (rc)
		return err_errno(e, rc, "the state directory %s cannot be made", r->state_dir);
	rc = json_replace_file(AT_FDCWD, path, j, 0600);
	if (!rc)
		return 0;
	rmdir(r->state_dir); /* only goes when nothing else is in it */
	return err_errno(e, rc, "writing %s", path);
}

/* A new repo of canonical root; the lock is held. */
static int create(const struct config *c, const struct repo_list *l, const char *root,
		  const char *name, struct repo **out, struct err *e)
{
	struct repo *r = calloc(1, sizeof(*r));
	char now[CLOCK_ISO_LEN];

	if (!r)
		return err_errno(e, -ENOMEM, "adding %s", root);
	int rc = repo_id_of(root, r->id);
	if (rc)
		err_errno(e, rc, "making the repo_id of %s", root);
	else
		rc = choose_name(l, root, name, &r->name, e);
	if (!rc) {
		r->root = strdup(root);
		r->added = strdup(clock_iso(now, clock_wall_ms()));
		if (asprintf(&r->state_dir, "%s/repos/%s", c->base, r->id) < 0)
			r->state_dir = NULL;
		rc = r->root && r->added && r->state_dir ? write_repo(r, e)
							 : err_errno(e, -ENOMEM, "adding %s", root);
	}
	if (rc)
		repo_free(r);
	else
		*out = r;
	return rc;
}

static int already(const struct repo *have, const char *name, struct repo **out, struct err *e)
{
	if (name && strcmp(name, have->name) != 0)
		return err_set(e, -EEXIST,
			       "%s is registered as %s already; rrm remove it first to rename it",
			       have->root, have->name);
	struct repo *r = malloc(sizeof(*r));
	int rc = r ? repo_copy(r, have) : -ENOMEM;
	if (rc) {
		free(r);
		return err_errno(e, rc, "adding %s", have->root);
	}
	*out = r;
	return 0;
}

static int add_locked(const struct config *c, const struct repo_list *l, const char *path,
		      const char *name, bool force, struct repo **out, struct err *e)
{
	CLEANUP(freep) char *root = NULL;
	int r = real_root(c, l, path, &root, e);

	for (size_t i = 0; !r && i < l->n; i++)
		if (!strcmp(l->items[i].root, root))
			return already(&l->items[i], name, out, e);
	if (!r)
		r = check_repo(root, force, e);
	if (!r)
		r = check_place(c, root, e);
	return r ? r : create(c, l, root, name, out, e);
}

int repo_add(const struct config *c, const char *path, const char *name, bool force,
	     struct repo **out, struct err *e)
{
	struct repo_list l;

	if (name && !repo_name_ok(name))
		return bad_name(name, e);
	CLEANUP(closep) int lock = repo_lock(c, e);

	if (lock < 0)
		return lock;
	int r = repo_list_load(c, &l, e);
	if (r)
		return r;
	r = add_locked(c, &l, path, name, force, out, e);
	repo_list_deinit(&l);
	return r;
}

int repo_remove(const struct config *c, const struct repo *r, struct err *e)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "repo.json");
	CLEANUP(closep) int lock = repo_lock(c, e);

	if (lock < 0)
		return lock;
	if (!path)
		return err_errno(e, -ENOMEM, "removing %s", r->name);
	if (unlink(path) && errno != ENOENT)
		return err_errno(e, -errno, "removing %s", path);
	return 0;
}
