#include "tests/unit/canned_server.h"

#include <errno.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/probe.h"

struct answer {
	int r, status;
	char body[64];
	char request[4096];
	uint64_t took_ms;
};

static struct answer ask(struct canned *s, const char *username, int timeout_ms)
{
	struct answer a = {0};
	canned_start(s, NULL);
	struct probe p = {.port = s->port,
			  .path = "/global/health",
			  .username = username,
			  .password = "secret",
			  .timeout_ms = timeout_ms};
	uint64_t from = clock_mono_ms();
	a.r = probe_get(&p, &a.status, a.body, sizeof(a.body));
	a.took_ms = clock_mono_ms() - from;
	canned_stop(s);
	memcpy(a.request, s->request, sizeof(a.request));
	return a;
}

/* The answer in whole and byte by byte: both must be understood alike. */
static void expect(const char *text, bool hold, int r, int status, const char *body)
{
	for (size_t piece = 0; piece <= 1; piece++) {
		struct canned s = {
			.answer = text, .len = strlen(text), .piece = piece, .hold = hold};
		struct answer a = ask(&s, NULL, 30000);
		assert_int_equal(a.r, r);
		assert_int_equal(a.status, status);
		assert_string_equal(a.body, body);
	}
}

static void an_answer_ends_with_its_length_or_with_the_connection(void **state)
{
	expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", true, 0, 200, "hello");
	expect("HTTP/1.1 200 OK\r\ncontent-length:5\r\n\r\nhello, and more", true, 0, 200, "hello");
	expect("HTTP/1.0 401 Unauthorized\r\n\r\nno", false, 0, 401, "no");
	expect("HTTP/1.1 200 OK\nX: y\n\nbare", false, 0, 200, "bare");
	expect("HTTP/1.1 204 No Content\r\n\r\n", true, 0, 204, "");
	expect("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, 0, 200, "");
}

static void a_chunked_body_is_given_decoded(void **state)
{
	expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	       "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n",
	       true, 0, 200, "hello world");
	expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true, 0, 200, "");
	expect("HTTP/1.1 200 OK\r\nTransfer-Encoding: "
	       "chunked\r\n\r\n00A\r\n0123456789\r\n0\r\n\r\n",
	       true, 0, 200, "0123456789");
}

static void a_broken_chunk_is_an_error(void **state)
{
	const char *bad[] = {
		"x\r\n", "-1\r\n",      "5\r\nhelloworld\r\n",   "5\r\nhel",
		"\r\n",  "5 \r\nhello", "0x5\r\nhello\r\n0\r\n", "ffffffffffffffffff\r\nx"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[256];
		snprintf(text, sizeof(text),
			 "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s", bad[i]);
		expect(text, false, -EPROTO, 0, "");
	}
}

static void an_answer_that_is_cut_off_is_an_error(void **state)
{
	expect("", false, -EPROTO, 0, "");
	expect("HTTP/1.1 200", false, -EPROTO, 0, "");
	expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", false, -EPROTO, 0, "");
	expect("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", false, -EPROTO, 0, "");
}

static void something_else_than_http_is_told_at_once(void **state)
{
	expect("SSH-2.0-OpenSSH_9.2\r\n", true, -EPROTO, 0, "");
	expect("HTTP/2 200\r\n\r\n", true, -EPROTO, 0, "");
	expect("HTTP/1.1 abc OK\r\n\r\n", true, -EPROTO, 0, "");
	expect("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", true, -EPROTO, 0, "");
	expect("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", true, -EPROTO, 0,
	       "");
}

static void a_nul_byte_in_the_head_is_an_error(void **state)
{
	struct canned s = {.answer = "HTTP/1.1 200 OK\r\nA: \0\r\n\r\nx", .len = 27};
	struct answer a = ask(&s, NULL, 30000);
	assert_int_equal(a.r, -EPROTO);
}

static void a_body_larger_than_the_buffer_is_cut(void **state)
{
	char text[400] = "HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n";
	size_t head = strlen(text);
	memset(text + head, 'b', 300);
	struct canned s = {.answer = text, .len = head + 300, .hold = true};
	struct answer a = ask(&s, NULL, 30000);
	assert_int_equal(a.r, 0);
	assert_int_equal(strlen(a.body), sizeof(a.body) - 1);
}

static void an_endless_answer_ends(void **state)
{
	struct canned body = {
		.answer = "HTTP/1.1 200 OK\r\n\r\nxxxxxxxxxxxxxxx", .len = 34, .endless = true};
	struct answer a = ask(&body, NULL, 30000);
	assert_int_equal(a.r, 0);
	char head[2048] = "HTTP/1.1 200 OK\r\nX: ";
	memset(head + strlen(head), 'h', sizeof(head) - 1 - strlen(head));
	struct canned endless = {.answer = head, .len = strlen(head), .endless = true};
	a = ask(&endless, NULL, 30000);
	assert_int_equal(a.r, -EPROTO);
}

static void the_request_is_a_plain_get(void **state)
{
	struct canned s = {.answer = "HTTP/1.0 200 OK\r\n\r\n", .len = 19};
	struct answer a = ask(&s, NULL, 30000);
	assert_int_equal(a.r, 0);
	assert_memory_equal(a.request, "GET /global/health HTTP/1.0\r\n", 29);
	assert_null(strstr(a.request, "Authorization"));
	assert_non_null(strstr(a.request, "Connection: close\r\n"));
}

