#include "router/mutation.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "router/jsonr.h"
#include "router/jsonw.h"

/* What an op takes; members it does not name are ignored. */
enum {
	HAS_PATH2 = 1,
	HAS_TARGET = 2,
	HAS_XATTR = 4,
	HAS_OFFSET = 8,
	HAS_LENGTH = 16,
	ROOT_OK = 32,   /* path "" is the root itself */
	HAS_OWNER = 64, /* uid, gid */
	HAS_TIMES = 128,
};

static const struct op {
	const char *name;
	unsigned has;
	uint32_t mode_mask;
	uint32_t flag_mask;
} ops[MUTATION_N_OPS] = {
	[MUTATION_CREATE] = {"create", 0, 07777, O_EXCL | O_TRUNC},
	[MUTATION_WRITE] = {"write", HAS_OFFSET, 0, MUTATION_WRITEPAGE},
	[MUTATION_APPEND] = {"append", 0, 0, 0},
	[MUTATION_TRUNCATE] = {"truncate", HAS_LENGTH, 0, 0},
	[MUTATION_UNLINK] = {"unlink", 0, 0, 0},
	[MUTATION_RMDIR] = {"rmdir", 0, 0, 0},
	[MUTATION_MKDIR] = {"mkdir", 0, 07777, 0},
	[MUTATION_MKNOD] = {"mknod", 0, 07777 | S_IFMT, 0},
	[MUTATION_SYMLINK] = {"symlink", HAS_TARGET, 0, 0},
	[MUTATION_LINK] = {"link", HAS_PATH2, 0, 0},
	[MUTATION_RENAME] = {"rename", HAS_PATH2, 0, RENAME_NOREPLACE | RENAME_EXCHANGE},
	[MUTATION_CHMOD] = {"chmod", ROOT_OK, 07777, 0},
	[MUTATION_CHOWN] = {"chown", ROOT_OK | HAS_OWNER, 0, 0},
	[MUTATION_UTIMENS] = {"utimens", ROOT_OK | HAS_TIMES, 0, 0},
	[MUTATION_SETXATTR] = {"setxattr", ROOT_OK | HAS_XATTR, 0, XATTR_CREATE | XATTR_REPLACE},
	[MUTATION_REMOVEXATTR] = {"removexattr", ROOT_OK | HAS_XATTR, 0, 0},
	[MUTATION_FALLOCATE] = {"fallocate", HAS_OFFSET | HAS_LENGTH, 0, UINT32_MAX},
	[MUTATION_FSYNC] = {"fsync", ROOT_OK, 0, 1},
	[MUTATION_RELEASE] = {"release", 0, 0, 0},
};

struct mutation *mutation_new(enum mutation_op op)
{
	struct mutation *m = calloc(1, sizeof(*m));
	if (m)
		m->op = op;
	return m;
}

struct mutation *mutation_free(struct mutation *m)
{
	if (m) {
		free(m->path);
		free(m->path2);
		free(m->target);
		free(m->xattr);
		free(m->data);
		free(m);
	}
	return NULL;
}

static void mutation_freep(struct mutation **m)
{
	mutation_free(*m);
}

const char *mutation_op_name(enum mutation_op op)
{
	return (unsigned)op < MUTATION_N_OPS ? ops[op].name : "?";
}

int mutation_op_parse(const char *name, enum mutation_op *op)
{
	for (int i = 0; i < MUTATION_N_OPS; i++)
		if (strcmp(ops[i].name, name) == 0) {
			*op = (enum mutation_op)i;
			return 0;
		}
	return -EINVAL;
}

