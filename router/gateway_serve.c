#include "router/gateway_serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/stop_point.h"
#include "router/jsonw.h"

enum {
	HEADER_MEMORY = 160 * 1024, /* of one connection; a header of 48 KiB fits well */
	HEADER_STEP = 16 * 1024,
	IDLE_S = 300,
};

struct gateway_serve {
	struct gateway_serve_config c;
	struct MHD_Daemon *local; /* unix socket */
	struct MHD_Daemon *tcp;   /* NULL: none */
	unsigned active;          /* requests begun and not completed */
	bool stopping;
};

struct request {
	struct mutation *m; /* owned; NULL unless it is a POST to /mutations that was understood */
	size_t got;         /* bytes of its body */
};

/* Queues text, which is taken over (NULL: out of memory, the connection ends). */
static enum MHD_Result reply(struct MHD_Connection *conn, unsigned status, char *text)
{
	if (!text)
		return MHD_NO;
	struct MHD_Response *r =
		MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, "Content-Type", "application/json");
	if (status == MHD_HTTP_UNAUTHORIZED)
		MHD_add_response_header(r, "WWW-Authenticate", "Basic realm=\"rrm\"");
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, "Allow", "GET, POST");
	if (status == MHD_HTTP_FORBIDDEN)
		MHD_add_response_header(r, "Connection", "close");
	enum MHD_Result ok = MHD_queue_response(conn, status, r);
	MHD_destroy_response(r);
	return ok;
}

static enum MHD_Result reply_error(struct MHD_Connection *conn, unsigned status,
				   const char *sentence)
{
	struct jsonw w = {0};
	jsonw_open(&w, NULL);
	jsonw_str(&w, "error", sentence);
	jsonw_close(&w);
	return reply(conn, status, jsonw_steal(&w));
}

static enum MHD_Result reply_health(struct gateway_serve *s, struct MHD_Connection *conn)
{
	struct jsonw w = {0};
	jsonw_open(&w, NULL);
	jsonw_bool(&w, "healthy", true);
	jsonw_str(&w, "version", RRM_VERSION);
	jsonw_str(&w, "repo_id", s->c.repo_id);
	jsonw_bytes(&w, "root", s->c.root);
	jsonw_i64(&w, "pid", getpid());
	jsonw_u64(&w, "epoch", gateway_engine_epoch(s->c.engine));
	jsonw_close(&w);
	return reply(conn, MHD_HTTP_OK, jsonw_steal(&w));
}

static enum MHD_Result reply_audit(struct gateway_serve *s, struct MHD_Connection *conn)
{
	struct err e = ERR_INIT;
	uint64_t seq = 0;
	if (gateway_engine_settle(s->c.engine, &seq, &e) < 0)
		return reply_error(conn, MHD_HTTP_SERVICE_UNAVAILABLE, e.text);
	struct jsonw w = {0};
	jsonw_open(&w, NULL);
	jsonw_u64(&w, "seq", seq);
	jsonw_close(&w);
	return reply(conn, MHD_HTTP_OK, jsonw_steal(&w));
}

static const char *header(struct MHD_Connection *conn, const char *name)
{
	return MHD_lookup_connection_value(conn, MHD_HEADER_KIND, name);
}

