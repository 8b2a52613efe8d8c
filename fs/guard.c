#include "fs/guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/awake.h"
#include "fs/mounts.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/proc.h"
#include "manager/cmd.h"
#include "manager/mountstate.h"

enum {
	LOOK_MS = 20,      /* how often a server that dies slowly is looked at */
	LOOKS = 500,       /* how many times, while nothing shows that it dies at all */
	SAY_MS = 2000,     /* after so long it is said what holds it up */
	HANDOVER_MS = 200, /* it may take this long to make room: nobody is served meanwhile */
};

static const char inherit_name[] = "RRM_MOUNT_ESTATE";

struct guard {
	struct estate *es;
	const struct guard_mount *m;
	pid_t server;
	bool ending;            /* somebody wants the mount to end */
	uint64_t replace_by_ms; /* 0: nobody wants another program */
	uint64_t crashes[GUARD_CRASHES];
	unsigned n_crashes;
};

static void signals(sigset_t *set)
{
	static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGUSR2};
	sigemptyset(set);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		sigaddset(set, ours[i]);
}

/* ---- the server ---- */

/* Like fork(), with the descriptors shared. fork() cannot, and exec() would end the sharing. */
static pid_t fork_sharing(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
}

static int start_server(struct guard *g)
{
	fflush(NULL);
	g->es->phase = ESTATE_STARTING;
	g->server = fork_sharing();
	if (g->server < 0)
		return -errno;
	if (g->server > 0)
		return 0;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_SET_NAME, "rrm-mount");
	if (getppid() != g->es->guard)
		raise(SIGTERM); /* blocked: the server sees it when it looks */
	return GUARD_SERVE;
}

/* What a dying thread of the server does in the kernel. */
enum dying {
	DYING_ENDS,     /* nothing that lasts, as far as can be told */
	DYING_HARMLESS, /* the successor need not wait for it */
	DYING_CHANGES, /* it may change something yet: a successor that did it again would do it twice */
};

/*
 * Harmless is what waits for the mount's own answer, which only a successor can give, and what changes nothing: a
 * disk may take seconds for an fsync(2), and the kernel lets nobody end before.
 */
static bool is_harmless(const struct guard *g, long number, const unsigned long args[3])
{
	switch (number) {
	case SYS_write:
	case SYS_writev:
		return args[0] == (unsigned long)g->es->fuse;
	case SYS_openat: /* a descriptor that nobody knows goes with the next server's end */
		return !(args[2] & (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY)));
	case SYS_close: /* the number is free by then; the file system goes on with what it frees */
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_syncfs:
	case SYS_pread64:
	case SYS_preadv:
	case SYS_preadv2:
	case SYS_statx:
	case SYS_newfstatat:
	case SYS_getdents64:
	case SYS_readlinkat:
	case SYS_lseek:
	case SYS_fstatfs:
	case SYS_getxattr:
	case SYS_lgetxattr:
	case SYS_fgetxattr:
	case SYS_listxattr:
	case SYS_llistxattr:
	case SYS_flistxattr:
		return true;
	default:
		return false;
	}
}

static enum dying thread_does(const struct guard *g, pid_t tid, long *number)
{
	char path[80], text[160] = "";
	struct proc_stat st;
	unsigned long args[3] = {0};
	int rc = proc_stat(tid, &st);
	if (rc == -ESRCH || (rc == 0 && (st.state == 'Z' || st.state == 'X')))
		return DYING_ENDS;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", (int)g->server, (int)tid);
	CLEANUP(fclosep) FILE *f = fopen(path, "re");
	*number = -1;
	if (!f || !fgets(text, sizeof(text), f) ||
	    sscanf(text, "%ld 0x%lx 0x%lx 0x%lx", number, &args[0], &args[1], &args[2]) != 4)
		return DYING_CHANGES;
	return is_harmless(g, *number, args) ? DYING_HARMLESS : DYING_CHANGES;
}

static bool leader_is_dead(const struct guard *g)
{
	struct proc_stat st;
	return proc_stat(g->server, &st) == 0 && st.state == 'Z';
}

/*
 * The process is dying, but some of its threads hang in the kernel, and nothing of it runs any more. One that tells the
 * kernel to forget something may wait for a lock that a program has which waits for an answer of ours; others wait
 * for a disk. DYING_HARMLESS: there can be a successor. DYING_CHANGES: *tid is in the system call *number.
 */
static enum dying server_does(const struct guard *g, pid_t *tid, long *number)
{
	char path[40];
	const struct dirent *ent;
	enum dying all = DYING_ENDS;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)g->server);
	CLEANUP(closedirp) DIR *d = opendir(path);
	while (d && all != DYING_CHANGES && (ent = readdir(d))) {
		*tid = (pid_t)strtol(ent->d_name, NULL, 10);
		enum dying one = *tid > 0 ? thread_does(g, *tid, number) : DYING_ENDS;
		all = one > all ? one : all;
	}
	return all;
}

/* ---- the end ---- */

