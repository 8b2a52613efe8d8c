/*
 * The line to one repo's gateway: one keep-alive HTTP connection over gateway.sock, on a plain socket: the
 * answers are our own, and every rrm command that routes would have to load libcurl.
 * Owned by one thread at a time; no locks. HTTP status becomes errno here and nowhere else.
 */
#pragma once
#include <stdbool.h>

#include "manager/base/err.h"
#include "router/mutation.h"

struct client;

/* socket_path is copied; nothing is connected yet. 0, -ENOMEM, -ENAMETOOLONG. */
int client_new(struct client **out, const char *socket_path);
struct client *client_free(struct client *c); /* NULL is fine; returns NULL */

/*
 * Sends m and waits for its answer at most timeout_ms. 0: *a is the gateway's word (a->error may be
 * an errno: the result of the call). Negative: there was no answer, so whether it was applied is
 * unknown; send it again under the same id: -ECONNREFUSED, -ENOENT, -ECONNRESET, -ETIMEDOUT, -EPROTO
 * (the sentence says what came instead).
 */
int client_send(struct client *c, const struct mutation *m, long timeout_ms,
		struct mutation_answer *a, struct err *e);

/*
 * client_send() in two halves, which may be on two threads, one after the other. client_begin() never waits; false: all
 * is left to client_finish(). Only on a connection that is there: client_fd() >= 0, which is readable when it is
 * answered, or when the gateway has closed it.
 */
bool client_begin(struct client *c, const struct mutation *m);
int client_finish(struct client *c, const struct mutation *m, long timeout_ms,
		  struct mutation_answer *a, struct err *e);
int client_fd(const struct client *c);

/* Drops the connection, so that the next send makes a new one (the gateway was replaced). */
void client_reset(struct client *c);
