/* Directories that are read while they change; working in what is gone; descriptors without rights. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "posix.h"

enum { MANY = 1500 };

static void make_many(const char *dir)
{
	char path[512];
	mkdir(dir, 0755);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "%s/some-file-%u", dir, i);
		close(open(path, O_CREAT | O_WRONLY, 0644));
	}
}

/* Each entry that was there all the time comes once, whatever else comes and goes. */
static void read_while_removing(void)
{
	unsigned char seen[MANY] = {0};
	unsigned removed = 0, once = 0, n = 0, number;
	char path[512];
	make_many("many");
	DIR *d = opendir("many");
	if (!d)
		abort();
	for (const struct dirent *de; (de = readdir(d));) {
		if (sscanf(de->d_name, "some-file-%u", &number) != 1)
			continue;
		seen[number]++;
		snprintf(path, sizeof(path), "many/%s", de->d_name);
		if (n++ % 2 == 0)
			removed += unlink(path) == 0;
		else if (n % 10 == 3) {
			snprintf(path, sizeof(path), "many/new-%u", n);
			close(open(path, O_CREAT | O_WRONLY, 0644));
		}
	}
	for (unsigned i = 0; i < MANY; i++)
		once += seen[i] == 1;
	note("removed %u, seen once %u", removed, once);
	rewinddir(d);
	for (const struct dirent *de; (de = readdir(d));) {
		snprintf(path, sizeof(path), "many/%s", de->d_name);
		if (de->d_name[0] != '.')
			unlink(path);
	}
	closedir(d);
	SAY(rmdir("many"));
}

static void seek_while_removing(void)
{
	static char names[MANY + 2][NAME_MAX + 1];
	static long at[MANY + 2];
	unsigned n = 0, wrong = 0;
	char path[512];
	make_many("seek");
	DIR *d = opendir("seek");
	if (!d)
		abort();
	for (const struct dirent *de; n < MANY + 2;) {
		at[n] = telldir(d);
		if (!(de = readdir(d)))
			break;
		strcpy(names[n++], de->d_name);
	}
	note("%u entries", n);
	for (unsigned i = 0; i < n; i += 3) {
		(void)stpcpy(stpcpy(path, "seek/"), names[i]);
		unlink(path);
	}
	/* To where something stands that is still there: it is what comes. */
	for (unsigned i = n - 2; i > 0; i--) {
		if (i % 3 == 0)
			continue;
		seekdir(d, at[i]);
		const struct dirent *de = readdir(d);
		wrong += !de || strcmp(de->d_name, names[i]) != 0;
	}
	note("wrong after seekdir: %u", wrong);
	seekdir(d, at[0]);
	unsigned left = 0;
	while (readdir(d))
		left++;
	note("left %u", left);
	closedir(d);
	shell("rm -rf seek");
	SAY(access("seek", F_OK));
}

static void gone(void)
{
	char buf[PATH_MAX];
	struct stat st;
	section("gone");
	mkdir("w", 0755);
	mkdir("w/x", 0755);
	SAY(chdir("w/x"));
	SAY(rmdir("../x"));
	SAY(getcwd(buf, sizeof(buf)) ? 0 : -1);
	SAY(open("f", O_CREAT | O_WRONLY, 0644));
	SAY(mkdir("d", 0755));
	SAY(symlink("a", "b"));
	SAY(stat(".", &st));
	note("links %lu", (unsigned long)st.st_nlink);
	SAY(stat("..", &st));
	DIR *self = opendir(".");
	SAY(self ? 0 : -1);
	if (self)
		closedir(self);
	SAY(rmdir("../x"));
	SAY(link("../../w", "l"));
	SAY(rename("../y", "y"));
	SAY(chdir(".."));
	SAY(chdir(".."));
	mkdir("w/from", 0755);
	mkdir("w/to", 0755);
	put("w/from/f", "f");
	SAY(chdir("w/from"));
	SAY(rename("../from", "../to/there"));
	SAY(access("f", R_OK));
	SAY(stat("../there/f", &st));
	SAY(access("../../to", F_OK));
	const char *cwd = getcwd(buf, sizeof(buf));
	note("now in %s", cwd ? strrchr(cwd, '/') : "nowhere");
	SAY(chdir("../../.."));
	int fd = open("w/to/there", O_RDONLY | O_DIRECTORY);
	SAY(unlinkat(fd, "f", 0));
	SAY(rmdir("w/to/there"));
	DIR *d = fdopendir(fd);
	int n = 0;
	if (!d)
		abort();
	while (readdir(d))
		n++;
	note("entries of what is gone: %d", n);
	SAY(fsync(fd));
	SAY(fchmod(fd, 0700));
	SAY(futimens(fd, NULL));
	closedir(d);
}