/* Once a connection: who the peer is does not change. */
static void noticed(void *cls, struct MHD_Connection *conn, void **allowed,
		    enum MHD_ConnectionNotificationCode why)
{
	static char yes;
	const union MHD_ConnectionInfo *i =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred u;
	socklen_t len = sizeof(u);
	bool ok = why == MHD_CONNECTION_NOTIFY_STARTED && i &&
		  getsockopt(i->connect_fd, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0 &&
		  (u.uid == 0 || u.uid == geteuid());
	*allowed = ok ? &yes : NULL;
}

static bool peer_allowed(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *i =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	return i && i->socket_context;
}

/*
 * Nobody waits for the answer any more: the caller has been told that it failed, perhaps long ago (we were
 * stopped), so it may not happen now.
 */
static bool given_up(struct MHD_Connection *conn)
{
	const union MHD_ConnectionInfo *i =
		MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	char c;
	return i && recv(i->connect_fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static bool takes_body(enum mutation_op op)
{
	return op == MUTATION_WRITE || op == MUTATION_APPEND || op == MUTATION_SETXATTR;
}

/* The head of a POST: all that can be told before the body. 0 or an HTTP status with a sentence. */
static unsigned begin_mutation(struct MHD_Connection *conn, struct request *rq, struct err *e)
{
	const char *text = header(conn, "Rrm-Mutation"), *len = header(conn, "Content-Length");
	if (header(conn, "Transfer-Encoding")) {
		err_set(e, 0, "the body needs a Content-Length; chunks are not taken");
		return MHD_HTTP_LENGTH_REQUIRED;
	}
	char *end;
	errno = 0;
	unsigned long long n = len ? strtoull(len, &end, 10) : 0;
	if (len && (errno == ERANGE || n > MUTATION_DATA_MAX)) {
		err_set(e, 0, "a body may hold at most %d bytes", MUTATION_DATA_MAX);
		return MHD_HTTP_CONTENT_TOO_LARGE;
	}
	if (len && (end == len || *end)) {
		err_set(e, 0, "Content-Length is not a number");
		return MHD_HTTP_BAD_REQUEST;
	}
	if (!text) {
		err_set(e, 0, "the header Rrm-Mutation is missing");
		return MHD_HTTP_BAD_REQUEST;
	}
	int r = mutation_decode(text, &rq->m, e);
	if (r == 0 && n && !takes_body(rq->m->op))
		r = err_set(e, -EINVAL, "%s takes no body", mutation_op_name(rq->m->op));
	if (r == 0 && rq->m->epoch == 0 && rq->m->op != MUTATION_FSYNC &&
	    rq->m->op != MUTATION_RELEASE)
		r = err_set(e, -EINVAL, "epoch 0 is no turn; take the turn first");
	if (r == 0 && n && !(rq->m->data = malloc(n)))
		r = err_errno(e, -ENOMEM, "reading the body");
	if (r == 0)
		rq->m->data_len = n;
	return r == 0 ? 0 : r == -ENOMEM ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_BAD_REQUEST;
}

static enum MHD_Result begin_local(struct gateway_serve *s, struct MHD_Connection *conn,
				   const char *url, const char *method, struct request *rq)
{
	struct err e = ERR_INIT;
	if (!peer_allowed(conn)) {
		log_warn("event=foreign_uid");
		return reply_error(conn, MHD_HTTP_FORBIDDEN,
				   "this gateway serves its own user only");
	}
	bool health = strcmp(url, "/health") == 0, audit = strcmp(url, "/audit") == 0;
	if (!health && !audit && strcmp(url, "/mutations") != 0)
		return reply_error(conn, MHD_HTTP_NOT_FOUND,
				   "there is only GET /health, GET /audit and POST /mutations");
	if (strcmp(method, health || audit ? "GET" : "POST") != 0)
		return reply_error(conn, MHD_HTTP_METHOD_NOT_ALLOWED,
				   health  ? "/health takes GET"
				   : audit ? "/audit takes GET"
					   : "/mutations takes POST");
	if (health)
		return reply_health(s, conn);
	if (audit)
		return reply_audit(s, conn);
	unsigned status = begin_mutation(conn, rq, &e);
	return status ? reply_error(conn, status, e.text) : MHD_YES;
}

static struct request *request_new(struct gateway_serve *s, void **con_cls)
{
	struct request *rq = calloc(1, sizeof(*rq));
	if (rq)
		s->active++;
	*con_cls = rq;
	return rq;
}

static void completed(void *cls, struct MHD_Connection *conn, void **con_cls,
		      enum MHD_RequestTerminationCode why)
{
	struct gateway_serve *s = cls;
	struct request *rq = *con_cls;
	if (!rq)
		return;
	s->active--;
	mutation_free(rq->m);
	free(rq);
	*con_cls = NULL;
}

static enum MHD_Result on_local(void *cls, struct MHD_Connection *conn, const char *url,
				const char *method, const char *version, const char *data,
				size_t *len, void **con_cls)
{
	struct gateway_serve *s = cls;
	struct request *rq = *con_cls;
	struct mutation_answer a;

	if (!rq) {
		rq = request_new(s, con_cls);
		return rq ? begin_local(s, conn, url, method, rq) : MHD_NO;
	}
	if (!rq->m)
		return MHD_NO;
	if (*len) {
		if (*len > rq->m->data_len - rq->got)
			return MHD_NO;
		memcpy((char *)rq->m->data + rq->got, data, *len);
		rq->got += *len;
		*len = 0;
		return MHD_YES;
	}
	if (rq->got != rq->m->data_len)
		return reply_error(conn, MHD_HTTP_BAD_REQUEST,
				   "the body is shorter than announced");
	stop_point("gateway-received");
	if (given_up(conn)) {
		log_info("event=given_up id=%s op=%s", rq->m->id, mutation_op_name(rq->m->op));
		return MHD_NO;
	}
	gateway_engine_handle(s->c.engine, rq->m, clock_mono_ms(), &a);
	stop_point("gateway-answers");
	return reply(conn, MHD_HTTP_OK, mutation_answer_encode(&a));
}

/* Takes the same time wherever the first difference is. */
static bool same_secret(const char *a, const char *b)
{
	size_t n = strlen(a), diff = n ^ strlen(b);
	for (size_t i = 0; i < n && b[i]; i++)
		diff |= (size_t)(unsigned char)(a[i] ^ b[i]);
	return diff == 0;
}

static bool authorised(const struct gateway_serve *s, struct MHD_Connection *conn)
{
	char *password = NULL;
	char *user = MHD_basic_auth_get_username_password(conn, &password);
	bool ok = user && password && strcmp(user, "opencode") == 0 &&
		  same_secret(password, s->c.password);
	MHD_free(user);
	MHD_free(password);
	return ok;
}

static enum MHD_Result on_tcp(void *cls, struct MHD_Connection *conn, const char *url,
			      const char *method, const char *version, const char *data,
			      size_t *len, void **con_cls)
{
	struct gateway_serve *s = cls;
	if (*con_cls)
		return MHD_NO;
	if (!request_new(s, con_cls))
		return MHD_NO;
	if (!authorised(s, conn))
		return reply_error(conn, MHD_HTTP_UNAUTHORIZED,
				   "user opencode and the password of this repository are needed");
	if (strcmp(url, "/global/health") != 0)
		return reply_error(conn, MHD_HTTP_NOT_FOUND,
				   "this backend has GET /global/health only");
	if (strcmp(method, "GET") != 0)
		return reply_error(conn, MHD_HTTP_METHOD_NOT_ALLOWED, "/global/health takes GET");
	return reply_health(s, conn);
}

/* libmicrohttpd's words are for its developers: one line of ours. */
static void on_log(void *cls, const char *fmt, va_list ap)
{
	char text[512];
	vsnprintf(text, sizeof(text), fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_warn("event=http detail=\"%s\"", text);
}

/* Bound under another name and moved into place, so that nobody meets a socket that does not listen. */
static int listen_local(const struct gateway_serve_config *c, int *out, struct err *e)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (strlen(c->socket_path) >= sizeof(addr.sun_path))
		return err_set(e, -ENAMETOOLONG,
			       "the gateway's socket %s has %zu bytes, and a socket's path at most "
			       "%zu; set RRM_HOME to a shorter directory",
			       c->socket_path, strlen(c->socket_path), sizeof(addr.sun_path) - 1);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/gateway.sock.new",
		 c->state);
	unlinkat(c->state, "gateway.sock.new", 0);
	CLEANUP(closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    fchmodat(c->state, "gateway.sock.new", 0600, 0) < 0 || listen(fd, 128) < 0 ||
	    renameat(c->state, "gateway.sock.new", c->state, "gateway.sock") < 0)
		return err_errno(e, -errno, "listening on %s", c->socket_path);
	*out = steal_fd(&fd);
	return 0;
}

static int listen_tcp(int port, int *out, struct err *e)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;
	CLEANUP(closep) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, 128) < 0) {
		if (errno == EADDRINUSE)
			return err_set(e, -EADDRINUSE,
				       "port %d of 127.0.0.1 is taken by another program; choose "
				       "another with --port",
				       port);
		return err_errno(e, -errno, "listening on 127.0.0.1 port %d", port);
	}
	*out = steal_fd(&fd);
	return 0;
}

