/*
 * Round trips of 1 KiB writes from client_send() to a real rrm-backend: median, p99, requests a second.
 * bench_gateway RRM_BACKEND [COUNT]. Makes and removes everything below a directory of its own in /tmp.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "router/client.h"

static char dir[] = "/tmp/rrm-bench-XXXXXX";

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The gateway as a child, with the write end of its lifeline in *life. */
static pid_t start(const char *backend, const char *root, const char *state, int *life)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[0], STDIN_FILENO);
		execl(backend, backend, "--gateway", "--root", root, "--state", state,
		      (char *)NULL);
		_exit(127);
	}
	close(p[0]);
	*life = p[1];
	return pid;
}

static int send_one(struct client *c, struct mutation *m)
{
	struct mutation_answer a;
	struct err e = ERR_INIT;
	mutation_new_id(m);
	int r = client_send(c, m, 5000, &a, &e);
	if (r < 0 || a.error) {
		fprintf(stderr, "bench_gateway: %s\n", r < 0 ? e.text : a.message);
		return -1;
	}
	return 0;
}

/* each: a file of its own for every write, so that each write is a record. */
static int measure(struct client *c, size_t n, bool each, const char *title)
{
	CLEANUP(freep) double *us = calloc(n, sizeof(*us));
	struct mutation *m = mutation_new(MUTATION_CREATE);
	char name[2][2] = {"a", "b"};
	int r = us && m ? 0 : -1;
	if (r < 0)
		return r;
	m->epoch = 1;
	m->mode = 0644;
	strcpy(m->actor.comm, "bench");
	for (int i = 0; i < 2 && r == 0; i++) {
		free(m->path);
		m->path = strdup(name[i]);
		r = send_one(c, m);
	}
	m->op = MUTATION_WRITE;
	m->mode = 0;
	m->data = calloc(1, 1024);
	m->data_len = m->data ? 1024 : 0;
	double begun = now_us();
	for (size_t i = 0; i < n && r == 0; i++) {
		m->path[0] = each ? name[i % 2][0] : 'a';
		double t = now_us();
		r = send_one(c, m);
		us[i] = now_us() - t;
	}
	double total = now_us() - begun;
	mutation_free(m);
	if (r < 0)
		return r;
	qsort(us, n, sizeof(*us), by_value);
	printf("%-32s median %6.1f us  p99 %6.1f us  %8.0f requests/s\n", title, us[n / 2],
	       us[n * 99 / 100], (double)n * 1e6 / total);
	return 0;
}

int main(int argc, char **argv)
{
	char root[64], state[64], sock[96];
	struct client *c = NULL;
	int life = -1, status = 0, r;
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 10000;
	if (argc < 2 || n == 0 || !mkdtemp(dir)) {
		fprintf(stderr, "usage: bench_gateway RRM_BACKEND [COUNT]\n");
		return 2;
	}
	snprintf(root, sizeof(root), "%s/root", dir);
	snprintf(state, sizeof(state), "%s/bench-0123456789abcdef", dir);
	snprintf(sock, sizeof(sock), "%s/gateway.sock", state);
	r = mkdir(root, 0700) < 0 || mkdir(state, 0700) < 0 ? -1 : 0;
	pid_t pid = r == 0 ? start(argv[1], root, state, &life) : -1;
	for (int i = 0; i < 500 && access(sock, F_OK) < 0; i++)
		usleep(10000);
	if (pid < 0 || client_new(&c, sock) < 0)
		r = -1;
	if (r == 0)
		r = measure(c, n, false, "1 KiB writes, one file");
	if (r == 0)
		r = measure(c, n, true, "1 KiB writes, a record each");
	client_free(c);
	closep(&life);
	if (pid > 0)
		waitpid(pid, &status, 0);
	file_remove_tree(AT_FDCWD, dir);
	return r < 0 || status ? 1 : 0;
}
