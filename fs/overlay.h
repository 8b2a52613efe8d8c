/*
 * The mount as one value: what all files of fs/ share.
 *
 * Order of locks, outermost first; most are never held together:
 *   receive lock (loop.c) -> change.lock (one waiting request) -> router's own
 *   repos.lock (read side) -> nodes' lock -> fdcache's lock
 *   coherence.lock, invalidate.lock -> news.c's lock
 * No lock but the receive lock is held over a system call that touches a file, none over a reply, a
 * notification or a callback of the router.
 *
 * Threads: the workers (loop.c) take requests and never wait for a turn, a backend or a gateway; the
 * router's submit threads answer what had to wait; the coherence thread reads inotify; one invalidate
 * thread per repo tells the kernel what to forget (it may have to wait for a directory's lock in the
 * kernel, and then only its own repo waits). All of them: docs/ARCHITECTURE.md.
 */
#pragma once

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "fs/fdcache.h"
#include "fs/node.h"
#include "fs/toucher.h"
#include "manager/config.h"
#include "manager/supervisor.h"
#include "router/router.h"

struct awake;
struct coherence;
struct estate;
struct invalidate;
struct control;
struct repos;
struct recheck;
struct uring;

struct overlay {
	struct config *config;   /* borrowed from main */
	const char *mountpoint;  /* borrowed; absolute, canonical */
	struct fuse_session *se; /* owned by server.c */
	struct estate *estate;   /* borrowed from main; NULL in unit tests */
	struct router *router;   /* owned, as are all below */
	struct nodes *nodes;
	struct fdcache *fds;
	struct repos *repos;
	struct control *control;
	struct coherence *coherence;
	struct invalidate *invalidate;
	struct uring *uring; /* NULL: requests come from /dev/fuse */
	struct awake *awake; /* NULL: awake.h */
	dev_t under_dev;     /* the directory that holds the mountpoint, and its name there: */
	ino_t under_ino;     /* hidden in the tree, for to stat it would ask ourselves */
	char under_name[NODE_NAME_MAX];
	struct supervisor supervisor; /* the process that looks after the backends */
	struct toucher toucher;       /* the process that touches the mount for us */
	struct recheck *recheck;      /* owned; NULL unless taken over */
	bool privileged;              /* runs as root: acts for the caller */
	bool taken_over;              /* a server before us was killed, or made room */
	_Atomic bool initialized; /* the kernel said INIT: before that it has nothing to forget */
	_Atomic bool stopping;    /* loop_stop() was called */
	bool detached; /* written by the thread that calls loop_stop(): unmounted already */
	int stop_fd;   /* owned; eventfd: readable once loop_stop() was called */
	bool handover; /* written by the thread that calls loop_stop(): a successor takes over */
	_Atomic unsigned syncing; /* fsyncs under way, each on a thread of its own: sync.c */
};

/* Nodeids with this bit belong to the control directory (control.h). */
#define CONTROL_BIT ((uint64_t)1 << 63)

/* The overlay of a request. */
static inline struct overlay *overlay_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* lookup.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

/* read.c */
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);

/* Frees what a worker kept for its reads; at its end. */
void read_thread_end(void);

/* dir.c */
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi);

/* handle.c */
void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* sync.c */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* Waits for those under way; no more may come. */
void sync_end(struct overlay *o);

/* change.c sets the operations that change something */
void change_ops(struct fuse_lowlevel_ops *ops);
