/*
 * A server for tests of clients: it accepts one connection, reads a request up to its empty line,
 * says what it was given, piece by piece, and closes; or it holds the connection open until stopped.
 */
#pragma once
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct canned {
	const char *answer; /* borrowed */
	size_t len;
	size_t piece; /* bytes a send; 0: all at once */
	bool hold;    /* keep the connection open afterwards */
	bool endless; /* say the answer again and again */
	int port;     /* set by start */
	int listener;
	int stop[2]; /* closing [1] ends a hold */
	char request[4096];
	pthread_t thread;
};

static inline void canned_say(struct canned *s, int fd)
{
	size_t piece = s->piece ? s->piece : s->len;
	do {
		for (size_t at = 0; at < s->len; at += piece) {
			size_t n = s->len - at < piece ? s->len - at : piece;
			if (send(fd, s->answer + at, n, MSG_NOSIGNAL) < 0)
				return;
		}
	} while (s->endless);
}

static inline void *canned_run(void *arg)
{
	struct canned *s = arg;
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return NULL;
	size_t have = 0;
	while (!strstr(s->request, "\r\n\r\n")) {
		ssize_t n = recv(fd, s->request + have, sizeof(s->request) - 1 - have, 0);
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	canned_say(s, fd);
	char c;
	if (s->hold && read(s->stop[0], &c, 1) < 0)
		perror("canned");
	close(fd);
	return NULL;
}

/* Has an address of its own; who connects is refused. */
static inline void canned_bind(struct canned *s, const char *unix_socket)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t len = sizeof(in);
	s->listener = socket(unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(s->listener >= 0);
	if (unix_socket) {
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", unix_socket);
		assert_int_equal(bind(s->listener, (struct sockaddr *)&un, sizeof(un)), 0);
	} else {
		assert_int_equal(bind(s->listener, (struct sockaddr *)&in, len), 0);
		assert_int_equal(getsockname(s->listener, (struct sockaddr *)&in, &len), 0);
		s->port = ntohs(in.sin_port);
	}
}

static inline void canned_listen(struct canned *s, const char *unix_socket)
{
	canned_bind(s, unix_socket);
	assert_int_equal(listen(s->listener, 4), 0);
}

/* unix_socket NULL: TCP on 127.0.0.1, port set. */
static inline void canned_start(struct canned *s, const char *unix_socket)
{
	canned_listen(s, unix_socket);
	assert_int_equal(pipe2(s->stop, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, canned_run, s), 0);
}

static inline void canned_stop(struct canned *s)
{
	shutdown(s->listener, SHUT_RDWR);
	close(s->stop[1]);
	pthread_join(s->thread, NULL);
	close(s->stop[0]);
	close(s->listener);
}
