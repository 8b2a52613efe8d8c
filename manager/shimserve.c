#include "manager/shimserve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/base/log.h"
#include "manager/ensure.h"
#include "manager/password.h"
#include "manager/peer.h"
#include "manager/place.h"
#include "manager/port.h"
#include "manager/shimconfig.h"
#include "manager/shimpump.h"

enum {
	BACKLOG = 128,
	CONNECTIONS_MAX = 512,
	STACK_BYTES = 256 << 10,
	SETTLE_MS = 1000, /* a start that fails within this fails the command; the SDK waits 5 s */
	HEAD_WAIT_MS = 5000,
	DRAIN_IDLE_MS = 50,
	DRAIN_MAX = 16 << 20,
	ENSURE_TRIES = 2,
};

struct shimserve {
	const struct shimserve_options *o;
	int listener;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* protected by lock: */
	bool ensuring;
	uint64_t ensured;  /* how many times that ended */
	int result;        /* of the last time */
	struct err reason; /* when result is negative */
	unsigned connections;
};

struct connection {
	struct shimserve *s; /* borrowed; lives as long as the process */
	int fd;              /* owned */
};

static int ensure(const struct shimserve *s, struct err *e)
{
	const struct shimserve_options *o = s->o;
	struct endpoint ep;
	int r = ensure_running(o->c, o->r, &ep, e);
	if (r == 0 && strcmp(ep.backend, "opencode") != 0)
		r = err_set(e, -ENOTSUP,
			    "the backend of %s is the embedded one; rrm restart %s starts OpenCode "
			    "instead",
			    o->r->name, o->r->name);
	if (r < 0)
		shimconfig_withdraw(o->r, o->content);
	return r < 0 ? r : shimconfig_check(o->r, o->content, e);
}

/* One of the threads that find it missing ensures the backend, the others wait for that one. */
static int ensure_shared(struct shimserve *s, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	if (!s->ensuring) {
		struct err reason = ERR_INIT;
		s->ensuring = true;
		pthread_mutex_unlock(&s->lock);
		int r = ensure(s, &reason);
		pthread_mutex_lock(&s->lock);
		s->ensuring = false;
		s->ensured++;
		s->result = r;
		s->reason = reason;
		pthread_cond_broadcast(&s->changed);
	} else {
		for (uint64_t before = s->ensured; s->ensured == before;)
			pthread_cond_wait(&s->changed, &s->lock);
	}
	int r = s->result;
	*e = s->reason;
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* A connection to the backend that the registry knows to live: nobody else can have its port. */
static int connect_known(const struct repo *r)
{
	struct endpoint ep;
	bool alive;
	if (registry_read(r, &ep, &alive, NULL) < 0 || !alive || strcmp(ep.state, "ready") != 0)
		return -ENOENT;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)ep.port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	CLEANUP(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return steal_fd(&fd);
}

static int connect_backend(struct shimserve *s, struct err *e)
{
	const struct shimserve_options *o = s->o;
	/* Only one that runs with the program's configuration will do. */
	int fd = shimconfig_check(o->r, o->content, NULL) == 0 ? connect_known(o->r) : -ENOENT;
	for (int i = 0; fd < 0 && i < ENSURE_TRIES; i++) {
		int r = ensure_shared(s, e);
		if (r < 0)
			return r;
		fd = connect_known(o->r);
	}
	return fd < 0 ? err_errno(e, fd, "connecting to the backend of %s", o->r->name) : fd;
}

/* Reads what the client sends before an answer that does not need it: closing with unread bytes would
 * reset the connection, and the client would not see the answer. */
static void drain(int fd)
{
	char buf[4096];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int wait_ms = HEAD_WAIT_MS;
	for (int left = DRAIN_MAX; left > 0 && poll(&p, 1, wait_ms) > 0; wait_ms = DRAIN_IDLE_MS) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		if (n <= 0)
			return;
		left -= (int)n;
	}
}

/* OpenCode's own shape of an error, which the SDK turns into its message. */
static void answer(int fd, const char *status, const char *sentence)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	cJSON *data = j ? cJSON_AddObjectToObject(j, "data") : NULL;
	CLEANUP(freep) char *body = NULL;
	if (!data || json_add_str(j, "name", "RrmError") < 0 ||
	    json_add_str(data, "message", sentence) < 0 || !(body = json_text(j)))
		return;
	char head[256];
	int n = snprintf(head, sizeof(head),
			 "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
			 "Connection: close\r\n\r\n",
			 status, strlen(body));
	drain(fd);
	if (send(fd, head, (size_t)n, MSG_NOSIGNAL) == n &&
	    send(fd, body, strlen(body), MSG_NOSIGNAL) > 0 && shutdown(fd, SHUT_WR) == 0)
		drain(fd);
}

static bool is_ours(int fd)
{
	uid_t uid;
	int r = peer_uid(fd, &uid);
	if (r == 0 && uid == geteuid())
		return true;
	if (r == 0)
		log_warn("event=shim refused_uid=%u", uid);
	return false;
}

