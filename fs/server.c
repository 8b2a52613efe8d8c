#include "fs/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/awake.h"
#include "fs/change.h"
#include "fs/coherence.h"
#include "fs/control.h"
#include "fs/invalidate.h"
#include "fs/loop.h"
#include "fs/mounts.h"
#include "fs/notify.h"
#include "fs/overlay.h"
#include "fs/recheck.h"
#include "fs/repos.h"
#include "fs/takeover.h"
#include "fs/uring.h"
#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/mountstate.h"

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct overlay *o = userdata;
	static const unsigned wanted =
		FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
		FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT | FUSE_CAP_CACHE_SYMLINKS |
		FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_DONT_MASK |
		/* The kernel keeps ACLs, also that there are none: `ls -l` asks for each file. */
		FUSE_CAP_POSIX_ACL
#ifdef FUSE_CAP_HANDLE_KILLPRIV_V2
		/* Without it each write is preceded by a question for security.capability. */
		| FUSE_CAP_HANDLE_KILLPRIV_V2
#endif
		;
	/* fs/ depends on each of these being off: FUSE.md says why. */
	static const unsigned unwanted = FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA |
					 FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS_AUTO |
					 FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
					 FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV |
					 FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS
#ifdef FUSE_CAP_OVER_IO_URING
					 | FUSE_CAP_OVER_IO_URING /* libfuse's; ours is uring.c */
#endif
		;
	conn->want = (conn->want & ~unwanted) | (conn->capable & wanted);
	if (conn->max_write > MUTATION_DATA_MAX)
		conn->max_write = MUTATION_DATA_MAX;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	if (!(conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT))
		log_warn("event=init effect=\"this kernel asks before each open; reads are "
			 "slower\"");
	notify_ready();
	o->estate->phase = ESTATE_SERVING;
	int ready = o->estate->ready;
	if (ready >= 0) {
		ssize_t n = write(ready, "r", 1);
		(void)n; /* the parent may have given up waiting */
		o->estate->ready = -1;
		close(ready);
	}
}

/* Answering ENOSYS once makes the kernel open, close and flush by itself from then on. */
static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, ENOSYS);
}

static struct fuse_lowlevel_ops operations(void)
{
	struct fuse_lowlevel_ops ops = {
		.init = op_init,
		.lookup = op_lookup,
		.forget = op_forget,
		.forget_multi = op_forget_multi,
		.getattr = op_getattr,
		.readlink = op_readlink,
		.statfs = op_statfs,
		.getxattr = op_getxattr,
		.listxattr = op_listxattr,
		.open = op_open,
		.opendir = op_open,
		.flush = op_open,
		.read = op_read,
		.lseek = op_lseek,
		.readdir = op_readdir,
		.readdirplus = op_readdirplus,
		.release = op_release,
		.fsync = op_fsync,
		.fsyncdir = op_fsync,
	};
	change_ops(&ops);
	return ops;
}

/* Raises the soft limit as far as it goes and says where that is. */
static unsigned raise_nofile(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return 1024;
	rl.rlim_cur = rl.rlim_max;
	setrlimit(RLIMIT_NOFILE, &rl);
	getrlimit(RLIMIT_NOFILE, &rl);
	return rl.rlim_cur > 1 << 20 ? 1 << 20 : (unsigned)rl.rlim_cur;
}

static int note_under(struct overlay *o, struct err *e)
{
	CLEANUP(freep) char *parent = strdup(o->mountpoint);
	struct stat st;
	if (!parent)
		return -ENOMEM;
	char *slash = strrchr(parent, '/');
	snprintf(o->under_name, sizeof(o->under_name), "%s", slash + 1);
	slash[slash == parent] = '\0';
	if (stat(parent, &st) < 0)
		return err_errno(e, -errno, "looking at %s", parent);
	o->under_dev = st.st_dev;
	o->under_ino = st.st_ino;
	return 0;
}

static int build(struct overlay *o, struct err *e)
{
	o->privileged = geteuid() == 0;
	o->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o->stop_fd < 0)
		return -errno;
	umask(0); /* the kernel has applied the caller's */
	int rc = note_under(o, e);
	if (rc == 0)
		rc = fdcache_new(&o->fds, o->nodes, raise_nofile());
	if (rc == 0)
		fdcache_adopt(o->fds, o->estate);
	if (rc == 0)
		rc = repos_new(&o->repos);
	if (rc == 0)
		rc = control_new(o, &o->control);
	if (rc == 0)
		rc = invalidate_new(o, &o->invalidate);
	if (rc == 0)
		rc = coherence_new(o, &o->coherence, e);
	if (rc == 0)
		rc = router_new(&o->router, o->config, o->mountpoint, e);
	return rc;
}

