/* The line to the gateway, against a server of canned answers on a real unix socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "router/client.h"

/* Each step answers one request; a NULL answer closes without a word. */
struct step {
	const char *answer;
	bool close_after;
};

struct server {
	char dir[32], path[64];
	int fd;
	pthread_t thread;
	const struct step *steps;
	size_t n;
	size_t connections, requests;
	char last[8192]; /* the last request's head */
};

/* Reads one request; false at the end of the connection. */
static bool read_request(int fd, char *buf, size_t size)
{
	size_t got = 0, want = SIZE_MAX;
	while (got < want && got < size - 1) {
		ssize_t n = read(fd, buf + got, size - 1 - got);
		if (n <= 0)
			return false;
		got += (size_t)n;
		buf[got] = '\0';
		char *end = strstr(buf, "\r\n\r\n"), *len = strstr(buf, "Content-Length: ");
		if (end && len)
			want = (size_t)(end - buf) + 4 + strtoul(len + 16, NULL, 10);
	}
	return true;
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = -1;
	for (size_t i = 0; i < s->n;) {
		if (fd < 0) {
			fd = accept(s->fd, NULL, NULL);
			s->connections++;
		}
		if (fd >= 0 && read_request(fd, s->last, sizeof(s->last))) {
			const struct step *st = &s->steps[i++];
			s->requests++;
			if (st->answer)
				assert_true(write(fd, st->answer, strlen(st->answer)) > 0);
			if (st->answer && !st->close_after)
				continue;
		}
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (fd >= 0)
		close(fd);
	return NULL;
}

static void start(struct server *s, const struct step *steps, size_t n)
{
	*s = (struct server){.steps = steps, .n = n};
	strcpy(s->dir, "/tmp/rrm-client-XXXXXX");
	assert_non_null(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/g.sock", s->dir);
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	strcpy(a.sun_path, s->path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->fd, 8), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void finish(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->fd);
	unlink(s->path);
	rmdir(s->dir);
}

#define OK(id)                                                                                     \
	"HTTP/1.1 200 OK\r\nContent-Length: 54\r\n\r\n{\"id\":\"" id                               \
	"\",\"ok\":true,\"errno\":0,\"bytes\":5,\"message\":\"\"}   "

static struct mutation *hello(const char *id)
{
	struct mutation *m = mutation_new(MUTATION_WRITE);
	strcpy(m->id, id);
	m->epoch = 1;
	m->path = strdup("a");
	m->data = strdup("hello");
	m->data_len = 5;
	return m;
}

static int ask(struct client *c, const char *id, struct mutation_answer *a, struct err *e)
{
	struct mutation *m = hello(id);
	int r = client_send(c, m, 60000, a, e);
	mutation_free(m);
	return r;
}

static void one_connection_carries_many_requests(void **state)
{
	static const struct step steps[] = {{OK("a1"), false}, {OK("a2"), false}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	start(&s, steps, 2);
	assert_int_equal(client_new(&c, s.path), 0);
	assert_int_equal(ask(c, "a1", &a, &e), 0);
	assert_int_equal(a.bytes, 5);
	assert_int_equal(ask(c, "a2", &a, &e), 0);
	client_free(c);
	finish(&s);
	assert_int_equal(s.connections, 1);
	assert_non_null(strstr(s.last, "Rrm-Mutation: {\"id\":\"a2\""));
	assert_non_null(strstr(s.last, "\r\n\r\nhello"));
}

static void a_connection_closed_while_idle_is_made_anew(void **state)
{
	static const struct step steps[] = {{OK("a1"), true}, {OK("a2"), false}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	start(&s, steps, 2);
	assert_int_equal(client_new(&c, s.path), 0);
	assert_int_equal(ask(c, "a1", &a, &e), 0);
	assert_int_equal(ask(c, "a2", &a, &e), 0);
	client_free(c);
	finish(&s);
	assert_int_equal(s.connections, 2);
}

static int ask_in_halves(struct client *c, const char *id, bool begun, struct mutation_answer *a)
{
	struct err e = ERR_INIT;
	struct mutation *m = hello(id);
	assert_true(client_fd(c) >= 0);
	assert_int_equal(client_begin(c, m), begun);
	int r = client_finish(c, m, 60000, a, &e);
	mutation_free(m);
	return r;
}

static void a_request_goes_in_two_halves_where_there_is_a_connection(void **state)
{
	static const struct step steps[] = {
		{OK("a1"), false}, {OK("a2"), false}, {OK("a3"), false}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	start(&s, steps, 3);
	assert_int_equal(client_new(&c, s.path), 0);
	assert_int_equal(client_fd(c), -1);
	assert_int_equal(ask(c, "a1", &a, &e), 0);
	assert_int_equal(ask_in_halves(c, "a2", true, &a), 0);
	assert_int_equal(a.bytes, 5);
	assert_int_equal(ask_in_halves(c, "a3", true, &a), 0);
	client_free(c);
	finish(&s);
	assert_int_equal(s.connections, 1);
	assert_non_null(strstr(s.last, "\r\n\r\nhello"));
}

/* What the first half meets is made good by the second one. */
static void the_second_half_sends_again_where_the_gateway_is_another(void **state)
{
	static const struct step steps[] = {{OK("a1"), true}, {OK("a2"), false}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	start(&s, steps, 2);
	assert_int_equal(client_new(&c, s.path), 0);
	assert_int_equal(ask(c, "a1", &a, &e), 0);
	struct pollfd p = {.fd = client_fd(c), .events = POLLIN};
	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(ask_in_halves(c, "a2", false, &a), 0);
	client_free(c);
	finish(&s);
	assert_int_equal(s.connections, 2);
}

static void the_second_half_fails_as_the_whole(void **state)
{
	static const struct step steps[] = {{OK("a1"), false},
					    {NULL, true},
					    {NULL, true},
					    {OK("a3"), false},
					    {OK("zz"), false}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	start(&s, steps, 5);
	assert_int_equal(client_new(&c, s.path), 0);
	assert_int_equal(ask(c, "a1", &a, &e), 0);
	/* Read and not answered: once more, and then it is no answer. */
	assert_int_equal(ask_in_halves(c, "a2", true, &a), -ECONNRESET);
	assert_int_equal(client_fd(c), -1);
	assert_int_equal(ask(c, "a3", &a, &e), 0);
	assert_int_equal(ask_in_halves(c, "a4", true, &a), -EPROTO);
	assert_int_equal(client_fd(c), -1);
	client_free(c);
	finish(&s);
}

static void a_gateway_that_dies_without_a_word_is_no_answer(void **state)
{
	static const struct step steps[] = {{NULL, true}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	start(&s, steps, 1);
	assert_int_equal(client_new(&c, s.path), 0);
	assert_int_equal(ask(c, "a1", &a, &e), -ECONNRESET);
	assert_non_null(strstr(e.text, s.path));
	client_free(c);
	finish(&s);
	assert_int_equal(s.requests, 1);
}

static void what_is_no_answer_is_a_protocol_error(void **state)
{
	static const struct step steps[] = {
		{"SSH-2.0-dropbear\r\n\r\n", true},
		{"HTTP/1.1 200 OK\r\n\r\n", true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true},
		{OK("zz"), true},
		{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", true}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	start(&s, steps, 6);
	assert_int_equal(client_new(&c, s.path), 0);
	for (size_t i = 0; i < 6; i++) {
		struct err e = ERR_INIT;
		assert_int_equal(ask(c, "a1", &a, &e), -EPROTO);
		assert_true(*e.text);
		client_reset(c);
	}
	client_free(c);
	finish(&s);
}

static void a_refused_request_is_an_answer_with_the_sentence(void **state)
{
	static const struct step steps[] = {
		{"HTTP/1.1 400 Bad\r\nContent-Length: 18\r\n\r\n{\"error\":\"no way\"}", false}};
	struct server s;
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	start(&s, steps, 1);
	assert_int_equal(client_new(&c, s.path), 0);
	assert_int_equal(ask(c, "a1", &a, &e), 0);
	assert_int_equal(a.error, EINVAL);
	assert_string_equal(a.message, "no way");
	client_free(c);
	finish(&s);
}

static void no_socket_and_a_silent_one_are_told_apart(void **state)
{
	struct client *c = NULL;
	struct mutation_answer a;
	struct err e = ERR_INIT;
	assert_int_equal(client_new(&c, "/tmp/rrm-there-is-none.sock"), 0);
	assert_int_equal(ask(c, "a1", &a, &e), -ENOENT);
	client_free(c);

	struct server s = {.dir = "/tmp/rrm-client-XXXXXX"};
	assert_non_null(mkdtemp(s.dir));
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/g.sock", s.dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(client_new(&c, addr.sun_path), 0);
	assert_int_equal(ask(c, "a1", &a, &e), -ECONNREFUSED);
	assert_int_equal(listen(fd, 1), 0);
	struct mutation *m = hello("a1");
	assert_int_equal(client_send(c, m, 20, &a, &e), -ETIMEDOUT);
	mutation_free(m);
	client_free(c);
	close(fd);
	unlink(addr.sun_path);
	rmdir(s.dir);
}

static void a_path_too_long_for_a_socket_is_told_at_once(void **state)
{
	struct client *c = NULL;
	char path[200];
	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(client_new(&c, path), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_connection_carries_many_requests),
		cmocka_unit_test(a_connection_closed_while_idle_is_made_anew),
		cmocka_unit_test(a_request_goes_in_two_halves_where_there_is_a_connection),
		cmocka_unit_test(the_second_half_sends_again_where_the_gateway_is_another),
		cmocka_unit_test(the_second_half_fails_as_the_whole),
		cmocka_unit_test(a_gateway_that_dies_without_a_word_is_no_answer),
		cmocka_unit_test(what_is_no_answer_is_a_protocol_error),
		cmocka_unit_test(a_refused_request_is_an_answer_with_the_sentence),
		cmocka_unit_test(no_socket_and_a_silent_one_are_told_apart),
		cmocka_unit_test(a_path_too_long_for_a_socket_is_told_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
