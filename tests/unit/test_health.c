#include "tests/unit/canned_server.h"

#include "manager/health.h"

enum { ANSWER_MS = 30000 };

static char id[] = "web-0123456789abcdef";

static struct repo repo(void)
{
	struct repo r = {.root = NULL};
	strcpy(r.id, id);
	return r;
}

static struct canned says(const char *status, const char *body)
{
	static char text[1024];
	struct canned s = {.answer = text};
	s.len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s",
				 status, strlen(body), body);
	return s;
}

static enum health backend(struct canned *s, const char *kind, char version[32])
{
	struct repo r = repo();
	canned_start(s, NULL);
	enum health h = health_backend(&r, kind, s->port, 42, "pw", ANSWER_MS, version);
	canned_stop(s);
	return h;
}

static void a_backend_of_this_repo_is_healthy(void **state)
{
	char version[32];
	struct canned s = says("200 OK", "{\"healthy\":true,\"version\":\"7\",\"repo_id\":"
					 "\"web-0123456789abcdef\",\"pid\":42}");
	assert_int_equal(backend(&s, "embedded", version), HEALTH_OK);
	assert_string_equal(version, "7");
	/* base64 of opencode:pw */
	assert_non_null(strstr(s.request, "Authorization: Basic b3BlbmNvZGU6cHc="));
	assert_non_null(strstr(s.request, "GET /global/health "));
}

static void opencode_needs_no_repo_id(void **state)
{
	struct canned s = says("200 OK", "{\"healthy\":true,\"version\":\"1.18.33\"}");
	assert_int_equal(backend(&s, "opencode", NULL), HEALTH_OK);
	s = says("200 OK", "{\"healthy\":true,\"version\":\"1.18.33\"}");
	assert_int_equal(backend(&s, "embedded", NULL), HEALTH_STRANGER);
}

static void another_repo_or_pid_is_a_stranger(void **state)
{
	struct canned s = says("200 OK", "{\"healthy\":true,\"repo_id\":\"x-1\",\"pid\":42}");
	assert_int_equal(backend(&s, "embedded", NULL), HEALTH_STRANGER);
	s = says("200 OK", "{\"healthy\":true,\"repo_id\":\"web-0123456789abcdef\",\"pid\":43}");
	assert_int_equal(backend(&s, "embedded", NULL), HEALTH_STRANGER);
}

static void what_is_not_our_json_is_a_stranger(void **state)
{
	static const char *const bodies[] = {"", "hello", "[]", "null", "{}", "{\"healthy\":true"};
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		struct canned s = says("200 OK", bodies[i]);
		assert_int_equal(backend(&s, "opencode", NULL), HEALTH_STRANGER);
	}
	struct canned s = says("404 Not Found", "{\"healthy\":true}");
	assert_int_equal(backend(&s, "opencode", NULL), HEALTH_STRANGER);
	s = (struct canned){.answer = "220 mail ready\r\n", .len = 16};
	assert_int_equal(backend(&s, "opencode", NULL), HEALTH_STRANGER);
}

static void each_failure_has_its_word(void **state)
{
	struct canned s = says("401 Unauthorized", "");
	assert_int_equal(backend(&s, "opencode", NULL), HEALTH_LOCKED);
	s = says("503 Service Unavailable", "");
	assert_int_equal(backend(&s, "opencode", NULL), HEALTH_UNWELL);
	s = says("200 OK", "{\"healthy\":false}");
	assert_int_equal(backend(&s, "opencode", NULL), HEALTH_UNWELL);
	struct repo r = repo();
	struct canned deaf = {0};
	canned_bind(&deaf, NULL);
	assert_int_equal(health_backend(&r, "opencode", deaf.port, 1, "pw", ANSWER_MS, NULL),
			 HEALTH_DOWN);
	close(deaf.listener);
	struct canned mute = {.answer = "", .hold = true};
	canned_start(&mute, NULL);
	assert_int_equal(health_backend(&r, "opencode", mute.port, 1, "pw", 50, NULL),
			 HEALTH_SILENT);
	canned_stop(&mute);
}

static void a_missing_gateway_is_down(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo();
	char path[64];
	snprintf(path, sizeof(path), "%s/gateway.sock", t->path);
	assert_int_equal(health_gateway(&r, path, getpid(), ANSWER_MS), HEALTH_DOWN);
}

/* The canned server takes one connection, which the probe of the peer would be the second of. */
static void a_gateway_of_another_repo_is_a_stranger(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo();
	char path[64];
	snprintf(path, sizeof(path), "%s/gateway.sock", t->path);
	struct canned s = says("200 OK", "{\"healthy\":true,\"repo_id\":\"x-1\"}");
	canned_start(&s, path);
	assert_int_equal(health_gateway(&r, path, getpid(), ANSWER_MS), HEALTH_STRANGER);
	canned_stop(&s);
}

static void a_gateway_counts_only_below_its_backend(void **state)
{
	struct tmp *t = *state;
	struct repo r = repo();
	char path[64];
	const struct {
		pid_t backend;
		enum health want;
	} cases[] = {{getpid(), HEALTH_OK}, {getppid(), HEALTH_OK}, {0x3fffffff, HEALTH_ORPHAN}};
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%zu.sock", t->path, i);
		struct canned s =
			says("200 OK", "{\"healthy\":true,\"repo_id\":\"web-0123456789abcdef\"}");
		canned_start(&s, path);
		assert_int_equal(health_gateway(&r, path, cases[i].backend, ANSWER_MS),
				 cases[i].want);
		canned_stop(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_backend_of_this_repo_is_healthy),
		cmocka_unit_test(opencode_needs_no_repo_id),
		cmocka_unit_test(another_repo_or_pid_is_a_stranger),
		cmocka_unit_test(what_is_not_our_json_is_a_stranger),
		cmocka_unit_test(each_failure_has_its_word),
		tmp_test(a_missing_gateway_is_down),
		tmp_test(a_gateway_of_another_repo_is_a_stranger),
		tmp_test(a_gateway_counts_only_below_its_backend),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
