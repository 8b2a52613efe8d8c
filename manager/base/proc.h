/*
 * What /proc says. A process is (pid, start time), never a pid alone: start is field 22 of
 * /proc/<pid>/stat in clock ticks since boot. Functions return 0 or a negative errno: -ESRCH when
 * there is no such process, -EACCES when its entry cannot be read.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_stat {
	pid_t pid; /* as asked for: a thread id is accepted */
	pid_t ppid;
	pid_t pgid;
	pid_t session;
	char state; /* 'Z': dead, not yet reaped */
	uint64_t start;
	uint64_t cpu_ticks; /* used by it and by those of its children that it has waited for */
	char comm[17];
};

int proc_stat(pid_t pid, struct proc_stat *out);

/* The process that thread tid belongs to ("Tgid:" in /proc/<tid>/status). */
int proc_tgid(pid_t tid, pid_t *tgid);

/* True when pid lives (not a zombie) and started at start. */
bool proc_alive(pid_t pid, uint64_t start);

/* What makes a thread that waits in the kernel stop waiting. */
enum proc_signal {
	/* nothing, or what only stops it for a while (job control, a tracer, a freezer), or only tells it something
	 * (SIGCHLD, SIGWINCH, SIGURG) */
	PROC_UNSIGNALLED,
	PROC_SIGNALLED, /* another signal that its process handles, or one that ends it with a core */
	PROC_DYING, /* SIGKILL (most that end a process become one); or it is gone; or that cannot be told */
};
enum proc_signal proc_signal(pid_t tid);

/* Working directory as text (readlink of /proc/<pid>/cwd; never touches that directory). */
int proc_cwd(pid_t pid, char *buf, size_t size);

/* Value of name in /proc/<pid>/environ; -ENOENT when it is not set. *out is owned. */
int proc_environ(pid_t pid, const char *name, char **out);

/* /proc/<pid>/exe and the command line with spaces between its words (cut to size). */
int proc_exe(pid_t pid, char *buf, size_t size);
int proc_cmdline(pid_t pid, char *buf, size_t size);

/* /proc/sys/kernel/random/boot_id without the newline; buf of at least 40 bytes. */
int proc_boot_id(char *buf, size_t size);

/* Calls fn for each process (not thread) of /proc; stops when it returns non-zero and returns that. */
int proc_each(int (*fn)(pid_t pid, void *arg), void *arg);

/* Who is whose parent, at one moment: for the trees of many processes, each of which would else look at all. */
struct proc_table;
int proc_table_new(struct proc_table **out);
struct proc_table *proc_table_free(struct proc_table *t); /* NULL is fine; returns NULL */
/* As proc_tree(), at that moment. */
int proc_table_tree(const struct proc_table *t, pid_t pid, pid_t **pids, size_t *n);

/* pid and all its descendants by ppid at this moment, pid first; *pids owned, *n their number. */
int proc_tree(pid_t pid, pid_t **pids, size_t *n);

/* Sums over one process: RSS, PSS and swap in KiB from /proc/<pid>/smaps_rollup (rss from statm when
 * that cannot be read; pss is then 0). */
struct proc_memory {
	uint64_t rss_kib, pss_kib, swap_kib;
};
int proc_memory(pid_t pid, struct proc_memory *out);

/* Supplementary groups of a thread ("Groups:" in /proc/<tid>/status). *groups owned. */
int proc_groups(pid_t tid, gid_t **groups, size_t *n);
