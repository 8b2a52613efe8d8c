#include "say.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *where = "";

void section(const char *name)
{
	where = name;
}

long say(long result, const char *what, ...)
{
	int error = errno;
	va_list ap;
	printf("%s: ", where);
	va_start(ap, what);
	vprintf(what, ap);
	va_end(ap);
	if (result < 0)
		printf(" = %s\n", strerrorname_np(error));
	else
		printf(" = %ld\n", result);
	errno = error;
	return result;
}

void note(const char *fmt, ...)
{
	va_list ap;
	printf("%s:   ", where);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	puts("");
}

void show(const char *path)
{
	struct stat st;
	char target[PATH_MAX] = "", buf[4096];
	uint64_t sum = 0;
	int error = 0;
	if (lstat(path, &st) < 0) {
		note("%s: %s", path, strerrorname_np(errno));
		return;
	}
	if (S_ISLNK(st.st_mode) && readlink(path, target, 30) < 0)
		error = errno;
	int fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY) : -1;
	if (S_ISREG(st.st_mode) && fd < 0)
		error = errno;
	for (ssize_t n; fd >= 0 && st.st_size < 1 << 24 && (n = read(fd, buf, sizeof(buf))) > 0;)
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + (unsigned char)buf[i];
	if (fd >= 0)
		close(fd);
	note("%s: %o links %lu %u:%u size %ld sum %lx %s %s", path, st.st_mode,
	     (unsigned long)st.st_nlink, st.st_uid, st.st_gid,
	     S_ISDIR(st.st_mode) ? 0L : (long)st.st_size, sum, target,
	     error ? strerrorname_np(error) : "");
}

int put_open(const char *path, const char *text)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err(1, "%s", path);
	return fd;
}

void put(const char *path, const char *text)
{
	close(put_open(path, text));
}

void shell(const char *command)
{
	/* NOLINTNEXTLINE(cert-env33-c): the commands stand in this program */
	if (system(command) != 0)
		errx(1, "%s", command);
}

char *filled(char ch, size_t n)
{
	char *s = malloc(n + 1);
	if (!s)
		err(1, "filled");
	memset(s, ch, n);
	s[n] = '\0';
	return s;
}

void as(uid_t uid, gid_t gid, size_t n, const gid_t *groups, void (*fn)(void))
{
	int ws;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (setgroups(n, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			err(1, "becoming %u", uid);
		fn();
		fflush(NULL);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &ws, 0) < 0 || ws)
		errx(1, "user %u ended badly", uid);
}
