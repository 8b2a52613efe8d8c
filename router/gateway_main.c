/*
 * rrm-backend: the gateway of one repository, alone as the whole backend (--serve) or as a child of
 * the OpenCode backend (--gateway). One thread and one select(2): requests, signals, the lifeline.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/err.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/base/spin.h"
#include "manager/config.h"
#include "manager/suggest.h"
#include "router/gateway_serve.h"

enum { DRAIN_MS = 3000, UNDO_MIB = 512, UNDO_DAYS = 14 };

struct options {
	bool serve, gateway;
	char *root;  /* owned; canonical */
	char *state; /* owned; canonical */
	int port;
};

struct backend {
	struct options o;
	int state;      /* fd of the state directory */
	int lock;       /* gateway.lock, held for life */
	char *password; /* owned; with a port */
	char *socket;   /* owned */
	struct gateway_engine *engine;
	struct gateway_serve *serve;
	int signals, lifeline, parent; /* fds; -1: none. parent: a pidfd */
	bool stop;
};

static const char usage[] =
	"usage: rrm-backend --serve --root DIR --state DIR --port PORT\n"
	"       rrm-backend --gateway --root DIR --state DIR\n"
	"\n"
	"Applies and records the changes that other repositories' sessions make in the\n"
	"repository at --root; requests come over gateway.sock in --state.\n"
	"  --serve    the embedded backend: health on 127.0.0.1:PORT as well\n"
	"  --gateway  a child of the OpenCode backend: ends at the end of stdin\n";

static int get_port(const char *text, int *port, struct err *e)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (!*text || *end || n < 1 || n > 65535)
		return err_set(e, -EINVAL, "--port takes a number from 1 to 65535, not \"%s\"",
			       text);
	*port = (int)n;
	return 0;
}

static int check_options(const struct options *o, const char *root, const char *state,
			 struct err *e)
{
	if (o->serve == o->gateway)
		return err_set(e, -EINVAL, "give one of --serve and --gateway; see --help");
	if (!root || !state)
		return err_set(e, -EINVAL, "--root and --state are needed; see --help");
	if (o->serve != (o->port != 0))
		return err_set(e, -EINVAL,
			       o->serve ? "--serve needs --port" : "--port goes with --serve only");
	return 0;
}

static int unknown(const char *word, const struct option *longs, struct err *e)
{
	const char *near = suggest_option(word, longs);
	if (near)
		return err_set(e, -EINVAL, "%s is not understood; did you mean --%s? See --help",
			       word, near);
	return err_set(e, -EINVAL, "%s is not understood; see --help", word);
}

/* 0; 1: all is said (--help); -EINVAL: wrong usage; another negative errno: a path is not there. */
static int parse(int argc, char **argv, struct options *o, struct err *e)
{
	static const struct option longs[] = {{"serve", 0, NULL, 's'},   {"gateway", 0, NULL, 'g'},
					      {"root", 1, NULL, 'r'},    {"state", 1, NULL, 't'},
					      {"port", 1, NULL, 'p'},    {"help", 0, NULL, 'h'},
					      {"version", 0, NULL, 'v'}, {NULL, 0, NULL, 0}};
	const char *root = NULL, *state = NULL;
	opterr = 0;
	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (c == 'h' || c == 'v') {
			fputs(c == 'h' ? usage : "rrm-backend " RRM_VERSION "\n", stdout);
			return 1;
		}
		if (c == 's')
			o->serve = true;
		else if (c == 'g')
			o->gateway = true;
		else if (c == 'r')
			root = optarg;
		else if (c == 't')
			state = optarg;
		else if (c != 'p')
			return unknown(argv[optind - 1], longs, e);
		else if (get_port(optarg, &o->port, e) < 0)
			return -EINVAL;
	}
	if (optind < argc)
		return err_set(e, -EINVAL, "%s is not understood; see --help", argv[optind]);
	int r = check_options(o, root, state, e);
	if (r == 0)
		r = path_canonical(root, &o->root, e);
	return r == 0 ? path_canonical(state, &o->state, e) : r;
}

