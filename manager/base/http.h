/*
 * One HTTP request with libcurl, for what is not urgent: readiness of a backend, dispose. libcurl is
 * loaded (dlopen) at the first call: linking it costs a command that never uses it 7 ms at start.
 * Blocking; any thread. Curl's codes are translated to errno here and nowhere else.
 */
#pragma once
#include <stddef.h>

#include "manager/base/err.h"

struct http_request {
	const char *method;      /* "GET", "POST" */
	const char *url;         /* http://127.0.0.1:4101/path */
	const char *unix_socket; /* NULL: TCP */
	const char *username;    /* NULL: no Basic auth */
	const char *password;
	const char *body; /* NULL: none; sent as application/json */
	long timeout_ms;  /* for the whole exchange */
};

struct http_response {
	long status;
	char *body; /* owned; NUL-terminated; at most 1 MiB */
	size_t len;
};

/* 0 when any HTTP answer came. -ECONNREFUSED, -ETIMEDOUT, -EPROTO, -ENOSYS (no libcurl), ... */
int http_request(const struct http_request *rq, struct http_response *rs, struct err *e);
void http_response_deinit(struct http_response *rs);