void mutation_new_id(struct mutation *m)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static uint64_t prefix, counter; /* protected by lock */
	static pid_t owner;              /* a fork must not go on with its parent's prefix */

	LOCK_SCOPE(&lock);
	if (owner != getpid()) {
		owner = getpid();
		counter = 0;
		if (getrandom(&prefix, sizeof(prefix), 0) != sizeof(prefix)) {
			struct timespec t;
			clock_gettime(CLOCK_REALTIME, &t);
			prefix = (uint64_t)t.tv_sec << 30 ^ (uint64_t)t.tv_nsec ^
				 (uint64_t)owner << 40;
		}
	}
	snprintf(m->id, sizeof(m->id), "%016llx-%llx", (unsigned long long)prefix,
		 (unsigned long long)++counter);
}

/*
 * Text, or hexadecimal where the bytes are no UTF-8 or where escaping would more than double them: so a
 * name of any bytes takes at most twice its length and the header stays bounded.
 */
static void put_name(struct jsonw *w, const char *key, const char *value)
{
	if (!value)
		return;
	size_t n = strlen(value);
	if (jsonw_escaped_len(value, true) > 2 * n || !json_utf8_valid(value, n))
		jsonw_hex(w, key, value);
	else
		jsonw_str(w, key, value);
}

static void put_nonzero(struct jsonw *w, const char *key, uint64_t value)
{
	if (value)
		jsonw_u64(w, key, value);
}

static void put_nonempty(struct jsonw *w, const char *key, const char *value)
{
	if (*value)
		put_name(w, key, value);
}

static void put_actor(struct jsonw *w, const struct actor *a)
{
	jsonw_open(w, "actor");
	jsonw_i64(w, "pid", a->pid);
	jsonw_u64(w, "uid", a->uid);
	jsonw_u64(w, "gid", a->gid);
	put_nonempty(w, "comm", a->comm);
	put_nonempty(w, "home", a->home);
	put_nonempty(w, "session", a->session);
	jsonw_close(w);
}

char *mutation_encode(const struct mutation *m)
{
	struct jsonw w = {.ascii = true};
	unsigned has = ops[m->op].has;

	jsonw_open(&w, NULL);
	jsonw_str(&w, "id", m->id);
	jsonw_u64(&w, "epoch", m->epoch);
	jsonw_str(&w, "op", mutation_op_name(m->op));
	put_name(&w, "path", m->path);
	put_name(&w, "path2", m->path2);
	put_name(&w, "target", m->target);
	put_name(&w, "xattr", m->xattr);
	put_nonzero(&w, "ino", m->ino);
	put_nonzero(&w, "dev", m->dev);
	if (m->offset)
		jsonw_i64(&w, "offset", m->offset);
	if (m->length)
		jsonw_i64(&w, "length", m->length);
	put_nonzero(&w, "mode", m->mode);
	put_nonzero(&w, "rdev", m->rdev);
	if (has & HAS_OWNER) {
		jsonw_u64(&w, "uid", m->uid);
		jsonw_u64(&w, "gid", m->gid);
	}
	put_nonzero(&w, "flags", m->flags);
	if (has & HAS_TIMES) {
		jsonw_time(&w, "atime", &m->atime);
		jsonw_time(&w, "mtime", &m->mtime);
	}
	put_nonzero(&w, "wait_us", m->wait_us);
	put_nonempty(&w, "branch", m->branch);
	put_actor(&w, &m->actor);
	jsonw_close(&w);
	return jsonw_steal(&w);
}

static const char *or_null(const char *s)
{
	return *s ? s : NULL;
}

void mutation_put_actor(struct jsonw *w, const struct actor *a)
{
	jsonw_open(w, "actor");
	jsonw_i64(w, "pid", a->pid);
	jsonw_bytes(w, "comm", a->comm);
	jsonw_u64(w, "uid", a->uid);
	jsonw_bytes(w, "home", or_null(a->home));
	jsonw_bytes(w, "session", or_null(a->session));
	jsonw_close(w);
}

static int get_bytes(const struct jsonr_item *obj, const char *key, char **out, struct err *e)
{
	int r = jsonr_bytes(obj, key, out);
	return r < 0 ? err_set(e, -EINVAL, "%s is not a text", key) : 0;
}