static void handle(struct shimserve *s, int client)
{
	struct err e = ERR_INIT;
	char password[PASSWORD_MAX];
	if (!is_ours(client))
		return;
	CLEANUP(closep) int backend = connect_backend(s, &e);
	int r = backend < 0 ? backend : password_read(s->o->r, password);
	if (r < 0) {
		if (!e.text[0])
			err_errno(&e, r, "reading %s/password", s->o->r->state_dir);
		answer(client, "503 Service Unavailable", e.text);
		return;
	}
	CLEANUP(place_deinit) struct place place = {.dir = NULL};
	CLEANUP(shimhttp_deinit) struct shimhttp h = {0};
	r = place_of(s->o->c, s->o->r, &place);
	if (r == 0)
		r = shimhttp_init(&h, PASSWORD_USER, password, place.dir);
	explicit_bzero(password, sizeof(password));
	if (r == 0)
		r = shimpump_run(client, backend, &h);
	if (r == -EPROTO)
		answer(client, "400 Bad Request", "rrm's shim did not understand this request");
	else if (r == -E2BIG)
		answer(client, "431 Request Header Fields Too Large",
		       "rrm's shim takes 64 KiB of header fields");
}

static void *connection_thread(void *arg)
{
	CLEANUP(freep) struct connection *k = arg;
	struct shimserve *s = k->s;
	handle(s, k->fd);
	close(k->fd);
	LOCK_SCOPE(&s->lock);
	s->connections--;
	return NULL;
}

static void *first_ensure(void *arg)
{
	struct err ignored = ERR_INIT; /* it stays in reason */
	ensure_shared(arg, &ignored);
	return NULL;
}

static int spawn_thread(void *(*fn)(void *), void *arg)
{
	pthread_attr_t at;
	pthread_t t;
	pthread_attr_init(&at);
	pthread_attr_setdetachstate(&at, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&at, STACK_BYTES);
	int r = pthread_create(&t, &at, fn, arg);
	pthread_attr_destroy(&at);
	return -r;
}

static bool count_in(struct shimserve *s)
{
	LOCK_SCOPE(&s->lock);
	if (s->connections >= CONNECTIONS_MAX)
		return false;
	s->connections++;
	return true;
}

static void accept_one(struct shimserve *s)
{
	CLEANUP(closep) int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			poll(NULL, 0, 100); /* until some end */
		return;
	}
	CLEANUP(freep) struct connection *k = malloc(sizeof(*k));
	if (!k || !count_in(s))
		return;
	*k = (struct connection){.s = s, .fd = fd};
	if (spawn_thread(connection_thread, k) < 0) {
		LOCK_SCOPE(&s->lock);
		s->connections--;
		return;
	}
	steal_fd(&fd);
	steal(&k);
}

static int listen_at(const char *hostname, int *port, struct err *e)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
	socklen_t len = sizeof(a);
	int one = 1;
	if (strcmp(hostname, "localhost") == 0)
		a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (inet_pton(AF_INET, hostname, &a.sin_addr) != 1 ||
		 ntohl(a.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return err_set(e, -EINVAL,
			       "\"%s\" is no address of this machine alone; the shim listens on "
			       "127.0.0.1 only, because it adds the password",
			       hostname);
	CLEANUP(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0)
		return err_errno(e, -errno, "no socket");
	if (bind(fd, (struct sockaddr *)&a, len) < 0 || listen(fd, BACKLOG) < 0) {
		int r = -errno;
		char who[64];
		if (r != -EADDRINUSE)
			return err_errno(e, r, "listening on %s port %d", hostname, *port);
		return err_set(e, r, "port %d is taken by %s; ask for port 0 to get a free one",
			       *port, port_holder(*port, who, sizeof(who)));
	}
	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return err_errno(e, -errno, "listening");
	*port = ntohs(a.sin_port);
	return steal_fd(&fd);
}

/* The result of the first ensure when it comes soon; 0 while it goes on. */
static int settle(struct shimserve *s, struct err *e)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SETTLE_MS / 1000;
	LOCK_SCOPE(&s->lock);
	while (s->ensured == 0)
		if (pthread_cond_clockwait(&s->changed, &s->lock, CLOCK_MONOTONIC, &until) != 0)
			return 0;
	*e = s->reason;
	return s->result;
}

int shimserve_run(const struct shimserve_options *o, struct err *e)
{
	static struct shimserve s = {.lock = PTHREAD_MUTEX_INITIALIZER,
				     .changed = PTHREAD_COND_INITIALIZER};
	s.o = o;
	int port = o->port;
	int r = shimconfig_offer(o->r, o->content, e);
	if (r == 0)
		r = s.listener = listen_at(o->hostname, &port, e);
	if (r >= 0) {
		r = spawn_thread(first_ensure, &s);
		if (r < 0)
			err_errno(e, r, "no thread");
	}
	if (r == 0)
		r = settle(&s, e);
	if (r < 0)
		return r;
	signal(SIGPIPE, SIG_IGN);
	printf("opencode server listening on http://%s:%d\n", o->hostname, port);
	fflush(stdout);
	for (;;)
		accept_one(&s);
}
