#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/clock.h"
#include "manager/unheard.h"

/* A server in a process of its own: of three connections it answers the second one, and never the others. */
struct server {
	pid_t pid;
	int port;
	int clients[4]; /* the last one asks nothing */
};

static void serve(int listener, int told)
{
	char buf[16];
	int fds[4];
	for (int i = 0; i < 4; i++)
		fds[i] = accept(listener, NULL, NULL);
	for (int i = 0; i < 3; i++)
		if (read(fds[i], buf, sizeof(buf)) <= 0)
			_exit(1);
	if (write(fds[1], "y", 1) != 1 || write(told, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

static struct server begin(void)
{
	struct server s = {.pid = 0};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int told[2], listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char c;
	assert_int_equal(bind(listener, (struct sockaddr *)&a, len), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &len), 0);
	s.port = ntohs(a.sin_port);
	assert_int_equal(pipe(told), 0);
	s.pid = fork();
	if (s.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(listener, told[1]);
	}
	close(listener);
	for (int i = 0; i < 4; i++) {
		s.clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(s.clients[i], (struct sockaddr *)&a, len), 0);
		if (i < 3)
			assert_int_equal(write(s.clients[i], "ask", 3), 3);
	}
	assert_int_equal(read(told[0], &c, 1), 1);
	close(told[0]);
	close(told[1]);
	return s;
}

static void end(const struct server *s)
{
	for (int i = 0; i < 4; i++)
		close(s->clients[i]);
	kill(s->pid, SIGKILL);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

/* True: its connection has been ended. */
static bool ended(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char c;
	assert_int_equal(poll(&p, 1, wait_ms), 1);
	return read(fd, &c, 1) <= 0;
}

static void who_is_never_answered_is_let_go(void **state)
{
	struct server s = begin();
	struct pollfd quiet = {.fd = s.clients[3], .events = POLLIN};
	usleep(10000); /* the kernel counts in jiffies */
	assert_int_equal(unheard_end(s.pid, s.port, clock_mono_ms()), 2);
	assert_true(ended(s.clients[0], 60000));
	assert_false(ended(s.clients[1], 60000));
	assert_true(ended(s.clients[2], 60000));
	assert_int_equal(poll(&quiet, 1, 0), 0);
	assert_int_equal(unheard_end(s.pid, s.port, clock_mono_ms()), 0);
	end(&s);
}

static void who_came_later_or_to_another_port_is_not(void **state)
{
	uint64_t before = clock_mono_ms() - 50;
	struct server s = begin();
	assert_int_equal(unheard_end(s.pid, s.port, before), 0);
	usleep(10000);
	assert_int_equal(unheard_end(s.pid, s.port + 1, clock_mono_ms()), 0);
	for (int i = 0; i < 4; i += 2) {
		struct pollfd p = {.fd = s.clients[i], .events = POLLIN};
		assert_int_equal(poll(&p, 1, 0), 0);
	}
	end(&s);
	assert_true(unheard_end(s.pid, s.port, clock_mono_ms()) <= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_never_answered_is_let_go),
		cmocka_unit_test(who_came_later_or_to_another_port_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