/* Takes fd over in any case. */
static struct MHD_Daemon *start(struct gateway_serve *s, int fd, MHD_AccessHandlerCallback handler)
{
	struct MHD_Daemon *d = MHD_start_daemon(
		MHD_USE_ERROR_LOG | MHD_USE_SUPPRESS_DATE_NO_CLOCK, 0, NULL, NULL, handler, s,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_NOTIFY_COMPLETED, completed, s, MHD_OPTION_NOTIFY_CONNECTION, noticed,
		NULL, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_MEMORY,
		MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)HEADER_STEP,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_END);
	if (!d)
		close(fd);
	return d;
}

int gateway_serve_new(struct gateway_serve **out, const struct gateway_serve_config *c,
		      struct err *e)
{
	int local = -1, tcp = -1;
	struct gateway_serve *s = calloc(1, sizeof(*s));
	if (!s)
		return err_errno(e, -ENOMEM, "starting the gateway");
	s->c = *c;
	int r = c->port ? listen_tcp(c->port, &tcp, e) : 0;
	if (r == 0)
		r = listen_local(c, &local, e);
	if (r == 0) {
		s->local = start(s, steal_fd(&local), on_local);
		if (s->local && tcp >= 0)
			s->tcp = start(s, steal_fd(&tcp), on_tcp);
		if (!s->local || (c->port && !s->tcp))
			r = err_set(e, -EIO, "the HTTP server of the gateway does not start");
	}
	closep(&tcp);
	if (r < 0) {
		gateway_serve_free(s);
		return r;
	}
	*out = s;
	return 0;
}