static int end_mount(const struct guard *g, const char *why)
{
	struct err e = ERR_INIT;
	char type[64];
	log_error("event=give_up mountpoint=\"%s\" error=\"%s\"", g->m->mountpoint, why);
	if (mounts_at(g->m->mountpoint, type, sizeof(type)) && strcmp(type, "fuse.rrm") == 0 &&
	    mounts_detach(g->m->mountpoint, &e) < 0)
		log_warn("event=unmount error=\"%s\"", e.text);
	mountstate_clear(g->m->config, getpid());
	return CMD_FAILED;
}

/* Crashes count always, to be killed only before it served: who kills servers may go on. */
static bool crashes_on_and_on(struct guard *g, int status)
{
	uint64_t now = clock_mono_ms();
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && g->es->phase == ESTATE_SERVING)
		return false;
	uint64_t *oldest = &g->crashes[g->n_crashes++ % GUARD_CRASHES];
	*oldest = now;
	uint64_t first = g->crashes[g->n_crashes % GUARD_CRASHES];
	return g->n_crashes >= GUARD_CRASHES && now - first <= GUARD_CRASHES_MS;
}

/* ---- another program ---- */

static int inheritable(bool yes)
{
	if (!yes) {
		close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
		return 0;
	}
	CLEANUP(closedirp) DIR *d = opendir("/proc/self/fd");
	const struct dirent *ent;
	if (!d)
		return -errno;
	while (d && (ent = readdir(d))) {
		int fd = (int)strtol(ent->d_name, NULL, 10);
		if (fd <= STDERR_FILENO || fd == dirfd(d))
			continue;
		fcntl(fd, F_SETFD, 0);
		/* A thread of the dead server that hangs in the kernel until its successor answers
		 * keeps the descriptors that we share now; the successor needs its locks. */
		fcntl(fd, F_OFD_SETLK, &(struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET});
	}
	return 0;
}

/* Becomes the program that is on disk now. Returns when that cannot be: this one goes on then. */
static void become_new_program(const struct guard *g)
{
	char path[PATH_MAX] = "", text[40];
	static const char deleted[] = " (deleted)";
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	size_t tail = sizeof(deleted) - 1;
	if (len > (ssize_t)tail && strcmp(path + len - tail, deleted) == 0)
		path[(size_t)len - tail] = '\0';
	char name[] = "rrm-mount", f[] = "-f", o[] = "-o", dash[] = "--";
	CLEANUP(freep) char *fuse = strdup(g->m->fuse);
	CLEANUP(freep) char *at = strdup(g->m->mountpoint);
	char *with[] = {name, f, o, fuse, dash, at, NULL};
	char *without[] = {name, f, dash, at, NULL};
	snprintf(text, sizeof(text), "%d", g->es->memfd);
	if (!fuse || !at || setenv(inherit_name, text, 1) < 0)
		return;
	log_info("event=reexec program=\"%s\"", path);
	if (inheritable(true) == 0)
		execv(path, fuse[0] ? with : without);
	log_error("event=reexec program=\"%s\" error=\"%m\" effect=\"the old one goes on\"", path);
	inheritable(false);
	unsetenv(inherit_name);
}

struct estate *guard_inherited(char **argv)
{
	const char *text = getenv(inherit_name);
	struct err e = ERR_INIT;
	struct estate *es = NULL;
	int fd = text ? (int)strtol(text, NULL, 10) : -1;
	if (fd <= STDERR_FILENO || fcntl(fd, F_GETFD) < 0)
		return NULL;
	int rc = estate_open(&es, fd, &e);
	if (rc == -ESTALE) {
		log_error("event=reexec error=\"%s\" effect=\"the old program goes on\"", e.text);
		syscall(SYS_execveat, es->program, "", argv, environ, AT_EMPTY_PATH);
		log_error("event=reexec error=\"cannot go back to the old program: %m\"");
	}
	unsetenv(inherit_name);
	if (rc < 0)
		return NULL;
	inheritable(false);
	return es;
}

/* ---- its life ---- */

