/*
 * What was written is in the real file, whoever wrote it there, so syncing changes nothing and needs
 * neither turn nor gateway. It takes as long as a disk takes: on a thread of its own, for a worker must
 * be there for readers.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/change.h"
#include "fs/invalidate.h"
#include "fs/lookup.h"
#include "fs/repos.h"
#include "manager/base/cleanup.h"
#include "manager/base/processor.h"

struct sync_job {
	struct overlay *o;
	fuse_req_t req;
	struct fd_hold h; /* node NULL: fd is a copy of a handle's */
	int datasync;
	bool whole;      /* fd is of another file: its whole file system is synced */
	fuse_ino_t drop; /* nodeid: nothing to sync, the toucher asks */
};

static void *sync_work(void *arg)
{
	struct sync_job *j = arg;
	struct overlay *o = j->o;
	int rc = 0;
	if (j->drop)
		invalidate_now(o, j->drop);
	else if (j->whole)
		rc = syncfs(j->h.fd) < 0 ? -errno : 0;
	else
		rc = (j->datasync ? fdatasync(j->h.fd) : fsync(j->h.fd)) < 0 ? -errno : 0;
	if (j->h.node)
		fds_put(o->fds, &j->h);
	else
		closep(&j->h.fd);
	reply_err(j->req, rc);
	free(j);
	o->syncing--;
	return NULL;
}

/* For a file that its maker alone may still use, and only his gateway has open: the root of its repo. */
static int open_root(struct overlay *o, struct node *n, struct fd_hold *h)
{
	const struct repos_entry *re = repos_at(o->repos, n->repo);
	struct stat st;
	if (!re)
		return -EACCES;
	CLEANUP(closep) int fd = open(re->info->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_dev != node_dev(o->nodes, n))
		return -EACCES;
	*h = (struct fd_hold){.fd = steal_fd(&fd)};
	return 0;
}

static void *sync_thread(void *job)
{
	processor_free();
	return sync_work(job);
}

static int open_to_sync(struct overlay *o, struct node *n, struct sync_job *j)
{
	struct fd_hold *h = &j->h;
	int rc = fds_open(o->fds, n, FD_READ, h);
	if (rc == -EACCES || rc == -EPERM) /* a file that may be written but not read */
		rc = fds_open(o->fds, n, FD_WRITE, h);
	if (rc == -EACCES || rc == -EPERM) {
		j->whole = true;
		rc = open_root(o, n, h);
	}
	return rc;
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct overlay *o = overlay_of(req);
	struct node *n = ino & CONTROL_BIT || ino == FUSE_ROOT_ID ? NULL : node_get(o->nodes, ino);
	pthread_t thread;
	if (!n) {
		reply_err(req, ino == FUSE_ROOT_ID || ino & CONTROL_BIT ? 0 : -ESTALE);
		return;
	}
	struct sync_job *j = calloc(1, sizeof(*j));
	int rc = j ? 0 : -ENOMEM;
	if (j && toucher_is(&o->toucher, fuse_req_ctx(req)->pid)) {
		j->drop = ino;
		j->h.fd = -1;
	} else if (j) {
		rc = open_to_sync(o, n, j);
	}
	if (rc < 0) {
		free(j);
		reply_err(req, rc);
		return;
	}
	j->o = o;
	j->req = req;
	j->datasync = datasync;
	o->syncing++;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, sync_thread, j) != 0)
		sync_work(j);
	pthread_attr_destroy(&attr);
}

void sync_end(struct overlay *o)
{
	while (o->syncing)
		usleep(1000);
}
