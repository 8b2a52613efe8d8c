#include "fs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <uthash.h>

#include "fs/estate.h"
#include "fs/lookup.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/status.h"

/* Nodeids: CONTROL_BIT and one of these, or FILES + a number that never comes again. */
enum { ID_TOP = 1, ID_REPOS = 2, ID_REPO = 0x10000, ID_FILES = 0x1000000 };
enum { ENDPOINT_SIZE = 4096 };

/* What one lookup of a file gave: the bytes, or a descriptor of the file that has them. */
struct snapshot {
	fuse_ino_t ino;
	uint64_t nlookup; /* protected by lock */
	char *data;       /* owned; NULL: fd, or the endpoint */
	int fd;           /* owned; -1: none */
	size_t size;
	struct repos_entry *endpoint_of; /* NULL: an ordinary file */
	time_t made;
	UT_hash_handle hh;
};

struct control {
	struct overlay *o;
	pthread_mutex_t lock;
	struct snapshot *files; /* protected by lock; owned */
	uint64_t next;          /* protected by lock */
};

int control_new(struct overlay *o, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->o = o;
	/* The kernel may still know those of the server before us. */
	c->next = ID_FILES + ((uint64_t)o->estate->servers << 32);
	pthread_mutex_init(&c->lock, NULL);
	*out = c;
	return 0;
}

static void snapshot_free(struct snapshot *s)
{
	free(s->data);
	closep(&s->fd);
	free(s);
}

struct control *control_free(struct control *c)
{
	struct snapshot *s = NULL, *tmp = NULL;
	if (!c)
		return NULL;
	HASH_ITER (hh, c->files, s, tmp) {
		HASH_DEL(c->files, s);
		snapshot_free(s);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

/* ---- what the files hold ---- */

static const struct {
	uint32_t opcode;
	const char *name;
} opcodes[] = {
	{1, "LOOKUP"},        {2, "FORGET"},     {3, "GETATTR"},
	{4, "SETATTR"},       {5, "READLINK"},   {6, "SYMLINK"},
	{8, "MKNOD"},         {9, "MKDIR"},      {10, "UNLINK"},
	{11, "RMDIR"},        {12, "RENAME"},    {13, "LINK"},
	{14, "OPEN"},         {15, "READ"},      {16, "WRITE"},
	{17, "STATFS"},       {18, "RELEASE"},   {20, "FSYNC"},
	{21, "SETXATTR"},     {22, "GETXATTR"},  {23, "LISTXATTR"},
	{24, "REMOVEXATTR"},  {25, "FLUSH"},     {26, "INIT"},
	{27, "OPENDIR"},      {28, "READDIR"},   {29, "RELEASEDIR"},
	{30, "FSYNCDIR"},     {34, "ACCESS"},    {35, "CREATE"},
	{36, "INTERRUPT"},    {38, "DESTROY"},   {39, "IOCTL"},
	{42, "BATCH_FORGET"}, {43, "FALLOCATE"}, {44, "READDIRPLUS"},
	{45, "RENAME2"},      {46, "LSEEK"},     {47, "COPY_FILE_RANGE"},
	{51, "TMPFILE"},      {52, "STATX"},     {53, "COPY_FILE_RANGE_64"},
};

/* {"transport": "dev" or "uring", "requests": {"LOOKUP": n, ...}, "dropped": {"names": n, "files": n},
 * "nodes": n, "names": n, "node_bytes": n}: since the mount began. */
static int stats_json(struct overlay *o, cJSON **out)
{
	struct nodes_stats ns;
	cJSON *j = cJSON_CreateObject();
	cJSON *requests = cJSON_AddObjectToObject(j, "requests");
	json_add_str(j, "transport", o->uring ? "uring" : "dev");
	nodes_stats(o->nodes, &ns);
	for (size_t i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		uint64_t n = o->estate->requests[opcodes[i].opcode];
		if (n)
			json_add_int(requests, opcodes[i].name, (int64_t)n);
	}
	cJSON *dropped = cJSON_AddObjectToObject(j, "dropped");
	json_add_int(dropped, "names", (int64_t)o->estate->names_dropped);
	json_add_int(dropped, "files", (int64_t)o->estate->files_dropped);
	json_add_int(j, "nodes", (int64_t)ns.nodes);
	json_add_int(j, "names", (int64_t)ns.names);
	if (json_add_int(j, "node_bytes", (int64_t)ns.bytes) < 0) {
		cJSON_Delete(j);
		return -ENOMEM;
	}
	*out = j;
	return 0;
}

static int text_of(cJSON *j, char **out)
{
	char *text = cJSON_Print(j);
	cJSON_Delete(j);
	if (!text || asprintf(out, "%s\n", text) < 0) {
		free(text);
		return -ENOMEM;
	}
	free(text);
	return 0;
}

static int top_file(struct overlay *o, const char *name, pid_t tid, char **out)
{
	cJSON *j = NULL;
	int rc = -ENOENT;
	if (strcmp(name, "errors") == 0) {
		*out = router_errors(o->router);
		return *out ? 0 : -ENOMEM;
	}
	if (strcmp(name, "status") == 0)
		rc = status_json(o->config, NULL, &j, NULL);
	else if (strcmp(name, "whoami") == 0)
		rc = router_whoami(o->router, tid, &j);
	else if (strcmp(name, "stats") == 0)
		rc = stats_json(o, &j);
	return rc < 0 ? rc : text_of(j, out);
}

static int line_of(const char *text, char **out)
{
	return asprintf(out, "%s\n", text) < 0 ? -ENOMEM : 0;
}

/* audit and log are the files themselves as long as they are now; a missing one is empty. */
static int open_state_file(const struct repo *r, const char *name, struct snapshot *s)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, name);
	struct stat st;
	if (!path)
		return -ENOMEM;
	s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (s->fd < 0)
		return errno == ENOENT ? line_of("", &s->data) : -errno;
	s->size = fstat(s->fd, &st) == 0 ? (size_t)st.st_size : 0;
	return 0;
}

