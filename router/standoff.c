#include "router/standoff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"

enum {
	CLAIMS_MAX = 500,
	FILE_BYTES_MAX = 4 << 20,
	LINKS_MAX = 8, /* told in a sentence */
};

/* ---- the circle ---- */

static bool meet(const struct held *a, const struct held *b)
{
	return strcmp(a->repo, b->repo) == 0 &&
	       (a->offset == b->offset || a->offset == HELD_ALL || b->offset == HELD_ALL);
}

static bool is_same(const struct claim *a, const struct claim *b)
{
	return a->turn.pid == b->turn.pid && a->turn.start == b->turn.start &&
	       a->serial == b->serial;
}

/* How a wait was come to: from which (-1: mine), and by what held turn. */
struct step {
	int from;
	const struct claim *hold;
	bool seen;
};

/* The circle ends with hold, which the wait all[last] (-1: mine) waits for. */
static size_t way_back(const struct claim *all, const struct step *steps, int last,
		       const struct claim *hold, const struct claim **path, size_t max)
{
	const struct claim *waits = NULL;
	size_t len = 1;

	for (int i = last; i >= 0; i = steps[i].from)
		len++;
	for (size_t at = len; at-- > 0; last = last >= 0 ? steps[last].from : last) {
		if (at < max) {
			path[2 * at] = hold;
			path[2 * at + 1] = waits;
		}
		if (last < 0)
			break;
		hold = steps[last].hold;
		waits = &all[last];
	}
	return len;
}

/* Goes on from the wait w = all[from]. The turn that closes the circle, or NULL. */
static const struct claim *spread(const struct claim *all, size_t n, const struct claim *mine,
				  const struct claim *w, int from, struct step *steps, int *queue,
				  size_t *queued)
{
	for (size_t i = 0; i < n; i++) {
		const struct claim *hold = &all[i];

		if (hold->waits || !meet(&w->turn, &hold->turn))
			continue;
		if (held_has(&mine->above, &hold->turn))
			return hold;
		for (size_t k = 0; k < n; k++) {
			if (!all[k].waits || steps[k].seen || is_same(&all[k], mine) ||
			    !held_has(&all[k].above, &hold->turn))
				continue;
			steps[k] = (struct step){.from = from, .hold = hold, .seen = true};
			queue[(*queued)++] = (int)k;
		}
	}
	return NULL;
}

size_t standoff_find(const struct claim *all, size_t n, const struct claim *mine,
		     const struct claim **path, size_t max)
{
	struct step steps[CLAIMS_MAX] = {{0}};
	int queue[CLAIMS_MAX];
	size_t queued = 0;
	const struct claim *last;

	n = n < CLAIMS_MAX ? n : CLAIMS_MAX;
	last = spread(all, n, mine, mine, -1, steps, queue, &queued);
	if (last)
		return way_back(all, steps, -1, last, path, max);
	for (size_t i = 0; i < queued; i++) {
		last = spread(all, n, mine, &all[queue[i]], queue[i], steps, queue, &queued);
		if (last)
			return way_back(all, steps, queue[i], last, path, max);
	}
	return 0;
}

static bool is_behind(const struct claim *mine, const struct claim *hold)
{
	return mine->behind && held_same(&mine->above.items[0], &hold->turn);
}

void standoff_describe(const struct claim *mine, const struct claim *const *path, size_t len,
		       char *buf, size_t size)
{
	size_t at = 0;
	int n = snprintf(buf, size, "the write turn of %s would never come: ", mine->name);

	for (size_t i = 0; n >= 0 && i < len && i < LINKS_MAX; i++) {
		const struct claim *hold = path[2 * i], *waits = path[2 * i + 1];

		at += (size_t)n;
		if (at >= size)
			return;
		if (waits)
			n = snprintf(buf + at, size - at,
				     "%s pid %d has that of %s, and %s pid %d under it waits for "
				     "that of %s; ",
				     hold->comm, (int)hold->who, hold->name, waits->comm,
				     (int)waits->who, waits->name);
		else
			n = snprintf(buf + at, size - at, "%s pid %d has that of %s, and %s; ",
				     hold->comm, (int)hold->who, hold->name,
				     is_behind(mine, hold) ? "needs the directory or file that the "
							     "kernel keeps locked for you"
							   : "you work under it");
	}
	at += (size_t)(n > 0 ? n : 0);
	if (at < size)
		snprintf(buf + at, size - at,
			 "nothing was changed: give your turns back, try again, and take turns in "
			 "one order");
}

/* ---- the file ---- */

static void add_held(cJSON *j, const struct held_list *l)
{
	char repos[HELD_TEXT_MAX], holders[HELD_TEXT_MAX];

	held_text(l, repos, holders);
	json_add_str(j, "above", repos);
	json_add_str(j, "above_holders", holders);
}

/* Hexadecimal: a JSON number has 53 bits. */
static void add_stuck(cJSON *j, const struct stuck *s)
{
	cJSON *list = s->n ? cJSON_AddArrayToObject(j, "needs") : NULL;
	char hex[20];

	for (unsigned i = 0; list && i < s->n; i++) {
		snprintf(hex, sizeof(hex), "%llx", (unsigned long long)s->needs[i]);
		cJSON_AddItemToArray(list, cJSON_CreateString(hex));
	}
}

static void get_stuck(const cJSON *j, struct stuck *s)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(j, "needs"))
		if (s->n < STUCK_MAX && cJSON_IsString(item))
			s->needs[s->n++] = strtoull(item->valuestring, NULL, 16);
}

