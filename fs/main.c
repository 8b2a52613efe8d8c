/* rrm-mount: the FUSE server. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mount.h"
#include "fs/notify.h"
#include "fs/options.h"
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

/* In the child: serves. What goes wrong before it serves is told to the parent through ready. */
static int background(struct config *c, const struct options *opt, int ready)
{
	struct err e = ERR_INIT;
	setsid();
	if (chdir("/") < 0)
		return CMD_FAILED;
	redirect(c);
	int rc = mount_serve(c, opt, &ready, &e);
	if (rc == 0)
		return CMD_OK;
	if (!e.text[0])
		err_errno(&e, rc, "serving");
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
	rc = mount_serve(c, opt, NULL, e);
	if (rc < 0) {
		fail(e, rc);
		return CMD_FAILED;
	}
	return CMD_OK;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct config *c = NULL;
	struct options opt = {0};
	log_program("rrm-mount");
	notify_take();
	int rc = config_load(&c, &e);
	if (rc < 0) {
		fail(&e, rc);
		return CMD_FAILED;
	}
	rc = options_parse(&opt, argc, argv, c, &e);
	int code = CMD_OK;
	if (rc < 0) {
		code = fail(&e, rc);
	} else if (opt.action == OPTIONS_UNMOUNT) {
		rc = mount_unmount(c, opt.mountpoint, &e);
		code = rc < 0 ? (fail(&e, rc), CMD_FAILED) : CMD_OK;
	} else if (opt.action == OPTIONS_MOUNT) {
		code = mount_now(c, &opt, &e);
	}
	options_deinit(&opt);
	config_free(c);
	return code;
}