static int repo_file(struct repos_entry *re, const char *name, struct snapshot *s)
{
	const struct repo *r = re->info;
	char branch[256];
	if (strcmp(name, "endpoint") == 0) {
		s->endpoint_of = re;
		s->size = ENDPOINT_SIZE;
		return 0;
	}
	if (strcmp(name, "id") == 0)
		return line_of(r->id, &s->data);
	if (strcmp(name, "root") == 0)
		return line_of(r->root, &s->data);
	if (strcmp(name, "branch") == 0)
		return repo_branch(r->root, branch, sizeof(branch)) < 0 ? line_of("", &s->data)
									: line_of(branch, &s->data);
	if (strcmp(name, "audit") == 0)
		return open_state_file(r, "audit.jsonl", s);
	if (strcmp(name, "log") == 0)
		return open_state_file(r, "backend.log", s);
	return -ENOENT;
}

/* ---- the tree ---- */

static const char *const top_names[] = {"status", "whoami", "errors", "stats", "repos"};
static const char *const repo_names[] = {"id", "root", "branch", "audit", "log", "endpoint"};

static struct repos_entry *repo_of_dir(struct overlay *o, fuse_ino_t ino)
{
	uint64_t id = ino & ~CONTROL_BIT;
	if (id < ID_REPO || id >= ID_FILES)
		return NULL;
	struct repos_entry *re = repos_at(o->repos, (uint16_t)(id - ID_REPO));
	return re && !re->gone ? re : NULL;
}

static void fill_attr(struct stat *st, fuse_ino_t ino, bool dir, size_t size, time_t made)
{
	*st = (struct stat){
		.st_ino = ino & ~CONTROL_BIT,
		.st_mode = dir ? S_IFDIR | 0555 : S_IFREG | 0444,
		.st_nlink = dir ? 2 : 1,
		.st_uid = geteuid(),
		.st_gid = getegid(),
		.st_size = (off_t)size,
		.st_blksize = 4096,
		.st_atim.tv_sec = made,
		.st_mtim.tv_sec = made,
		.st_ctim.tv_sec = made,
	};
}

static void reply_dir(fuse_req_t req, uint64_t id)
{
	struct fuse_entry_param e = {
		.ino = CONTROL_BIT | id,
		.attr_timeout = LOOKUP_FOREVER,
		.entry_timeout = id >= ID_REPO ? 0 : LOOKUP_FOREVER,
	};
	fill_attr(&e.attr, e.ino, true, 4096, 0);
	fuse_reply_entry(req, &e);
}

