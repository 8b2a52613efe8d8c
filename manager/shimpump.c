#include "manager/shimpump.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "manager/base/cleanup.h"

enum { CHUNK = 64 << 10 };

struct pump {
	int client, backend;
	struct shimhttp *h;
	char in[CHUNK]; /* from the client, not yet understood */
	size_t in_at, in_len;
	struct shimhttp_out up; /* understood, to the backend */
	size_t up_at;
	char down[CHUNK]; /* to the client */
	size_t down_at, down_len;
	bool backend_ended;
};

static void pump_freep(struct pump **p)
{
	if (*p)
		shimhttp_out_deinit(&(*p)->up);
	free(*p);
}

/* Bytes moved; 0 at the end of file; -EAGAIN. */
static ssize_t receive(int fd, char *buf, size_t size)
{
	ssize_t n;
	do {
		n = recv(fd, buf, size, 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Sends what is there from *at to len. 0 or negative errno; a full socket is no error. */
static int flush(int fd, const char *data, size_t *at, size_t len)
{
	while (*at < len) {
		ssize_t n = send(fd, data + *at, len - *at, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			*at += (size_t)n;
	}
	return 0;
}

/* What was read from the client becomes what the backend gets. */
static int translate(struct pump *p)
{
	size_t used;
	int r = shimhttp_feed(p->h, p->in + p->in_at, p->in_len - p->in_at, &used, &p->up);
	p->in_at += used;
	return r;
}

/* 1: go on; 0: the client has closed. */
static int from_client(struct pump *p)
{
	ssize_t n = receive(p->client, p->in, CHUNK);
	if (n <= 0)
		return n == -EAGAIN ? 1 : (int)n;
	p->in_at = 0;
	p->in_len = (size_t)n;
	p->up.len = p->up_at = 0;
	int r = translate(p);
	return r < 0 ? r : 1;
}

static int from_backend(struct pump *p)
{
	ssize_t n = receive(p->backend, p->down, CHUNK);
	if (n == -EAGAIN)
		return 0;
	if (n <= 0) {
		p->backend_ended = true; /* a reset too: what came before it still goes on */
		return 0;
	}
	p->down_at = 0;
	p->down_len = (size_t)n;
	bool waited = p->h->state == SHIMHTTP_UPGRADE;
	shimhttp_answered(p->h, p->down, (size_t)n);
	return waited && p->in_at < p->in_len ? translate(p) : 0;
}

static void wanted(const struct pump *p, struct pollfd fds[2])
{
	bool up = p->up_at < p->up.len, down = p->down_at < p->down_len;
	fds[0] = (struct pollfd){.fd = p->client};
	fds[1] = (struct pollfd){.fd = p->backend};
	/* Without POLLIN a client that goes away is still seen: POLLHUP, or the failing send. */
	if (!up && p->in_at == p->in_len)
		fds[0].events |= POLLIN;
	if (down)
		fds[0].events |= POLLOUT;
	if (!down && !p->backend_ended)
		fds[1].events |= POLLIN;
	if (up)
		fds[1].events |= POLLOUT;
	if (p->backend_ended)
		fds[1].fd = -1;
}

/* 1: go on; 0: it is over. */
static int step(struct pump *p)
{
	struct pollfd fds[2];
	int r = 1;
	wanted(p, fds);
	if (poll(fds, 2, -1) < 0)
		return errno == EINTR ? 1 : -errno;
	if (fds[0].revents & POLLIN)
		r = from_client(p);
	else if (fds[0].revents & (POLLHUP | POLLERR))
		r = 0;
	if (r == 1 && (fds[1].events & POLLIN) && (fds[1].revents & (POLLIN | POLLHUP | POLLERR))) {
		int b = from_backend(p);
		r = b < 0 ? b : 1;
	}
	if (r == 1 && p->up_at < p->up.len && !p->backend_ended) {
		int b = flush(p->backend, p->up.data, &p->up_at, p->up.len);
		/* It may have answered before it closed: that is read first. */
		if (b < 0)
			p->up_at = p->up.len;
	}
	if (r == 1) {
		int b = flush(p->client, p->down, &p->down_at, p->down_len);
		r = b < 0 ? b : 1;
	}
	return r == 1 && p->backend_ended && p->down_at == p->down_len ? 0 : r;
}

static int unblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int shimpump_run(int client, int backend, struct shimhttp *h)
{
	CLEANUP(pump_freep) struct pump *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->client = client;
	p->backend = backend;
	p->h = h;
	int r = unblock(client);
	if (r == 0)
		r = unblock(backend);
	if (r == 0)
		r = 1;
	while (r == 1)
		r = step(p);
	return r;
}
