#include "manager/repo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/base/sha256.h"

enum { SLUG_MAX = 40, HASH_LEN = 16, REPO_JSON_MAX = 64 << 10, HEAD_MAX = 64 << 10 };

/* The readable part of an id, up to and with the '-' before the hash. */
static void slug_of(const char *canonical_root, char *out)
{
	const char *base = path_basename(canonical_root);
	size_t n = 0;
	for (; n < SLUG_MAX && base[n]; n++) {
		char ch = base[n] >= 'A' && base[n] <= 'Z' ? (char)(base[n] + 32) : base[n];
		bool keep = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
			    (ch && strchr("._-", ch));
		out[n] = keep ? ch : '-';
	}
	out[n] = '\0';
	if (!strcmp(base, "/"))
		strcpy(out, "repo");
	strcat(out, "-");
}

int repo_id_of(const char *canonical_root, char *out)
{
	char hex[SHA256_HEX_LEN];
	int r = sha256_hex(canonical_root, strlen(canonical_root), hex);

	if (r)
		return r;
	slug_of(canonical_root, out);
	snprintf(out + strlen(out), REPO_ID_MAX - SLUG_MAX, "%.16s", hex);
	return 0;
}

/* Without the hash, whose library takes longer to load than a warm `rrm ensure` does all the rest. */
static bool looks_like_id_of(const char *canonical_root, const char *id)
{
	char slug[REPO_ID_MAX];
	slug_of(canonical_root, slug);
	size_t len = strlen(slug);
	return !strncmp(id, slug, len) && strlen(id) == len + HASH_LEN &&
	       strspn(id + len, "0123456789abcdef") == HASH_LEN;
}

int repo_verify(const struct repo *r, struct err *e)
{
	char id[REPO_ID_MAX];
	int rc = repo_id_of(r->root, id);

	if (rc)
		return err_errno(e, rc, "checking the repo_id of %s", r->root);
	return !strcmp(id, r->id) ? 0
				  : err_set(e, -EINVAL,
					    "%s/repo.json names the root %s, which is another "
					    "repository's (%s); "
					    "run rrm remove %s, then rrm add with its path",
					    r->state_dir, r->root, id, r->id);
}

bool repo_name_ok(const char *name)
{
	if (!path_name_ok(name) || !strcmp(name, ".rrm"))
		return false;
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	return true;
}

void repo_deinit(struct repo *r)
{
	free(r->root);
	free(r->name);
	free(r->state_dir);
	free(r->added);
	memset(r, 0, sizeof(*r));
}

struct repo *repo_free(struct repo *r)
{
	if (r)
		repo_deinit(r);
	free(r);
	return NULL;
}

int repo_copy(struct repo *dst, const struct repo *src)
{
	memset(dst, 0, sizeof(*dst));
	memcpy(dst->id, src->id, sizeof(dst->id));
	dst->root = strdup(src->root);
	dst->name = strdup(src->name);
	dst->state_dir = strdup(src->state_dir);
	dst->added = strdup(src->added);
	if (dst->root && dst->name && dst->state_dir && dst->added)
		return 0;
	repo_deinit(dst);
	return -ENOMEM;
}

/* What a repo.json must be, or a word for what is wrong. */
static const char *fill(struct repo *r, const cJSON *j, const char *repo_id)
{
	if (json_get_bytes(j, "root", &r->root) || !r->root || r->root[0] != '/')
		return "root is missing or not an absolute path";
	if (json_get_bytes(j, "name", &r->name) || !r->name || !repo_name_ok(r->name))
		return "name is missing or cannot be a directory entry";
	if (strcmp(json_str(j, "repo_id", ""), repo_id) != 0 || !looks_like_id_of(r->root, repo_id))
		return "repo_id does not belong to this directory and root";
	strcpy(r->id, repo_id);
	r->added = strdup(json_str(j, "added", ""));
	return r->added ? NULL : "out of memory";
}

/* Makes a damaged repo.json harmless and says so; the repo then counts as not registered. */
static int set_aside(int dirfd, const char *state_dir, const char *why)
{
	char moved[NAME_MAX + 1];
	int r = file_move_aside(dirfd, "repo.json", moved);

	if (r == -ENOENT) /* another process was faster */
		return -ENOENT;
	if (r)
		log_warn("event=corrupt_repo_json dir=%s why=\"%s\" moved=no error=%s", state_dir,
			 why, err_name(-r));
	else
		log_warn("event=corrupt_repo_json dir=%s why=\"%s\" moved=%s "
			 "next=\"register it again with rrm add\"",
			 state_dir, why, moved);
	return -ENOENT;
}

