/*
 * One change as a value, its wire form and its answer. Pure functions.
 *
 * On the wire (gateway.sock, POST /mutations) a mutation is one JSON object in the header
 * Rrm-Mutation; the bytes of write, append and setxattr are the raw body. Keys: id, epoch, op, path,
 * path2, target, xattr, ino, dev, offset, length, mode, rdev, uid, gid, flags, atime, mtime, wait_us,
 * actor {pid, comm, uid, gid, home, session}, branch. Paths are relative to the repo's root; as bytes that may
 * not be UTF-8 they use json_add_bytes() (path / path_hex). Times are [seconds, nanoseconds]; the
 * nanoseconds may be UTIME_NOW or UTIME_OMIT. Keys at their zero value may be left out.
 *
 * The answer: {id, ok, errno, message, bytes, attr {dev, ino, mode, nlink, uid, gid, rdev, size,
 * blocks, blksize, atime, mtime, ctime}, before {mtime, ctime, size, ino}}. errno is the positive number
 * (0 when ok), message a sentence. attr is the stat of path after the change (of path2 for rename and
 * link); absent after a removal. before is the state of path just before the change, absent when
 * it did not exist: the mount tells by it whether it had missed a change from outside.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "manager/base/err.h"

struct jsonw;

enum mutation_op {
	MUTATION_CREATE, /* path, mode, flags: O_EXCL, O_TRUNC (of a file that is there already); a regular file.
	                         The gateway keeps the creating fd of a file whose mode forbids its own
	                         writing until release, so that its maker can still write it */
	MUTATION_WRITE,    /* path, ino, offset, body, flags: MUTATION_WRITEPAGE */
	MUTATION_APPEND,   /* path, ino, body; offset ignored */
	MUTATION_TRUNCATE, /* path, ino, length */
	MUTATION_UNLINK,   /* path */
	MUTATION_RMDIR,    /* path */
	MUTATION_MKDIR,    /* path, mode */
	MUTATION_MKNOD,    /* path, mode with type, rdev */
	MUTATION_SYMLINK,  /* path, target */
	MUTATION_LINK, /* path (existing), path2 (new). A file without a name (O_TMPFILE) has path "",
	                         its ino and dev, and target "<pid>:<fd>": who has it open by which number */
	MUTATION_RENAME,      /* path, path2, flags: RENAME_NOREPLACE | RENAME_EXCHANGE */
	MUTATION_CHMOD,       /* path, ino, mode */
	MUTATION_CHOWN,       /* path, ino, uid, gid; (uint32_t)-1 leaves one */
	MUTATION_UTIMENS,     /* path, ino, atime, mtime; never follows a symlink */
	MUTATION_SETXATTR,    /* path, xattr, flags, body */
	MUTATION_REMOVEXATTR, /* path, xattr */
	MUTATION_FALLOCATE,   /* path, ino, flags: the mode of fallocate(2), offset, length */
	MUTATION_FSYNC,       /* path, ino, flags: 1 for datasync; a directory too. Not audited */
	MUTATION_RELEASE, /* path, ino: the creating fd is no longer needed. Not audited, never fails */
	MUTATION_N_OPS
};

enum {
	MUTATION_ID_MAX = 48,
	MUTATION_DATA_MAX = 1 << 20, /* bytes of one request's body */
	MUTATION_WRITEPAGE = 1,      /* it was stored into a mapping: set-id bits stay */
};

struct actor {
	pid_t pid; /* process (not thread) id; 0 when the kernel did not say */
	uid_t uid; /* for the gateway: act as this user where it runs as root */
	gid_t gid;
	char comm[17];    /* of the process; "" when unknown */
	char home[64];    /* repo_id of its home; "" when it has none */
	char session[64]; /* "" when unknown */
};

struct mutation {
	char id[MUTATION_ID_MAX]; /* unique for ever; the same in a repeated request */
	uint64_t epoch;
	enum mutation_op op;
	char *path; /* owned, as are the next three; NULL when the op has none. "" is the root itself,
	                 allowed for chmod, chown, utimens, setxattr, removexattr, fsync; for link see there */
	char *path2;
	char *target;
	char *xattr;
	uint64_t ino; /* 0: any. Otherwise the file at path must be this inode, or -ESTALE */
	uint64_t dev; /* as st_dev; only looked at when ino is not 0 */
	int64_t offset;
	int64_t length;
	uint32_t mode, uid, gid, flags;
	uint64_t rdev;
	struct timespec atime, mtime;
	uint64_t wait_us; /* how long it waited for the turn */
	char branch[256]; /* the branch whose turn it was */
	struct actor actor;
	void *data; /* owned; body */
	size_t data_len;
};

struct mutation_before {
	bool exists;
	uint64_t ino;
	int64_t size;
	struct timespec mtime, ctime;
};

struct mutation_answer {
	char id[MUTATION_ID_MAX];
	int error; /* 0 or a positive errno */
	char message[512];
	int64_t bytes; /* written by write and append; for append, offset says where it began */
	int64_t offset;
	bool has_attr;
	struct stat attr;
	struct mutation_before before;
};

struct mutation *mutation_new(enum mutation_op op);            /* zeroed; NULL when out of memory */
struct mutation *mutation_free(struct mutation *m);            /* NULL is fine; returns NULL */
const char *mutation_op_name(enum mutation_op op);             /* "create", "removexattr", ... */
int mutation_op_parse(const char *name, enum mutation_op *op); /* -EINVAL */

/* Fills id with "<boot-unique prefix>-<counter>", unique across processes and restarts. */
void mutation_new_id(struct mutation *m);

/* Header text, owned by the caller, one line, printable: every byte outside 0x20-0x7e is a \u escape. */
char *mutation_encode(const struct mutation *m);

/* Checks everything: unknown keys are ignored, wrong types, ranges, missing members, bad paths
 * (absolute, "..", empty, too long) are -EINVAL with a sentence in e. data is left NULL: the body follows. */
int mutation_decode(const char *text, struct mutation **out, struct err *e);

/* The member "actor" of a record: {pid, comm, uid, home, session}, the last two null when unknown. */
void mutation_put_actor(struct jsonw *w, const struct actor *a);

char *mutation_answer_encode(const struct mutation_answer *a); /* owned by the caller */
int mutation_answer_decode(const char *text, size_t len, struct mutation_answer *out,
			   struct err *e);
