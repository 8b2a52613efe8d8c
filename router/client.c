/*
 * HTTP/1.1 over a unix socket by plain sockets, as in base/probe.c and for the same reason: every rrm
 * command links this file, and libcurl alone would cost each of them more at start than a warm
 * `rrm ensure` may take. The other side is always our own gateway, so the only answer understood is
 * one with a Content-Length.
 */
#include "router/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/base/spin.h"
#include "manager/base/stop_point.h"

enum { ANSWER_MAX = 64 * 1024 };

struct client {
	struct sockaddr_un addr;
	int fd;      /* -1: not connected */
	bool reused; /* fd has carried an exchange before */
	bool begun;  /* a whole request was sent and is not answered */
	char buf[ANSWER_MAX + 1];
};

/* What an exchange needs to know of an answer's head. */
struct head {
	int status;
	size_t body; /* offset */
	size_t len;  /* Content-Length */
	bool close;
};

int client_new(struct client **out, const char *socket_path)
{
	size_t len = strlen(socket_path);
	if (len >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return -ENAMETOOLONG;
	struct client *c = malloc(sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(c->addr.sun_path, socket_path, len + 1);
	c->fd = -1;
	c->reused = c->begun = false;
	*out = c;
	return 0;
}

struct client *client_free(struct client *c)
{
	if (c)
		client_reset(c);
	free(c);
	return NULL;
}

void client_reset(struct client *c)
{
	closep(&c->fd);
	c->fd = -1;
	c->reused = c->begun = false;
}

int client_fd(const struct client *c)
{
	return c->fd;
}

/* Waits for events until deadline_ms (CLOCK_MONOTONIC). */
static int wait_for(int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		uint64_t now = clock_mono_ms();
		struct pollfd p = {.fd = fd, .events = events};
		int n = poll(&p, 1, now < deadline_ms ? (int)(deadline_ms - now) : 0);
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int dial(struct client *c, uint64_t deadline_ms)
{
	if (c->fd >= 0)
		return 0;
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* A full backlog is EAGAIN at once, and nothing tells when there is room again. */
	while (connect(fd, (struct sockaddr *)&c->addr, sizeof(c->addr)) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		if (clock_mono_ms() >= deadline_ms)
			return -ETIMEDOUT;
		poll(NULL, 0, 1);
	}
	c->fd = steal_fd(&fd);
	c->reused = false;
	return 0;
}

static int send_all(int fd, struct iovec *iov, size_t n, uint64_t deadline_ms)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
	while (msg.msg_iovlen) {
		ssize_t k = sendmsg(fd, &msg, MSG_NOSIGNAL);
		if (k < 0 && errno == EAGAIN) {
			int r = wait_for(fd, POLLOUT, deadline_ms);
			if (r < 0)
				return r;
			continue;
		}
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		while (msg.msg_iovlen && (size_t)k >= msg.msg_iov->iov_len) {
			k -= (ssize_t)msg.msg_iov->iov_len;
			msg.msg_iov++;
			msg.msg_iovlen--;
		}
		if (msg.msg_iovlen) {
			msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + k;
			msg.msg_iov->iov_len -= (size_t)k;
		}
	}
	return 0;
}

/* 1: head is filled; 0: more bytes are needed; -EPROTO. buf is terminated. */
static int parse_head(const char *buf, struct head *h, struct err *e)
{
	const char *end = strstr(buf, "\r\n\r\n");
	int minor = 0;
	if (!end)
		return 0;
	*h = (struct head){.body = (size_t)(end - buf) + 4};
	if (sscanf(buf, "HTTP/1.%1d %3d", &minor, &h->status) != 2)
		return err_set(e, -EPROTO, "what answered is no HTTP server");
	bool has_len = false;
	for (const char *p = strstr(buf, "\r\n"); p && p < end; p = strstr(p + 2, "\r\n")) {
		const char *line = p + 2;
		if (strncasecmp(line, "Content-Length:", 15) == 0) {
			h->len = strtoul(line + 15, NULL, 10);
			has_len = true;
		} else if (strncasecmp(line, "Connection: close", 17) == 0) {
			h->close = true;
		}
	}
	if (!has_len || h->len > ANSWER_MAX - h->body)
		return err_set(e, -EPROTO, "an answer of status %d has no usable length",
			       h->status);
	return 1;
}

/* *got: bytes that came, also on failure. */
static int receive(struct client *c, struct head *h, size_t *got, uint64_t deadline_ms,
		   struct err *e)
{
	int have_head = 0;
	struct spin spin = spin_begin();
	*got = 0;
	for (;;) {
		ssize_t n = recv(c->fd, c->buf + *got, ANSWER_MAX - *got, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN && spin_more(&spin))
			continue;
		if (n < 0 && errno == EAGAIN) {
			int r = wait_for(c->fd, POLLIN, deadline_ms);
			if (r < 0)
				return r;
			continue;
		}
		if (n < 0)
			return -errno;
		if (n == 0)
			return *got < ANSWER_MAX ? -ECONNRESET : -EPROTO;
		*got += (size_t)n;
		c->buf[*got] = '\0';
		if (!have_head)
			have_head = parse_head(c->buf, h, e);
		if (have_head < 0)
			return have_head;
		if (have_head && *got >= h->body + h->len)
			return 0;
	}
}

struct request {
	char length[64];
	struct iovec iov[4];
	size_t n;
};

static void request_fill(struct request *q, const struct mutation *m, const char *text)
{
	static char first[] = "POST /mutations HTTP/1.1\r\nHost: rrm\r\nRrm-Mutation: ";
	int n = snprintf(q->length, sizeof(q->length), "\r\nContent-Length: %zu\r\n\r\n",
			 m->data_len);

	q->iov[0] = (struct iovec){first, sizeof(first) - 1};
	q->iov[1] = (struct iovec){(char *)(uintptr_t)text, strlen(text)};
	q->iov[2] = (struct iovec){q->length, (size_t)n};
	q->iov[3] = (struct iovec){m->data, m->data_len};
	q->n = m->data_len ? 4 : 3;
}

/* One request and its answer over the connection, which is made when there is none. */
static int exchange(struct client *c, const struct mutation *m, const char *text,
		    uint64_t deadline_ms, struct head *h, struct err *e)
{
	for (;;) {
		size_t got = 0;
		struct request q;
		int r = dial(c, deadline_ms);
		if (r < 0)
			return r;
		bool reused = c->reused;
		request_fill(&q, m, text);
		int sent = send_all(c->fd, q.iov, q.n, deadline_ms);
		stop_point("request-sent");
		/* A gateway that refuses early answers before it has read all: look for that. */
		r = sent == -ETIMEDOUT ? sent : receive(c, h, &got, deadline_ms, e);
		if (r == 0) {
			c->reused = true;
			if (h->close || sent < 0)
				client_reset(c);
			return 0;
		}
		client_reset(c);
		/* The gateway closed an idle connection, or was replaced: its socket may be a new
		 * one by now, and the id makes the second sending harmless. */
		if (!reused || got > 0 || (r != -ECONNRESET && r != -EPIPE))
			return r == -EPIPE ? -ECONNRESET : r;
	}
}

/* A refusal of the whole request: the sentence is in {error}. */
static int refused(const struct client *c, const struct mutation *m, const struct head *h,
		   struct mutation_answer *a, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	const char *text = "no reason given";
	if (json_parse(c->buf + h->body, h->len, &j, NULL) == 0)
		text = json_str(j, "error", text);
	int error = h->status == 400   ? EINVAL
		    : h->status == 403 ? EPERM
		    : h->status == 413 ? EFBIG
				       : 0;
	if (!error)
		return err_set(e, -EPROTO, "the gateway at %s answered status %d: %s",
			       c->addr.sun_path, h->status, text);
	memcpy(a->id, m->id, sizeof(a->id));
	a->error = error;
	snprintf(a->message, sizeof(a->message), "%s", text);
	return 0;
}

/* How an exchange ended. r < 0: why may say more. */
static int judge(struct client *c, const struct mutation *m, int r, const struct head *h,
		 const struct err *why, struct mutation_answer *a, struct err *e)
{
	struct err detail = ERR_INIT;
	if (r < 0 && *why->text)
		return err_set(e, r, "asking the gateway at %s: %s", c->addr.sun_path, why->text);
	if (r < 0)
		return err_errno(e, r, "asking the gateway at %s", c->addr.sun_path);
	if (h->status != 200)
		return refused(c, m, h, a, e);
	r = mutation_answer_decode(c->buf + h->body, h->len, a, &detail);
	if (r == 0 && strcmp(a->id, m->id) != 0)
		r = err_set(&detail, -EPROTO, "it answered another request");
	if (r < 0) {
		client_reset(c);
		return err_set(e, -EPROTO, "asking the gateway at %s: %s", c->addr.sun_path,
			       detail.text);
	}
	return 0;
}

static uint64_t deadline_after(long timeout_ms)
{
	return clock_mono_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
}

int client_send(struct client *c, const struct mutation *m, long timeout_ms,
		struct mutation_answer *a, struct err *e)
{
	struct head h = {0};
	struct err why = ERR_INIT;
	*a = (struct mutation_answer){0};
	CLEANUP(freep) char *text = mutation_encode(m);
	if (!text)
		return err_errno(e, -ENOMEM, "writing a mutation");
	int r = exchange(c, m, text, deadline_after(timeout_ms), &h, &why);
	return judge(c, m, r, &h, &why, a, e);
}

bool client_begin(struct client *c, const struct mutation *m)
{
	CLEANUP(freep) char *text = mutation_encode(m);
	struct request q;
	size_t whole = 0;
	if (!text)
		return false;
	request_fill(&q, m, text);
	for (size_t i = 0; i < q.n; i++)
		whole += q.iov[i].iov_len;
	struct msghdr msg = {.msg_iov = q.iov, .msg_iovlen = q.n};
	c->begun = sendmsg(c->fd, &msg, MSG_NOSIGNAL) == (ssize_t)whole;
	stop_point("request-sent");
	return c->begun;
}

int client_finish(struct client *c, const struct mutation *m, long timeout_ms,
		  struct mutation_answer *a, struct err *e)
{
	struct head h = {0};
	struct err why = ERR_INIT;
	size_t got = 0;
	*a = (struct mutation_answer){0};
	int r = c->begun ? receive(c, &h, &got, deadline_after(timeout_ms), &why) : -ECONNRESET;
	c->begun = false;
	if (r < 0 || h.close)
		client_reset(c);
	/* As in exchange(). What it has of half a request is nothing to the gateway. */
	if (r == -ECONNRESET && got == 0)
		return client_send(c, m, timeout_ms, a, e);
	return judge(c, m, r, &h, &why, a, e);
}
