#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/change.h"
#include "fs/control.h"
#include "fs/lookup.h"
#include "fs/uring.h"
#include "manager/base/clock.h"

enum { WAIT_FOR_WRITE_MS = 2 };

/*
 * The kernel keeps what it wrote in its page cache, so a READ never needs to wait for a WRITE, but for one
 * case: the pages of a write still in flight were just invalidated (NODE_RECHECK). Requests are
 * received in the kernel's order and a write is counted at once (loop.c), so waiting until it is
 * applied, which takes microseconds at home, gives the writer its own data back. A foreign write may take
 * longer: coherence_changed() then invalidates once more.
 */
static void wait_for_write(const struct node *n)
{
	uint64_t end = clock_mono_ms() + WAIT_FOR_WRITE_MS;
	while (n->changing && (n->flags & NODE_RECHECK) && clock_mono_ms() < end)
		sched_yield();
}

/* One buffer a worker, as large as the largest request yet. */
static _Thread_local char *thread_buf;
static _Thread_local size_t thread_size;

static char *read_buffer(size_t size)
{
	char *answer = uring_answer_buffer(size);
	if (answer)
		return answer;
	if (size > thread_size) {
		free(thread_buf);
		thread_buf = malloc(size);
		thread_size = thread_buf ? size : 0;
	}
	return thread_buf;
}

void read_thread_end(void)
{
	free(thread_buf);
	thread_buf = NULL;
	thread_size = 0;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct overlay *o = overlay_of(req);
	struct fd_hold h;
	if (ino & CONTROL_BIT) {
		control_read(req, ino, size, off);
		return;
	}
	struct node *n = node_get(o->nodes, ino);
	char *buf = read_buffer(size);
	if (!n || !buf) {
		reply_err(req, n ? -ENOMEM : -ESTALE);
		return;
	}
	if (n->flags & NODE_RECHECK)
		wait_for_write(n);
	int rc = fds_open(o->fds, n, FD_READ, &h);
	if (rc < 0) {
		reply_err(req, rc);
		return;
	}
	if ((n->flags & (NODE_BARE | NODE_REREAD)) == NODE_BARE)
		atomic_fetch_or(&n->flags, NODE_REREAD); /* before we look */
	size_t got = 0;
	while (got < size) {
		ssize_t r = pread(h.fd, buf + got, size - got, off + (off_t)got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			rc = -errno;
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	fds_put(o->fds, &h);
	if (rc < 0 && got == 0)
		reply_err(req, rc);
	else
		fuse_reply_buf(req, buf, got);
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct overlay *o = overlay_of(req);
	struct fd_hold h;
	struct node *n = ino & CONTROL_BIT ? NULL : node_get(o->nodes, ino);
	int rc = !n ? -ESTALE : fds_open(o->fds, n, FD_READ, &h);
	if (rc < 0) {
		reply_err(req, rc);
		return;
	}
	/* The position of the shared descriptor means nothing: every read gives its own. */
	off_t pos = lseek(h.fd, off, whence);
	rc = pos < 0 ? -errno : 0;
	fds_put(o->fds, &h);
	if (rc < 0)
		reply_err(req, rc);
	else
		fuse_reply_lseek(req, pos);
}
