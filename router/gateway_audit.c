#include "router/gateway_audit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/auditkeep.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/log.h"
#include "manager/base/sha256.h"
#include "router/jsonw.h"

enum {
	LINE_MAX_BYTES = 128 * 1024, /* two names of 4095 bytes, as text and hex, and the rest */
	RESERVE_MIN = 4 * LINE_MAX_BYTES,
	RESERVE_STEP = 2 * 1024 * 1024,
	TAIL_MAX = 8 * LINE_MAX_BYTES,
};

struct gateway_audit {
	int dirfd; /* borrowed */
	int fd;
	char repo_id[64];
	uint64_t rotate_bytes, keep_bytes;
	uint32_t keep_days;
	uint64_t seq, first_seq, epoch;
	char prev[SHA256_HEX_LEN];
	dev_t dev; /* of fd, as ino */
	ino_t ino;
	off_t size;
	off_t reserved; /* allocated up to here; -1: the file system cannot tell */

	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool dirty, stop; /* protected by lock */
	int sync_fd;      /* protected by lock; a duplicate for the thread, -1: none */
};

/* Waits for something new, a second for more of it, then syncs all at once. */
static void *sync_loop(void *arg)
{
	struct gateway_audit *a = arg;
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (!a->dirty) {
			pthread_cond_wait(&a->wake, &a->lock);
			continue;
		}
		int fd = steal_fd(&a->sync_fd);
		a->dirty = false;
		pthread_mutex_unlock(&a->lock);
		if (fd >= 0 && fdatasync(fd) < 0)
			log_error("event=audit_sync error=%m");
		closep(&fd);
		pthread_mutex_lock(&a->lock);
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		while (!a->stop && pthread_cond_timedwait(&a->wake, &a->lock, &until) == 0)
			;
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static void mark_dirty(struct gateway_audit *a)
{
	LOCK_SCOPE(&a->lock);
	if (a->dirty)
		return;
	a->dirty = true;
	a->sync_fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 3);
	pthread_cond_signal(&a->wake);
}

static int start_thread(struct gateway_audit *a)
{
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&a->lock, NULL);
	int r = -pthread_create(&a->thread, NULL, sync_loop, a);
	a->started = r == 0;
	return r;
}

struct line {
	uint64_t seq, epoch;
	bool refused;
	char sha[SHA256_HEX_LEN];
};

/* Is this one of ours? */
static bool read_line(const char *text, size_t len, struct line *l)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	*l = (struct line){0};
	if (json_parse(text, len, &j, NULL) < 0 || jsonw_get_u64(j, "seq", &l->seq) < 0 ||
	    l->seq == 0 || strlen(json_str(j, "prev", "")) != SHA256_HEX_LEN - 1)
		return false;
	jsonw_get_u64(j, "epoch", &l->epoch);
	l->refused = strcmp(json_str(j, "result", ""), "refused") == 0;
	return sha256_hex(text, len, l->sha) == 0;
}

/* Keeps size bytes from offset on as audit.corrupt-<n> and cuts them off. */
static int move_tail(struct gateway_audit *a, const char *data, size_t len, off_t offset)
{
	char name[64];
	for (int n = 1;; n++) {
		snprintf(name, sizeof(name), "audit.corrupt-%d", n);
		CLEANUP(closep)
		int fd = openat(a->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 && errno == EEXIST)
			continue;
		int r = fd < 0 ? -errno : file_write_all(fd, data, len);
		if (r == 0 && fsync(fd) < 0)
			r = -errno;
		if (r < 0)
			return r;
		break;
	}
	log_error("event=audit_corrupt bytes=%zu offset=%lld moved_to=%s", len, (long long)offset,
		  name);
	return ftruncate(a->fd, offset) < 0 ? -errno : 0;
}

/* Offset of the last newline in front of end; -1 when there is none. */
static ssize_t last_newline(const char *buf, size_t end)
{
	while (end > 0)
		if (buf[--end] == '\n')
			return (ssize_t)end;
	return -1;
}

/*
 * Finds the last good line of fd and takes over its seq and hash; *good is the offset behind it. The
 * epoch is that of the last line that was not refused, for being too old perhaps.
 */