/* 0; -ENOENT when there is no (usable) repo.json in state_dir, which is taken over. */
static int load(char *state_dir, const char *repo_id, struct repo *r, struct err *e)
{
	CLEANUP(closep) int dirfd = -1;
	CLEANUP(json_deletep) cJSON *j = NULL;
	struct err why = ERR_INIT;
	int rc;

	memset(r, 0, sizeof(*r));
	r->state_dir = state_dir;
	dirfd = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		rc = errno == ENOTDIR ? -ENOENT : -errno;
	else
		rc = json_read_file(dirfd, "repo.json", REPO_JSON_MAX, &j, &why);
	if (rc == -EINVAL || rc == -EFBIG) {
		rc = set_aside(dirfd, state_dir, why.text);
	} else if (rc && rc != -ENOENT) {
		err_errno(e, rc, "reading %s/repo.json", state_dir);
	} else if (!rc) {
		const char *bad = fill(r, j, repo_id);
		rc = bad ? set_aside(dirfd, state_dir, bad) : 0;
	}
	if (rc)
		repo_deinit(r);
	return rc;
}

static char *state_dir_of(const struct config *c, const char *repo_id)
{
	char *dir = NULL;
	return asprintf(&dir, "%s/repos/%s", c->base, repo_id) < 0 ? NULL : dir;
}

int repo_load(const struct config *c, const char *repo_id, struct repo **out, struct err *e)
{
	if (!path_name_ok(repo_id) || strlen(repo_id) >= REPO_ID_MAX)
		return err_set(e, -ENOENT, "\"%s\" is no repo_id; rrm list shows them", repo_id);
	char *dir = state_dir_of(c, repo_id);
	struct repo *r = malloc(sizeof(*r));
	if (!dir || !r) {
		free(dir);
		free(r);
		return err_errno(e, -ENOMEM, "reading repo.json of %s", repo_id);
	}
	int rc = load(dir, repo_id, r, e);
	if (rc == -ENOENT)
		err_set(e, rc, "%s is not a registered repository; rrm add PATH registers one",
			repo_id);
	if (rc)
		free(r);
	else
		*out = r;
	return rc;
}

static int by_name(const void *a, const void *b)
{
	const struct repo *x = a, *y = b;
	int d = strcmp(x->name, y->name);

	if (!d)
		d = strcmp(x->added, y->added);
	return d ? d : strcmp(x->id, y->id);
}

static bool name_taken(const struct repo_list *l, const char *name, const struct repo *but)
{
	for (size_t i = 0; i < l->n; i++)
		if (&l->items[i] != but && !strcmp(l->items[i].name, name))
			return true;
	return false;
}

char *repo_free_name(const struct repo_list *l, const char *name)
{
	char *text = strdup(name);

	for (unsigned n = 2; text && name_taken(l, text, NULL); n++) {
		char suffix[16];
		int len = snprintf(suffix, sizeof(suffix), "-%u", n);
		free(text);
		/* the longest name stays within a directory entry's 255 bytes */
		if (asprintf(&text, "%.*s%s", NAME_MAX - len, name, suffix) < 0)
			text = NULL;
	}
	return text;
}

/* Names are unique by repo_add(); after an edit by hand the later one gets a suffix, in memory. */
static int make_unique(struct repo_list *l)
{
	for (size_t i = 1; i < l->n; i++) {
		if (strcmp(l->items[i - 1].name, l->items[i].name) != 0)
			continue;
		char *name = repo_free_name(l, l->items[i].name);
		if (!name)
			return -ENOMEM;
		log_warn("event=name_twice repo=%s shown_as=%s", l->items[i].id, name);
		free(l->items[i].name);
		l->items[i].name = name;
		qsort(l->items, l->n, sizeof(*l->items), by_name);
		i = 0;
	}
	return 0;
}

static int append(const struct config *c, struct repo_list *l, const char *entry, struct err *e)
{
	if (l->n % 16 == 0) {
		void *more = reallocarray(l->items, l->n + 16, sizeof(*l->items));
		if (!more)
			return -ENOMEM;
		l->items = more;
	}
	char *dir = state_dir_of(c, entry);
	if (!dir)
		return -ENOMEM;
	int r = load(dir, entry, &l->items[l->n], e);
	if (!r)
		l->n++;
	return r == -ENOENT ? 0 : r;
}

