/*
 * What a program sends to the shim. However it is cut into pieces, the same bytes go on to the backend or
 * it is refused alike; and nothing goes on without the password in front of its first header field.
 *
 * Here: a main() that changes built-in samples at random for SECONDS (argv[1], default 3), seed in
 * argv[2]. With libFuzzer:
 *
 *	clang -DFUZZ_LIBFUZZER -fsanitize=fuzzer,address,undefined -g -O1 -D_GNU_SOURCE -I. \
 *		tests/fuzz/fuzz_shimhttp.c manager/shimhttp.c manager/base/base64.c -lcjson
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "manager/base/cleanup.h"
#include "manager/shimhttp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "fuzz_shimhttp: %s\n", what);
		abort();
	}
}

/* In pieces of step bytes; an upgrade is granted, so that its bytes go on too. */
static int feed(const uint8_t *data, size_t size, size_t step, struct shimhttp_out *out)
{
	CLEANUP(shimhttp_deinit) struct shimhttp h;
	require(shimhttp_init(&h, "opencode", "secret", "/home/ann/web") == 0, "no memory");
	int r = 0;
	for (size_t at = 0, used; r == 0 && at < size; at += used) {
		if (h.state == SHIMHTTP_UPGRADE)
			shimhttp_answered(&h, "HTTP/1.1 101 ", 13);
		size_t n = size - at < step ? size - at : step;
		r = shimhttp_feed(&h, (const char *)data + at, n, &used, out);
		require(used <= n && (r < 0 || used > 0), "it takes nothing, or too much");
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(shimhttp_out_deinit) struct shimhttp_out whole = {0};
	CLEANUP(shimhttp_out_deinit) struct shimhttp_out pieces = {0};
	int r = feed(data, size, size ? size : 1, &whole);
	int again = feed(data, size, size % 5 + 1, &pieces);
	require(r == again, "its pieces are taken otherwise than the whole");
	require(whole.len == pieces.len &&
			(whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0),
		"its pieces become something else");
	if (whole.len == 0)
		return 0;
	const char *line = memchr(whole.data, '\n', whole.len);
	require(line && (size_t)(line + 15 - whole.data) < whole.len &&
			memcmp(line + 1, "Authorization:", 14) == 0,
		"a request without the password");
	return 0;
}

#ifndef FUZZ_LIBFUZZER
static const char *const samples[] = {
	"GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer y\r\n\r\nGET /b HTTP/1.0\n\n",
	"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: "
	"1\r\n\r\nGET / "
	"HTTP/1.1\r\nx-opencode-directory: a\r\n\r\n",
	"\r\nGET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\x81\x05hello",
};

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 3);
	srandom(argc > 2 ? (unsigned)atoi(argv[2]) : 1);
	static const char odd[] = "\r\n:; \t0Ff\xff"
				  "AGTCE/-";
	while (time(NULL) < end) {
		for (int i = 0; i < 1000; i++) {
			char text[512];
			const char *s =
				samples[(size_t)random() % (sizeof(samples) / sizeof(samples[0]))];
			size_t len = strlen(s);
			memcpy(text, s, len);
			for (long changes = random() % 6; changes > 0; changes--) {
				size_t at = (size_t)random() % len;
				if (random() % 3 == 0 && len > 2)
					memmove(text + at, text + at + 1, --len - at);
				else
					text[at] = random() % 2
							   ? odd[(size_t)random() % sizeof(odd)]
							   : (char)random();
			}
			LLVMFuzzerTestOneInput((const uint8_t *)text, len);
		}
	}
	return 0;
}
#endif