static int open_state(struct backend *b, struct err *e)
{
	b->state = open(b->o.state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->state < 0)
		return err_errno(e, -errno, "opening the state directory %s", b->o.state);
	if (strlen(path_basename(b->o.state)) > 63)
		return err_set(e, -EINVAL, "the name of the state directory is no repo_id: %s",
			       b->o.state);
	b->lock = openat(b->state, "gateway.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (b->lock < 0)
		return err_errno(e, -errno, "opening %s/gateway.lock", b->o.state);
	if (flock(b->lock, LOCK_EX | LOCK_NB) < 0)
		return err_set(
			e, -EBUSY,
			"another gateway serves %s already (it holds %s/gateway.lock); stop it "
			"first",
			b->o.root, b->o.state);
	b->socket = path_join(b->o.state, "gateway.sock");
	return b->socket ? 0 : err_errno(e, -ENOMEM, "starting");
}

static int read_password(struct backend *b, struct err *e)
{
	size_t len;
	int r = file_read(b->state, "password", 4096, &b->password, &len);
	if (r < 0)
		return err_errno(e, r, "reading %s/password, which rrm ensure makes", b->o.state);
	b->password[strcspn(b->password, "\n")] = '\0';
	if (!*b->password)
		return err_set(e, -EINVAL, "%s/password is empty; remove it and run rrm ensure",
			       b->o.state);
	return 0;
}

static int open_signals(struct backend *b, struct err *e)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file size limit is EFBIG to the writer, not our end */
	b->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return b->signals < 0 ? err_errno(e, -errno, "signalfd") : 0;
}

/*
 * Stdin's end is how a child of OpenCode learns that its backend is gone. Something else may have
 * inherited the other end of the pipe, so the parent itself is watched too.
 */
static int open_lifeline(struct backend *b, struct err *e)
{
	struct stat st;
	b->parent = (int)syscall(SYS_pidfd_open, getppid(), 0);
	if (fstat(STDIN_FILENO, &st) < 0 ||
	    !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(STDIN_FILENO)))
		return err_set(e, -EINVAL,
			       "--gateway needs a pipe as stdin, whose end tells it to end");
	b->lifeline = STDIN_FILENO;
	return 0;
}

/* How much undo is kept. A configuration that cannot be read is for others to complain of. */
static void keep_limits(struct gateway_engine_config *ec)
{
	struct err e = ERR_INIT;
	struct config *c = NULL;
	if (config_load(&c, &e) < 0) {
		log_warn("event=config error=\"%s\" undo_keep_mib=%d", e.text, UNDO_MIB);
		ec->undo_bytes = (uint64_t)UNDO_MIB << 20;
		ec->undo_days = UNDO_DAYS;
		return;
	}
	ec->undo_bytes = (uint64_t)c->undo_keep_mib << 20;
	ec->undo_days = c->undo_keep_days;
	ec->rotate_bytes = (uint64_t)c->audit_file_mib << 20;
	ec->audit_keep_bytes = (uint64_t)c->audit_keep_mib << 20;
	ec->audit_keep_days = c->audit_keep_days;
	config_free(c);
}

static int open_all(struct backend *b, struct err *e)
{
	int r = open_state(b, e);
	if (r == 0 && b->o.port)
		r = read_password(b, e);
	if (r < 0)
		return r;
	const char *repo_id = path_basename(b->o.state);
	struct gateway_engine_config ec = {
		.root = b->o.root, .state = b->state, .repo_id = repo_id};
	keep_limits(&ec);
	/* Blocked before the first thread is made, so that no other one takes a signal. */
	r = open_signals(b, e);
	if (r == 0)
		r = gateway_engine_new(&b->engine, &ec, clock_mono_ms(), e);
	const struct gateway_serve_config sc = {.root = b->o.root,
						.repo_id = repo_id,
						.socket_path = b->socket,
						.state = b->state,
						.engine = b->engine,
						.port = b->o.port,
						.password = b->password};
	if (r == 0 && b->o.gateway)
		r = open_lifeline(b, e);
	return r == 0 ? gateway_serve_new(&b->serve, &sc, e) : r;
}

static void on_signal(struct backend *b)
{
	struct signalfd_siginfo si;
	b->stop = b->stop || read(b->signals, &si, sizeof(si)) == sizeof(si);
}

