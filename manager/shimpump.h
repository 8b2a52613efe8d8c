/*
 * Passes one connection on between a client and the backend, both ways at once, until either ends it.
 * Every request gets the backend's password (shimhttp.h); answers go back byte by byte, so event
 * streams arrive as they are sent.
 */
#pragma once
#include "manager/shimhttp.h"

/* client and backend: connected sockets, made non-blocking; the caller closes them. h was initialised
 * for this connection. 0 at a normal end; -EPROTO,
 * -E2BIG: the client sent no HTTP; or another negative errno. */
int shimpump_run(int client, int backend, struct shimhttp *h);