/* A text member into a fixed buffer; missing is "". */
static int get_text(const struct jsonr_item *obj, const char *key, char *buf, size_t size,
		    struct err *e)
{
	CLEANUP(freep) char *s = NULL;
	int r = get_bytes(obj, key, &s, e);
	if (r < 0)
		return r;
	if (s && strlen(s) >= size)
		return err_set(e, -EINVAL, "%s is longer than %zu bytes", key, size - 1);
	strcpy(buf, s ? s : "");
	return 0;
}

static int get_number(const struct jsonr_item *obj, const char *key, uint64_t max, uint64_t *out,
		      struct err *e)
{
	uint64_t v = 0;
	int r = jsonr_u64(jsonr_find(obj, key), &v);
	if (r == -EINVAL || v > max)
		return err_set(e, -EINVAL, "%s is not an integer from 0 to %llu", key,
			       (unsigned long long)max);
	*out = v;
	return 0;
}

static int get_u32(const struct jsonr_item *obj, const char *key, uint32_t *out, struct err *e)
{
	uint64_t v = 0;
	int r = get_number(obj, key, UINT32_MAX, &v, e);
	*out = (uint32_t)v;
	return r;
}

static int get_size(const struct jsonr_item *obj, const char *key, int64_t *out, struct err *e)
{
	uint64_t v = 0;
	int r = get_number(obj, key, INT64_MAX, &v, e);
	*out = (int64_t)v;
	return r;
}

/* wire: UTIME_NOW and UTIME_OMIT are times too. */
static int get_time(const struct jsonr_item *obj, const char *key, bool wire, struct timespec *out,
		    struct err *e)
{
	const struct jsonr_item *j = jsonr_find(obj, key);
	const struct jsonr_item *s = jsonr_nth(j, 0), *n = jsonr_nth(j, 1);
	if (!s || !n || n->type != '0' || jsonr_nth(j, 2))
		return err_set(e, -EINVAL, "%s is not [seconds, nanoseconds]", key);
	int64_t sec = 0;
	uint64_t nsec = UINT64_MAX;
	if (jsonr_i64(s, &sec) < 0)
		return err_set(e, -EINVAL, "the seconds of %s are not an integer", key);
	(void)jsonr_u64(n, &nsec);
	bool special = wire && (nsec == UTIME_NOW || nsec == UTIME_OMIT);
	if (!special && nsec > 999999999)
		return err_set(e, -EINVAL, "the nanoseconds of %s are not 0 to 999999999", key);
	*out = (struct timespec){.tv_sec = sec, .tv_nsec = (long)nsec};
	return 0;
}

static int get_path(const struct jsonr_item *obj, const char *key, bool root_ok, char **out,
		    struct err *e)
{
	CLEANUP(freep) char *s = NULL;
	int r = get_bytes(obj, key, &s, e);
	if (r < 0)
		return r;
	if (!s)
		return err_set(e, -EINVAL, "%s is missing", key);
	if (!(root_ok && *s == '\0') && !path_relative_ok(s))
		return err_set(e, -EINVAL,
			       "%s must be relative to the root, not empty, without \"..\" and at "
			       "most %d bytes",
			       key, PATH_MAX - 1);
	*out = steal(&s);
	return 0;
}

/* A name that is no path: target and xattr. */
static int get_name(const struct jsonr_item *obj, const char *key, size_t max, char **out,
		    struct err *e)
{
	CLEANUP(freep) char *s = NULL;
	int r = get_bytes(obj, key, &s, e);
	if (r < 0)
		return r;
	if (!s || !*s || strlen(s) > max)
		return err_set(e, -EINVAL, "%s must be a text of 1 to %zu bytes", key, max);
	*out = steal(&s);
	return 0;
}

