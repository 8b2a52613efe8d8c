/*
 * The gateway's HTTP: `POST /mutations` and `GET /health` on <state>/gateway.sock, and for the embedded
 * backend `GET /global/health` on 127.0.0.1 (docs/FORMATS.md). Own uid and root only, by SO_PEERCRED;
 * on TCP, Basic auth of user "opencode". All of it runs inside gateway_serve_run(), on the thread that
 * calls it: nothing is concurrent with the engine.
 */
#pragma once
#include <stdbool.h>
#include <sys/select.h>

#include "manager/base/err.h"
#include "router/gateway_engine.h"

struct gateway_serve;

struct gateway_serve_config {
	const char *root; /* all borrowed for life */
	const char *repo_id;
	const char *socket_path;
	int state; /* fd of the state directory */
	struct gateway_engine *engine;
	int port;             /* 0: no TCP */
	const char *password; /* with a port */
};

/* Binds and listens. The caller holds <state>/gateway.lock, so a socket left there is nobody's. */
int gateway_serve_new(struct gateway_serve **out, const struct gateway_serve_config *c,
		      struct err *e);
struct gateway_serve *gateway_serve_free(struct gateway_serve *s); /* NULL is fine; returns NULL */

/* For select(2), which one request costs one call of; an epoll of libmicrohttpd's inside of one of ours costs six. */
struct gateway_fds {
	fd_set in, out, bad;
	int last; /* the highest descriptor; -1: none */
};

/* Adds what it waits for. Milliseconds until it wants to run in any case; -1: never. */
int gateway_serve_wants(struct gateway_serve *s, struct gateway_fds *f);

/* Answers what is there without waiting. f: what select() left. */
void gateway_serve_run(struct gateway_serve *s, const struct gateway_fds *f);

/* No new connections, no socket in the state directory; what is under way goes on. */
void gateway_serve_stop(struct gateway_serve *s);
bool gateway_serve_idle(const struct gateway_serve *s);
