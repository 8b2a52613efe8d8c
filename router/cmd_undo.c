/*
 * rrm undo: what one record of the audit replaced or removed is put back by new mutations, which are
 * audited and can be undone themselves. Undoing something that changed since would lose that: it is refused
 * unless --force.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/auditlog.h"
#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/sha256.h"
#include "manager/cmdutil.h"
#include "manager/undokept.h"
#include "router/cmd.h"
#include "router/jsonw.h"
#include "router/oneshot.h"

/* A record and what stands in its way. */
struct undo {
	const struct repo *repo;
	uint64_t seq;
	bool force;
	cJSON *record;      /* owned */
	char *path, *path2; /* owned; path2 NULL when it has none */
	enum mutation_op op;
	const cJSON *before;  /* borrowed from record: its undo when something was there; NULL */
	struct undokept kept; /* owned; what was lost */
	struct oneshot *o;    /* owned */
};

static void undo_deinit(struct undo *u)
{
	oneshot_end(u->o);
	cJSON_Delete(u->record);
	free(u->path);
	free(u->path2);
	undokept_deinit(&u->kept);
}

/* ---- the record ---- */

static int find(const struct auditlog_line *line, void *arg)
{
	struct undo *u = arg;
	CLEANUP(json_deletep) cJSON *j = NULL;
	uint64_t seq = 0;
	if (auditlog_parse(line, &j, NULL) < 0 || jsonw_get_u64(j, "seq", &seq) < 0 || seq > u->seq)
		return 0;
	if (seq == u->seq)
		u->record = steal(&j);
	return 1;
}

static int understand(struct undo *u, struct err *e)
{
	const cJSON *undo = cJSON_GetObjectItemCaseSensitive(u->record, "undo");
	const char *result = json_str(u->record, "result", "");
	if (mutation_op_parse(json_str(u->record, "op", ""), &u->op) < 0 ||
	    json_get_bytes(u->record, "path", &u->path) < 0 || !u->path ||
	    json_get_bytes(u->record, "path2", &u->path2) < 0)
		return err_set(e, -EINVAL, "record %llu is not understood; see rrm log --verify %s",
			       (unsigned long long)u->seq, u->repo->name);
	if (strcmp(result, "ok") != 0)
		return err_set(e, -EINVAL, "record %llu changed nothing that could be undone (%s)",
			       (unsigned long long)u->seq, result);
	if (cJSON_HasObjectItem(undo, "mode"))
		u->before = undo;
	return 0;
}

static int open_kept(struct undo *u, struct err *e)
{
	const char *why = json_str(u->before, "why", NULL);
	if (why)
		return err_set(e, -ENODATA, "what record %llu replaced was not kept: %s",
			       (unsigned long long)u->seq, why);
	int rc = undokept_open(&u->kept, u->repo->state_dir, u->before);
	if (rc < 0)
		return err_errno(e, rc,
				 "what record %llu replaced is kept no longer (undo_keep_days, "
				 "undo_keep_mib): %s",
				 (unsigned long long)u->seq, json_str(u->before, "kept", "?"));
	return 0;
}

static int load(struct undo *u, struct err *e)
{
	auditlog_settle(u->repo->state_dir);
	int rc = auditlog_backwards(u->repo->state_dir, find, u, NULL, e);
	if (rc < 0)
		return rc;
	if (!u->record)
		return err_set(e, -ENOENT, "%s has no record %llu; see rrm log %s", u->repo->name,
			       (unsigned long long)u->seq, u->repo->name);
	rc = understand(u, e);
	return rc == 0 ? open_kept(u, e) : rc;
}

/* ---- has it changed since? ---- */

struct later {
	const struct undo *u;
	bool same;     /* the content is what the record left: later writes were undone */
	cJSON *record; /* owned; the oldest that changed the same thing */
};