static cJSON *to_json(const struct claim *c)
{
	cJSON *j = cJSON_CreateObject();

	if (!j)
		return NULL;
	json_add_bool(j, "waits", c->waits);
	json_add_int(j, "pid", c->turn.pid);
	json_add_int(j, "start", (int64_t)c->turn.start);
	json_add_int(j, "serial", (int64_t)c->serial);
	json_add_str(j, "repo_id", c->turn.repo);
	json_add_int(j, "offset", c->turn.offset);
	json_add_bytes(j, "name", c->name);
	json_add_int(j, "who", c->who);
	json_add_bytes(j, "comm", c->comm);
	add_held(j, &c->above);
	add_stuck(j, &c->stuck);
	return j;
}

/* False: damaged, or of a process that is no more. */
static bool from_json(const cJSON *j, struct claim *c)
{
	const char *repo = json_str(j, "repo_id", "");

	memset(c, 0, sizeof(*c));
	if (!*repo || strlen(repo) >= sizeof(c->turn.repo))
		return false;
	strcpy(c->turn.repo, repo);
	c->waits = json_bool(j, "waits", false);
	c->turn.pid = (pid_t)json_int(j, "pid", 0);
	c->turn.start = (uint64_t)json_int(j, "start", 0);
	c->serial = (uint64_t)json_int(j, "serial", 0);
	c->turn.offset = json_int(j, "offset", HELD_ALL);
	c->who = (pid_t)json_int(j, "who", 0);
	snprintf(c->name, sizeof(c->name), "%s", json_str(j, "name", repo));
	snprintf(c->comm, sizeof(c->comm), "%s", json_str(j, "comm", "a process"));
	held_parse_list(json_str(j, "above", ""), json_str(j, "above_holders", ""), &c->above);
	get_stuck(j, &c->stuck);
	return proc_alive(c->turn.pid, c->turn.start);
}

static int lock_base(int dir, unsigned patience_ms)
{
	const uint64_t end = clock_mono_ms() + patience_ms;
	int fd = openat(dir, "turns.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), rc;

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		rc = -errno;
		if ((rc != -EWOULDBLOCK && rc != -EINTR) || clock_mono_ms() >= end) {
			close(fd);
			return rc;
		}
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return fd;
}

/* *all is owned; without those of the dead, and without c's own (c may be NULL). */
static int load(int dir, const struct claim *c, struct claim **all, size_t *n)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	const cJSON *item;
	int rc;

	*n = 0;
	*all = calloc(CLAIMS_MAX, sizeof(**all));
	if (!*all)
		return -ENOMEM;
	rc = json_read_file(dir, "turns.json", FILE_BYTES_MAX, &j, NULL);
	if (rc == -ENOENT || rc == -EINVAL)
		return 0; /* none yet, or damaged: it is made anew */
	if (rc < 0)
		return rc;
	cJSON_ArrayForEach (item, j)
		if (*n < CLAIMS_MAX && from_json(item, &(*all)[*n]) &&
		    !(c && is_same(&(*all)[*n], c)))
			(*n)++;
	return 0;
}

/* No fsync: a machine that goes down has no claims. c may be NULL. */
static int store(int dir, const struct claim *all, size_t n, const struct claim *c)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateArray();
	CLEANUP(freep) char *text = NULL;
	CLEANUP(closep) int fd = -1;
	int rc;

	if (!n && !c)
		return unlinkat(dir, "turns.json", 0) < 0 && errno != ENOENT ? -errno : 0;
	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(j, to_json(&all[i]));
	if (c)
		cJSON_AddItemToArray(j, to_json(c));
	text = json_text(j);
	if (!text)
		return -ENOMEM;
	fd = openat(dir, "turns.json.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0)
		return -errno;
	rc = file_write_all(fd, text, strlen(text));
	return rc == 0 && renameat(dir, "turns.json.new", dir, "turns.json") < 0 ? -errno : rc;
}

static int update(const char *base, const struct claim *c, bool add, unsigned patience_ms,
		  struct err *e)
{
	CLEANUP(closep) int dir = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closep)
	int lock = dir < 0 ? -errno : lock_base(dir, patience_ms);
	CLEANUP(freep) struct claim *all = NULL;
	const struct claim *path[2 * LINKS_MAX];
	size_t n, len;
	int rc;

	if (lock < 0)
		return lock;
	rc = load(dir, c, &all, &n);
	if (rc < 0)
		return rc;
	if (add && n == CLAIMS_MAX)
		return -ENOSPC;
	len = add && c->waits ? standoff_find(all, n, c, path, LINKS_MAX) : 0;
	if (len) {
		char text[900];

		standoff_describe(c, path, len, text, sizeof(text));
		store(dir, all, n, NULL);
		return err_set(e, -EDEADLK, "%s", text);
	}
	return store(dir, all, n, add ? c : NULL);
}

int standoff_claim(const char *base, const struct claim *c, unsigned patience_ms, struct err *e)
{
	return update(base, c, true, patience_ms, e);
}

int standoff_drop(const char *base, const struct claim *c)
{
	return update(base, c, false, STANDOFF_PATIENT_MS, NULL);
}

uint64_t standoff_stamp(const char *base)
{
	CLEANUP(freep) char *path = path_join(base, "turns.json");
	struct stat st;

	if (!path || stat(path, &st) < 0)
		return 0;
	return ((uint64_t)st.st_mtim.tv_sec * 1000000000U + (uint64_t)st.st_mtim.tv_nsec) ^
	       ((uint64_t)st.st_ino << 20) ^ (uint64_t)st.st_size;
}

int standoff_stuck(const char *base, struct claim **all, size_t *n)
{
	CLEANUP(closep) int dir = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t kept = 0;
	int rc = dir < 0 ? -errno : load(dir, NULL, all, n);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < *n; i++)
		if (!(*all)[i].waits && (*all)[i].stuck.n)
			(*all)[kept++] = (*all)[i];
	*n = kept;
	return 0;
}
