#include "tests/unit/unit.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "manager/peer.h"

/* Both ends of a connection over loopback; the client's socket is of that family. */
static void connect_pair(int family, int *client, int *server)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(l, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&in, &len), 0);
	*client = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (family == AF_INET6) {
		struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = in.sin_port};
		mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&mapped.sin6_addr.s6_addr[12], &in.sin_addr, 4);
		assert_int_equal(connect(*client, (struct sockaddr *)&mapped, sizeof(mapped)), 0);
	} else {
		assert_int_equal(connect(*client, (struct sockaddr *)&in, len), 0);
	}
	*server = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	assert_true(*server >= 0);
	close(l);
}

static void the_peer_is_ourselves(void **state)
{
	int client, server;
	uid_t uid = (uid_t)-1;
	connect_pair(AF_INET, &client, &server);
	assert_int_equal(peer_uid(server, &uid), 0);
	assert_int_equal(uid, geteuid());
	close(client);
	close(server);
}

static void the_peer_is_found_behind_an_ipv6_socket(void **state)
{
	int client, server;
	uid_t uid = (uid_t)-1;
	int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (probe < 0)
		return; /* a kernel without IPv6 has no such peers */
	close(probe);
	connect_pair(AF_INET6, &client, &server);
	assert_int_equal(peer_uid(server, &uid), 0);
	assert_int_equal(uid, geteuid());
	close(client);
	close(server);
}

static void a_peer_that_has_gone_is_nobody(void **state)
{
	int client, server;
	uid_t uid;
	connect_pair(AF_INET, &client, &server);
	close(client);
	assert_int_equal(peer_uid(server, &uid), -ENOTCONN);
	close(server);
}

#define LINE(state, uid, inode)                                                                    \
	"   3: 0100007F:1F90 0100007F:A0B1 " state " 00000000:00000000 00:00000000 00000000  " uid \
	"        0 " inode " 1 0000000000000000 20 4 30 10 -1"

static void a_line_of_the_table_is_matched_as_a_whole(void **state)
{
	uid_t uid = 0;
	assert_int_equal(
		peer_match(LINE("01", "1000", "77"), "0100007F:1F90", "0100007F:A0B1", &uid), 0);
	assert_int_equal(uid, 1000);
	/* the other end, another state, nobody's */
	assert_int_equal(
		peer_match(LINE("01", "1000", "77"), "0100007F:A0B1", "0100007F:1F90", &uid),
		-ENOENT);
	assert_int_equal(peer_match(LINE("04", "0", "77"), "0100007F:1F90", "0100007F:A0B1", &uid),
			 -ENOENT);
	assert_int_equal(peer_match(LINE("01", "0", "0"), "0100007F:1F90", "0100007F:A0B1", &uid),
			 -ENOENT);
	assert_int_equal(peer_match("  sl  local_address rem_address   st", "", "", &uid), -ENOENT);
	assert_int_equal(peer_match("", "", "", &uid), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_peer_is_ourselves),
		cmocka_unit_test(the_peer_is_found_behind_an_ipv6_socket),
		cmocka_unit_test(a_peer_that_has_gone_is_nobody),
		cmocka_unit_test(a_line_of_the_table_is_matched_as_a_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
