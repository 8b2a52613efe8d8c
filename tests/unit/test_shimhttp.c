#include "tests/unit/unit.h"

#include "manager/base/cleanup.h"
#include "manager/shimhttp.h"

#define AUTH "Authorization: Basic b3BlbmNvZGU6c2VjcmV0\r\n"
#define DIR "x-opencode-directory: %2Fhome%2Fann%2Fmy%20web\r\n"

static void start(struct shimhttp *h)
{
	assert_int_equal(shimhttp_init(h, "opencode", "secret", "/home/ann/my web"), 0);
}

/* Fed in pieces of step bytes: the result must be the same. */
static int feed(const char *in, size_t step, char *out, size_t size)
{
	CLEANUP(shimhttp_deinit) struct shimhttp h;
	CLEANUP(shimhttp_out_deinit) struct shimhttp_out o = {0};
	start(&h);
	int r = 0;
	size_t len = strlen(in), used;
	for (size_t at = 0; r == 0 && at < len; at += used) {
		r = shimhttp_feed(&h, in + at, len - at < step ? len - at : step, &used, &o);
		if (used == 0)
			break;
	}
	assert_true(o.len < size);
	memcpy(out, o.data ? o.data : "", o.len);
	out[o.len] = '\0';
	return r;
}

static void becomes(const char *in, const char *want)
{
	char out[4096];
	static const size_t steps[] = {1, 2, 3, 7, 4096};
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		assert_int_equal(feed(in, steps[i], out, sizeof(out)), 0);
		assert_string_equal(out, want);
	}
}

static void refused(const char *in)
{
	char out[4096];
	assert_int_equal(feed(in, 1, out, sizeof(out)), -EPROTO);
	assert_int_equal(feed(in, 4096, out, sizeof(out)), -EPROTO);
}

static void each_request_of_a_connection_gets_the_password(void **state)
{
	becomes("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /a HTTP/1.1\r\n" AUTH DIR "Host: x\r\n\r\n"
		"GET /b HTTP/1.1\r\n" AUTH DIR "Host: x\r\n\r\n");
}

static void the_password_of_the_client_is_not_passed_on(void **state)
{
	becomes("GET / HTTP/1.1\r\nauthorization: Bearer x\r\nHost: x\r\n\r\n",
		"GET / HTTP/1.1\r\n" AUTH DIR "Host: x\r\n\r\n");
}

static void a_directory_that_the_client_names_stays(void **state)
{
	becomes("GET / HTTP/1.1\r\nX-OpenCode-Directory: %2Fb\r\n\r\n",
		"GET / HTTP/1.1\r\n" AUTH "X-OpenCode-Directory: %2Fb\r\n\r\n");
}

static void bodies_that_look_like_requests_are_left_alone(void **state)
{
	becomes("POST / HTTP/1.1\r\nContent-Length: 19\r\n\r\nGET / HTTP/1.1\r\n\r\n!"
		"GET /b HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.1\r\n" AUTH DIR "Content-Length: 19\r\n\r\nGET / HTTP/1.1\r\n\r\n!"
		"GET /b HTTP/1.1\r\n" AUTH DIR "\r\n");
	becomes("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
		"12;x=y\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\nTrailer: 1\r\n\r\nGET /b "
		"HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.1\r\n" AUTH DIR "Transfer-Encoding: chunked\r\n\r\n"
		"12;x=y\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\nTrailer: 1\r\n\r\n"
		"GET /b HTTP/1.1\r\n" AUTH DIR "\r\n");
}

static void what_is_no_request_is_refused(void **state)
{
	refused("hello\r\n\r\n");
	refused("GET /\r\n\r\n");
	refused("get / HTTP/1.1\r\n\r\n");
	refused("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n");
	refused("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
	refused("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n");
	refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n");
	refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n");
	refused("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n");
}

static void a_head_without_end_is_refused_in_time(void **state)
{
	CLEANUP(shimhttp_deinit) struct shimhttp h;
	CLEANUP(shimhttp_out_deinit) struct shimhttp_out o = {0};
	CLEANUP(freep) char *big = malloc(2 * SHIMHTTP_HEAD_MAX);
	size_t used;
	start(&h);
	memset(big, 'A', 2 * SHIMHTTP_HEAD_MAX);
	assert_int_equal(shimhttp_feed(&h, big, 2 * SHIMHTTP_HEAD_MAX, &used, &o), -E2BIG);
	assert_true(h.head_room < 2 * SHIMHTTP_HEAD_MAX);
}

#define UPGRADE "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"

static void after_an_upgrade_bytes_are_no_requests(void **state)
{
	CLEANUP(shimhttp_deinit) struct shimhttp h;
	CLEANUP(shimhttp_out_deinit) struct shimhttp_out o = {0};
	static const char in[] = UPGRADE "GET / HTTP/1.1\r\n\r\n";
	size_t used, first = strlen(UPGRADE);
	start(&h);
	assert_int_equal(shimhttp_feed(&h, in, strlen(in), &used, &o), 0);
	assert_int_equal(used, first);
	shimhttp_answered(&h, "HTTP/1.1 ", 9);
	assert_int_equal(h.state, SHIMHTTP_UPGRADE);
	shimhttp_answered(&h, "101 Switching Protocols\r\n", 25);
	o.len = 0;
	assert_int_equal(shimhttp_feed(&h, in + first, strlen(in) - first, &used, &o), 0);
	assert_int_equal(o.len, strlen("GET / HTTP/1.1\r\n\r\n"));
}

static void an_upgrade_that_was_refused_leaves_http(void **state)
{
	CLEANUP(shimhttp_deinit) struct shimhttp h;
	CLEANUP(shimhttp_out_deinit) struct shimhttp_out o = {0};
	size_t used;
	start(&h);
	assert_int_equal(shimhttp_feed(&h, UPGRADE, strlen(UPGRADE), &used, &o), 0);
	shimhttp_answered(&h, "HTTP/1.1 426 Upgrade Required\r\n", 31);
	assert_int_equal(h.state, SHIMHTTP_HEAD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_request_of_a_connection_gets_the_password),
		cmocka_unit_test(the_password_of_the_client_is_not_passed_on),
		cmocka_unit_test(a_directory_that_the_client_names_stays),
		cmocka_unit_test(bodies_that_look_like_requests_are_left_alone),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(a_head_without_end_is_refused_in_time),
		cmocka_unit_test(after_an_upgrade_bytes_are_no_requests),
		cmocka_unit_test(an_upgrade_that_was_refused_leaves_http),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
