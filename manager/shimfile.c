#include "manager/shimfile.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/program.h"

#define HEAD "#!/bin/sh\n# rrm-shim: opencode by way of rrm; `rrm shim remove` takes it away\n"

bool shimfile_is(const char *path)
{
	char head[sizeof(HEAD) - 1];
	size_t got;
	/* O_NONBLOCK: whatever has this name on PATH, a pipe must not hold us. */
	CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    file_read_full(fd, head, sizeof(head), &got) < 0)
		return false;
	return got == sizeof(head) && memcmp(head, HEAD, got) == 0;
}

/* In single quotes any byte stands for itself but the quote. */
static void print_quoted(FILE *f, const char *text)
{
	putc('\'', f);
	for (; *text; text++)
		if (*text == '\'')
			fputs("'\\''", f);
		else
			putc(*text, f);
	putc('\'', f);
}

static int script(char **text, size_t *len, struct err *e)
{
	CLEANUP(freep) char *rrm = NULL;
	int r = program_find("rrm", &rrm, e);
	if (r < 0)
		return r;
	CLEANUP(fclosep) FILE *f = open_memstream(text, len);
	if (!f)
		return -errno;
	fputs(HEAD "rrm=", f);
	print_quoted(f, rrm);
	fputs("\n[ -x \"$rrm\" ] || {\n"
	      "\techo \"opencode: rrm is no longer at $rrm; remove $0, or install rrm and run rrm "
	      "shim install\" >&2\n"
	      "\texit 127\n"
	      "}\n"
	      "exec \"$rrm\" shim run -- \"$@\"\n",
	      f);
	return ferror(f) ? -ENOMEM : 0;
}

/* -EEXIST when dir/opencode is something that is not ours; 1 when it is ours, 0 when it is free. */
static int look(int dir, const char *path, struct err *e)
{
	struct stat st;
	if (fstatat(dir, "opencode", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "looking at %s", path);
	if (S_ISREG(st.st_mode) && shimfile_is(path))
		return 1;
	return err_set(e, -EEXIST, "%s is not rrm's shim and is left alone; name another directory",
		       path);
}

/* An open directory and the absolute path of the shim in it. */
static int open_dir(const char *dir, char **path, struct err *e)
{
	CLEANUP(freep) char *whole = NULL;
	int r = path_canonical(dir, &whole, e);
	if (r < 0)
		return r;
	int fd = open(whole, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "opening %s", whole);
	*path = path_join(whole, "opencode");
	if (*path)
		return fd;
	close(fd);
	return -ENOMEM;
}

int shimfile_install(const char *dir, char **path, struct err *e)
{
	CLEANUP(freep) char *text = NULL, *at = NULL;
	size_t len;
	int r = file_mkdirs(dir, 0755);
	if (r < 0)
		return err_errno(e, r, "making %s", dir);
	CLEANUP(closep) int fd = open_dir(dir, &at, e);
	if (fd < 0 || !at)
		return fd;
	r = look(fd, at, e);
	if (r >= 0)
		r = script(&text, &len, e);
	if (r < 0)
		return r;
	r = file_replace(fd, "opencode", text, len, 0755);
	if (r < 0)
		return err_errno(e, r, "writing %s", at);
	*path = steal(&at);
	return 0;
}

int shimfile_remove(const char *dir, struct err *e)
{
	CLEANUP(freep) char *at = NULL;
	CLEANUP(closep) int fd = open_dir(dir, &at, e);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || !at)
		return fd;
	int r = look(fd, at, e);
	if (r == 1 && unlinkat(fd, "opencode", 0) < 0)
		return err_errno(e, -errno, "removing %s", at);
	return r;
}

bool shimfile_in_use(const char *path, struct err *why)
{
	CLEANUP(freep) char *first = NULL;
	struct stat ours, theirs;
	int dir_len = (int)(strlen(path) - strlen("/opencode"));
	if (program_on_path("opencode", &first) < 0)
		err_set(why, -ENOENT,
			"%.*s is not on PATH; put it there: export PATH=\"%.*s:$PATH\"", dir_len,
			path, dir_len, path);
	else if (stat(path, &ours) < 0 || stat(first, &theirs) < 0 ||
		 ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev)
		err_set(why, -EEXIST,
			"the shell finds %s first; put the shim in front: export "
			"PATH=\"%.*s:$PATH\"",
			first, dir_len, path);
	else
		return true;
	return false;
}
