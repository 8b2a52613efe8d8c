/*
 * A file is known by its inode: rotation renames audit.jsonl and begins a new one, so what follows the
 * file that is open is found by looking for its inode in the list of files and taking the next.
 */
#include "manager/auditlog.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/probe.h"

#define AUDIT "audit"
#define REFUSED "refused"

enum { CHUNK = 64 << 10, RETRIES = 100, SETTLE_MS = 2000 };

/* One file of the log; seq UINT64_MAX is the one that is written to. */
struct part {
	uint64_t seq;
	char name[AUDITLOG_FILE_MAX];
};

struct auditlog {
	const char *stem; /* of the names: "audit" or "refused" */
	int dirfd;
	int fd;   /* -1: nothing opened yet */
	int next; /* the file behind fd, once it is known; -1 */
	char file[AUDITLOG_FILE_MAX], next_file[AUDITLOG_FILE_MAX];
	bool unnumbered;    /* fd was entered at its end */
	uint64_t offset;    /* in the file, of buf's first unread byte */
	uint64_t number;    /* lines given so far of the file */
	char *buf;          /* owned; CHUNK + AUDITLOG_LINE_MAX + 1 bytes */
	size_t start, fill; /* unread: buf[start, fill) */
	size_t scanned;     /* of those, known to hold no newline */
	bool skipping;      /* the line under way is longer than allowed */
	uint64_t skipped;   /* bytes of it that were thrown away */
};

static bool part_name(const char *stem, const char *name, uint64_t *seq)
{
	size_t len = strlen(stem);
	char *end;

	if (strncmp(name, stem, len) != 0 || strlen(name) >= AUDITLOG_FILE_MAX)
		return false;
	name += len;
	if (!strcmp(name, ".jsonl")) {
		*seq = UINT64_MAX;
		return true;
	}
	if (name[0] != '.' || name[1] < '0' || name[1] > '9')
		return false;
	errno = 0;
	*seq = strtoull(name + 1, &end, 10);
	return !errno && *seq != UINT64_MAX && !strcmp(end, ".jsonl");
}

