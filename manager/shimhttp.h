/*
 * The request side of one HTTP/1.x connection, passed on as it is but for two headers: each request gets
 * `Authorization: Basic ...` of the backend, instead of whatever it had, and unless the client names one
 * `x-opencode-directory`, so that all sessions of a repo are in one directory whatever the backend's
 * working directory is this moment. So the bodies are followed (Content-Length, chunked) to find where
 * the next request begins. The answers need no parsing: they
 * come back in order on the same connection. A request that asks for an upgrade is the last one that is
 * read until it is known whether it was granted.
 *
 * No I/O and no clock: bytes in, bytes out.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHIMHTTP_HEAD_MAX = 64 << 10 };

enum shimhttp_state {
	SHIMHTTP_HEAD,
	SHIMHTTP_BODY,       /* left bytes of it are missing */
	SHIMHTTP_CHUNK_SIZE, /* a line with the size of the next chunk */
	SHIMHTTP_CHUNK,      /* left bytes of it are missing, then its line end */
	SHIMHTTP_CHUNK_END,
	SHIMHTTP_TRAILER, /* lines up to an empty one */
	SHIMHTTP_UPGRADE, /* takes nothing until shimhttp_answered() */
	SHIMHTTP_RAW,     /* no HTTP any more */
};

struct shimhttp {
	enum shimhttp_state state;
	char authorization[256]; /* the header line, "Authorization: Basic b3BlbmNvZGU6...\r\n" */
	char *directory;         /* owned; the header line */
	char *head;              /* owned; what came of a head or a line so far */
	size_t head_len, head_room;
	uint64_t left;
	unsigned matched; /* bytes of "HTTP/1.1 101" seen in the answer to an upgrade */
};

/* directory as in the file system. 0 or -ENOMEM; shimhttp_deinit() frees. */
int shimhttp_init(struct shimhttp *h, const char *username, const char *password,
		  const char *directory);
void shimhttp_deinit(struct shimhttp *h);

/* Bytes that go on; shimhttp_out_deinit() frees. */
struct shimhttp_out {
	char *data; /* owned */
	size_t len, room;
};
void shimhttp_out_deinit(struct shimhttp_out *o);

/*
 * Takes len bytes from the client and appends to out what goes to the backend. *used says how many were
 * taken: fewer than len only in SHIMHTTP_UPGRADE. 0; -EPROTO: that is no HTTP/1.x request; -E2BIG: its
 * head has more than SHIMHTTP_HEAD_MAX bytes; -ENOMEM.
 */
int shimhttp_feed(struct shimhttp *h, const char *in, size_t len, size_t *used,
		  struct shimhttp_out *out);

/* What the backend answers, shown before it is passed on: matters only in SHIMHTTP_UPGRADE. */
void shimhttp_answered(struct shimhttp *h, const char *data, size_t len);