static int read_tail(struct gateway_audit *a, int fd, char *buf, off_t *start, size_t *len,
		     off_t *good)
{
	struct line l;
	bool found = false;
	off_t size = lseek(fd, 0, SEEK_END);
	*start = size > TAIL_MAX ? size - TAIL_MAX : 0;
	*good = *start;
	ssize_t n = pread(fd, buf, TAIL_MAX, *start);
	if (size < 0 || n < 0)
		return -errno;
	*len = (size_t)n;
	for (ssize_t nl = last_newline(buf, *len), before; nl >= 0; nl = before) {
		before = last_newline(buf, (size_t)nl);
		/* The first line of a window into the file is cut. */
		if ((before < 0 && *start) ||
		    !read_line(buf + before + 1, (size_t)(nl - before - 1), &l))
			continue;
		if (!found) {
			*good = *start + nl + 1;
			a->seq = l.seq;
			memcpy(a->prev, l.sha, sizeof(l.sha));
			found = true;
		}
		if (l.epoch > a->epoch)
			a->epoch = l.epoch;
		if (!l.refused)
			break;
	}
	return found || !*start ? 0 : -EBADMSG;
}

/* The seq of the first record, for the name of the rotated file. */
static uint64_t first_seq(int fd, char *buf)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	uint64_t seq = 0;
	ssize_t n = pread(fd, buf, LINE_MAX_BYTES, 0);
	const char *nl = n > 0 ? memchr(buf, '\n', (size_t)n) : NULL;
	if (nl && json_parse(buf, (size_t)(nl - buf), &j, NULL) == 0)
		jsonw_get_u64(j, "seq", &seq);
	return seq;
}

