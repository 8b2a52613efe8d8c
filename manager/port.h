/*
 * TCP ports of 127.0.0.1 for backends.
 *
 * A port is chosen by binding and closing again, so somebody may take it before the backend does: the
 * caller starts again with another one when that happened. Listeners are found in /proc/net/tcp{,6}
 * (state 0A), their owners by the socket's inode in /proc/<pid>/fd.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "manager/base/err.h"

/* True when 127.0.0.1:port can be bound this moment. False for a port outside 1..65535. */
bool port_is_free(int port);

/* preferred when it is free (0: no wish), else one that bind(0) gives. 0 or negative errno. */
int port_choose(int preferred, int *port, struct err *e);

/* Who listens there, for sentences: "pid 312 (node)", "nobody". Returns buf. */
const char *port_holder(int port, char *buf, size_t size);
