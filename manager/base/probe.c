#include "manager/base/probe.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "manager/base/base64.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"

enum { REQUEST_MAX = 4096, HEAD_MAX = 16384, PEER_TIMEOUT_MS = 1000 };

/* Milliseconds until the deadline for poll(2), 0 when it has passed. */
static int remaining(uint64_t deadline_ms)
{
	uint64_t now = clock_mono_ms();
	if (now >= deadline_ms)
		return 0;
	uint64_t left = deadline_ms - now;
	return left > INT_MAX ? INT_MAX : (int)left;
}

/* 0 when fd is ready; -ETIMEDOUT. Errors of the socket show at the next call on it. */
static int wait_for(int fd, short events, uint64_t deadline_ms)
{
	struct pollfd pfd = {.fd = fd, .events = events};
	for (;;) {
		int n = poll(&pfd, 1, remaining(deadline_ms));
		if (n > 0)
			return 0;
		if (n == 0 && remaining(deadline_ms) == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

union address {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
};

static int fill_address(const char *unix_socket, int port, union address *a, socklen_t *len)
{
	memset(a, 0, sizeof(*a));
	if (unix_socket) {
		size_t n = strlen(unix_socket);
		if (n >= sizeof(a->un.sun_path))
			return -ENAMETOOLONG;
		if (n == 0)
			return -ENOENT;
		a->un.sun_family = AF_UNIX;
		memcpy(a->un.sun_path, unix_socket, n + 1);
		*len = sizeof(a->un);
		return 0;
	}
	if (port <= 0 || port > 65535)
		return -EINVAL;
	a->in.sin_family = AF_INET;
	a->in.sin_port = htons((uint16_t)port);
	a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*len = sizeof(a->in);
	return 0;
}

static int finish_connect(int fd, uint64_t deadline_ms)
{
	int r = wait_for(fd, POLLOUT, deadline_ms);
	if (r < 0)
		return r;
	int error = 0;
	socklen_t len = sizeof(error);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

/* A connected, non-blocking socket; the caller closes it. */
static int connect_to(const char *unix_socket, int port, uint64_t deadline_ms)
{
	union address a;
	socklen_t len;
	int r = fill_address(unix_socket, port, &a, &len);
	if (r < 0)
		return r;
	CLEANUP(closep)
	int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	while (connect(fd, &a.any, len) < 0) {
		if (errno == EINPROGRESS || errno == EINTR) {
			r = finish_connect(fd, deadline_ms);
			if (r < 0)
				return r;
			break;
		}
		if (errno != EAGAIN)
			return -errno;
		/* A unix socket whose queue is full; nothing tells when there is room again. */
		int left = remaining(deadline_ms);
		if (left == 0)
			return -ETIMEDOUT;
		poll(NULL, 0, left < 2 ? left : 2);
	}
	return steal_fd(&fd);
}

static bool path_sendable(const char *path)
{
	for (const char *s = path; *s; s++) {
		if ((unsigned char)*s <= ' ' || *s == 0x7f)
			return false;
	}
	return path[0] == '/';
}

static int build_request(const struct probe *p, char *buf, size_t size)
{
	char auth[1024] = "";
	if (!path_sendable(p->path))
		return -EINVAL;
	if (p->username) {
		char plain[512];
		char coded[BASE64_SIZE(sizeof(plain))];
		int n = snprintf(plain, sizeof(plain), "%s:%s", p->username,
				 p->password ? p->password : "");
		if (n < 0 || (size_t)n >= sizeof(plain))
			return -EINVAL;
		base64_encode(plain, (size_t)n, coded);
		snprintf(auth, sizeof(auth), "Authorization: Basic %s\r\n", coded);
	}
	int n = snprintf(buf, size,
			 "GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: */*\r\n%s"
			 "Connection: close\r\n\r\n",
			 p->path, auth);
	return n < 0 || (size_t)n >= size ? -EINVAL : n;
}

static int send_all(int fd, const char *data, size_t len, uint64_t deadline_ms)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n >= 0) {
			data += n;
			len -= (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		int r = wait_for(fd, POLLOUT, deadline_ms);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What has come so far; text is terminated behind len. */
struct raw {
	char *text; /* owned */
	size_t len, cap;
	bool end; /* the peer has closed */
};

struct head {
	int status;
	size_t len; /* with its empty line */
	int64_t content_length;
	bool chunked;
};

/* Value of a header line when it is the named one, NULL otherwise. */
static const char *header_value(const char *line, const char *name)
{
	size_t n = strlen(name);
	if (strncasecmp(line, name, n) != 0 || line[n] != ':')
		return NULL;
	line += n + 1;
	return line + strspn(line, " \t");
}

static int parse_header(const char *line, struct head *h)
{
	const char *v = header_value(line, "Content-Length");
	if (v) {
		char *end;
		errno = 0;
		h->content_length = strtoll(v, &end, 10);
		if (*v < '0' || *v > '9' || errno || (*end != '\r' && *end != '\n' && *end != ' '))
			return -EPROTO;
	}
	v = header_value(line, "Transfer-Encoding");
	if (v)
		h->chunked = strncasecmp(v, "chunked", 7) == 0;
	return 0;
}

/* The three digits of "HTTP/1.1 200 OK"; -1 when they are not there. */
static int parse_status(const char *line)
{
	const char *s = line + strlen("HTTP/1.");
	if ((*s != '0' && *s != '1') || s[1] != ' ')
		return -1;
	s += 2;
	if (*s < '1' || *s > '9' || !isdigit((unsigned char)s[1]) ||
	    !isdigit((unsigned char)s[2]) || isdigit((unsigned char)s[3]))
		return -1;
	return (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
}

/* 0; -EAGAIN when the head is not complete; -EPROTO when this is no HTTP answer. */
static int parse_head(const struct raw *raw, struct head *h)
{
	*h = (struct head){.content_length = -1};
	static const char magic[] = "HTTP/1.";
	size_t n = sizeof(magic) - 1;
	if (strncmp(raw->text, magic, raw->len < n ? raw->len : n) != 0)
		return -EPROTO;
	const char *crlf = strstr(raw->text, "\r\n\r\n");
	const char *lf = strstr(raw->text, "\n\n");
	if (!crlf && !lf)
		return raw->end || raw->len > HEAD_MAX ? -EPROTO : -EAGAIN;
	const char *end = crlf && (!lf || crlf < lf) ? crlf + 4 : lf + 2;
	h->len = (size_t)(end - raw->text);
	h->status = parse_status(raw->text);
	if (h->status < 0)
		return -EPROTO;
	for (const char *line = strchr(raw->text, '\n') + 1; line < end;
	     line = strchr(line, '\n') + 1) {
		int r = parse_header(line, h);
		if (r < 0)
			return r;
	}
	return 0;
}

struct body {
	char *text; /* borrowed; the caller's buffer */
	size_t len, size;
};

/* Takes what fits and keeps it terminated; true when the buffer is full. */
static bool body_take(struct body *b, const char *data, size_t n)
{
	size_t room = b->size - 1 - b->len;
	size_t take = n < room ? n : room;
	memcpy(b->text + b->len, data, take);
	b->len += take;
	b->text[b->len] = '\0';
	return n > room;
}

/* "1a;ext\r\n". Not strtoull(): it takes "-1" and "0x1". */
static bool chunk_size(const char *s, uint64_t *n)
{
	const char *from = s;
	for (*n = 0; isxdigit((unsigned char)*s); s++) {
		unsigned digit =
			*s <= '9' ? (unsigned)(*s - '0') : (unsigned)((*s | 0x20) - 'a' + 10);
		if (*n >> 56)
			return false;
		*n = *n << 4 | digit;
	}
	return s > from && (*s == '\r' || *s == '\n' || *s == ';');
}

/* 0 when the last chunk is there or the buffer is full; -EAGAIN; -EPROTO. */
static int take_chunked(const char *s, const char *end, struct body *b)
{
	for (;;) {
		const char *nl = memchr(s, '\n', (size_t)(end - s));
		if (!nl)
			return end - s > 1024 ? -EPROTO : -EAGAIN;
		uint64_t n;
		if (!chunk_size(s, &n))
			return -EPROTO;
		if (n == 0)
			return 0;
		s = nl + 1;
		size_t have = (size_t)(end - s);
		if (body_take(b, s, n < have ? (size_t)n : have))
			return 0;
		if (have <= n)
			return -EAGAIN;
		s += n;
		if (*s == '\r' && s + 1 < end)
			s++;
		if (*s == '\n')
			s++;
		else
			return *s == '\r' ? -EAGAIN : -EPROTO;
	}
}

/* The whole answer from what came so far: 0, -EAGAIN (read on) or -EPROTO. */
static int parse_answer(const struct raw *raw, int *status, struct body *b)
{
	struct head h;
	int r = parse_head(raw, &h);
	if (r < 0)
		return r;
	*status = h.status;
	b->len = 0;
	b->text[0] = '\0';
	const char *s = raw->text + h.len;
	size_t n = raw->len - h.len;
	if (h.status == 204 || h.status == 304)
		return 0;
	if (h.chunked) {
		r = take_chunked(s, raw->text + raw->len, b);
		return r == -EAGAIN && raw->end ? -EPROTO : r;
	}
	bool known = h.content_length >= 0;
	if (known && (uint64_t)n > (uint64_t)h.content_length)
		n = (size_t)h.content_length;
	if (body_take(b, s, n) || (known && n == (size_t)h.content_length))
		return 0;
	if (!raw->end)
		return -EAGAIN;
	return known ? -EPROTO : 0; /* cut off, or ended by the close as HTTP/1.0 does */
}

/* One recv into raw, waiting for it until the deadline. */
static int read_some(int fd, struct raw *raw, uint64_t deadline_ms)
{
	for (;;) {
		ssize_t n = recv(fd, raw->text + raw->len, raw->cap - 1 - raw->len, 0);
		if (n >= 0) {
			raw->len += (size_t)n;
			raw->text[raw->len] = '\0';
			raw->end = n == 0;
			return 0;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		int r = wait_for(fd, POLLIN, deadline_ms);
		if (r < 0)
			return r;
	}
}

static int read_answer(int fd, uint64_t deadline_ms, int *status, struct body *b)
{
	/* Twice the body: room for the sizes between the chunks. */
	size_t cap = HEAD_MAX + 2 * b->size + 4096;
	CLEANUP(freep) char *text = malloc(cap);
	if (!text)
		return -ENOMEM;
	text[0] = '\0';
	struct raw raw = {.text = text, .cap = cap};
	for (;;) {
		int r = read_some(fd, &raw, deadline_ms);
		if (r < 0)
			return r;
		r = parse_answer(&raw, status, b);
		if (r != -EAGAIN)
			return r;
		if (raw.len == raw.cap - 1)
			return -EPROTO;
		/* Bytes that trickle in must not stretch the time. */
		if (remaining(deadline_ms) == 0)
			return -ETIMEDOUT;
	}
}

int probe_get(const struct probe *p, int *status, char *body, size_t size)
{
	*status = 0;
	if (size == 0)
		return -EINVAL;
	body[0] = '\0';
	uint64_t deadline_ms = clock_mono_ms() + (uint64_t)(p->timeout_ms > 0 ? p->timeout_ms : 0);
	char request[REQUEST_MAX];
	int len = build_request(p, request, sizeof(request));
	if (len < 0)
		return len;
	CLEANUP(closep) int fd = connect_to(p->unix_socket, p->port, deadline_ms);
	if (fd < 0)
		return fd;
	int r = send_all(fd, request, (size_t)len, deadline_ms);
	if (r < 0)
		return r;
	struct body b = {.text = body, .size = size};
	r = read_answer(fd, deadline_ms, status, &b);
	if (r < 0) {
		*status = 0;
		body[0] = '\0';
	}
	return r;
}

int probe_peer(const char *unix_socket, int *pid)
{
	CLEANUP(closep) int fd = connect_to(unix_socket, 0, clock_mono_ms() + PEER_TIMEOUT_MS);
	if (fd < 0)
		return fd;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	*pid = cred.pid;
	return 0;
}
