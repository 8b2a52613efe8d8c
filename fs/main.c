/* rrm-mount: the FUSE server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/guard.h"
#include "fs/mount.h"
#include "fs/notify.h"
#include "fs/options.h"
#include "fs/server.h"
#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/log.h"
#include "manager/base/path.h"
#include "manager/cmd.h"

static int fail(const struct err *e, int rc)
{
	fprintf(stderr, "rrm-mount: %s\n", e->text[0] ? e->text : strerror(-rc));
	return rc == -EINVAL ? CMD_USAGE : CMD_FAILED;
}

/* The log of a mount in the background; standard error until it is open. */
static void redirect(const struct config *c)
{
	CLEANUP(freep) char *path = path_join(c->base, "rrm-mount.log");
	CLEANUP(closep) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	CLEANUP(closep)
	int log = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
	dup2(null, STDIN_FILENO);
	dup2(log >= 0 ? log : null, STDOUT_FILENO);
	dup2(log >= 0 ? log : null, STDERR_FILENO);
}

/* The guard, and in a child of its the server: in both what to exit with. Which of them said what went wrong, if
 * anything did, is clear from *rc: 0, it was told already. */
static int guarded(struct config *c, const struct options *opt, struct estate *es, int *rc,
		   struct err *e)
{
	const struct guard_mount m = {
		.config = c, .mountpoint = opt->mountpoint, .fuse = opt->fuse};
	int code = CMD_FAILED;
	*rc = guard_run(es, &m, &code, e);
	if (*rc != GUARD_SERVE)
		return code;
	*rc = server_run(c, opt, es, e);
	es->phase = ESTATE_ENDED;
	if (*rc < 0 && !e->text[0])
		err_errno(e, *rc, "serving");
	return *rc < 0 ? CMD_FAILED : CMD_OK;
}

/* In the child: guards and serves. What goes wrong before it serves is told to the parent through ready. */
static int background(struct config *c, const struct options *opt, int ready)
{
	struct err e = ERR_INIT;
	struct estate *es = NULL;
	setsid();
	if (chdir("/") < 0)
		return CMD_FAILED;
	redirect(c);
	int code = CMD_FAILED, rc = estate_new(&es, &e);
	if (rc == 0) {
		es->ready = ready;
		code = guarded(c, opt, es, &rc, &e);
		ready = es->ready;
	}
	if (rc == 0)
		return code;
	log_error("event=serve error=\"%s\"", e.text);
	if (ready >= 0)
		file_write_all(ready, e.text, strlen(e.text));
	return CMD_FAILED;
}

/* Returns when the mount answers. */
static int run_in_background(struct config *c, const struct options *opt, struct err *e)
{
	int ready[2];
	size_t n = 0;
	if (pipe2(ready, O_CLOEXEC) < 0)
		return CMD_FAILED;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(ready[0]);
		_exit(background(c, opt, ready[1]));
	}
	close(ready[1]);
	int rc = pid < 0 ? -errno : notify_await(ready[0], e->text, sizeof(e->text) - 1, &n);
	close(ready[0]);
	if (rc == 0 && n == 1 && e->text[0] == 'r')
		return CMD_OK;
	if (n == 0)
		err_set(e, -EIO, "the server ended before it served; %s/rrm-mount.log says more",
			c->base);
	else
		e->text[n] = '\0';
	if (pid > 0)
		waitpid(pid, NULL, 0);
	fail(e, -EIO);
	return CMD_FAILED;
}

static int mount_now(struct config *c, const struct options *opt, struct err *e)
{
	int rc = file_mkdirs(c->base, 0700);
	if (rc < 0)
		return fail(e, err_errno(e, rc, "making the state directory %s", c->base));
	rc = mount_prepare(c, opt->mountpoint, e);
	if (rc == MOUNT_ALREADY) {
		notify_ready();
		return CMD_OK;
	}
	if (rc < 0) {
		fail(e, rc);
		return CMD_FAILED;
	}
	if (!opt->foreground)
		return run_in_background(c, opt, e);
	struct estate *es = NULL;
	rc = estate_new(&es, e);
	int code = rc == 0 ? guarded(c, opt, es, &rc, e) : CMD_FAILED;
	if (rc < 0)
		fail(e, rc);
	return rc < 0 ? CMD_FAILED : code;
}

/* The guard of a mount became this program (guard.h). */
static int go_on(struct config *c, const struct options *opt, struct estate *es, struct err *e)
{
	int rc = 0, code = guarded(c, opt, es, &rc, e);
	if (rc < 0)
		log_error("event=serve error=\"%s\"", e->text);
	return code;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct config *c = NULL;
	struct options opt = {0};
	log_program("rrm-mount");
	notify_take();
	int code = CMD_OK;
	int rc = options_parse(&opt, argc, argv, &e);
	if (rc != 0 || opt.action == OPTIONS_DONE) {
		code = rc != 0 ? fail(&e, rc) : CMD_OK;
		options_deinit(&opt);
		return code;
	}
	if (config_load(&c, &e) < 0) {
		fail(&e, 0);
		options_deinit(&opt);
		return CMD_FAILED;
	}
	rc = options_complete(&opt, c, &e);
	if (rc < 0) {
		code = fail(&e, rc);
	} else if (opt.action == OPTIONS_UNMOUNT) {
		rc = mount_unmount(c, opt.mountpoint, &e);
		code = rc < 0 ? (fail(&e, rc), CMD_FAILED) : CMD_OK;
	} else if (opt.action == OPTIONS_REEXEC) {
		rc = mount_reexec(c, opt.mountpoint, &e);
		code = rc < 0 ? (fail(&e, rc), CMD_FAILED) : CMD_OK;
	} else if (opt.action == OPTIONS_MOUNT) {
		struct estate *es = guard_inherited(argv);
		code = es ? go_on(c, &opt, es, &e) : mount_now(c, &opt, &e);
	}
	options_deinit(&opt);
	config_free(c);
	return code;
}
