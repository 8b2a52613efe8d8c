#include "manager/auditdiff.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/auditlog.h"
#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/sha256.h"
#include "manager/cmdutil.h"
#include "manager/undokept.h"

enum { DIFF_MAX_BYTES = 16 << 20, FIRST_FD = 10 };

static int open_below(const char *dir, const char *name)
{
	CLEANUP(freep) char *path = path_join(dir, name);
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
	return fd;
}

/* What was kept; -1 when it cannot be read. */
static int open_kept(const struct repo *r, const cJSON *undo)
{
	struct undokept k;
	undokept_open(&k, r->state_dir, undo);
	int fd = steal_fd(&k.fd);
	undokept_deinit(&k);
	return fd;
}

static bool has_hash(int fd, const char *sha)
{
	char now[SHA256_HEX_LEN];
	return fd >= 0 && sha256_fd(fd, DIFF_MAX_BYTES, now) == 0 && strcmp(now, sha) == 0;
}

/* The first size bytes of fd (which is closed) as a file of their own; -1. */
static int cut(int fd, int64_t size)
{
	CLEANUP(closep) int from = fd;
	CLEANUP(freep) char *data = NULL;
	size_t got = 0;
	struct stat st;
	if (from < 0 || fstat(from, &st) < 0 || st.st_size <= size)
		return steal_fd(&from);
	if (size < 0 || size > DIFF_MAX_BYTES || !(data = malloc((size_t)size + 1)) ||
	    lseek(from, 0, SEEK_SET) < 0 || file_read_full(from, data, (size_t)size, &got) < 0)
		return -1;
	CLEANUP(closep) int to = memfd_create("rrm-diff", MFD_CLOEXEC);
	return to >= 0 && file_write_all(to, data, got) == 0 ? steal_fd(&to) : -1;
}

static void set_fd(int *fd, int to)
{
	closep(fd);
	*fd = to;
}

/* Backwards through the later records of the same file: what each of them found there. */
struct wanted {
	const struct repo *repo;
	const char *path, *sha;
	int64_t seq;
	int fd; /* owned; the content behind the record in hand, -1 when it is not known */
	bool found;
};

static int look(const struct auditlog_line *line, void *arg)
{
	struct wanted *w = arg;
	CLEANUP(json_deletep) cJSON *j = NULL;
	CLEANUP(freep) char *path = NULL;
	if (auditlog_parse(line, &j, NULL) < 0)
		return 0;
	if (json_int(j, "seq", 0) <= w->seq)
		return 1;
	const cJSON *undo = cJSON_GetObjectItemCaseSensitive(j, "undo");
	const char *kept = json_str(undo, "kept", NULL);
	if (!cJSON_HasObjectItem(undo, "mode") || json_get_bytes(j, "path", &path) < 0 || !path ||
	    strcmp(path, w->path) != 0)
		return 0;
	/* Where nothing was lost, the file began as it was. */
	if (json_str(undo, "why", NULL))
		set_fd(&w->fd, -1);
	else if (kept)
		set_fd(&w->fd, open_kept(w->repo, undo));
	w->fd = cut(w->fd, json_int(undo, "size", 0));
	w->found = has_hash(w->fd, w->sha);
	return w->found;
}

static int open_after(const struct repo *r, const cJSON *record, const char *path)
{
	struct wanted w = {.repo = r,
			   .path = path,
			   .sha = json_str(record, "sha256_after", NULL),
			   .seq = json_int(record, "seq", 0)};
	if (!w.sha)
		return -1;
	w.fd = open_below(r->root, path);
	w.found = has_hash(w.fd, w.sha);
	if (!w.found)
		auditlog_backwards(r->state_dir, look, &w, NULL, NULL);
	if (!w.found)
		closep(&w.fd);
	return w.found ? w.fd : -1;
}

/* Both are borrowed. diff reads them through /proc, from their start. */
static void run_diff(FILE *f, const char *path, int before, int after)
{
	char a[32], b[32];
	CLEANUP(freep) char *label_a = path_join("a", path);
	CLEANUP(freep) char *label_b = path_join("b", path);
	if (!label_a || !label_b || fflush(f) != 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		int x = fcntl(before, F_DUPFD, FIRST_FD), y = fcntl(after, F_DUPFD, FIRST_FD);
		snprintf(a, sizeof(a), "/proc/self/fd/%d", x);
		snprintf(b, sizeof(b), "/proc/self/fd/%d", y);
		dup2(fileno(f), STDOUT_FILENO);
		execlp("diff", "diff", "-u", "--label", label_a, "--label", label_b, a, b,
		       (char *)NULL);
		fprintf(stderr, "rrm: cannot run diff: %m\n");
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static int nothing(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* What was there before, given what is there after; -1 with *why. */
static int open_before(const struct repo *r, const cJSON *undo, int after, const char **why)
{
	const char *kept = json_str(undo, "kept", NULL);
	int64_t size = json_int(undo, "size", 0);
	if (!cJSON_HasObjectItem(undo, "mode"))
		return nothing();
	*why = json_str(undo, "why", NULL);
	if (*why)
		return -1;
	*why = "it is kept no longer";
	/* What was only added to begins as it was. */
	return cut(kept ? open_kept(r, undo) : fcntl(after, F_DUPFD_CLOEXEC, 0), size);
}

static bool changes_content(const char *op)
{
	return strcmp(op, "write") == 0 || strcmp(op, "create") == 0 || strcmp(op, "unlink") == 0 ||
	       strcmp(op, "rename") == 0;
}

void auditdiff_print(FILE *f, const struct repo *r, const cJSON *record)
{
	const char *op = json_str(record, "op", ""), *why = NULL;
	const cJSON *undo = cJSON_GetObjectItemCaseSensitive(record, "undo");
	CLEANUP(freep) char *path = NULL;
	bool removed = strcmp(op, "unlink") == 0, moved = strcmp(op, "rename") == 0;
	if (strcmp(json_str(record, "result", ""), "ok") != 0 || !changes_content(op) ||
	    json_get_bytes(record, moved ? "path2" : "path", &path) < 0 || !path ||
	    (moved && !cJSON_HasObjectItem(undo, "mode")))
		return;
	CLEANUP(closep) int after = removed ? nothing() : open_after(r, record, path);
	CLEANUP(closep) int before = open_before(r, undo, after, &why);
	if (before < 0)
		fprintf(f, "    (no diff: what it was before was not kept: %s)\n", why);
	else if (after < 0)
		fputs("    (no diff: what it became is known no longer)\n", f);
	else
		run_diff(f, path, before, after);
}