static bool same_name(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

/* Whether a file has the content that the change left there. */
static bool content_same(const struct undo *u)
{
	CLEANUP(freep) char *path = path_join(u->repo->root, u->path);
	const char *sha = json_str(u->record, "sha256_after", NULL);
	char now[SHA256_HEX_LEN];
	struct stat st;
	if (!path || !sha || (u->op != MUTATION_WRITE && u->op != MUTATION_CREATE))
		return false;
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       sha256_fd(fd, (uint64_t)st.st_size, now) == 0 && strcmp(sha, now) == 0;
}

static int look_later(const struct auditlog_line *line, void *arg)
{
	struct later *l = arg;
	CLEANUP(json_deletep) cJSON *j = NULL;
	CLEANUP(freep) char *path = NULL;
	CLEANUP(freep) char *path2 = NULL;
	uint64_t seq = 0;
	if (auditlog_parse(line, &j, NULL) < 0 || jsonw_get_u64(j, "seq", &seq) < 0)
		return 0;
	if (seq <= l->u->seq)
		return 1;
	if (strcmp(json_str(j, "result", ""), "ok") != 0 || json_get_bytes(j, "path", &path) < 0 ||
	    json_get_bytes(j, "path2", &path2) < 0)
		return 0;
	const char *op = json_str(j, "op", "");
	if (l->same && (strcmp(op, "write") == 0 || strcmp(op, "utimens") == 0))
		return 0;
	if (same_name(path, l->u->path) || same_name(path, l->u->path2) ||
	    same_name(path2, l->u->path) || same_name(path2, l->u->path2)) {
		cJSON_Delete(l->record);
		l->record = steal(&j);
	}
	return 0;
}

static int check_later(const struct undo *u, struct err *e)
{
	struct later l = {.u = u, .same = content_same(u)};
	int rc = auditlog_backwards(u->repo->state_dir, look_later, &l, NULL, e);
	if (rc >= 0 && l.record)
		rc = err_set(
			e, -ESTALE,
			"record %lld (%s, %s) changed the same since; undo that first, or pass "
			"--force",
			(long long)json_int(l.record, "seq", 0), json_str(l.record, "op", "?"),
			json_str(l.record, "ts", "?"));
	cJSON_Delete(l.record);
	return rc < 0 ? rc : 0;
}

/* What the change left there must be there. */
static int check_now(const struct undo *u, struct err *e)
{
	bool removed = u->op == MUTATION_UNLINK || u->op == MUTATION_RMDIR;
	const char *shown = u->path2 ? u->path2 : u->path;
	const char *sha = json_str(u->record, "sha256_after", NULL);
	char now[SHA256_HEX_LEN];
	struct stat st;
	CLEANUP(freep) char *path = path_join(u->repo->root, shown);
	if (!path)
		return -ENOMEM;
	bool exists = lstat(path, &st) == 0;
	if (removed)
		return exists ? err_set(e, -EEXIST,
					"%s is there again; remove it first, or pass --force",
					shown)
			      : 0;
	if (!exists)
		return err_set(e, -ENOENT, "%s is not there any more", shown);
	if (json_int(u->record, "size_after", -1) < 0 || !S_ISREG(st.st_mode) ||
	    (u->op != MUTATION_WRITE && u->op != MUTATION_CREATE && u->op != MUTATION_RENAME))
		return 0;
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (sha && fd >= 0 && sha256_fd(fd, (uint64_t)st.st_size, now) == 0)
		return strcmp(sha, now) == 0 ? 0
					     : err_set(e, -ESTALE,
						       "%s was changed since by its own repository "
						       "or outside the "
						       "mount; pass --force to lose that",
						       shown);
	return err_set(
		e, -ESTALE,
		"whether %s was changed since cannot be told (it is too large, or may not be "
		"read); pass --force if it was not",
		shown);
}

/* ---- putting back ---- */

static int send(const struct undo *u, struct mutation m, struct err *e)
{
	return oneshot_send(u->o, &m, NULL, e);
}

static uint32_t was(const struct undo *u, const char *key)
{
	return (uint32_t)json_int(u->before, key, 0);
}

static struct timespec was_time(const struct undo *u, const char *key)
{
	const cJSON *pair = cJSON_GetObjectItemCaseSensitive(u->before, key);
	int64_t s = 0, ns = 0;
	jsonw_item_i64(cJSON_GetArrayItem(pair, 0), &s);
	jsonw_item_i64(cJSON_GetArrayItem(pair, 1), &ns);
	return (struct timespec){.tv_sec = s, .tv_nsec = (long)ns};
}

/* Written over, then cut: a reader never finds it empty. */
static int put_content(const struct undo *u, char *path, struct err *e)
{
	CLEANUP(freep) char *part = malloc(MUTATION_DATA_MAX);
	int64_t size = json_int(u->before, "size", 0), at = 0;
	int rc = part ? 0 : -ENOMEM;
	while (rc == 0 && u->kept.fd >= 0 && at < size) {
		size_t want =
			size - at < MUTATION_DATA_MAX ? (size_t)(size - at) : MUTATION_DATA_MAX;
		size_t got = 0;
		rc = file_read_full(u->kept.fd, part, want, &got);
		if (rc == 0 && !got)
			break;
		if (rc == 0)
			rc = send(u,
				  (struct mutation){.op = MUTATION_WRITE,
						    .path = path,
						    .offset = at,
						    .data = part,
						    .data_len = got},
				  e);
		at += (int64_t)got;
	}
	return rc < 0 ? rc
		      : send(u,
			     (struct mutation){
				     .op = MUTATION_TRUNCATE, .path = path, .length = size},
			     e);
}

static int put_attributes(const struct undo *u, char *path, struct err *e)
{
	CLEANUP(freep) char *real = path_join(u->repo->root, path);
	struct stat st;
	int rc = !real ? -ENOMEM : lstat(real, &st) < 0 ? -errno : 0;
	if (rc < 0)
		return err_errno(e, rc, "looking at %s", path);
	if (st.st_uid != was(u, "uid") || st.st_gid != was(u, "gid"))
		rc = send(u,
			  (struct mutation){.op = MUTATION_CHOWN,
					    .path = path,
					    .uid = was(u, "uid"),
					    .gid = was(u, "gid")},
			  e);
	if (rc == 0 && st.st_mode != was(u, "mode") && !S_ISLNK(st.st_mode))
		rc = send(u,
			  (struct mutation){.op = MUTATION_CHMOD,
					    .path = path,
					    .mode = was(u, "mode") & 07777},
			  e);
	if (rc == 0)
		rc = send(u,
			  (struct mutation){.op = MUTATION_UTIMENS,
					    .path = path,
					    .atime = was_time(u, "atime"),
					    .mtime = was_time(u, "mtime")},
			  e);
	return rc;
}

static int make_again(const struct undo *u, char *path, struct err *e)
{
	char target[PATH_MAX] = "";
	size_t n = 0;
	struct mutation m = {.path = path, .mode = was(u, "mode") & 07777};
	switch (was(u, "mode") & S_IFMT) {
	case S_IFREG:
		m.op = MUTATION_CREATE;
		break;
	case S_IFDIR:
		m.op = MUTATION_MKDIR;
		break;
	case S_IFLNK:
		m.op = MUTATION_SYMLINK;
		m.mode = 0;
		m.target = target;
		if (u->kept.fd < 0 ||
		    file_read_full(u->kept.fd, target, sizeof(target) - 1, &n) < 0)
			return err_set(e, -ENODATA, "where the link %s led was not kept", path);
		break;
	default:
		m.op = MUTATION_MKNOD;
		m.mode = was(u, "mode");
		m.rdev = (uint64_t)json_int(u->before, "rdev", 0);
	}
	return send(u, m, e);
}

struct put_to {
	const struct undo *u;
	char *path;
	struct err *e;
};

static int put_xattr_back(const char *name, const void *value, size_t len, void *arg)
{
	const struct put_to *to = arg;
	CLEANUP(freep) char *copy = malloc(len + 1);
	CLEANUP(freep) char *xattr = strdup(name);
	if (!copy || !xattr)
		return err_errno(to->e, -ENOMEM, "putting back %s", name);
	memcpy(copy, value, len);
	return send(to->u,
		    (struct mutation){.op = MUTATION_SETXATTR,
				      .path = to->path,
				      .xattr = xattr,
				      .data = copy,
				      .data_len = len},
		    to->e);
}

/* What is kept has the attributes of the file that it was made of. */
static int put_xattrs(const struct undo *u, char *path, struct err *e)
{
	struct put_to to = {.u = u, .path = path, .e = e};
	return undokept_attrs(&u->kept, put_xattr_back, &to);
}

static int put_back(const struct undo *u, char *path, struct err *e)
{
	int rc = make_again(u, path, e);
	if (rc == 0 && S_ISREG(was(u, "mode")))
		rc = put_content(u, path, e);
	if (rc == 0 && S_ISREG(was(u, "mode")))
		rc = put_xattrs(u, path, e);
	return rc == 0 ? put_attributes(u, path, e) : rc;
}

static int put_xattr(const struct undo *u, struct err *e)
{
	CLEANUP(freep) char *name = NULL;
	CLEANUP(freep) char *value = malloc(MUTATION_DATA_MAX);
	size_t len = 0;
	int rc = value ? json_get_bytes(u->before, "xattr", &name) : -ENOMEM;
	if (rc < 0 || !name)
		return err_errno(e, rc < 0 ? rc : -EINVAL, "reading the record");
	if (!json_bool(u->before, "had_xattr", false))
		return send(u,
			    (struct mutation){
				    .op = MUTATION_REMOVEXATTR, .path = u->path, .xattr = name},
			    e);
	if (u->kept.fd >= 0) /* else it was empty */
		rc = file_read_full(u->kept.fd, value, MUTATION_DATA_MAX, &len);
	if (rc < 0)
		return err_errno(e, rc, "reading the old value of %s", name);
	return send(u,
		    (struct mutation){.op = MUTATION_SETXATTR,
				      .path = u->path,
				      .xattr = name,
				      .data = value,
				      .data_len = len},
		    e);
}

static int move_back(const struct undo *u, struct err *e)
{
	const cJSON *undo = cJSON_GetObjectItemCaseSensitive(u->record, "undo");
	bool exchange = json_bool(undo, "exchange", false);
	int rc = send(u,
		      (struct mutation){.op = MUTATION_RENAME,
					.path = u->path2,
					.path2 = u->path,
					.flags = exchange ? RENAME_EXCHANGE : RENAME_NOREPLACE},
		      e);
	return rc == 0 && u->before ? put_back(u, u->path2, e) : rc;
}

static int remove_made(const struct undo *u, char *path, struct err *e)
{
	return send(
		u,
		(struct mutation){.op = u->op == MUTATION_MKDIR ? MUTATION_RMDIR : MUTATION_UNLINK,
				  .path = path},
		e);
}

static int apply(const struct undo *u, struct err *e)
{
	int rc;
	switch (u->op) {
	case MUTATION_RENAME:
		return move_back(u, e);
	case MUTATION_LINK:
		return remove_made(u, u->path2, e);
	case MUTATION_UNLINK:
	case MUTATION_RMDIR:
		return put_back(u, u->path, e);
	case MUTATION_CHMOD:
	case MUTATION_CHOWN:
	case MUTATION_UTIMENS:
		return put_attributes(u, u->path, e);
	case MUTATION_SETXATTR:
	case MUTATION_REMOVEXATTR:
		return put_xattr(u, e);
	default:
		if (!u->before)
			return remove_made(u, u->path, e);
		rc = put_content(u, u->path, e);
		return rc == 0 ? put_attributes(u, u->path, e) : rc;
	}
}

static int undo_record(const struct cmd_context *x, struct undo *u, struct err *e)
{
	int rc = load(u, e);
	if (rc == 0)
		rc = oneshot_begin(&u->o, x->config, &x->repos, u->repo, u->path, e);
	/* With the turn held: nobody who goes through rrm can change it any more. */
	if (rc == 0 && !u->force)
		rc = check_later(u, e);
	if (rc == 0 && !u->force)
		rc = check_now(u, e);
	if (rc == 0)
		rc = apply(u, e);
	if (rc < 0)
		return err_prefix(e, rc, "undoing record %llu of %s", (unsigned long long)u->seq,
				  u->repo->name);
	printf("undid record %llu of %s: %s ", (unsigned long long)u->seq, u->repo->name,
	       json_str(u->record, "op", "?"));
	cmd_print_bytes(stdout, u->path2 ? u->path2 : u->path);
	putchar('\n');
	return cmd_flush(e);
}

int cmd_undo(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"force", no_argument, NULL, 'f'},
					      {NULL, 0, NULL, 0}};
	CLEANUP(undo_deinit) struct undo u = {.kept.fd = -1};
	struct cmd_context x;
	long long seq;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":f", longs, e)) != -1; u.force = true)
		if (opt == '?')
			return CMD_USAGE;
	if (argc - optind != 2)
		return cmd_usage("undo", e, "give REPO and the number of a record");
	if (!cmd_number(argv[optind + 1], 1, INT64_MAX, &seq))
		return cmd_usage("undo", e,
				 "the number of a record is what rrm log shows behind #");
	u.seq = (uint64_t)seq;
	int rc = cmd_context_init(&x, e);
	if (rc == 0)
		rc = cmd_find(&x, argv[optind], &u.repo, e);
	if (rc == 0)
		rc = undo_record(&x, &u, e);
	u.o = oneshot_end(u.o);
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}
