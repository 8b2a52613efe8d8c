/*
 * A bare server of /dev/fuse, as a yardstick: shows the directory REAL at MOUNTPOINT as rrm does what it may (OPEN
 * answered ENOSYS, everything cached for ever, READDIRPLUS) and leaves out what rrm is for: nobody looks for changes
 * from outside, nobody asks who writes, there is no turn, no audit, no name that is kept in order. A change is the one
 * system call that makes it, and another for the attributes that the answer has to hold. The threads never sleep. Where
 * rrm takes as long, its own work is not what costs; io_uring may still be faster. A column of peers.sh.
 *
 *	rrm-bench-floor REAL MOUNTPOINT [THREADS]		(in the foreground; 2 threads)
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uthash.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

enum { BUFFER = 1 << 20, KEPT_MAX = 500 };
static const double EVER = 1e9;

struct key {
	uint64_t parent;
	char name[];
};

struct node {
	struct node *parent; /* holds a reference */
	int fd;              /* of a directory, or of a file that was read or written; -1 */
	bool file;
	uint64_t lookups; /* of the kernel, and of children */
	UT_hash_handle hh;
	struct key *key; /* owned; NULL: the root, or removed */
	size_t key_len;
};

static struct node root = {.fd = -1, .lookups = 1};
static struct node *nodes; /* by key */
static unsigned kept;      /* descriptors of files, protected by lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct fuse_session *session;

static struct node *node_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct node *)(uintptr_t)ino;
}

static struct key *key_new(const struct node *parent, const char *name, size_t *len)
{
	size_t n = strlen(name) + 1;
	struct key *k = malloc(sizeof(*k) + n);
	if (!k)
		err(1, "malloc");
	k->parent = (uintptr_t)parent;
	memcpy(k->name, name, n);
	*len = sizeof(*k) + n;
	return k;
}

static const char *name_of(const struct node *n)
{
	return n->key ? n->key->name : "";
}

static void unname(struct node *n)
{
	if (n->key)
		HASH_DELETE(hh, nodes, n);
	free(n->key);
	n->key = NULL;
}

static void put(struct node *n, uint64_t count)
{
	while (n != &root && (n->lookups -= count) == 0) {
		struct node *parent = n->parent;
		unname(n);
		if (n->fd >= 0) {
			close(n->fd);
			kept -= n->file;
		}
		free(n);
		n = parent;
		count = 1;
	}
}

static struct node *find(struct node *parent, const char *name)
{
	size_t len = 0;
	struct key *k = key_new(parent, name, &len);
	struct node *n = NULL;
	HASH_FIND(hh, nodes, k, len, n);
	free(k);
	return n;
}

/* The node with that name, one lookup more. */
static struct node *get(struct node *parent, const char *name)
{
	pthread_mutex_lock(&lock);
	struct node *n = find(parent, name);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			err(1, "malloc");
		n->fd = -1;
		n->parent = parent;
		parent->lookups++;
		n->key = key_new(parent, name, &n->key_len);
		HASH_ADD_KEYPTR(hh, nodes, n->key, n->key_len, n);
	}
	n->lookups++;
	pthread_mutex_unlock(&lock);
	return n;
}

static void keep(struct node *n, int fd, bool dir)
{
	n->fd = fd;
	n->file = !dir;
	kept += !dir;
}

/* The descriptor of a directory (O_PATH), of a file for reading and writing where that is allowed. Give it to done(): of files
 * only some are kept. */
static int fd_of(struct node *n, bool dir)
{
	if (n->fd >= 0)
		return n->fd;
	int at = n->parent ? fd_of(n->parent, true) : AT_FDCWD;
	int fd =
		openat(at, name_of(n), dir ? O_PATH | O_DIRECTORY | O_CLOEXEC : O_RDWR | O_CLOEXEC);
	if (fd < 0 && !dir)
		fd = openat(at, name_of(n), O_RDONLY | O_CLOEXEC);
	pthread_mutex_lock(&lock);
	if (fd >= 0 && n->fd < 0 && (dir || kept < KEPT_MAX))
		keep(n, fd, dir);
	pthread_mutex_unlock(&lock);
	if (dir && fd >= 0 && fd != n->fd) {
		close(fd);
		fd = n->fd;
	}
	return fd;
}

static void done(const struct node *n, int fd)
{
	if (fd >= 0 && fd != n->fd)
		close(fd);
}

