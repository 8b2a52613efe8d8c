#include "tests/unit/canned_server.h"

#include <errno.h>

#include "manager/base/http.h"

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";

static void url_of(char url[64], int port)
{
	snprintf(url, 64, "http://127.0.0.1:%d/session", port);
}

static void a_get_gives_status_and_body(void **state)
{
	struct canned s = {.answer = ok, .len = strlen(ok)};
	canned_start(&s, NULL);
	char url[64];
	url_of(url, s.port);
	struct http_request rq = {.method = "GET", .url = url, .timeout_ms = 30000};
	struct http_response rs;
	struct err e = ERR_INIT;
	int r = http_request(&rq, &rs, &e);
	canned_stop(&s);
	assert_string_equal(e.text, "");
	assert_int_equal(r, 0);
	assert_int_equal(rs.status, 200);
	assert_string_equal(rs.body, "hi");
	assert_int_equal(rs.len, 2);
	assert_memory_equal(s.request, "GET /session HTTP/1.1\r\n", 23);
	http_response_deinit(&rs);
}

static void a_post_sends_its_body_as_json_with_the_password(void **state)
{
	struct canned s = {.answer = ok, .len = strlen(ok)};
	canned_start(&s, NULL);
	char url[64];
	url_of(url, s.port);
	struct http_request rq = {.method = "POST",
				  .url = url,
				  .username = "opencode",
				  .password = "secret",
				  .body = "{\"a\":1}",
				  .timeout_ms = 30000};
	struct http_response rs;
	int r = http_request(&rq, &rs, NULL);
	canned_stop(&s);
	assert_int_equal(r, 0);
	http_response_deinit(&rs);
	assert_memory_equal(s.request, "POST /session HTTP/1.1\r\n", 24);
	assert_non_null(strstr(s.request, "\r\nAuthorization: Basic b3BlbmNvZGU6c2VjcmV0\r\n"));
	assert_non_null(strstr(s.request, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(s.request, "\r\nContent-Length: 7\r\n"));
	assert_null(strstr(s.request, "Expect"));
}

static void an_empty_post_and_an_empty_answer_are_fine(void **state)
{
	static const char none[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
	struct canned s = {.answer = none, .len = strlen(none)};
	canned_start(&s, NULL);
	char url[64];
	url_of(url, s.port);
	struct http_request rq = {.method = "POST", .url = url, .timeout_ms = 30000};
	struct http_response rs;
	int r = http_request(&rq, &rs, NULL);
	canned_stop(&s);
	assert_int_equal(r, 0);
	assert_int_equal(rs.status, 404);
	assert_string_equal(rs.body, "");
	http_response_deinit(&rs);
	assert_non_null(strstr(s.request, "\r\nContent-Length: 0\r\n"));
}

static void a_unix_socket_is_used_and_no_proxy(void **state)
{
	struct tmp *t = *state;
	char path[64];
	snprintf(path, sizeof(path), "%s/s", t->path);
	struct canned s = {.answer = ok, .len = strlen(ok)};
	canned_start(&s, path);
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	struct http_request rq = {.method = "GET",
				  .url = "http://localhost/health",
				  .unix_socket = path,
				  .timeout_ms = 30000};
	struct http_response rs;
	int r = http_request(&rq, &rs, NULL);
	unsetenv("http_proxy");
	canned_stop(&s);
	assert_int_equal(r, 0);
	assert_string_equal(rs.body, "hi");
	http_response_deinit(&rs);
}

static void failed(const char *answer, size_t len, bool hold, int code)
{
	struct canned s = {.answer = answer, .len = len, .hold = hold};
	canned_start(&s, NULL);
	char url[64];
	url_of(url, s.port);
	struct http_request rq = {.method = "GET", .url = url, .timeout_ms = hold ? 60 : 30000};
	struct http_response rs;
	struct err e = ERR_INIT;
	int r = http_request(&rq, &rs, &e);
	canned_stop(&s);
	assert_int_equal(r, code);
	assert_null(rs.body);
	assert_memory_equal(e.text, url, strlen(url));
}

static void failures_have_their_errno_and_a_sentence(void **state)
{
	failed("", 0, true, -ETIMEDOUT);
	failed("", 0, false, -EPROTO);
	failed("SSH-2.0-x\r\n", 11, false, -EPROTO);
	failed("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", 40, false, -EPROTO);
}

static void nobody_there_is_refused(void **state)
{
	struct canned s = {0};
	canned_bind(&s, NULL); /* so that nobody else comes to that port */
	char url[64];
	url_of(url, s.port);
	struct http_request rq = {.method = "GET", .url = url, .timeout_ms = 30000};
	struct http_response rs;
	struct err e = ERR_INIT;
	assert_int_equal(http_request(&rq, &rs, &e), -ECONNREFUSED);
	close(s.listener);
	assert_true(strlen(e.text) > strlen(url));
	rq.url = "ftp://127.0.0.1/x";
	assert_int_equal(http_request(&rq, &rs, &e), -EINVAL);
	rq.url = "http://exa mple/";
	assert_int_equal(http_request(&rq, &rs, &e), -EINVAL);
}

static void a_body_beyond_1_mib_is_refused(void **state)
{
	size_t len = (1 << 20) + 100;
	char *text = malloc(len);
	assert_non_null(text);
	memset(text, 'b', len);
	static const char head[] = "HTTP/1.0 200 OK\r\n\r\n";
	memcpy(text, head, strlen(head));
	failed(text, len, false, -EFBIG);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_get_gives_status_and_body),
		cmocka_unit_test(a_post_sends_its_body_as_json_with_the_password),
		cmocka_unit_test(an_empty_post_and_an_empty_answer_are_fine),
		tmp_test(a_unix_socket_is_used_and_no_proxy),
		cmocka_unit_test(failures_have_their_errno_and_a_sentence),
		cmocka_unit_test(nobody_there_is_refused),
		cmocka_unit_test(a_body_beyond_1_mib_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
