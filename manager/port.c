#include "manager/port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "manager/base/cleanup.h"
#include "manager/base/proc.h"

/*
 * SO_REUSEADDR as the backends set it: a connection in TIME_WAIT does not take the port away, a
 * listener does. 0 with the port that was bound, or negative errno.
 */
static int try_bind(int port, int *got)
{
	CLEANUP(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int one = 1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return -errno;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	socklen_t len = sizeof(a);
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return -errno;
	*got = ntohs(a.sin_port);
	return 0;
}

bool port_is_free(int port)
{
	int got;
	return port > 0 && port <= 65535 && try_bind(port, &got) == 0;
}

int port_choose(int preferred, int *port, struct err *e)
{
	if (port_is_free(preferred)) {
		*port = preferred;
		return 0;
	}
	int r = try_bind(0, port);
	return r < 0 ? err_errno(e, r, "no free port on 127.0.0.1") : 0;
}

/* Inode of the socket that listens on port in one of the kernel's tables; 0 when there is none. */
static unsigned long listener_inode(const char *table, int port)
{
	CLEANUP(fclosep) FILE *f = fopen(table, "re");
	char line[512];
	while (f && fgets(line, sizeof(line), f)) {
		unsigned int local_port, state;
		unsigned long inode;
		if (sscanf(line,
			   " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*d %*d %lu",
			   &local_port, &state, &inode) != 3)
			continue;
		if ((int)local_port == port && state == 0x0a)
			return inode;
	}
	return 0;
}

/* proc_each() callback: 1 when pid has the socket named in arg ("socket:[123]") open. */
struct holder_search {
	char link[48];
	pid_t pid;
};

static int has_socket(pid_t pid, void *arg)
{
	struct holder_search *s = arg;
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	CLEANUP(closedirp) DIR *d = opendir(path);
	if (!d)
		return 0;
	const struct dirent *de;
	while ((de = readdir(d))) {
		char target[64];
		ssize_t n = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, s->link) == 0) {
			s->pid = pid;
			return 1;
		}
	}
	return 0;
}

const char *port_holder(int port, char *buf, size_t size)
{
	unsigned long inode = listener_inode("/proc/net/tcp", port);
	if (inode == 0)
		inode = listener_inode("/proc/net/tcp6", port);
	if (inode == 0) {
		snprintf(buf, size, "nobody");
		return buf;
	}
	struct holder_search s = {.pid = 0};
	snprintf(s.link, sizeof(s.link), "socket:[%lu]", inode);
	struct proc_stat st;
	if (proc_each(has_socket, &s) > 0 && proc_stat(s.pid, &st) == 0)
		snprintf(buf, size, "pid %d (%s)", (int)s.pid, st.comm);
	else
		snprintf(buf, size, "a process that cannot be seen from here");
	return buf;
}
