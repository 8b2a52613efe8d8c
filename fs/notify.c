#include "fs/notify.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"

enum { WORD_MS = 2000 };

static struct sockaddr_un manager; /* sun_family 0: nobody asked */
static socklen_t manager_len;

void notify_take(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	if (len > 1 && len < sizeof(manager.sun_path) && (path[0] == '/' || path[0] == '@')) {
		manager.sun_family = AF_UNIX;
		memcpy(manager.sun_path, path, len);
		if (path[0] == '@')
			manager.sun_path[0] = '\0'; /* an abstract address */
		manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	}
	unsetenv("NOTIFY_SOCKET");
}

static void tell(const char *text)
{
	if (manager.sun_family == 0)
		return;
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&manager,
			     manager_len);
}

void notify_ready(void)
{
	tell("READY=1\nSTATUS=serving");
}

void notify_progress(const char *fmt, ...)
{
	char text[512], status[600];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "rrm-mount: %s\n", text);
	snprintf(status, sizeof(status), "STATUS=%s", text);
	tell(status);
}

int notify_await(int fd, char *buf, size_t size, size_t *got)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	for (int waited_ms = WORD_MS;; waited_ms += WORD_MS) {
		int n = poll(&p, 1, WORD_MS);
		if (n > 0)
			return file_read_full(fd, buf, size, got);
		if (n < 0 && errno != EINTR)
			return -errno;
		notify_progress(
			"not serving yet after %d s (looking for repositories, opening them)",
			waited_ms / 1000);
	}
}