static bool severed(struct overlay *o)
{
	struct pollfd p = {.fd = fuse_session_fd(o->se)};
	return poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

static void end_session(struct overlay *o)
{
	struct err e = ERR_INIT;
	o->estate->fuse = -1;
	if (o->taken_over) { /* libfuse does not know where it is mounted */
		if (!o->detached && !severed(o) && mounts_detach(o->mountpoint, &e) < 0)
			log_warn("event=unmount error=\"%s\"", e.text);
		fuse_session_destroy(o->se);
		return;
	}
#if FUSE_VERSION >=                                                                                \
	FUSE_MAKE_VERSION(3, 18) /* older ones free something in fuse_session_unmount() */
	/* What is mounted there by now may be our successor's. */
	if (!o->detached)
#endif
		fuse_session_unmount(o->se);
	fuse_session_destroy(o->se);
}

static void tear_down(struct overlay *o)
{
	/* What still asks is refused, and the router answers what waits: so nothing stays locked in the
	 * kernel that a notification under way waits for. */
	struct loop_refusal *refusal = o->se ? loop_refuse(o) : NULL;
	o->recheck = recheck_free(o->recheck); /* which may write the entry only now */
	if (o->se)
		mountstate_clear(o->config, o->estate->guard);
	uring_refuse(o->uring);
	coherence_stop(o->coherence);
	o->router = router_free(o->router);
	sync_end(o);
	o->invalidate = invalidate_free(o->invalidate);
	o->repos = repos_free(o->repos);
	loop_refuse_end(refusal);
	o->uring = uring_free(o->uring);
	o->awake = awake_free(o->awake);
	if (o->se)
		end_session(o);
	else
		takeover_failed(o);
	o->coherence = coherence_free(o->coherence);
	closep(&o->stop_fd);
	o->control = control_free(o->control);
	o->fds = fdcache_free(o->fds);
	o->nodes = nodes_free(o->nodes);
	toucher_stop(&o->toucher);
	supervisor_stop(&o->supervisor);
}

static void register_roots(const struct config *c)
{
	for (char **root = c->roots; root && *root; root++) {
		struct err e = ERR_INIT;
		size_t found = 0;
		if (repo_scan(c, *root, 3, &found, &e) < 0)
			log_warn("event=scan dir=\"%s\" error=\"%s\"", *root, e.text);
	}
}

static int new_session(struct overlay *o, const char *options, struct err *e)
{
	struct fuse_lowlevel_ops ops = operations();
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	CLEANUP(freep) char *all = NULL;
	char taken[32];
	if (asprintf(&all, "fsname=rrm,subtype=rrm,default_permissions%s%s", options[0] ? "," : "",
		     options) < 0)
		return -ENOMEM;
	if (fuse_opt_add_arg(&args, "rrm-mount") || fuse_opt_add_arg(&args, "-o") ||
	    fuse_opt_add_arg(&args, all)) {
		fuse_opt_free_args(&args);
		return -ENOMEM;
	}
	o->se = fuse_session_new(&args, &ops, sizeof(ops), o);
	fuse_opt_free_args(&args);
	snprintf(taken, sizeof(taken), "/dev/fd/%d", o->estate->fuse);
	if (!o->se)
		return err_set(
			e, -EINVAL,
			"libfuse refused the mount options \"%s\" (%s/rrm-mount.log says more)",
			options, o->config->base);
	if (fuse_session_mount(o->se, o->taken_over ? taken : o->mountpoint) != 0) {
		fuse_session_destroy(o->se);
		o->se = NULL;
		return err_set(e, -EIO, "libfuse could not mount %s (%s/rrm-mount.log says more)",
			       o->mountpoint, o->config->base);
	}
	o->estate->fuse = fuse_session_fd(o->se);
	return 0;
}

/* From here on the kernel's requests are ours, those that the server before us had read too. */
static int take_over(struct overlay *o, struct err *e)
{
	int rc = loop_resend(o);
	if (rc < 0)
		return err_errno(e, rc, "asking the kernel for what is in flight");
	takeover_log(o);
	rc = recheck_new(o, &o->recheck);
	return rc < 0 ? err_errno(e, rc, "looking for what has changed meanwhile") : 0;
}

struct ender {
	struct overlay *o;
	sigset_t set;
};

/* Waits for a signal to end; SIGUSR1 is serve()'s own word that serving is over. */
static void *wait_for_signal(void *arg)
{
	struct ender *w = arg;
	struct err e = ERR_INIT;
	int sig = 0;
	while (sigwait(&w->set, &sig) != 0 || sig == SIGHUP)
		;
	if (sig == SIGUSR1)
		return NULL;
	log_info("event=end signal=%d", sig);
	if (sig == SIGUSR2) {
		w->o->handover = true;
		loop_stop(w->o);
		return NULL;
	}
	w->o->detached = mounts_detach(w->o->mountpoint, &e) == 0;
	if (!w->o->detached)
		log_warn("event=unmount error=\"%s\"", e.text);
	loop_stop(w->o);
	return NULL;
}

static unsigned worker_count(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	return cores < 2 ? 4 : cores > 8 ? 16 : (unsigned)cores * 2;
}

static sigset_t signals(void)
{
	static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaddset(&set, ours[i]);
	return set;
}

static int serve(struct overlay *o, struct err *e)
{
	struct ender w = {.o = o};
	pthread_t thread;
	if (o->taken_over)
		loop_take_over(o); /* first of all: from here on the kernel can be told something */
	int rc = coherence_start(o, e);
	if (rc < 0)
		return rc;
	/* Blocked before any thread is made, so that only sigwait() sees them. */
	w.set = signals();
	rc = pthread_create(&thread, NULL, wait_for_signal, &w);
	if (rc)
		return err_errno(e, -rc, "starting a thread");
	if (o->taken_over)
		rc = take_over(o, e);
	else /* a successor does it when it serves: it takes as long as a disk takes */
		rc = mountstate_write(o->config, o->mountpoint, o->estate->guard, o->estate->resend,
				      e);
	if (rc == 0) {
		o->awake = awake_new(o->config->awake_ms);
		rc = loop_run(o, o->uring ? 2 : worker_count());
	}
	if (o->handover) { /* what waits stays with the kernel, which gives it to the next */
		pthread_join(thread, NULL);
		o->recheck = recheck_free(o->recheck);
		o->estate->phase = ESTATE_HANDOVER;
		_exit(0);
	}
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	return rc;
}

/* The node table and the helpers, while there is no thread yet. */
static int begin(struct overlay *o)
{
	estate_begin(o->estate);
	int rc = nodes_open(&o->nodes, o->estate->memfd, estate_nodes_at(), o->estate->crashed);
	if (rc == 0 && o->taken_over)
		rc = takeover_sweep(o);
	if (rc == 0)
		rc = toucher_start(&o->toucher, o->estate->guard);
	return rc == 0 ? supervisor_start(&o->supervisor, o->config) : rc;
}

static int restore(struct overlay *o, struct err *e)
{
	int rc = takeover_sessions(o);
	if (rc < 0)
		return err_errno(e, rc, "taking over the mount");
	nodes_taken_end(o->nodes);
	repos_restore(o);
	return 0;
}

int server_run(struct config *c, const struct options *opt, struct estate *es, struct err *e)
{
	struct overlay o = {
		.config = c,
		.mountpoint = opt->mountpoint,
		.estate = es,
		.taken_over = es->init_len > 0,
		.stop_fd = -1,
		.toucher = {.sock = -1},
		.supervisor = {.lifeline = -1},
	};
	sigset_t set = signals();
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* With io_uring the kernel does not send anything again. */
	if (!o.taken_over)
		es->resend = !strstr(opt->fuse, "io_uring") && !getenv("FUSE_URING_ENABLE");
	int rc = begin(&o);
	if (!o.taken_over)
		register_roots(c);
	if (rc == 0)
		rc = build(&o, e);
	if (rc == 0 && o.taken_over)
		rc = restore(&o, e);
	if (rc == 0)
		rc = repos_load(&o, e); /* opens the roots, before anything lies over them */
	if (rc == 0)
		rc = new_session(&o, opt->fuse, e);
	if (rc == 0)
		rc = uring_choose(&o, e);
	if (o.uring)
		o.estate->resend =
			false; /* the rings are the server's own: nobody goes on with them */
	if (rc == 0)
		rc = serve(&o, e);
	tear_down(&o);
	return rc;
}