static void same_numbers(void)
{
	struct stat st;
	unsigned wrong = 0;
	char path[PATH_MAX];
	section("numbers");
	mkdir("n", 0755);
	mkdir("n/d", 0755);
	put("n/f", "f");
	symlink("f", "n/s");
	mkfifo("n/p", 0644);
	DIR *d = opendir("n");
	if (!d)
		abort();
	for (const struct dirent *de; (de = readdir(d));) {
		snprintf(path, sizeof(path), "n/%s", de->d_name);
		/* ".." of a directory is not asked for its number */
		if (strcmp(de->d_name, "..") == 0)
			continue;
		wrong += lstat(path, &st) < 0 || st.st_ino != de->d_ino ||
			 de->d_type != IFTODT(st.st_mode);
	}
	closedir(d);
	note("other numbers or types in readdir: %u", wrong);
	int fd = open("n/f", O_RDONLY);
	struct stat before, after;
	fstat(fd, &before);
	SAY(rename("n/f", "n/d/f"));
	SAY(link("n/d/f", "n/f2"));
	stat("n/f2", &after);
	note("one number: %d", before.st_ino == after.st_ino && before.st_dev == after.st_dev);
	close(fd);
	struct statvfs v;
	SAY(statvfs("n", &v));
	note("namemax %lu bsize %lu frsize %lu blocks %lu", v.f_namemax, v.f_bsize, v.f_frsize,
	     (unsigned long)v.f_blocks);
	note("pathconf %ld %ld %ld %ld", pathconf("n", _PC_NAME_MAX), pathconf("n", _PC_PATH_MAX),
	     pathconf("n", _PC_PIPE_BUF), pathconf("n", _PC_CHOWN_RESTRICTED));
}

static void path_only(void)
{
	struct stat st;
	char proc[64], buf[16];
	section("O_PATH");
	put("of", "path only");
	symlink("of", "os");
	int fd = open("of", O_PATH);
	SAY(fstat(fd, &st));
	SAY(read(fd, buf, 1));
	SAY(write(fd, buf, 1));
	SAY(ftruncate(fd, 0));
	SAY(fchmod(fd, 0600));
	SAY(fchown(fd, getuid(), (gid_t)-1));
	SAY(fsync(fd));
	SAY(futimens(fd, NULL));
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	int again = open(proc, O_RDWR);
	SAY(write(again, "PATH", 4));
	SAY(unlink("of"));
	close(again);
	again = open(proc, O_RDONLY);
	SAY(read(again, buf, 4));
	note("%.4s", buf);
	SAY(chmod(proc, 0640));
	SAY(truncate(proc, 2));
	SAY(fstat(fd, &st));
	note("%o size %ld links %lu", st.st_mode, (long)st.st_size, (unsigned long)st.st_nlink);
	SAY(linkat(fd, "", AT_FDCWD, "from-path", AT_EMPTY_PATH));
	close(again);
	close(fd);
	fd = open("os", O_PATH | O_NOFOLLOW);
	SAY(readlinkat(fd, "", buf, sizeof(buf)));
	SAY(fchownat(fd, "", getuid(), (gid_t)-1, AT_EMPTY_PATH));
	SAY(fstatat(fd, "", &st, AT_EMPTY_PATH));
	note("%o", st.st_mode);
	close(fd);
	put("ol", "linked by its descriptor");
	fd = open("ol", O_RDWR);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	SAY(linkat(AT_FDCWD, proc, AT_FDCWD, "ol2", AT_SYMLINK_FOLLOW));
	SAY(linkat(fd, "", AT_FDCWD, "ol3", AT_EMPTY_PATH));
	show("ol");
	SAY(unlink("ol"));
	SAY(unlink("ol2"));
	(void)unlink("ol3");
	/* It has no name any more and gets none again. */
	SAY(linkat(AT_FDCWD, proc, AT_FDCWD, "ol4", AT_SYMLINK_FOLLOW));
	close(fd);
	fd = open(".", O_PATH);
	SAY(fchdir(fd));
	SAY(mkdirat(fd, "by-path", 0755));
	close(fd);
}

static void handles(void)
{
	struct {
		struct file_handle h;
		unsigned char space[MAX_HANDLE_SZ];
	} f = {.h = {.handle_bytes = MAX_HANDLE_SZ}};
	int mount;
	section("handle");
	put("hf", "by handle");
	SAY(name_to_handle_at(AT_FDCWD, "hf", &f.h, &mount, 0));
	SAY(name_to_handle_at(AT_FDCWD, "no", &f.h, &mount, 0));
	int dir = open(".", O_RDONLY | O_DIRECTORY);
	int fd = open_by_handle_at(dir, &f.h, O_RDONLY);
	char buf[16] = "";
	if (say(fd < 0 ? -1 : 0, "open by handle") == 0)
		SAY(read(fd, buf, sizeof(buf)));
	close(fd);
	close(dir);
}

void posix_dirs(void)
{
	section("reading");
	read_while_removing();
	seek_while_removing();
	gone();
	same_numbers();
	path_only();
	handles();
}
