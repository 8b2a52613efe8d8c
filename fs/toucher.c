#include "fs/toucher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/proc.h"

enum { CPU_MS = 100 };

struct touch {
	enum toucher_what what;
	uint64_t ino;
	char path[PATH_MAX];
};

union control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static bool touch_on(unsigned cpu, const char *path)
{
	struct statfs sf;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0 && statfs(path, &sf) == 0;
}

static bool do_touch(const struct touch *t)
{
	struct stat st;
	if (t->what == TOUCH_CPU)
		return touch_on((unsigned)t->ino, t->path);
	if (t->what == TOUCH_LOOKUP)
		return lstat(t->path, &st) == 0;
	CLEANUP(closep) int fd = open(t->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == t->ino && fdatasync(fd) == 0;
}

/* The next order and the pipe for its answer; false at the server's end. */
static bool next(int sock, struct touch *t, int *answer)
{
	union control c;
	struct iovec iov = {.iov_base = t, .iov_len = sizeof(*t)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
	ssize_t n = 0;
	do
		n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	const struct cmsghdr *cm = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (!cm)
		return false;
	memcpy(answer, CMSG_DATA(cm), sizeof(*answer));
	return true;
}

static pid_t whom_to_tell;

static void on_server_death(int sig)
{
	kill(whom_to_tell, SIGCHLD);
	_exit(0);
}

static void serve(int sock, pid_t server)
{
	struct touch t;
	int answer = -1;
	sigset_t none;
	prctl(PR_SET_NAME, "rrm-touch");
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGCHLD, SIG_IGN); /* nobody waits for the children */
	signal(SIGINT, SIG_IGN);  /* a ^C is for the server, which ends us */
	signal(SIGTERM, on_server_death);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != server)
		on_server_death(SIGTERM);
	while (next(sock, &t, &answer)) {
		if (fork() == 0) {
			close(sock);
			ssize_t n = do_touch(&t) ? write(answer, "y", 1) : 0;
			_exit(n < 0);
		}
		close(answer);
	}
	_exit(0);
}

int toucher_start(struct toucher *t, pid_t guard)
{
	int ends[2];
	pid_t server = getpid();
	t->sock = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	t->pid = fork();
	if (t->pid == 0) {
		dup2(ends[1], STDIN_FILENO);
		close_range(3, ~0u, 0);
		whom_to_tell = guard;
		serve(STDIN_FILENO, server);
	}
	int rc = t->pid < 0 ? -errno : 0;
	close(ends[1]);
	if (rc == 0)
		t->sock = ends[0];
	else
		close(ends[0]);
	return rc;
}

void toucher_stop(struct toucher *t)
{
	if (t->sock < 0)
		return;
	close(t->sock);
	t->sock = -1;
	while (waitpid(t->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static bool send_order(int sock, const struct touch *t, int answer)
{
	union control c = {.bytes = {0}};
	size_t len = offsetof(struct touch, path) + strlen(t->path) + 1;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)t, .iov_len = len};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&m);
	*cm = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
			       .cmsg_type = SCM_RIGHTS,
			       .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(cm), &answer, sizeof(answer));
	return sendmsg(sock, &m, MSG_NOSIGNAL) >= 0;
}

bool toucher_touch(struct toucher *t, enum toucher_what what, const char *path, uint64_t ino)
{
	struct touch order = {.what = what, .ino = ino};
	int answer[2];
	char byte = 0;
	if (t->sock < 0 || strlen(path) >= sizeof(order.path) || pipe2(answer, O_CLOEXEC) < 0)
		return false;
	strcpy(order.path, path);
	bool sent = send_order(t->sock, &order, answer[1]);
	close(answer[1]);
	ssize_t n = 0;
	struct pollfd p = {.fd = answer[0], .events = POLLIN};
	if (what == TOUCH_CPU && poll(&p, 1, CPU_MS) <= 0)
		sent = false;
	while (sent && (n = read(answer[0], &byte, 1)) < 0 && errno == EINTR)
		;
	close(answer[0]);
	return n == 1 && byte == 'y';
}

bool toucher_is(const struct toucher *t, pid_t pid)
{
	struct proc_stat st;
	return pid > 0 && t->sock >= 0 && proc_stat(pid, &st) == 0 && st.ppid == t->pid;
}
