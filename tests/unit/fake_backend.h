/*
 * A backend that behaves as FAKE_MODE says, for tests of starting and stopping. The test program is its
 * own backend: scripts in <tmp>/bin named rrm-backend and rrm run it with FAKE_AS set, and main() comes
 * here. Each start appends its pid to $FAKE_DIR/starts.
 *
 * Modes: "" answers as rrm-backend does; crash prints and exits; late does so once there is <FAKE_DIR>/now; quiet neither prints nor listens; mute
 * listens and never answers; locked says 401; other is another repo's; nogateway has no gateway.sock;
 * taken asks the test to take its port once and finds it taken; children leaves a child in a session of
 * its own that ignores SIGTERM.
 */
#pragma once
#include "tests/unit/unit.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "manager/base/path.h"

struct fake {
	const char *mode, *dir, *root, *state;
	char repo_id[128], auth[256];
	int port;
};

static inline bool fake_is(const struct fake *f, const char *mode)
{
	return strcmp(f->mode, mode) == 0;
}

/* "Basic <base64 of opencode:password>" */
static inline void fake_auth(struct fake *f)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char path[4200], plain[96] = "opencode:";
	snprintf(path, sizeof(path), "%s/password", f->state);
	FILE *in = fopen(path, "re");
	if (!in || fscanf(in, "%63s", plain + 9) != 1)
		exit(9);
	fclose(in);
	size_t n = strlen(plain), at = (size_t)sprintf(f->auth, "Basic ");
	for (size_t i = 0; i < n; i += 3) {
		unsigned v = (unsigned)(unsigned char)plain[i] << 16;
		v |= i + 1 < n ? (unsigned)(unsigned char)plain[i + 1] << 8 : 0;
		v |= i + 2 < n ? (unsigned)(unsigned char)plain[i + 2] : 0;
		for (int k = 0; k < 4; k++)
			f->auth[at++] = i + (size_t)k > n ? '=' : digits[v >> (18 - 6 * k) & 63];
	}
	f->auth[at] = '\0';
}

static inline int fake_listen(const struct fake *f, bool unix_socket)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)f->port)};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	snprintf(un.sun_path, sizeof(un.sun_path), "%.90s/gateway.sock", f->state);
	int one = 1, fd = socket(unix_socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (unix_socket)
		unlink(un.sun_path);
	const struct sockaddr *a = unix_socket ? (struct sockaddr *)&un : (struct sockaddr *)&in;
	if (bind(fd, a, unix_socket ? sizeof(un) : sizeof(in)) < 0 || listen(fd, 64) < 0) {
		fprintf(stderr, "fake: port %d: %m\n", f->port);
		exit(1);
	}
	return fd;
}

static inline void fake_answer(const struct fake *f, int listener, bool tcp)
{
	char request[4096] = "", body[8192], all[9000];
	size_t have = 0;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	while (fd >= 0 && !strstr(request, "\r\n\r\n")) {
		ssize_t n = recv(fd, request + have, sizeof(request) - 1 - have, 0);
		if (n <= 0)
			break;
		have += (size_t)n;
		request[have] = '\0';
	}
	bool ok = !fake_is(f, "locked") && (!tcp || strstr(request, f->auth));
	int len =
		snprintf(body, sizeof(body),
			 "{\"healthy\":true,\"version\":\"f1\",\"repo_id\":\"%s\",\"root\":\"%s\","
			 "\"pid\":%d,\"epoch\":0}",
			 fake_is(f, "other") ? "other-0123456789abcdef" : f->repo_id, f->root,
			 (int)getpid());
	len = snprintf(all, sizeof(all), "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s",
		       ok ? "200 OK" : "401 Unauthorized", ok ? len : 0, ok ? body : "");
	if (fd >= 0 && have > 0 && send(fd, all, (size_t)len, MSG_NOSIGNAL) < 0)
		perror("fake");
	close(fd);
}

/* The test's helper binds the port that it is told, and says so. */
static inline void fake_have_it_taken(const struct fake *f)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path, sizeof(un.sun_path), "%.90s/taker", f->dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), port = f->port;
	char done;
	/* Only the first time is there somebody. */
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0 &&
	    (write(fd, &port, sizeof(port)) != sizeof(port) || read(fd, &done, 1) != 1))
		exit(8);
	close(fd);
}

static inline void fake_leave_a_child(void)
{
	char id[16];
	snprintf(id, sizeof(id), "%d", (int)getpid());
	if (fork() != 0)
		return;
	setenv("OPENCODE_PID", id, 1);
	unsetenv("RRM_BACKEND_OF");
	setsid();
	signal(SIGTERM, SIG_IGN);
	if (fork() == 0)
		execl("/bin/sleep", "fake-child", "1000", (char *)NULL);
	_exit(0);
}

static inline int fake_backend(int argc, char **argv)
{
	struct fake f = {.mode = getenv("FAKE_MODE"), .dir = getenv("FAKE_DIR")};
	char path[4200];
	for (int i = 1; i + 1 < argc; i++) {
		f.root = strcmp(argv[i], "--root") == 0 ? argv[i + 1] : f.root;
		f.state = strcmp(argv[i], "--state") == 0 ? argv[i + 1] : f.state;
		f.port = strcmp(argv[i], "--port") == 0 ? atoi(argv[i + 1]) : f.port;
	}
	if (!f.mode || !f.dir || !f.root || !f.state || !f.port)
		return 7;
	snprintf(path, sizeof(path), "%s/starts", f.dir);
	FILE *starts = fopen(path, "ae");
	fprintf(starts, "%d\n", (int)getpid());
	fclose(starts);
	snprintf(f.repo_id, sizeof(f.repo_id), "%s", path_basename(f.state));
	fake_auth(&f);
	snprintf(path, sizeof(path), "%s/now", f.dir);
	while (fake_is(&f, "late") && access(path, F_OK) < 0)
		poll(NULL, 0, 1);
	if (fake_is(&f, "crash") || fake_is(&f, "late")) {
		fprintf(stderr, "one\n\033[31mtwo\033[0m\nthe disk is on fire\n");
		return 3;
	}
	while (fake_is(&f, "quiet"))
		pause();
	if (fake_is(&f, "taken"))
		fake_have_it_taken(&f);
	if (fake_is(&f, "children"))
		fake_leave_a_child();
	struct pollfd p[2] = {{.fd = fake_listen(&f, false), .events = POLLIN}, {.fd = -1}};
	while (fake_is(&f, "mute"))
		pause();
	if (!fake_is(&f, "nogateway"))
		p[1] = (struct pollfd){.fd = fake_listen(&f, true), .events = POLLIN};
	for (;;) {
		poll(p, 2, -1);
		for (int i = 0; i < 2; i++)
			if (p[i].revents)
				fake_answer(&f, p[i].fd, i == 0);
	}
}