void gateway_serve_stop(struct gateway_serve *s)
{
	int fd;
	if (s->stopping)
		return;
	s->stopping = true;
	unlinkat(s->c.state, "gateway.sock", 0);
	if (s->local && (fd = MHD_quiesce_daemon(s->local)) >= 0)
		close(fd);
	if (s->tcp && (fd = MHD_quiesce_daemon(s->tcp)) >= 0)
		close(fd);
}

struct gateway_serve *gateway_serve_free(struct gateway_serve *s)
{
	if (!s)
		return NULL;
	if (s->local) {
		gateway_serve_stop(s);
		MHD_stop_daemon(s->local);
	}
	if (s->tcp)
		MHD_stop_daemon(s->tcp);
	free(s);
	return NULL;
}

static int add_wants(struct MHD_Daemon *d, struct gateway_fds *f, int wait_ms)
{
	MHD_UNSIGNED_LONG_LONG ms;
	if (!d)
		return wait_ms;
	MHD_get_fdset2(d, &f->in, &f->out, &f->bad, &f->last, FD_SETSIZE);
	if (MHD_get_timeout(d, &ms) != MHD_YES)
		return wait_ms;
	int due = ms > 60000 ? 60000 : (int)ms;
	return wait_ms < 0 || due < wait_ms ? due : wait_ms;
}

int gateway_serve_wants(struct gateway_serve *s, struct gateway_fds *f)
{
	return add_wants(s->tcp, f, add_wants(s->local, f, -1));
}

void gateway_serve_run(struct gateway_serve *s, const struct gateway_fds *f)
{
	MHD_run_from_select(s->local, &f->in, &f->out, &f->bad);
	if (s->tcp)
		MHD_run_from_select(s->tcp, &f->in, &f->out, &f->bad);
}

bool gateway_serve_idle(const struct gateway_serve *s)
{
	return s->active == 0;
}