/* The chain goes on where the newest rotated file ends, when the current one is new. */
static void continue_rotated(struct gateway_audit *a, char *buf)
{
	char name[64], rest;
	unsigned long long best = 0, seq;
	int dir = openat(a->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *d = dir < 0 ? NULL : fdopendir(dir); /* takes dir over */
	if (!d) {
		closep(&dir);
		return;
	}
	for (const struct dirent *de; (de = readdir(d));)
		if (sscanf(de->d_name, "audit.%llu.json%c", &seq, &rest) == 2 && rest == 'l' &&
		    seq > best)
			best = seq;
	if (!best)
		return;
	snprintf(name, sizeof(name), "audit.%llu.jsonl", best);
	CLEANUP(closep) int fd = openat(a->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t start = 0, good = 0;
	size_t len = 0;
	if (fd >= 0)
		read_tail(a, fd, buf, &start, &len, &good);
}

static int open_file(struct gateway_audit *a)
{
	struct stat st;
	a->fd = openat(a->dirfd, "audit.jsonl", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	a->size = a->reserved = 0;
	if (a->fd < 0 || fstat(a->fd, &st) < 0)
		return -errno;
	a->dev = st.st_dev;
	a->ino = st.st_ino;
	return 0;
}

static int recover(struct gateway_audit *a)
{
	CLEANUP(freep) char *buf = malloc(TAIL_MAX);
	off_t start = 0, good = 0;
	size_t len = 0;
	if (!buf)
		return -ENOMEM;
	int r = open_file(a);
	if (r == 0)
		r = read_tail(a, a->fd, buf, &start, &len, &good);
	if (r == -EBADMSG) {
		/* A mebibyte without one record in it: nothing to continue from. */
		char moved[256];
		close(steal_fd(&a->fd));
		r = file_move_aside(a->dirfd, "audit.jsonl", moved);
		if (r < 0)
			return r;
		log_error("event=audit_corrupt moved_to=%s", moved);
		start = good = 0;
		len = 0;
		r = open_file(a);
	}
	if (r < 0)
		return r;
	size_t tail = len - (size_t)(good - start);
	if (tail > 0 && (r = move_tail(a, buf + (good - start), tail, good)) < 0)
		return r;
	a->size = good;
	if (good == 0)
		continue_rotated(a, buf);
	a->first_seq = good ? first_seq(a->fd, buf) : 0;
	return 0;
}

int gateway_audit_new(struct gateway_audit **out, int dirfd, const char *repo_id,
		      uint64_t rotate_bytes, struct err *e)
{
	struct gateway_audit *a = calloc(1, sizeof(*a));
	if (!a)
		return err_errno(e, -ENOMEM, "opening audit.jsonl");
	a->dirfd = dirfd;
	a->fd = a->sync_fd = -1;
	a->rotate_bytes = rotate_bytes ? rotate_bytes : UINT64_C(64) << 20;
	snprintf(a->repo_id, sizeof(a->repo_id), "%s", repo_id);
	memset(a->prev, '0', SHA256_HEX_LEN - 1);
	int r = recover(a);
	if (r == 0)
		r = start_thread(a);
	if (r < 0) {
		gateway_audit_free(a);
		return err_errno(e, r, "opening audit.jsonl in the state directory");
	}
	*out = a;
	return 0;
}

struct gateway_audit *gateway_audit_free(struct gateway_audit *a)
{
	if (!a)
		return NULL;
	if (a->started) {
		pthread_mutex_lock(&a->lock);
		a->stop = true;
		pthread_cond_signal(&a->wake);
		pthread_mutex_unlock(&a->lock);
		pthread_join(a->thread, NULL);
		pthread_mutex_destroy(&a->lock);
		pthread_cond_destroy(&a->wake);
	}
	if (a->fd >= 0 && (ftruncate(a->fd, a->size) < 0 || fdatasync(a->fd) < 0))
		log_error("event=audit_close error=%m");
	closep(&a->fd);
	closep(&a->sync_fd);
	free(a);
	return NULL;
}

uint64_t gateway_audit_seq(const struct gateway_audit *a)
{
	return a->seq;
}

uint64_t gateway_audit_epoch(const struct gateway_audit *a)
{
	return a->epoch;
}

int gateway_audit_reserve(struct gateway_audit *a, struct err *e)
{
	if (a->reserved < 0 || a->reserved - a->size >= RESERVE_MIN)
		return 0;
	off_t step = RESERVE_STEP;
	int r = fallocate(a->fd, FALLOC_FL_KEEP_SIZE, a->size, step);
	if (r < 0 && errno == ENOSPC) {
		step = RESERVE_MIN;
		r = fallocate(a->fd, FALLOC_FL_KEEP_SIZE, a->size, step);
	}
	if (r < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
		a->reserved = -1;
		return 0;
	}
	if (r < 0)
		return err_errno(
			e, -errno,
			"nothing was changed, because the audit log in the state directory "
			"cannot grow");
	a->reserved = a->size + step;
	return 0;
}

/* That old parts stay is no reason to fail. */
static void clear_old(struct gateway_audit *a)
{
	struct err e = ERR_INIT;
	if (auditkeep_clear(a->dirfd, a->keep_bytes, a->keep_days, clock_wall_ms(), &e) < 0)
		log_error("event=audit_keep error=\"%s\"", e.text);
}

void gateway_audit_keep(struct gateway_audit *a, uint64_t max_bytes, uint32_t days)
{
	a->keep_bytes = max_bytes;
	a->keep_days = days;
	clear_old(a);
}

/* The full file gets the name of its first record; the next append begins a new one. */
static int rotate(struct gateway_audit *a)
{
	char name[64];
	snprintf(name, sizeof(name), "audit.%llu.jsonl", (unsigned long long)a->first_seq);
	if (ftruncate(a->fd, a->size) < 0 || fdatasync(a->fd) < 0)
		return -errno;
	if (renameat(a->dirfd, "audit.jsonl", a->dirfd, name) < 0)
		return -errno;
	close(steal_fd(&a->fd));
	a->first_seq = 0;
	clear_old(a);
	return open_file(a);
}

/* Somebody removed or moved the log while we have it open: begin a new one. */
static int follow_name(struct gateway_audit *a)
{
	struct stat named;
	if (a->fd >= 0 && fstatat(a->dirfd, "audit.jsonl", &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	    a->ino == named.st_ino && a->dev == named.st_dev)
		return 0;
	log_error("event=audit_gone next_seq=%llu", (unsigned long long)a->seq + 1);
	if (a->fd >= 0)
		close(steal_fd(&a->fd));
	uint64_t seq = a->seq;
	char prev[SHA256_HEX_LEN];
	memcpy(prev, a->prev, sizeof(prev));
	int r = recover(a);
	if (a->seq < seq) {
		a->seq = seq;
		memcpy(a->prev, prev, sizeof(prev));
	}
	return r;
}

int gateway_audit_append(struct gateway_audit *a, const struct gateway_record *r, const char *sha,
			 struct err *e)
{
	int ret = follow_name(a);
	if (ret == 0 && a->size > 0 && (uint64_t)a->size >= a->rotate_bytes)
		ret = rotate(a);
	if (ret < 0)
		return err_errno(e, ret, "writing audit.jsonl");
	CLEANUP(freep)
	char *line = gateway_record_text(r, a->seq + 1, a->repo_id, sha, a->prev);
	if (!line)
		return err_errno(e, -ENOMEM, "writing audit.jsonl");
	size_t len = strlen(line);
	char hash[SHA256_HEX_LEN];
	ret = sha256_hex(line, len, hash);
	line[len] = '\n'; /* in the place of the NUL: the length goes with it */
	if (ret == 0)
		ret = file_pwrite_all(a->fd, line, len + 1, a->size);
	if (ret < 0) {
		/* Half a line is cut again; if even that fails, the next start moves it. */
		if (ftruncate(a->fd, a->size) < 0)
			log_error("event=audit_cut error=%m");
		a->reserved = a->reserved < 0 ? -1 : 0;
		return err_errno(e, ret, "writing audit.jsonl");
	}
	a->size += (off_t)len + 1;
	a->seq++;
	if (!a->first_seq)
		a->first_seq = a->seq;
	memcpy(a->prev, hash, sizeof(hash));
	mark_dirty(a);
	return 0;
}