/* The server is gone. True: the mount is over, with *code. False: there shall be another one. */
static bool is_over(struct guard *g, int status, int *code)
{
	struct estate *es = g->es;
	/* One that never served may not have come to make good what a crash before it left. */
	es->crashed = (es->crashed && es->phase == ESTATE_STARTING) ||
		      (es->phase != ESTATE_HANDOVER &&
		       (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL));
	if (es->phase == ESTATE_ENDED && WIFEXITED(status)) {
		*code = WEXITSTATUS(status);
		return true;
	}
	if (es->phase == ESTATE_HANDOVER) {
		g->replace_by_ms = 0;
		if (!g->ending) /* else its successor ends at once */
			become_new_program(g);
		return false;
	}
	log_warn("event=server_died pid=%d %s=%d", (int)g->server,
		 WIFSIGNALED(status) ? "signal" : "status",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	*code = CMD_FAILED;
	if (g->ending)
		end_mount(g, "the server died while it was to end");
	else if (!es->init_len)
		end_mount(g, "the server died before it served");
	else if (!es->resend)
		end_mount(g,
			  "the server died, and this kernel (before Linux 6.9, or with io_uring) "
			  "cannot ask its successor again");
	else if (crashes_on_and_on(g, status))
		end_mount(g, "the server crashed again and again");
	else
		return false;
	return true;
}

/* Waits for the next signal, or LOOK_MS when there is something to look at; a second when that was said. */
static int next_signal(const struct guard *g, unsigned dying, bool said)
{
	sigset_t set;
	struct timespec soon = {.tv_sec = said, .tv_nsec = said ? 0 : LOOK_MS * 1000000L};
	signals(&set);
	return dying || g->replace_by_ms ? sigtimedwait(&set, NULL, &soon)
					 : sigwaitinfo(&set, NULL);
}

static void on_signal(struct guard *g, int sig)
{
	if (sig == SIGTERM || sig == SIGINT) {
		g->ending = true;
		g->replace_by_ms = 0;
		kill(g->server, SIGTERM);
	} else if (sig == SIGUSR2 && g->es->init_len && !g->es->resend) {
		log_warn("event=reexec error=\"this kernel is older than Linux 6.9, or io_uring is "
			 "used\" "
			 "effect=\"the old program goes on\"");
	} else if (sig == SIGUSR2 && g->es->init_len && !g->replace_by_ms && !g->ending) {
		g->replace_by_ms = clock_mono_ms() + HANDOVER_MS;
		kill(g->server, SIGUSR2);
	}
}

/* True when the server has ended. Earlier ones that hung then end here, too. */
static bool reaped(const struct guard *g, int *status)
{
	pid_t pid = 0;
	do
		pid = waitpid(-1, status, WNOHANG);
	while (pid > 0 && pid != g->server);
	return pid == g->server || (pid < 0 && errno == ECHILD);
}

/* What the server held for all, and would hold for as long as it hangs (awake.h). */
static void let_processors_halt(void)
{
	char target[64];
	CLEANUP(closedirp) DIR *d = opendir("/proc/self/fd");
	const struct dirent *ent;
	while (d && (ent = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), ent->d_name, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		if (strcmp(target, AWAKE_DEVICE) == 0)
			close((int)strtol(ent->d_name, NULL, 10));
	}
}

/* How the process ended whose threads hang: the last field of its stat; SIGKILL when that cannot be told. */
static int status_so_far(const struct guard *g)
{
	char path[40], text[1024] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)g->server);
	CLEANUP(fclosep) FILE *f = fopen(path, "re");
	const char *last = f && fgets(text, sizeof(text), f) ? strrchr(text, ' ') : NULL;
	int status = last ? (int)strtol(last, NULL, 10) : 0;
	return status ? status : SIGKILL;
}

/* True when there can be a successor though the server has not ended. since: its end was seen then; said: and told. */
static bool as_good_as_dead(const struct guard *g, uint64_t since, bool *said)
{
	pid_t tid = 0;
	long number = 0;
	enum dying does = server_does(g, &tid, &number);
	if (does == DYING_HARMLESS)
		return true;
	if (does == DYING_CHANGES && !*said && clock_mono_ms() > since + SAY_MS) {
		log_warn(
			"event=server_dying pid=%d thread=%d syscall=%ld error=\"the disk does not "
			"answer a change\" effect=\"the mount waits until it does\"",
			(int)g->server, (int)tid, number);
		*said = true;
	}
	return false;
}

/* Until the server is dead, or as good as that: its status. */
static int watch_server(struct guard *g)
{
	unsigned looks = 0; /* its end was told (toucher.h), but it has not ended */
	uint64_t since = 0; /* it dies, and the kernel does not let it */
	bool said = false;
	for (;;) {
		int status = 0, sig = next_signal(g, looks, said);
		on_signal(g, sig);
		if (reaped(g, &status))
			return status;
		if (g->replace_by_ms && clock_mono_ms() > g->replace_by_ms) {
			g->es->phase = ESTATE_HANDOVER;
			kill(g->server, SIGKILL);
		}
		looks = sig == SIGCHLD ? LOOKS : looks ? looks - 1 : 0;
		if (!looks || looks == LOOKS || !leader_is_dead(g))
			continue;
		looks = LOOKS - 1;
		if (!since) {
			since = clock_mono_ms();
			let_processors_halt();
		}
		if (as_good_as_dead(g, since, &said))
			return status_so_far(g);
	}
}

/* We share the server's descriptors, which are many: with fewer allowed to us we could open none. */
static void raise_nofile(void)
{
	struct rlimit rl;
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

int guard_run(struct estate *es, const struct guard_mount *m, int *code, struct err *e)
{
	struct guard g = {.es = es, .m = m};
	sigset_t set;
	raise_nofile();
	signals(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		int rc = start_server(&g);
		if (rc < 0) {
			rc = err_errno(e, rc, "starting the server");
			if (es->init_len)
				end_mount(&g, e->text);
			return rc;
		}
		if (rc == GUARD_SERVE)
			return rc;
		prctl(PR_SET_NAME, "rrm-mount-guard");
		if (g.ending)
			kill(g.server, SIGTERM);
		if (is_over(&g, watch_server(&g), code))
			return 0;
	}
}