static void reply_file(fuse_req_t req, struct snapshot *s)
{
	struct control *c = overlay_of(req)->control;
	if (s->data)
		s->size = strlen(s->data);
	s->made = time(NULL);
	s->nlookup = 1;
	pthread_mutex_lock(&c->lock);
	s->ino = CONTROL_BIT | c->next++;
	HASH_ADD(hh, c->files, ino, sizeof(s->ino), s);
	pthread_mutex_unlock(&c->lock);
	struct fuse_entry_param e = {.ino = s->ino, .attr_timeout = LOOKUP_FOREVER};
	fill_attr(&e.attr, e.ino, false, s->size, s->made);
	if (fuse_reply_entry(req, &e) == -ENOENT)
		control_forget(c->o, e.ino, 1);
}

void control_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct overlay *o = overlay_of(req);
	uint64_t dir = parent == FUSE_ROOT_ID ? 0 : parent & ~CONTROL_BIT;
	if (dir == 0) {
		reply_dir(req, ID_TOP);
		return;
	}
	if (dir == ID_TOP && strcmp(name, "repos") == 0) {
		reply_dir(req, ID_REPOS);
		return;
	}
	if (dir == ID_REPOS) {
		for (uint16_t i = 0; i < repos_count(o->repos); i++)
			if (repos_at(o->repos, i) == repos_named(o->repos, name)) {
				reply_dir(req, ID_REPO + i);
				return;
			}
		reply_err(req, -ENOENT);
		return;
	}
	struct repos_entry *re = repo_of_dir(o, parent);
	struct snapshot *s = calloc(1, sizeof(*s));
	int rc = -ENOENT;
	if (s) {
		s->fd = -1;
		if (dir == ID_TOP)
			rc = top_file(o, name, fuse_req_ctx(req)->pid, &s->data);
		else if (re)
			rc = repo_file(re, name, s);
	}
	if (s && rc == 0) {
		reply_file(req, s);
		return;
	}
	if (s)
		snapshot_free(s);
	reply_err(req, s ? rc : -ENOMEM);
}

/* The snapshot of ino with one more lookup counted: control_forget() after the reply, with which the kernel
 * may forget it. NULL for directories. */
static struct snapshot *hold(struct control *c, fuse_ino_t ino)
{
	struct snapshot *s = NULL;
	LOCK_SCOPE(&c->lock);
	HASH_FIND(hh, c->files, &ino, sizeof(ino), s);
	if (s)
		s->nlookup++;
	return s;
}

void control_forget(struct overlay *o, fuse_ino_t ino, uint64_t count)
{
	struct control *c = o->control;
	struct snapshot *s = NULL;
	pthread_mutex_lock(&c->lock);
	HASH_FIND(hh, c->files, &ino, sizeof(ino), s);
	if (s) {
		s->nlookup -= count < s->nlookup ? count : s->nlookup;
		if (s->nlookup)
			s = NULL;
		else
			HASH_DEL(c->files, s);
	}
	pthread_mutex_unlock(&c->lock);
	if (s)
		snapshot_free(s);
}

void control_getattr(fuse_req_t req, fuse_ino_t ino)
{
	struct overlay *o = overlay_of(req);
	struct stat st;
	struct snapshot *s = hold(o->control, ino);
	fill_attr(&st, ino, !s, s ? s->size : 4096, s ? s->made : 0);
	fuse_reply_attr(req, &st, LOOKUP_FOREVER);
	if (s)
		control_forget(o, ino, 1);
}