static int get_id(const struct jsonr_item *obj, char id[MUTATION_ID_MAX], struct err *e)
{
	int r = get_text(obj, "id", id, MUTATION_ID_MAX, e);
	if (r < 0)
		return r;
	for (const char *p = id; *p; p++)
		if (*p <= ' ' || *p > '~' || *p == '"' || *p == '\\')
			return err_set(e, -EINVAL, "id may hold printable ASCII only");
	return *id ? 0 : err_set(e, -EINVAL, "id is missing");
}

static int get_actor(const struct jsonr_item *obj, struct actor *a, struct err *e)
{
	const struct jsonr_item *j = jsonr_find(obj, "actor");
	uint64_t pid = 0;
	if (!j)
		return 0;
	if (j->type != '{')
		return err_set(e, -EINVAL, "actor is not an object");
	int r = get_number(j, "pid", INT32_MAX, &pid, e);
	a->pid = (pid_t)pid;
	if (r == 0)
		r = get_u32(j, "uid", &a->uid, e);
	if (r == 0)
		r = get_u32(j, "gid", &a->gid, e);
	if (r == 0)
		r = get_text(j, "comm", a->comm, sizeof(a->comm), e);
	if (r == 0)
		r = get_text(j, "home", a->home, sizeof(a->home), e);
	if (r == 0)
		r = get_text(j, "session", a->session, sizeof(a->session), e);
	return r < 0 ? err_prefix(e, r, "actor") : 0;
}

static int get_names(const struct jsonr_item *j, unsigned has, struct mutation *m, struct err *e)
{
	bool nameless = m->op == MUTATION_LINK && jsonr_find(j, "target");
	int r = get_path(j, "path", nameless || has & ROOT_OK, &m->path, e);
	nameless = nameless && r == 0 && !*m->path;
	if (r == 0 && (has & HAS_PATH2))
		r = get_path(j, "path2", false, &m->path2, e);
	if (r == 0 && (nameless || has & HAS_TARGET))
		r = get_name(j, "target", PATH_MAX - 1, &m->target, e);
	if (r == 0 && (has & HAS_XATTR))
		r = get_name(j, "xattr", NAME_MAX, &m->xattr, e);
	return r;
}

static int get_numbers(const struct jsonr_item *j, unsigned has, struct mutation *m, struct err *e)
{
	int r = get_number(j, "epoch", UINT64_MAX, &m->epoch, e);
	if (r == 0)
		r = get_number(j, "ino", UINT64_MAX, &m->ino, e);
	if (r == 0)
		r = get_number(j, "dev", UINT64_MAX, &m->dev, e);
	if (r == 0)
		r = get_number(j, "wait_us", INT64_MAX, &m->wait_us, e);
	if (r == 0 && (has & HAS_OFFSET))
		r = get_size(j, "offset", &m->offset, e);
	if (r == 0 && (has & HAS_LENGTH))
		r = get_size(j, "length", &m->length, e);
	if (r == 0)
		r = get_u32(j, "mode", &m->mode, e);
	if (r == 0)
		r = get_number(j, "rdev", UINT64_MAX, &m->rdev, e);
	if (r == 0)
		r = get_u32(j, "flags", &m->flags, e);
	if (r == 0 && (has & HAS_OWNER)) {
		m->uid = m->gid = UINT32_MAX;
		r = jsonr_find(j, "uid") ? get_u32(j, "uid", &m->uid, e) : 0;
		if (r == 0 && jsonr_find(j, "gid"))
			r = get_u32(j, "gid", &m->gid, e);
	}
	if (r == 0 && (has & HAS_TIMES))
		r = get_time(j, "atime", true, &m->atime, e);
	if (r == 0 && (has & HAS_TIMES))
		r = get_time(j, "mtime", true, &m->mtime, e);
	return r;
}