static int by_seq(const void *a, const void *b)
{
	const struct part *x = a, *y = b;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int list_parts(const struct auditlog *a, struct part **out, size_t *n)
{
	CLEANUP(freep) struct part *parts = NULL;
	int fd = openat(a->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *de;

	*n = 0;
	if (!d) {
		int saved = errno;
		if (fd >= 0)
			close(fd);
		return -saved;
	}
	while ((errno = 0, de = readdir(d))) {
		uint64_t seq;
		if (!part_name(a->stem, de->d_name, &seq))
			continue;
		void *more = reallocarray(parts, *n + 1, sizeof(*parts));
		if (!more)
			return -ENOMEM;
		parts = more;
		parts[*n].seq = seq;
		strcpy(parts[(*n)++].name, de->d_name);
	}
	if (errno)
		return -errno;
	if (*n)
		qsort(parts, *n, sizeof(*parts), by_seq);
	*out = steal(&parts);
	return 0;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Index of the open file fd in the directory as it is now, or -1. */
static ssize_t index_of(int dirfd, int fd, const struct part *parts, size_t n)
{
	struct stat want, st;

	if (fstat(fd, &want))
		return -1;
	for (size_t i = 0; i < n; i++)
		if (!fstatat(dirfd, parts[i].name, &st, 0) && same(&want, &st))
			return (ssize_t)i;
	return -1;
}

/* Opens the part behind the open one (none: the first). 1 with *out; 0 when there is none; -EAGAIN: look again. */
static int open_after(const struct auditlog *a, int *out, char name[AUDITLOG_FILE_MAX])
{
	int dirfd = a->dirfd, fd = a->fd;
	CLEANUP(freep) struct part *parts = NULL, *now = NULL;
	CLEANUP(closep) int next = -1;
	size_t n, n_now;
	int r = list_parts(a, &parts, &n);

	if (r)
		return r;
	/* A file that is gone was the oldest of them: what is left comes after it. */
	ssize_t at = fd < 0 ? -1 : index_of(dirfd, fd, parts, n);
	if (at + 1 >= (ssize_t)n)
		return 0;
	next = openat(dirfd, parts[at + 1].name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (next < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	/* Was it rotated between the list and the open? Then another file may come first. */
	r = list_parts(a, &now, &n_now);
	if (r)
		return r;
	ssize_t before = fd < 0 ? -1 : index_of(dirfd, fd, now, n_now);
	if (index_of(dirfd, next, now, n_now) != before + 1)
		return -EAGAIN;
	snprintf(name, AUDITLOG_FILE_MAX, "%s", parts[at + 1].name);
	*out = steal_fd(&next);
	return 1;
}

/* Looks for the file behind the open one. 1, 0 when there is none, negative errno. */
static int look_ahead(struct auditlog *a)
{
	int r = -EAGAIN;

	for (int i = 0; i < RETRIES && r == -EAGAIN; i++)
		r = open_after(a, &a->next, a->next_file);
	return r == -EAGAIN ? 0 : r; /* it rotates faster than we look: the next call tries again */
}

static void advance(struct auditlog *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = steal_fd(&a->next);
	memcpy(a->file, a->next_file, sizeof(a->file));
	a->offset = a->number = a->skipped = 0;
	a->start = a->fill = a->scanned = 0;
	a->skipping = a->unnumbered = false;
}

static int new_log(struct auditlog **out, const char *stem, const char *state_dir, struct err *e)
{
	struct auditlog *a = calloc(1, sizeof(*a));

	if (!a || !(a->buf = malloc(CHUNK + AUDITLOG_LINE_MAX + 1))) {
		free(a);
		return err_errno(e, -ENOMEM, "reading the audit in %s", state_dir);
	}
	a->stem = stem;
	a->fd = a->next = -1;
	a->dirfd = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (a->dirfd < 0) {
		int r = err_errno(e, -errno, "reading the audit in %s", state_dir);
		free(a->buf);
		free(a);
		return r;
	}
	*out = a;
	return 0;
}

void auditlog_settle(const char *state_dir)
{
	char path[PATH_MAX], body[128];
	int status = 0;
	const struct probe p = {.unix_socket = path, .path = "/audit", .timeout_ms = SETTLE_MS};
	if ((size_t)snprintf(path, sizeof(path), "%s/gateway.sock", state_dir) < sizeof(path))
		(void)probe_get(&p, &status, body, sizeof(body));
}

int auditlog_open(struct auditlog **out, const char *state_dir, struct err *e)
{
	return new_log(out, AUDIT, state_dir, e);
}

int auditlog_open_refused(struct auditlog **out, const char *state_dir, struct err *e)
{
	return new_log(out, REFUSED, state_dir, e);
}

struct auditlog *auditlog_close(struct auditlog *a)
{
	if (!a)
		return NULL;
	if (a->fd >= 0)
		close(a->fd);
	if (a->next >= 0)
		close(a->next);
	close(a->dirfd);
	free(a->buf);
	free(a);
	return NULL;
}

/* Reads more behind what is there. Bytes read, 0 at the end of the file, or negative errno. */
static ssize_t refill(struct auditlog *a)
{
	if (a->start) {
		memmove(a->buf, a->buf + a->start, a->fill - a->start);
		a->fill -= a->start;
		a->start = 0;
	}
	if (a->fill > AUDITLOG_LINE_MAX) { /* no record is that long: keep its beginning only */
		a->skipping = true;
		a->skipped += a->fill - AUDITLOG_LINE_MAX;
		a->fill = AUDITLOG_LINE_MAX;
		a->scanned = a->fill;
	}
	ssize_t n;
	do
		n = pread(a->fd, a->buf + a->fill, CHUNK,
			  (off_t)(a->offset + a->skipped + a->fill));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	a->fill += (size_t)n;
	return n;
}

static void give(struct auditlog *a, size_t len, struct auditlog_line *line)
{
	char *text = a->buf + a->start;

	line->len = len > AUDITLOG_LINE_MAX ? AUDITLOG_LINE_MAX : len;
	text[line->len] = '\0'; /* where the newline was, or beyond the part that is shown */
	line->text = text;
	line->oversized = a->skipping || len > AUDITLOG_LINE_MAX;
	line->refused = !strcmp(a->stem, REFUSED);
	line->number = a->unnumbered ? 0 : ++a->number;
	line->offset = a->offset;
	memcpy(line->file, a->file, sizeof(line->file));
	a->offset += a->skipped + len + 1;
	a->start += len + 1;
	a->scanned = a->skipped = 0;
	a->skipping = false;
}

/*
 * The end of the open file: 1 when the search goes on, 0 when there is nothing more for now. A file
 * that has a successor is written no more, so it is read once more to its end before it is left; bytes
 * without a newline there will never get one.
 */
static int at_end(struct auditlog *a, struct auditlog_line *line, bool *given)
{
	if (a->next < 0)
		return look_ahead(a);
	if (a->fill > a->start) {
		give(a, a->fill - a->start, line);
		a->start = a->fill;
		*given = true;
		return 1;
	}
	advance(a);
	return 1;
}

int auditlog_next(struct auditlog *a, struct auditlog_line *line, struct err *e)
{
	bool given = false;

	while (!given) {
		size_t have = a->fill - a->start;
		char *nl = memchr(a->buf + a->start + a->scanned, '\n', have - a->scanned);
		if (nl) {
			give(a, (size_t)(nl - (a->buf + a->start)), line);
			return 1;
		}
		a->scanned = have;
		ssize_t r = a->fd < 0 ? 0 : refill(a);
		if (!r)
			r = at_end(a, line, &given);
		if (r < 0)
			return err_errno(e, (int)r, "reading %s",
					 a->file[0] ? a->file : "the audit");
		if (!r)
			return 0;
	}
	return 1;
}

size_t auditlog_torn(const struct auditlog *a, struct auditlog_line *line)
{
	if (line) {
		line->number = a->number + 1;
		memcpy(line->file, a->file, sizeof(line->file));
	}
	return a->fill - a->start + a->skipped;
}

/* Reading one file from its end: buf holds [at, at + fill) of it, of which the line that ends at
 * `end` is looked for. */
struct back {
	int fd;
	char *buf; /* CHUNK + AUDITLOG_LINE_MAX + 1 bytes */
	uint64_t at;
	size_t fill;
	bool oversized;
	int (*fn)(const struct auditlog_line *line, void *arg);
	void *arg;
	struct auditlog_line line;
};

static int give_back(struct back *b, size_t from, size_t len)
{
	b->line.oversized = b->oversized || len > AUDITLOG_LINE_MAX;
	b->line.len = len > AUDITLOG_LINE_MAX ? AUDITLOG_LINE_MAX : len;
	b->line.offset = b->at + from;
	b->line.text = b->buf + from;
	b->buf[from + b->line.len] = '\0';
	b->oversized = false;
	return b->fn(&b->line, b->arg);
}

/* Puts the CHUNK before what is there in front of it. */
static int read_before(struct back *b)
{
	size_t want = b->at < CHUNK ? (size_t)b->at : CHUNK, got = 0;

	if (b->fill > AUDITLOG_LINE_MAX) { /* its end is not needed: it is too long anyway */
		b->oversized = true;
		b->fill = AUDITLOG_LINE_MAX;
	}
	memmove(b->buf + want, b->buf, b->fill);
	while (got < want) {
		ssize_t n = pread(b->fd, b->buf + got, want - got, (off_t)(b->at - want + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO; /* it shrank under us */
		got += (size_t)n;
	}
	b->at -= want;
	b->fill += want;
	return 0;
}

/* buf ends where a line ends, without that newline. */
static int file_backwards(struct back *b)
{
	int r = 0;

	for (;;) {
		char *nl = memrchr(b->buf, '\n', b->fill);
		if (nl) {
			size_t from = (size_t)(nl - b->buf) + 1;
			r = give_back(b, from, b->fill - from);
			b->fill = from - 1;
		} else if (b->at) {
			r = read_before(b);
		} else {
			return give_back(b, 0, b->fill);
		}
		if (r)
			return r;
	}
}

/* The offset behind the last newline of fd, 0 when there is none. */
static int last_newline(int fd, char *buf, uint64_t *end)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*end = (uint64_t)st.st_size;
	while (*end) {
		size_t want = *end < CHUNK ? (size_t)*end : CHUNK;
		ssize_t n = pread(fd, buf, want, (off_t)(*end - want));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		char *nl = memrchr(buf, '\n', (size_t)n);
		*end -= want;
		if (nl) {
			*end += (size_t)(nl - buf) + 1;
			break;
		}
	}
	return 0;
}

static int part_backwards(struct back *b, int fd, const char *name, uint64_t end)
{
	b->fd = fd;
	b->fill = 0;
	b->oversized = false;
	b->line.number = 0;
	snprintf(b->line.file, sizeof(b->line.file), "%s", name);
	if (!end)
		return 0;
	b->at = end - 1; /* without its newline */
	return file_backwards(b);
}

/* From the newest part on; the open end goes to a as its position. */
static int all_backwards(struct auditlog *a, struct back *b)
{
	CLEANUP(freep) struct part *parts = NULL;
	size_t n;
	int r = list_parts(a, &parts, &n);

	for (size_t i = parts ? n : 0; !r && i-- > 0;) {
		uint64_t end = 0;
		int fd = openat(a->dirfd, parts[i].name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd < 0 && errno == ENOENT && a->fd >= 0)
			break; /* the oldest ones were cleared meanwhile */
		if (fd < 0)
			return errno == ENOENT ? -EAGAIN : -errno;
		/* Renamed since the list was made: what was not given yet would be missed. */
		if (a->fd < 0 && index_of(a->dirfd, fd, parts, n) != (ssize_t)i) {
			close(fd);
			return -EAGAIN;
		}
		r = last_newline(fd, b->buf, &end);
		if (!r && a->fd < 0) {
			a->fd = dup(fd);
			a->offset = end;
			a->unnumbered = true;
			strcpy(a->file, parts[i].name);
			r = a->fd < 0 ? -errno : 0;
		}
		if (!r)
			r = part_backwards(b, fd, parts[i].name, end);
		close(fd);
	}
	return r;
}

static int backwards(struct back b, const char *stem, const char *state_dir, struct auditlog **end,
		     struct err *e)
{
	struct auditlog *a = NULL;
	int r = new_log(&a, stem, state_dir, e);

	if (!a)
		return r;
	b.line.refused = !strcmp(stem, REFUSED);
	b.buf = malloc(CHUNK + AUDITLOG_LINE_MAX + 1);
	r = -ENOMEM;
	for (int i = 0; b.buf && i < RETRIES; i++) {
		r = all_backwards(a, &b);
		if (r != -EAGAIN || a->fd >= 0)
			break;
	}
	free(b.buf);
	if (r < 0)
		err_errno(e, r, "reading the audit in %s", state_dir);
	if (r >= 0 && end)
		*end = a;
	else
		auditlog_close(a);
	return r;
}

int auditlog_backwards(const char *state_dir,
		       int (*fn)(const struct auditlog_line *line, void *arg), void *arg,
		       struct auditlog **end, struct err *e)
{
	return backwards((struct back){.fn = fn, .arg = arg}, AUDIT, state_dir, end, e);
}

int auditlog_backwards_refused(const char *state_dir,
			       int (*fn)(const struct auditlog_line *line, void *arg), void *arg,
			       struct auditlog **end, struct err *e)
{
	return backwards((struct back){.fn = fn, .arg = arg}, REFUSED, state_dir, end, e);
}

int auditlog_parse(const struct auditlog_line *line, cJSON **out, struct err *e)
{
	if (line->oversized)
		return err_set(e, -EINVAL, "it is longer than %d bytes", AUDITLOG_LINE_MAX);
	int r = json_parse(line->text, line->len, out, e);
	if (r)
		return r;
	if (cJSON_IsObject(*out) && (line->refused || json_int(*out, "seq", -1) >= 0) &&
	    json_str(*out, "op", NULL))
		return 0;
	cJSON_Delete(*out);
	*out = NULL;
	return err_set(e, -EINVAL, "it is no audit record (seq or op is missing)");
}
