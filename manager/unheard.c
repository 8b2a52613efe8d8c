#include "manager/unheard.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/proc.h"

enum { ESTABLISHED = 1 }; /* tcp_info.tcpi_state */

static bool on_port(int fd, int port)
{
	struct sockaddr_storage a = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(a);
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return false;
	if (a.ss_family == AF_INET)
		return ntohs(((struct sockaddr_in *)&a)->sin_port) == port;
	return a.ss_family == AF_INET6 && ntohs(((struct sockaddr_in6 *)&a)->sin6_port) == port;
}

static bool unheard(int fd, int port, uint64_t before_ms)
{
	struct tcp_info t = {.tcpi_state = 0};
	socklen_t len = sizeof(t);
	return on_port(fd, port) && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &t, &len) == 0 &&
	       t.tcpi_state == ESTABLISHED && t.tcpi_bytes_received > 0 && t.tcpi_bytes_sent == 0 &&
	       clock_mono_ms() - t.tcpi_last_data_recv < before_ms;
}

/* The sockets of one process. */
static int end_of(pid_t pid, int port, uint64_t before_ms)
{
	CLEANUP(closep) int process = (int)syscall(SYS_pidfd_open, pid, 0);
	char path[64], target[32];
	int n = 0;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	CLEANUP(closedirp) DIR *dir = process < 0 ? NULL : opendir(path);
	struct dirent *d;
	while (dir && (d = readdir(dir))) {
		ssize_t len = readlinkat(dirfd(dir), d->d_name, target, sizeof(target));
		if (len < 7 || memcmp(target, "socket:", 7) != 0)
			continue;
		CLEANUP(closep)
		int fd = (int)syscall(SYS_pidfd_getfd, process, atoi(d->d_name), 0);
		if (fd < 0 && errno == EPERM)
			return -EPERM;
		/* Its own descriptor stays open: the process finds its peer gone, and closes it. */
		if (fd >= 0 && unheard(fd, port, before_ms) && shutdown(fd, SHUT_RDWR) == 0)
			n++;
	}
	return n;
}

int unheard_end(pid_t pid, int port, uint64_t before_ms)
{
	CLEANUP(freep) pid_t *pids = NULL;
	size_t n = 0;
	int all = 0, r = proc_tree(pid, &pids, &n);
	for (size_t i = 0; r >= 0 && i < n; i++) {
		r = end_of(pids[i], port, before_ms);
		all += r > 0 ? r : 0;
	}
	return r < 0 ? r : all;
}