int repo_list_load(const struct config *c, struct repo_list *out, struct err *e)
{
	CLEANUP(freep) char *path = path_join(c->base, "repos");
	CLEANUP(closedirp) DIR *d = path ? opendir(path) : NULL;
	struct repo_list l = {NULL, 0};
	const struct dirent *de;
	int r = 0;

	out->items = NULL;
	out->n = 0;
	if (!d && path && errno == ENOENT)
		return 0;
	if (!d)
		return err_errno(e, path ? -errno : -ENOMEM, "reading the repositories in %s/repos",
				 c->base);
	while (!r && (errno = 0, de = readdir(d)))
		if (path_name_ok(de->d_name) && strlen(de->d_name) < REPO_ID_MAX)
			r = append(c, &l, de->d_name, e);
	if (!r && errno)
		r = err_errno(e, -errno, "reading %s", path);
	if (!r && l.n) {
		qsort(l.items, l.n, sizeof(*l.items), by_name);
		r = make_unique(&l);
	}
	if (r == -ENOMEM)
		err_errno(e, r, "reading the repositories in %s", path);
	if (r)
		repo_list_deinit(&l);
	else
		*out = l;
	return r;
}

void repo_list_deinit(struct repo_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		repo_deinit(&l->items[i]);
	free(l->items);
	l->items = NULL;
	l->n = 0;
}

const struct repo *repo_owner(const struct repo_list *l, const char *real_path, const char **rel)
{
	const struct repo *best = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < l->n; i++) {
		const char *rest;
		if (!path_below(l->items[i].root, real_path, &rest))
			continue;
		size_t len = strlen(l->items[i].root);
		if (best && len <= longest)
			continue;
		best = &l->items[i];
		longest = len;
		if (rel)
			*rel = rest;
	}
	return best;
}

/* "<root>/.git" is a directory, or a file "gitdir: <path>" (linked worktree, submodule). */
static int git_dir(const char *root, char **out)
{
	CLEANUP(freep) char *git = path_join(root, ".git"), *text = NULL;
	struct stat st;
	size_t len;

	if (!git)
		return -ENOMEM;
	if (stat(git, &st))
		return errno == ENOTDIR ? -ENOENT : -errno;
	if (S_ISDIR(st.st_mode)) {
		*out = steal(&git);
		return 0;
	}
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	int r = file_read(AT_FDCWD, git, HEAD_MAX, &text, &len);
	if (r)
		return r;
	text[strcspn(text, "\r\n")] = '\0';
	if (strncmp(text, "gitdir: ", 8) != 0 || !text[8])
		return -ENOENT;
	*out = text[8] == '/' ? strdup(text + 8) : path_join(root, text + 8);
	return *out ? 0 : -ENOMEM;
}

int repo_head_path(const char *root, char **out)
{
	CLEANUP(freep) char *dir = NULL;
	int r = git_dir(root, &dir);

	if (r)
		return r;
	*out = path_join(dir, "HEAD");
	return *out ? 0 : -ENOMEM;
}

/* A longer branch name keeps its beginning and stays distinct by a hash of the whole. */
static int shorten(const char *branch, char *buf, size_t size)
{
	char hex[SHA256_HEX_LEN];
	int r = sha256_hex(branch, strlen(branch), hex);

	if (!r)
		snprintf(buf, size, "%.*s~%.16s", (int)(size - 18), branch, hex);
	return r;
}

int repo_branch(const char *root, char *buf, size_t size)
{
	CLEANUP(freep) char *head = NULL, *text = NULL;
	size_t len;

	buf[0] = '\0';
	int r = repo_head_path(root, &head);
	if (!r)
		r = file_read(AT_FDCWD, head, HEAD_MAX, &text, &len);
	if (r)
		return r == -ENOENT ? 0 : r;
	text[strcspn(text, "\r\n")] = '\0';
	const char *branch = text;
	if (!strncmp(branch, "ref:", 4)) {
		branch += 4;
		branch += strspn(branch, " \t");
		if (!strncmp(branch, "refs/heads/", 11))
			branch += 11;
	}
	if (strlen(branch) >= size)
		return shorten(branch, buf, size);
	strcpy(buf, branch);
	return 0;
}