static int look(struct node *n, struct stat *st)
{
	if (n == &root)
		return fstat(n->fd, st) < 0 ? errno : 0;
	if (n->fd >= 0)
		return fstatat(n->fd, "", st, AT_EMPTY_PATH) < 0 ? errno : 0;
	return fstatat(fd_of(n->parent, true), name_of(n), st, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
}

static void entry(struct fuse_entry_param *e, struct node *parent, const char *name,
		  const struct stat *st)
{
	*e = (struct fuse_entry_param){.ino = (uintptr_t)get(parent, name),
				       .attr = *st,
				       .attr_timeout = EVER,
				       .entry_timeout = EVER};
}

static void reply_name(fuse_req_t req, struct node *parent, const char *name, int rc)
{
	struct fuse_entry_param e;
	struct stat st;
	if (rc == 0)
		rc = fstatat(fd_of(parent, true), name, &st, AT_SYMLINK_NOFOLLOW);
	if (rc < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	entry(&e, parent, name, &st);
	fuse_reply_entry(req, &e);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct stat st;
	struct fuse_entry_param none = {.entry_timeout = EVER};
	struct node *p = node_of(parent);
	if (fstatat(fd_of(p, true), name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
		fuse_reply_entry(req, &none);
		return;
	}
	reply_name(req, p, name, 0);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	pthread_mutex_lock(&lock);
	put(node_of(ino), count);
	pthread_mutex_unlock(&lock);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < count; i++)
		put(node_of(forgets[i].ino), forgets[i].nlookup);
	pthread_mutex_unlock(&lock);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;
	int rc = look(node_of(ino), &st);
	if (rc)
		fuse_reply_err(req, rc);
	else
		fuse_reply_attr(req, &st, EVER);
}

static int set(struct node *n, const struct stat *attr, int what)
{
	int at = fd_of(n->parent ? n->parent : n, true);
	if (what & FUSE_SET_ATTR_MODE && fchmodat(at, name_of(n), attr->st_mode, 0) < 0)
		return -1;
	if (what & FUSE_SET_ATTR_SIZE) {
		int fd = fd_of(n, false), rc = ftruncate(fd, attr->st_size);
		done(n, fd);
		if (rc < 0)
			return -1;
	}
	if (what & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME)) {
		struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
		if (what & FUSE_SET_ATTR_ATIME)
			ts[0] = attr->st_atim;
		if (what & FUSE_SET_ATTR_ATIME_NOW)
			ts[0].tv_nsec = UTIME_NOW;
		if (what & FUSE_SET_ATTR_MTIME)
			ts[1] = attr->st_mtim;
		if (what & FUSE_SET_ATTR_MTIME_NOW)
			ts[1].tv_nsec = UTIME_NOW;
		return utimensat(at, name_of(n), ts, AT_SYMLINK_NOFOLLOW);
	}
	return 0;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int what,
		       struct fuse_file_info *fi)
{
	if (set(node_of(ino), attr, what) < 0)
		fuse_reply_err(req, errno);
	else
		op_getattr(req, ino, fi);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char text[PATH_MAX + 1];
	struct node *n = node_of(ino);
	ssize_t len = readlinkat(fd_of(n->parent, true), name_of(n), text, PATH_MAX);
	if (len < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	text[len] = '\0';
	fuse_reply_readlink(req, text);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct node *p = node_of(parent);
	reply_name(req, p, name, mkdirat(fd_of(p, true), name, mode));
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct node *p = node_of(parent);
	reply_name(req, p, name, symlinkat(target, fd_of(p, true), name));
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct node *n = node_of(ino), *p = node_of(parent);
	reply_name(req, p, name,
		   linkat(fd_of(n->parent, true), name_of(n), fd_of(p, true), name, 0));
}

static void gone(struct node *parent, const char *name)
{
	pthread_mutex_lock(&lock);
	struct node *n = find(parent, name);
	if (n)
		unname(n);
	pthread_mutex_unlock(&lock);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *p = node_of(parent);
	int rc = unlinkat(fd_of(p, true), name, 0);
	if (rc == 0)
		gone(p, name);
	fuse_reply_err(req, rc < 0 ? errno : 0);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct node *p = node_of(parent);
	int rc = unlinkat(fd_of(p, true), name, AT_REMOVEDIR);
	if (rc == 0)
		gone(p, name);
	fuse_reply_err(req, rc < 0 ? errno : 0);
}

static void renamed(struct node *from, const char *name, struct node *to, const char *newname)
{
	gone(to, newname);
	pthread_mutex_lock(&lock);
	struct node *n = find(from, name);
	if (n) {
		unname(n);
		to->lookups++;
		put(n->parent, 1);
		n->parent = to;
		n->key = key_new(to, newname, &n->key_len);
		HASH_ADD_KEYPTR(hh, nodes, n->key, n->key_len, n);
	}
	pthread_mutex_unlock(&lock);
}

static void op_rename(fuse_req_t req, fuse_ino_t from, const char *name, fuse_ino_t to,
		      const char *newname, unsigned flags)
{
	struct node *f = node_of(from), *t = node_of(to);
	int rc = flags ? (errno = EINVAL, -1)
		       : renameat(fd_of(f, true), name, fd_of(t, true), newname);
	if (rc == 0)
		renamed(f, name, t, newname);
	fuse_reply_err(req, rc < 0 ? errno : 0);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	struct fuse_entry_param e;
	struct node *p = node_of(parent);
	struct stat st;
	int fd = openat(fd_of(p, true), name, (fi->flags & O_EXCL) | O_CREAT | O_RDWR | O_CLOEXEC,
			mode);
	if (fd < 0 || fstat(fd, &st) < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	entry(&e, p, name, &st);
	struct node *n = (struct node *)(uintptr_t)e.ino;
	pthread_mutex_lock(&lock);
	if (n->fd < 0 && kept < KEPT_MAX)
		keep(n, fd, false);
	pthread_mutex_unlock(&lock);
	done(n, fd);
	fi->keep_cache = 1;
	fuse_reply_create(req, &e, fi);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at,
		    struct fuse_file_info *fi)
{
	static _Thread_local char buf[BUFFER];
	int fd = fd_of(node_of(ino), false);
	ssize_t n = pread(fd, buf, size < BUFFER ? size : BUFFER, at);
	done(node_of(ino), fd);
	if (n < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t at,
		     struct fuse_file_info *fi)
{
	int fd = fd_of(node_of(ino), false);
	ssize_t n = pwrite(fd, buf, size, at);
	done(node_of(ino), fd);
	if (n < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, (size_t)n);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_at,
			       struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_at,
			       struct fuse_file_info *to_fi, size_t len, int flags)
{
	int in = fd_of(node_of(from), false), out = fd_of(node_of(to), false);
	ssize_t n = copy_file_range(in, &from_at, out, &to_at, len, (unsigned)flags);
	done(node_of(from), in);
	done(node_of(to), out);
	if (n < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, (size_t)n);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	int fd = fd_of(node_of(ino), false);
	int rc = fsync(fd) < 0 ? errno : 0;
	done(node_of(ino), fd);
	fuse_reply_err(req, rc);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	if (fstatvfs(root.fd, &st) < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

/* ---- listings: the whole directory at offset 0, kept by the thread that began it ---- */

struct listing {
	DIR *dir;
	struct node *of;
	off_t at;
};

static DIR *listing_at(struct node *n, off_t off)
{
	static _Thread_local struct listing l;
	if (l.dir && (off == 0 || l.of != n)) {
		closedir(l.dir);
		l.dir = NULL;
	}
	if (!l.dir) {
		int fd = openat(fd_of(n, true), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		l.dir = fd < 0 ? NULL : fdopendir(fd);
		if (!l.dir)
			return NULL;
		l.of = n;
	}
	if (off)
		seekdir(l.dir, off);
	return l.dir;
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	static _Thread_local char buf[BUFFER];
	struct node *n = node_of(ino);
	DIR *dir = listing_at(n, off);
	size_t used = 0;
	struct dirent *d;
	if (!dir) {
		fuse_reply_err(req, errno);
		return;
	}
	size = size < BUFFER ? size : BUFFER;
	while ((d = readdir(dir))) {
		struct fuse_entry_param e = {
			.attr = {.st_ino = d->d_ino, .st_mode = DTTOIF(d->d_type)}};
		struct stat st;
		const bool dots = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
		if (used + fuse_add_direntry_plus(req, NULL, 0, d->d_name, NULL, 0) > size)
			break;
		if (!dots && fstatat(n->fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			entry(&e, n, d->d_name, &st);
		used += fuse_add_direntry_plus(req, buf + used, size - used, d->d_name, &e,
					       d->d_off);
	}
	fuse_reply_buf(req, buf, used);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned want = FUSE_CAP_READDIRPLUS | FUSE_CAP_ASYNC_READ |
			      FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_NO_OPEN_SUPPORT |
			      FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_CACHE_SYMLINKS;
	conn->want |= conn->capable & want;
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA);
	conn->max_background = 64;
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.readlink = op_readlink,
	.mkdir = op_mkdir,
	.symlink = op_symlink,
	.link = op_link,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.rename = op_rename,
	.create = op_create,
	.release = op_release,
	.read = op_read,
	.write = op_write,
	.copy_file_range = op_copy_file_range,
	.fsync = op_fsync,
	.statfs = op_statfs,
	.readdirplus = op_readdirplus,
};

static void *serve(void *arg)
{
	struct fuse_buf buf = {.mem = NULL};
	while (!fuse_session_exited(session)) {
		int n = fuse_session_receive_buf(session, &buf);
		if (n > 0)
			fuse_session_process_buf(session, &buf);
		else if (n != -EAGAIN && n != -EINTR)
			break;
	}
	free(buf.mem);
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(2, "usage: rrm-bench-floor REAL MOUNTPOINT [THREADS]");
	int threads = argc > 3 ? atoi(argv[3]) : 2;
	char options[] = "-odefault_permissions,allow_other,fsname=peer";
	char *fuse_argv[] = {argv[0], options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(2, fuse_argv);
	pthread_t thread;
	umask(0);
	root.fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root.fd < 0)
		err(1, "%s", argv[1]);
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_session_mount(session, argv[2]) < 0)
		errx(1, "%s cannot be mounted on", argv[2]);
	int fd = fuse_session_fd(session);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	for (int i = 1; i < threads; i++)
		if (pthread_create(&thread, NULL, serve, NULL) != 0)
			errx(1, "no thread");
	serve(NULL);
	fuse_session_unmount(session);
	return 0;
}
