#include "manager/revive.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "manager/base/cleanup.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/recover.h"

enum {
	LOOK_MS = 1000, /* how often a backend that is not there is looked for */
	SOON_MS = 250,
};

/* Until backend (0: none) or client ends, or ms have passed. False when it was the client. */
static bool wait_ends(int client, pid_t backend, int ms)
{
	CLEANUP(closep) int fd = backend > 0 ? (int)syscall(SYS_pidfd_open, backend, 0) : -1;
	struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
	/* A look now and then also where a pid was reused in between. */
	poll(p, 2, backend > 0 && fd < 0 ? SOON_MS : ms);
	return !(p[0].revents & (POLLIN | POLLHUP | POLLERR));
}

/* Not there, and not because somebody stopped it or because it failed too often. */
static bool is_dead(const struct repo *r, struct endpoint *ep, bool *alive)
{
	*alive = false;
	if (registry_read(r, ep, alive, NULL) < 0 || *alive)
		return false;
	return strcmp(ep->state, "failed") != 0 || ep->retry_at_ms != 0;
}

static void watch(const struct config *c, const struct repo *r, int client)
{
	for (;;) {
		struct endpoint ep;
		struct err e = ERR_INIT;
		bool alive, dead = is_dead(r, &ep, &alive);
		if (!wait_ends(client, alive ? ep.pid : 0,
			       alive  ? 10 * LOOK_MS
			       : dead ? 0
				      : LOOK_MS))
			return;
		if (!dead)
			continue;
		int rc = recover_backend(c, r, &e);
		if (rc < 0)
			log_warn("event=revive repo=%s error=\"%s\"", r->id, e.text);
		else if (rc == 0)
			log_info("event=revive repo=%s", r->id);
	}
}

/* Nothing of the terminal's, and what it has to say goes to the backend's log. */
static int detach(const struct repo *r, int client)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "backend.log");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(log < 0 ? null : log, 2) < 0 || dup2(client, 3) < 0 || chdir("/") < 0)
		return -errno;
	syscall(SYS_close_range, 4U, ~0U, 0U);
	prctl(PR_SET_NAME, "rrm-revive");
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	for (int sig = 1; sig < NSIG; sig++)
		sigaction(sig, &dfl, NULL);
	return 0;
}

int revive_watch(const struct config *c, const struct repo *r, pid_t client, struct err *e)
{
	/* Before the fork: the client is our caller, and cannot end before this. */
	CLEANUP(closep) int pidfd = (int)syscall(SYS_pidfd_open, client, 0);
	if (pidfd < 0)
		return err_errno(e, -errno, "watching pid %d", (int)client);
	pid_t middle = fork();
	if (middle < 0)
		return err_errno(e, -errno, "starting the watcher of %s", r->name);
	if (middle == 0) {
		setsid();
		if (fork() == 0 && detach(r, pidfd) == 0)
			watch(c, r, 3);
		_exit(0);
	}
	while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}