static void the_password_goes_as_basic_auth(void **state)
{
	const char *users[] = {"opencode", "a", "ab"};
	const char *coded[] = {"b3BlbmNvZGU6c2VjcmV0", "YTpzZWNyZXQ=", "YWI6c2VjcmV0"};
	for (int i = 0; i < 3; i++) {
		char want[128];
		snprintf(want, sizeof(want), "\r\nAuthorization: Basic %s\r\n", coded[i]);
		struct canned s = {.answer = "HTTP/1.0 200 OK\r\n\r\n", .len = 19};
		struct answer a = ask(&s, users[i], 30000);
		assert_int_equal(a.r, 0);
		assert_non_null(strstr(a.request, want));
	}
}

static void a_silent_server_costs_the_timeout_and_no_more(void **state)
{
	struct canned s = {.answer = "", .len = 0, .hold = true};
	struct answer a = ask(&s, NULL, 60);
	assert_int_equal(a.r, -ETIMEDOUT);
	assert_in_range(a.took_ms, 59, 30000);
	struct canned half = {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
			      .len = 41,
			      .hold = true};
	a = ask(&half, NULL, 60);
	assert_int_equal(a.r, -ETIMEDOUT);
	assert_string_equal(a.body, "");
}

static void nobody_there_is_refused_at_once(void **state)
{
	struct canned s = {0};
	canned_bind(&s, NULL); /* so that nobody else comes to that port */
	int status;
	char body[8];
	struct probe p = {.port = s.port, .path = "/", .timeout_ms = 30000};
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -ECONNREFUSED);
	close(s.listener);
	p.port = 0;
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -EINVAL);
	p.port = 65536;
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -EINVAL);
}

static void a_unix_socket_is_asked_and_its_owner_known(void **state)
{
	struct tmp *t = *state;
	char path[64];
	snprintf(path, sizeof(path), "%s/s", t->path);
	struct canned s = {.answer = "HTTP/1.1 200 OK\r\n\r\nhi", .len = 21};
	canned_start(&s, path);
	int status;
	char body[8];
	struct probe p = {.unix_socket = path, .path = "/health", .timeout_ms = 30000};
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), 0);
	assert_int_equal(status, 200);
	assert_string_equal(body, "hi");
	int pid = 0;
	assert_int_equal(probe_peer(path, &pid), 0);
	assert_int_equal(pid, getpid());
	canned_stop(&s);
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -ECONNREFUSED);
	assert_int_equal(probe_peer(path, &pid), -ECONNREFUSED);
}

static void a_unix_socket_that_cannot_be_is_said(void **state)
{
	int status;
	char body[8];
	char path[109];
	struct probe p = {.unix_socket = "/nowhere/s", .path = "/", .timeout_ms = 1000};
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -ENOENT);
	p.unix_socket = "";
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -ENOENT);
	memset(path, 'x', 108);
	path[108] = '\0';
	p.unix_socket = path;
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -ENAMETOOLONG);
	path[107] = '\0';
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -ENOENT);
}

static void a_full_queue_of_a_unix_socket_costs_the_timeout_and_no_more(void **state)
{
	struct tmp *t = *state;
	char path[64];
	snprintf(path, sizeof(path), "%s/s", t->path);
	struct canned s = {0};
	canned_listen(&s, path);
	assert_int_equal(listen(s.listener, 0), 0);
	int status;
	char body[8];
	struct probe p = {.unix_socket = path, .path = "/", .timeout_ms = 30};
	/* Nobody accepts: the first is queued and gets no answer, a later one finds no room. */
	int held[4];
	for (int i = 0; i < 4; i++) {
		struct sockaddr_un un = {.sun_family = AF_UNIX};
		memcpy(un.sun_path, path, strlen(path) + 1);
		held[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connect(held[i], (struct sockaddr *)&un, sizeof(un)) < 0)
			assert_int_equal(errno, EAGAIN);
	}
	int r = probe_get(&p, &status, body, sizeof(body));
	for (int i = 0; i < 4; i++)
		close(held[i]);
	close(s.listener);
	assert_int_equal(r, -ETIMEDOUT);
}

static void a_path_with_a_newline_is_not_sent(void **state)
{
	int status;
	char body[8];
	struct probe p = {.port = 1, .path = "/a\r\nX: y", .timeout_ms = 1000};
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -EINVAL);
	p.path = "a";
	assert_int_equal(probe_get(&p, &status, body, sizeof(body)), -EINVAL);
	p.path = "/";
	assert_int_equal(probe_get(&p, &status, body, 0), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_ends_with_its_length_or_with_the_connection),
		cmocka_unit_test(a_chunked_body_is_given_decoded),
		cmocka_unit_test(a_broken_chunk_is_an_error),
		cmocka_unit_test(an_answer_that_is_cut_off_is_an_error),
		cmocka_unit_test(something_else_than_http_is_told_at_once),
		cmocka_unit_test(a_nul_byte_in_the_head_is_an_error),
		cmocka_unit_test(a_body_larger_than_the_buffer_is_cut),
		cmocka_unit_test(an_endless_answer_ends),
		cmocka_unit_test(the_request_is_a_plain_get),
		cmocka_unit_test(the_password_goes_as_basic_auth),
		cmocka_unit_test(a_silent_server_costs_the_timeout_and_no_more),
		cmocka_unit_test(nobody_there_is_refused_at_once),
		tmp_test(a_unix_socket_is_asked_and_its_owner_known),
		cmocka_unit_test(a_unix_socket_that_cannot_be_is_said),
		tmp_test(a_full_queue_of_a_unix_socket_costs_the_timeout_and_no_more),
		cmocka_unit_test(a_path_with_a_newline_is_not_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