static int check_values(const struct mutation *m, struct err *e)
{
	const struct op *op = &ops[m->op];
	if (op->mode_mask && (m->mode & ~op->mode_mask))
		return err_set(e, -EINVAL, "mode %o has bits that %s does not take", m->mode,
			       op->name);
	if (m->flags & ~op->flag_mask)
		return err_set(e, -EINVAL, "flags %#x has bits that %s does not take", m->flags,
			       op->name);
	mode_t type = m->mode & S_IFMT;
	if (m->op == MUTATION_MKNOD && type != 0 && type != S_IFREG && type != S_IFIFO &&
	    type != S_IFSOCK && type != S_IFCHR && type != S_IFBLK)
		return err_set(e, -EINVAL, "mode %o names no type that mknod makes", m->mode);
	return 0;
}

static int get_op(const struct jsonr_item *j, enum mutation_op *op, struct err *e)
{
	CLEANUP(freep) char *name = NULL;
	if (jsonr_bytes(j, "op", &name) < 0 || !name || mutation_op_parse(name, op) < 0)
		return err_set(e, -EINVAL, "op \"%.40s\" is none that there is", name ? name : "");
	return 0;
}

int mutation_decode(const char *text, struct mutation **out, struct err *e)
{
	struct jsonr_item j[JSONR_ITEMS];
	enum mutation_op op;
	int r = jsonr_parse(text, strlen(text), j, e);
	if (r < 0)
		return err_prefix(e, r, "the mutation is not JSON");
	if (j->type != '{')
		return err_set(e, -EINVAL, "the mutation is not a JSON object");
	r = get_op(j, &op, e);
	if (r < 0)
		return r;
	CLEANUP(mutation_freep) struct mutation *m = mutation_new(op);
	if (!m)
		return err_errno(e, -ENOMEM, "reading a mutation");
	r = get_id(j, m->id, e);
	if (r == 0)
		r = get_names(j, ops[op].has, m, e);
	if (r == 0)
		r = get_numbers(j, ops[op].has, m, e);
	if (r == 0)
		r = get_text(j, "branch", m->branch, sizeof(m->branch), e);
	if (r == 0)
		r = get_actor(j, &m->actor, e);
	if (r == 0)
		r = check_values(m, e);
	if (r < 0)
		return err_prefix(e, r, "%s", ops[op].name);
	*out = steal(&m);
	return 0;
}

static void put_attr(struct jsonw *w, const struct stat *st)
{
	jsonw_open(w, "attr");
	jsonw_u64(w, "dev", st->st_dev);
	jsonw_u64(w, "ino", st->st_ino);
	jsonw_u64(w, "mode", st->st_mode);
	jsonw_u64(w, "nlink", st->st_nlink);
	jsonw_u64(w, "uid", st->st_uid);
	jsonw_u64(w, "gid", st->st_gid);
	jsonw_u64(w, "rdev", st->st_rdev);
	jsonw_i64(w, "size", st->st_size);
	jsonw_i64(w, "blocks", st->st_blocks);
	jsonw_i64(w, "blksize", st->st_blksize);
	jsonw_time(w, "atime", &st->st_atim);
	jsonw_time(w, "mtime", &st->st_mtim);
	jsonw_time(w, "ctime", &st->st_ctim);
	jsonw_close(w);
}

char *mutation_answer_encode(const struct mutation_answer *a)
{
	struct jsonw w = {0};
	jsonw_open(&w, NULL);
	jsonw_str(&w, "id", a->id);
	jsonw_bool(&w, "ok", a->error == 0);
	jsonw_i64(&w, "errno", a->error);
	jsonw_str(&w, "message", a->message);
	jsonw_i64(&w, "bytes", a->bytes);
	jsonw_i64(&w, "offset", a->offset);
	if (a->has_attr)
		put_attr(&w, &a->attr);
	if (a->before.exists) {
		jsonw_open(&w, "before");
		jsonw_u64(&w, "ino", a->before.ino);
		jsonw_i64(&w, "size", a->before.size);
		jsonw_time(&w, "mtime", &a->before.mtime);
		jsonw_time(&w, "ctime", &a->before.ctime);
		jsonw_close(&w);
	}
	jsonw_close(&w);
	return jsonw_steal(&w);
}

