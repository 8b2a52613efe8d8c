/*
 * Is somebody healthy there? A GET over one fresh connection, HTTP/1.0 with Connection: close, made
 * of plain sockets because a warm `rrm ensure` has 5 ms and libcurl alone takes longer to load.
 * Never waits longer than timeout_ms in all. Any thread.
 */
#pragma once
#include <stddef.h>

struct probe {
	const char *unix_socket; /* else 127.0.0.1:port */
	int port;
	const char *path;     /* "/global/health" */
	const char *username; /* NULL: no Basic auth */
	const char *password;
	int timeout_ms;
};

/*
 * 0 when an HTTP answer came: *status is its code, body (size bytes) its text, cut and terminated;
 * a chunked body is given decoded. -ECONNREFUSED, -ENOENT (no such socket), -ETIMEDOUT, -EPROTO (it
 * speaks something else), -ENAMETOOLONG (socket path beyond 107 bytes), ...
 */
int probe_get(const struct probe *p, int *status, char *body, size_t size);

/* Pid of the process behind a connected unix socket path (SO_PEERCRED at connect); negative errno. */
int probe_peer(const char *unix_socket, int *pid);
