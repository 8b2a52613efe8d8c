/* Between processes: programs, pipes, sockets, locks. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "posix.h"

static void programs(void)
{
	char *const argv[] = {(char *)(uintptr_t) "./prog", NULL};
	int to[2], ws;
	section("programs");
	shell("cp /bin/cat prog");
	int fd = open("prog", O_WRONLY);
	pid_t pid = fork();
	if (pid == 0) {
		execv("./prog", argv);
		_exit(errno == ETXTBSY ? 42 : 1);
	}
	waitpid(pid, &ws, 0);
	note("exec of what is open for writing: %d", WEXITSTATUS(ws));
	close(fd);
	if (pipe2(to, O_CLOEXEC) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		dup2(to[0], 0);
		execv("./prog", argv);
		_exit(1);
	}
	/* It runs once it has taken from the pipe. */
	if (write(to[1], "x\n", 2) != 2)
		abort();
	for (int left = 1; left > 0; poll(NULL, 0, 1))
		if (ioctl(to[0], FIONREAD, &left) < 0)
			abort();
	SAY(open("prog", O_WRONLY));
	SAY(open("prog", O_RDWR | O_TRUNC));
	SAY(truncate("prog", 0));
	SAY(chmod("prog", 0700));
	SAY(rename("prog", "prog2"));
	SAY(unlink("prog2"));
	close(to[1]);
	waitpid(pid, &ws, 0);
	note("it ended with %d", ws);
	put("not", "no program");
	chmod("not", 0755);
	pid = fork();
	if (pid == 0) {
		execl("./not", "not", (char *)NULL);
		_exit(errno == ENOEXEC ? 42 : 1);
	}
	waitpid(pid, &ws, 0);
	note("no program: %d", WEXITSTATUS(ws));
}

static void pipes(void)
{
	char buf[32] = "";
	int ws;
	section("fifo");
	mkfifo("pf", 0600);
	pid_t pid = fork();
	if (pid == 0) {
		int fd = open("pf", O_WRONLY);
		_exit(write(fd, "through the fifo", 16) != 16);
	}
	int fd = open("pf", O_RDONLY);
	SAY(read(fd, buf, sizeof(buf)));
	note("%s", buf);
	SAY(read(fd, buf, sizeof(buf)));
	SAY(unlink("pf"));
	close(fd);
	waitpid(pid, &ws, 0);
	note("%d", ws);
}

static void sockets(int type)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "sock"};
	char buf[32] = "";
	int ws;
	section(type == SOCK_STREAM ? "stream" : "datagram");
	int s = socket(AF_UNIX, type, 0);
	SAY(connect(s, (struct sockaddr *)&un, sizeof(un)));
	SAY(bind(s, (struct sockaddr *)&un, sizeof(un)));
	if (type == SOCK_STREAM)
		SAY(listen(s, 2));
	show("sock");
	pid_t pid = fork();
	if (pid == 0) {
		int c = socket(AF_UNIX, type, 0);
		if (connect(c, (struct sockaddr *)&un, sizeof(un)) < 0)
			_exit(errno);
		_exit(write(c, "by a socket", 11) != 11);
	}
	int a = type == SOCK_STREAM ? accept(s, NULL, NULL) : s;
	SAY(read(a, buf, sizeof(buf)));
	note("%s", buf);
	waitpid(pid, &ws, 0);
	note("%d", ws);
	SAY(rename("sock", "sock2"));
	strcpy(un.sun_path, "sock2");
	int c = socket(AF_UNIX, type, 0);
	SAY(connect(c, (struct sockaddr *)&un, sizeof(un)));
	close(c);
	if (a != s)
		close(a);
	close(s);
	c = socket(AF_UNIX, type, 0);
	SAY(connect(c, (struct sockaddr *)&un, sizeof(un)));
	close(c);
	SAY(unlink("sock2"));
}

static void no_signal(int sig)
{
}

/* A child that holds a lock until it is told to end. */
static pid_t holder(int (*take)(int fd), int to[2], const char *name)
{
	int ready[2];
	char ch = 0;
	if (pipe(ready) < 0 || pipe(to) < 0)
		abort();
	pid_t pid = fork();
	if (pid == 0) {
		close(to[1]);
		int fd = open(name, O_RDWR);
		ch = (char)take(fd);
		if (write(ready[1], &ch, 1) == 1 && read(to[0], &ch, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(to[0]);
	if (read(ready[0], &ch, 1) != 1 || ch)
		note("the child got no lock");
	close(ready[0]);
	close(ready[1]);
	return pid;
}

/* SIGALRM each second, 0: no more. A process that is stopped before it waits is interrupted by the next one. */
static void interrupted_each(time_t seconds)
{
	setitimer(ITIMER_REAL,
		  &(struct itimerval){.it_interval.tv_sec = seconds, .it_value.tv_sec = seconds},
		  NULL);
}

static int take_record(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_start = 10, .l_len = 10};
	return fcntl(fd, F_SETLK, &l) < 0;
}

static int take_flock(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0;
}

static void locks(void)
{
	struct flock l = {.l_type = F_WRLCK, .l_start = 0, .l_len = 0};
	int to[2];
	section("locks");
	put("lk", "locked");
	int fd = open("lk", O_RDWR), ro = open("lk", O_RDONLY);
	pid_t pid = holder(take_record, to, "lk");
	SAY(fcntl(fd, F_SETLK, &l));
	SAY(fcntl(fd, F_GETLK, &l));
	note("held by the child %d, from %ld, %ld long, type %d", l.l_pid == pid, (long)l.l_start,
	     (long)l.l_len, l.l_type);
	l = (struct flock){.l_type = F_RDLCK, .l_start = 20, .l_len = 5};
	SAY(fcntl(ro, F_SETLK, &l));
	l = (struct flock){.l_type = F_WRLCK, .l_start = 20, .l_len = 5};
	SAY(fcntl(ro, F_SETLK, &l));
	l = (struct flock){.l_type = F_WRLCK, .l_start = 15, .l_len = 1};
	SAY(fcntl(fd, F_OFD_SETLK, &l));
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = no_signal}, NULL);
	unsigned left = alarm(0);
	interrupted_each(1);
	SAY(fcntl(fd, F_SETLKW, &l));
	interrupted_each(0);
	close(to[1]);
	waitpid(pid, NULL, 0);
	SAY(fcntl(fd, F_SETLKW, &l));
	pid = holder(take_flock, to, "lk");
	SAY(flock(fd, LOCK_SH | LOCK_NB));
	interrupted_each(1);
	SAY(flock(fd, LOCK_EX));
	interrupted_each(0);
	close(to[1]);
	waitpid(pid, NULL, 0);
	SAY(flock(fd, LOCK_EX));
	SAY(flock(ro, LOCK_SH | LOCK_NB));
	SAY(flock(fd, LOCK_SH | LOCK_NB));
	SAY(flock(ro, LOCK_SH | LOCK_NB));
	SAY(flock(ro, LOCK_EX | LOCK_NB));
	close(fd);
	SAY(flock(ro, LOCK_EX | LOCK_NB));
	close(ro);
	signal(SIGALRM, SIG_DFL);
	alarm(left);
}

void posix_processes(void)
{
	programs();
	pipes();
	sockets(SOCK_STREAM);
	sockets(SOCK_DGRAM);
	locks();
}