static int get_attr(const struct jsonr_item *j, struct stat *st, struct err *e)
{
	uint64_t dev = 0, ino = 0, mode = 0, nlink = 0, uid = 0, gid = 0, rdev = 0;
	int64_t size = 0, blocks = 0, blksize = 0;
	if (get_number(j, "dev", UINT64_MAX, &dev, e) ||
	    get_number(j, "ino", UINT64_MAX, &ino, e) ||
	    get_number(j, "mode", UINT32_MAX, &mode, e) ||
	    get_number(j, "nlink", UINT32_MAX, &nlink, e) ||
	    get_number(j, "uid", UINT32_MAX, &uid, e) ||
	    get_number(j, "gid", UINT32_MAX, &gid, e) ||
	    get_number(j, "rdev", UINT64_MAX, &rdev, e) || get_size(j, "size", &size, e) ||
	    get_size(j, "blocks", &blocks, e) || get_size(j, "blksize", &blksize, e) ||
	    get_time(j, "atime", false, &st->st_atim, e) ||
	    get_time(j, "mtime", false, &st->st_mtim, e) ||
	    get_time(j, "ctime", false, &st->st_ctim, e))
		return -EINVAL;
	st->st_dev = dev;
	st->st_ino = ino;
	st->st_mode = (mode_t)mode;
	st->st_nlink = nlink;
	st->st_uid = (uid_t)uid;
	st->st_gid = (gid_t)gid;
	st->st_rdev = rdev;
	st->st_size = size;
	st->st_blocks = blocks;
	st->st_blksize = (blksize_t)blksize;
	return 0;
}

static int get_before(const struct jsonr_item *j, struct mutation_before *b, struct err *e)
{
	if (get_number(j, "ino", UINT64_MAX, &b->ino, e) || get_size(j, "size", &b->size, e) ||
	    get_time(j, "mtime", false, &b->mtime, e) || get_time(j, "ctime", false, &b->ctime, e))
		return -EINVAL;
	b->exists = true;
	return 0;
}

int mutation_answer_decode(const char *text, size_t len, struct mutation_answer *out, struct err *e)
{
	struct jsonr_item j[JSONR_ITEMS];
	uint64_t error = 0;
	*out = (struct mutation_answer){0};
	int r = jsonr_parse(text, len, j, e);
	if (r < 0)
		return err_prefix(e, -EINVAL, "the gateway's answer");
	if (j->type != '{')
		return err_set(e, -EINVAL, "the gateway's answer is not a JSON object");
	const struct jsonr_item *attr = jsonr_find(j, "attr"), *before = jsonr_find(j, "before");
	const struct jsonr_item *ok = jsonr_find(j, "ok");
	CLEANUP(freep) char *message = NULL;
	r = get_id(j, out->id, e);
	if (r == 0)
		r = get_number(j, "errno", 4095, &error, e);
	if (r == 0)
		r = get_size(j, "bytes", &out->bytes, e);
	if (r == 0)
		r = get_size(j, "offset", &out->offset, e);
	if (r == 0 && attr) {
		r = get_attr(attr, &out->attr, e);
		out->has_attr = true;
	}
	if (r == 0 && before)
		r = get_before(before, &out->before, e);
	if (r == 0 && (ok && ok->type == 't') != (error == 0))
		r = err_set(e, -EINVAL, "ok and errno contradict each other");
	if (r < 0)
		return err_prefix(e, -EINVAL, "the gateway's answer");
	out->error = (int)error;
	if (jsonr_bytes(j, "message", &message) == 0 && message)
		snprintf(out->message, sizeof(out->message), "%s", message);
	return 0;
}