void control_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct overlay *o = overlay_of(req);
	uint64_t dir = ino & ~CONTROL_BIT;
	const char *const *names = dir == ID_TOP ? top_names : repo_names;
	off_t n = dir == ID_TOP     ? (off_t)(sizeof(top_names) / sizeof(top_names[0]))
		  : dir == ID_REPOS ? repos_count(o->repos)
				    : (off_t)(sizeof(repo_names) / sizeof(repo_names[0]));
	CLEANUP(freep) char *buf = malloc(size);
	size_t len = 0;
	if (!buf) {
		reply_err(req, -ENOMEM);
		return;
	}
	for (off_t i = off; i < n + 2; i++) {
		struct fuse_entry_param e = {0};
		const char *name = i == 0 ? "." : i == 1 ? ".." : NULL;
		struct repos_entry *re = NULL;
		if (!name && dir == ID_REPOS) {
			re = repos_at(o->repos, (uint16_t)(i - 2));
			if (re->gone)
				continue;
			name = re->info->name;
		} else if (!name) {
			name = names[i - 2];
		}
		bool is_dir = i < 2 || re || strcmp(name, "repos") == 0;
		fill_attr(&e.attr, (fuse_ino_t)(ID_FILES + i), is_dir, 0, 0);
		size_t need =
			plus ? fuse_add_direntry_plus(req, buf + len, size - len, name, &e, i + 1)
			     : fuse_add_direntry(req, buf + len, size - len, name, &e.attr, i + 1);
		if (need > size - len)
			break;
		len += need;
	}
	fuse_reply_buf(req, buf, len);
}

/* ---- reading ---- */

/* A read of endpoint that waits for a backend: answered once, by the result or by an interrupt. */
struct endpoint_read {
	fuse_req_t req;
	pthread_mutex_t lock;
	bool answered;    /* protected by lock, as are the rest */
	bool armed;       /* fuse_req_interrupt_func() has returned: an interrupt may answer */
	bool interrupted; /* before that */
};

static bool answer_once(struct endpoint_read *r)
{
	LOCK_SCOPE(&r->lock);
	bool first = !r->answered;
	r->answered = true;
	return first;
}

static void on_interrupt(fuse_req_t req, void *data)
{
	struct endpoint_read *r = data;
	pthread_mutex_lock(&r->lock);
	bool answer = r->armed && !r->answered;
	r->answered |= answer;
	r->interrupted = true;
	pthread_mutex_unlock(&r->lock);
	if (answer)
		reply_err(req, -EINTR);
}

/* False: it was interrupted before. libfuse goes on using the request then, so that it could not be
 * answered in on_interrupt(). */
static bool arm(struct endpoint_read *r)
{
	fuse_req_interrupt_func(r->req, on_interrupt, r);
	LOCK_SCOPE(&r->lock);
	r->armed = true;
	return !r->interrupted;
}

static void on_endpoint(void *arg, int error, const struct endpoint *ep, const char *sentence)
{
	struct endpoint_read *r = arg;
	char line[128];
	(void)sentence; /* the router keeps it in errors */
	if (answer_once(r)) {
		fuse_req_interrupt_func(r->req, NULL, NULL);
		if (error < 0) {
			reply_err(r->req, error);
		} else {
			int len = snprintf(line, sizeof(line), "%s\n", ep->url);
			fuse_reply_buf(r->req, line, (size_t)len);
		}
	}
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static void read_endpoint(fuse_req_t req, struct repos_entry *re)
{
	struct overlay *o = overlay_of(req);
	struct endpoint_read *r = calloc(1, sizeof(*r));
	if (!r) {
		reply_err(req, -ENOMEM);
		return;
	}
	r->req = req;
	pthread_mutex_init(&r->lock, NULL);
	int rc = arm(r) ? router_endpoint(o->router, re->rr, on_endpoint, r) : -EINTR;
	if (rc < 0)
		on_endpoint(r, rc, NULL, NULL);
}

static void read_snapshot(fuse_req_t req, const struct snapshot *s, size_t size, off_t off)
{
	if (s->endpoint_of && off == 0) {
		read_endpoint(req, s->endpoint_of);
		return;
	}
	if ((size_t)off >= s->size || s->endpoint_of) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (size > s->size - (size_t)off)
		size = s->size - (size_t)off;
	if (s->data) {
		fuse_reply_buf(req, s->data + off, size);
		return;
	}
	CLEANUP(freep) char *buf = malloc(size);
	ssize_t n = buf ? pread(s->fd, buf, size, off) : -1;
	if (n < 0)
		reply_err(req, buf ? -errno : -ENOMEM);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

void control_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
	struct overlay *o = overlay_of(req);
	struct snapshot *s = hold(o->control, ino);
	if (!s) { /* a server before us had it */
		reply_err(req, (ino & ~CONTROL_BIT) >= ID_FILES ? -ESTALE : -EISDIR);
		return;
	}
	read_snapshot(req, s, size, off);
	control_forget(o, ino, 1);
}
