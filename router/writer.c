#include "router/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"

enum { FILE_MAX = 1 << 20, WAITERS_MAX = 200, LOCK_TRIES = 500, LOCK_US = 1000 };

static cJSON *entry(const struct writer *w, const char *branch)
{
	cJSON *j = cJSON_CreateObject();
	char ts[CLOCK_ISO_LEN];

	if (!j)
		return NULL;
	json_add_str(j, "home", w->actor->home[0] ? w->actor->home : NULL);
	json_add_str(j, "session", w->actor->session);
	json_add_str(j, "branch", branch);
	json_add_int(j, "pid", w->actor->pid);
	json_add_str(j, "comm", w->actor->comm);
	json_add_str(j, "since", clock_iso(ts, w->since_wall_ms));
	if (w->path)
		json_add_bytes(j, "path", w->path);
	json_add_int(j, "process", getpid());
	return j;
}

/* True for an entry that another living process made. */
static bool foreign(const cJSON *j)
{
	int64_t process = json_int(j, "process", 0);

	return process > 0 && process != getpid() &&
	       (kill((pid_t)process, 0) == 0 || errno == EPERM);
}

static int replace(int dir, const cJSON *j)
{
	CLEANUP(freep) char *text = json_text(j);
	CLEANUP(closep) int fd = -1;
	char tmp[40];
	int rc;

	if (!text)
		return -ENOMEM;
	snprintf(tmp, sizeof(tmp), ".writer.json.%d", (int)getpid());
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = file_write_all(fd, text, strlen(text));
	if (rc == 0 && renameat(dir, tmp, dir, "writer.json") < 0)
		rc = -errno;
	if (rc < 0)
		unlinkat(dir, tmp, 0);
	return rc;
}

/* Those who hold a turn, by what the old file says; one of the branch that we hold is past. */
static void keep_holders(cJSON *held, const cJSON *old, const char *ours)
{
	const cJSON *others = cJSON_GetObjectItemCaseSensitive(old, "others"), *item;
	const cJSON *holder = cJSON_GetObjectItemCaseSensitive(old, "holder");

	if (foreign(holder) && !(ours && strcmp(json_str(holder, "branch", ""), ours) == 0))
		cJSON_AddItemToArray(held, cJSON_Duplicate(holder, 1));
	cJSON_ArrayForEach (item, others)
		if (foreign(item) && !(ours && strcmp(json_str(item, "branch", ""), ours) == 0))
			cJSON_AddItemToArray(held, cJSON_Duplicate(item, 1));
}

static cJSON *merge(const cJSON *old, const char *branch, const struct writer *holder,
		    const struct writer *waiters, size_t n)
{
	cJSON *j = cJSON_CreateObject(), *list = cJSON_CreateArray();
	cJSON *held = cJSON_CreateArray(), *first;
	const cJSON *item;

	keep_holders(held, old, holder ? branch : NULL);
	if (holder)
		cJSON_AddItemToArray(held, entry(holder, branch));
	first = cJSON_DetachItemFromArray(held, 0);
	json_add_str(j, "branch", json_str(first, "branch", branch));
	cJSON_AddItemToObject(j, "holder", first ? first : cJSON_CreateNull());
	cJSON_AddItemToObject(j, "others", held);
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(old, "waiters"))
		if (foreign(item))
			cJSON_AddItemToArray(list, cJSON_Duplicate(item, 1));
	for (size_t i = 0; i < n && i < WAITERS_MAX; i++)
		cJSON_AddItemToArray(list, entry(&waiters[i], branch));
	cJSON_AddItemToObject(j, "waiters", list);
	return j;
}

/* Two processes that read and replace it at once would put back what the other one has just taken out, and it would stay there.
 * One that was stopped in the middle is not waited for long. */
static void lock_for_a_moment(int dir)
{
	for (int i = 0; i < LOCK_TRIES && flock(dir, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	     i++)
		usleep(LOCK_US);
}

int writer_put(const char *state_dir, const char *branch, const struct writer *holder,
	       const struct writer *waiters, size_t n)
{
	CLEANUP(closep) int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(json_deletep) cJSON *old = NULL;
	CLEANUP(json_deletep) cJSON *j = NULL;

	if (dir < 0)
		return -errno;
	lock_for_a_moment(dir);
	if (json_read_file(dir, "writer.json", FILE_MAX, &old, NULL) < 0)
		old = NULL; /* a damaged one is advice lost, no more */
	j = merge(old, branch, holder, waiters, n);
	if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(j, "holder")) &&
	    cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(j, "waiters")) == 0)
		return unlinkat(dir, "writer.json", 0) < 0 && errno != ENOENT ? -errno : 0;
	return replace(dir, j);
}

void writer_describe(const char *state_dir, char *buf, size_t size)
{
	CLEANUP(closep) int dir = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(json_deletep) cJSON *j = NULL;
	const cJSON *h;

	buf[0] = '\0';
	if (dir < 0 || json_read_file(dir, "writer.json", FILE_MAX, &j, NULL) < 0)
		return;
	h = cJSON_GetObjectItemCaseSensitive(j, "holder");
	if (!cJSON_IsObject(h))
		return;
	snprintf(buf, size, "%s pid %lld of %s (session %s) since %s%s%s",
		 json_str(h, "comm", "a process"), (long long)json_int(h, "pid", 0),
		 json_str(h, "home", "no repository"), json_str(h, "session", "unknown"),
		 json_str(h, "since", "?"), json_str(h, "path", NULL) ? " for " : "",
		 json_str(h, "path", ""));
}
