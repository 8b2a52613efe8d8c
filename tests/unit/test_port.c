#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "manager/port.h"

static int listen_on(int *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static void a_port_with_a_listener_is_not_free(void **state)
{
	int port = 0, fd = listen_on(&port);
	assert_false(port_is_free(port));
	close(fd);
	assert_true(port_is_free(port));
}

static void numbers_that_are_no_ports_are_not_free(void **state)
{
	assert_false(port_is_free(0));
	assert_false(port_is_free(-1));
	assert_false(port_is_free(65536));
}

static void the_preferred_port_is_taken_when_it_is_free(void **state)
{
	int port = 0, again, fd = listen_on(&port);
	close(fd);
	assert_int_equal(port_choose(port, &again, NULL), 0);
	assert_int_equal(again, port);
}

static void another_port_is_chosen_when_the_preferred_one_is_taken(void **state)
{
	int port = 0, other, fd = listen_on(&port);
	assert_int_equal(port_choose(port, &other, NULL), 0);
	assert_int_not_equal(other, port);
	assert_true(other > 0 && other <= 65535);
	close(fd);
}

static void the_holder_of_a_port_is_named(void **state)
{
	char text[64], want[64];
	int port = 0, fd = listen_on(&port);
	snprintf(want, sizeof(want), "pid %d (test_port)", (int)getpid());
	assert_string_equal(port_holder(port, text, sizeof(text)), want);
	close(fd);
	assert_string_equal(port_holder(port, text, sizeof(text)), "nobody");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_with_a_listener_is_not_free),
		cmocka_unit_test(numbers_that_are_no_ports_are_not_free),
		cmocka_unit_test(the_preferred_port_is_taken_when_it_is_free),
		cmocka_unit_test(another_port_is_chosen_when_the_preferred_one_is_taken),
		cmocka_unit_test(the_holder_of_a_port_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
