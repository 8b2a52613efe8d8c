#include "manager/auditkeep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/auditlog.h"
#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/log.h"

enum { BEGIN_MAX = 4096, DAY_MS = 86400000 };

static const char begin_name[] = "audit.begin";

/* A rotated file. */
struct old {
	unsigned long long seq;
	uint64_t bytes;
	int64_t mtime_ms;
};

static void name_of(char name[AUDITLOG_FILE_MAX], const struct old *o)
{
	snprintf(name, AUDITLOG_FILE_MAX, "audit.%llu.jsonl", o->seq);
}

static int by_seq(const void *a, const void *b)
{
	const struct old *x = a, *y = b;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* Oldest first. *out owned. */
static int list(int dirfd, struct old **out, size_t *n)
{
	CLEANUP(freep) struct old *all = NULL;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);

	*n = 0;
	if (!d) {
		int saved = errno;
		closep(&fd);
		return -saved;
	}
	for (const struct dirent *de; (de = readdir(d));) {
		struct stat st;
		char rest;
		struct old o;
		if (sscanf(de->d_name, "audit.%llu.json%c", &o.seq, &rest) != 2 || rest != 'l' ||
		    fstatat(dirfd, de->d_name, &st, AT_SYMLINK_NOFOLLOW))
			continue;
		o.bytes = (uint64_t)st.st_size;
		o.mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000;
		void *more = reallocarray(all, *n + 1, sizeof(*all));
		if (!more)
			return -ENOMEM;
		all = more;
		all[(*n)++] = o;
	}
	if (*n)
		qsort(all, *n, sizeof(*all), by_seq);
	*out = steal(&all);
	return 0;
}

/* Notes that the chain begins with the first record of the file. */
static int note_begin(int dirfd, const struct old *o)
{
	char name[AUDITLOG_FILE_MAX];
	CLEANUP(freep) char *buf = malloc(AUDITLOG_LINE_MAX + 1);
	CLEANUP(json_deletep) cJSON *record = NULL, *j = cJSON_CreateObject();
	size_t got = 0;

	if (!buf || !j)
		return -ENOMEM;
	name_of(name, o);
	CLEANUP(closep) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int r = fd < 0 ? -errno : file_read_full(fd, buf, AUDITLOG_LINE_MAX, &got);
	if (r)
		return r;
	const char *nl = memchr(buf, '\n', got);
	r = nl ? json_parse(buf, (size_t)(nl - buf), &record, NULL) : -EINVAL;
	if (r)
		return r;
	const char *prev = json_str(record, "prev", "");
	if (json_int(record, "seq", 0) <= 0 || strlen(prev) != SHA256_HEX_LEN - 1)
		return -EINVAL;
	if (json_add_int(j, "seq", json_int(record, "seq", 0)) || json_add_str(j, "prev", prev) ||
	    json_add_str(j, "ts", json_str(record, "ts", "")))
		return -ENOMEM;
	return json_replace_file(dirfd, begin_name, j, 0600);
}

/* How many of the oldest are too many. The newest stays: the chain goes on from it. */
static size_t too_many(const struct old *all, size_t n, uint64_t max_bytes, uint32_t days,
		       int64_t now_ms)
{
	uint64_t total = 0;
	size_t go = 0;

	for (size_t i = 0; i < n; i++)
		total += all[i].bytes;
	for (; go + 1 < n; go++) {
		bool large = max_bytes && total > max_bytes;
		bool old = days && now_ms - all[go].mtime_ms > (int64_t)days * DAY_MS;
		if (!large && !old)
			break;
		total -= all[go].bytes;
	}
	return go;
}

int auditkeep_clear(int dirfd, uint64_t max_bytes, uint32_t days, int64_t now_ms, struct err *e)
{
	CLEANUP(freep) struct old *all = NULL;
	char name[AUDITLOG_FILE_MAX];
	size_t n = 0;

	if (!max_bytes && !days)
		return 0;
	int r = list(dirfd, &all, &n);
	size_t go = r ? 0 : too_many(all, n, max_bytes, days, now_ms);
	if (go)
		r = note_begin(dirfd, &all[go]);
	for (size_t i = 0; !r && i < go; i++) {
		name_of(name, &all[i]);
		if (unlinkat(dirfd, name, 0) && errno != ENOENT)
			r = -errno;
		else
			log_info("event=audit_cleared file=%s bytes=%llu", name,
				 (unsigned long long)all[i].bytes);
	}
	return r ? err_errno(e, r, "clearing old parts of the audit") : (int)go;
}

int auditkeep_read(int dirfd, struct auditkeep_begin *out, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;

	memset(out, 0, sizeof(*out));
	int r = json_read_file(dirfd, begin_name, BEGIN_MAX, &j, e);
	if (r == -ENOENT)
		return 0;
	if (r)
		return r;
	const char *prev = json_str(j, "prev", "");
	out->seq = json_int(j, "seq", 0);
	if (out->seq <= 0 || strlen(prev) != SHA256_HEX_LEN - 1)
		return err_set(e, -EINVAL, "%s does not say where the log begins", begin_name);
	strcpy(out->prev, prev);
	return 0;
}