static void on_lifeline(struct backend *b)
{
	char buf[512];
	ssize_t n = read(b->lifeline, buf, sizeof(buf));
	b->stop = b->stop || n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

static int sooner(int a_ms, int b_ms)
{
	return a_ms < 0 ? b_ms : b_ms < 0 || a_ms < b_ms ? a_ms : b_ms;
}

static void want(struct gateway_fds *f, int fd)
{
	if (fd < 0)
		return;
	FD_SET(fd, &f->in);
	if (fd > f->last)
		f->last = fd;
}

/* As select(2), for wait_ms (-1: for ever). What is ready stays in f: nothing, when that is nothing. */
static int look(const struct gateway_fds *wanted, struct gateway_fds *f, int wait_ms)
{
	struct timeval tv = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
	*f = *wanted;
	int n = select(f->last + 1, &f->in, &f->out, &f->bad, wait_ms < 0 ? NULL : &tv);
	if (n < 0) {
		FD_ZERO(&f->in);
		FD_ZERO(&f->out);
		FD_ZERO(&f->bad);
	}
	return n;
}

/* After a request the next one often comes at once: looks for it a little while before sleeping. */
static int look_for_more(const struct gateway_fds *wanted, struct gateway_fds *f)
{
	struct spin spin = spin_begin();
	int n;
	while ((n = look(wanted, f, 0)) == 0 && spin_more(&spin))
		;
	return n;
}

static void stop_once(struct backend *b, uint64_t *deadline)
{
	if (!b->stop || *deadline)
		return;
	*deadline = clock_mono_ms() + DRAIN_MS;
	b->lifeline = -1;
	closep(&b->parent);
	b->parent = -1;
	gateway_serve_stop(b->serve);
}

/* Until told to stop, and then until what was under way is answered. */
static void loop(struct backend *b)
{
	uint64_t deadline = 0;
	bool busy = false;
	while (!b->stop || (!gateway_serve_idle(b->serve) && clock_mono_ms() < deadline)) {
		struct gateway_fds wanted = {.last = -1}, f;
		int wait_ms = gateway_serve_wants(b->serve, &wanted);
		want(&wanted, b->signals);
		want(&wanted, b->lifeline);
		want(&wanted, b->parent);
		wait_ms = sooner(wait_ms, gateway_engine_tick(b->engine, clock_mono_ms()));
		if (b->stop)
			wait_ms = sooner(wait_ms, 100);
		int n = busy && wait_ms != 0 ? look_for_more(&wanted, &f) : 0;
		if (n == 0)
			n = look(&wanted, &f, wait_ms);
		busy = n > 0;
		if (FD_ISSET(b->signals, &f.in))
			on_signal(b);
		if (b->lifeline >= 0 && FD_ISSET(b->lifeline, &f.in))
			on_lifeline(b);
		if (b->parent >= 0 && FD_ISSET(b->parent, &f.in))
			b->stop = true;
		stop_once(b, &deadline);
		gateway_serve_run(b->serve, &f);
	}
}

static void close_all(struct backend *b)
{
	gateway_serve_free(b->serve);
	gateway_engine_free(b->engine);
	closep(&b->signals);
	closep(&b->parent);
	closep(&b->state);
	closep(&b->lock);
	free(b->password);
	free(b->socket);
	free(b->o.root);
	free(b->o.state);
}

int main(int argc, char **argv)
{
	struct backend b = {.state = -1, .lock = -1, .signals = -1, .lifeline = -1, .parent = -1};
	struct err e = ERR_INIT;
	log_program("rrm-backend");
	/* The modes of mutations are final; the mount has applied the caller's umask. */
	umask(0);
	int r = parse(argc, argv, &b.o, &e);
	bool wrong_usage = r == -EINVAL;
	if (r == 0)
		r = open_all(&b, &e);
	if (r == 0) {
		log_info("event=serving repo_id=%s root=%s port=%d pid=%d",
			 path_basename(b.o.state), b.o.root, b.o.port, (int)getpid());
		loop(&b);
		log_info("event=stopped repo_id=%s", path_basename(b.o.state));
	}
	close_all(&b);
	if (r < 0)
		fprintf(stderr, "rrm-backend: %s\n", e.text);
	return r >= 0 ? 0 : wrong_usage ? 2 : 1;
}
