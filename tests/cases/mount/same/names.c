/* Directories, names and what they are of. */
#include "same.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void directories(void)
{
	section("dirs");
	SAY(mkdir("d", 0751));
	SAY(mkdir("d", 0755));
	SAY(mkdir("d/e", 0700));
	SAY(mkdir("no/e", 0700));
	show("d");
	put("d/f", "f");
	SAY(rmdir("d"));
	SAY(rmdir("d/f"));
	SAY(rmdir("d/."));
	SAY(rmdir("d/.."));
	SAY(unlink("d/e"));
	SAY(unlink("none"));
	SAY(unlink("d/f/"));
	SAY(unlink("d/f"));
	SAY(rmdir("d/e/"));
	SAY(rmdir("d"));
	SAY(mkdir("setgid", 02775));
	SAY(chmod("setgid", 02775));
	SAY(mkdir("setgid/below", 0755));
	show("setgid/below");
	SAY(fsync(open("setgid", O_RDONLY)));
	SAY(mkdir("gone", 0755));
	int fd = open("gone", O_RDONLY | O_DIRECTORY);
	SAY(rmdir("gone"));
	SAY(openat(fd, "x", O_WRONLY | O_CREAT, 0644));
	SAY(mkdirat(fd, "x", 0755));
	struct stat st;
	SAY(fstat(fd, &st));
	say((long)st.st_nlink, "links of a removed directory");
	close(fd);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listing(void)
{
	section("list");
	char name[32], *names[600] = {NULL};
	SAY(mkdir("many", 0755));
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "many/%d", i);
		put(name, "");
	}
	DIR *d = opendir("many");
	struct dirent *de;
	int n = 0;
	long pos = 0;
	while ((de = readdir(d)) && n < 600) {
		if (n == 100)
			pos = telldir(d);
		names[n++] = strdup(de->d_name);
	}
	say(n, "entries");
	seekdir(d, pos);
	int rest = 0;
	while (readdir(d))
		rest++;
	say(rest, "entries after seekdir");
	put("many/later", "");
	unlink("many/7");
	rewinddir(d);
	int again = 0, types = 0;
	while ((de = readdir(d))) {
		again++;
		types += de->d_type == DT_REG;
	}
	say(again, "entries after rewinddir, regular files: %d", types);
	qsort(names, (size_t)n, sizeof(*names), by_name);
	note("first %s last %s", names[2], names[n - 1]);
	closedir(d);
	for (int i = 0; i < n; i++)
		free(names[i]);
}

static int rename2(const char *a, const char *b, unsigned flags)
{
	return renameat2(AT_FDCWD, a, AT_FDCWD, b, flags);
}

static void renaming(void)
{
	section("rename");
	put("a", "a");
	put("b", "b");
	SAY(mkdir("x", 0755));
	SAY(mkdir("y", 0755));
	put("y/full", "");
	int open_b = open("b", O_RDWR);
	SAY(rename("a", "b"));
	show("a");
	show("b");
	char ch = '?';
	SAY(pread(open_b, &ch, 1, 0));
	note("the replaced one holds %c", ch);
	SAY(pwrite(open_b, "z", 1, 0));
	show("b");
	SAY(rename("none", "b"));
	SAY(rename("b", "x"));
	SAY(rename("x", "b"));
	SAY(rename("x", "y"));
	SAY(rename("y", "x"));
	show("x/full");
	SAY(rename("x", "x/inside"));
	SAY(rename("b", "b"));
	put("c", "c");
	SAY(rename2("b", "c", RENAME_NOREPLACE));
	SAY(rename2("b", "d", RENAME_NOREPLACE));
	SAY(rename2("c", "d", RENAME_EXCHANGE));
	show("c");
	show("d");
	SAY(rename2("c", "x", RENAME_EXCHANGE));
	show("c/full");
	show("x");
	SAY(rename2("c", "none", RENAME_EXCHANGE));
	SAY(rename2("c", "d", RENAME_EXCHANGE | RENAME_NOREPLACE));
	SAY(link("x", "x-link"));
	SAY(rename("x", "x-link"));
	show("x");
	int fd = open("d", O_RDWR);
	SAY(rename("d", "moved"));
	SAY(write(fd, "after", 5));
	show("moved");
	SAY(mkdir("p", 0755));
	SAY(mkdir("q", 0755));
	SAY(rename("moved", "p/m"));
	SAY(rename("p", "q/p"));
	SAY(write(fd, " the dir", 8));
	show("q/p/m");
	close(fd);
	close(open_b);
}

static void linking(void)
{
	section("link");
	put("l", "linked");
	SAY(link("l", "l2"));
	SAY(link("l", "l2"));
	SAY(link(".", "dirlink"));
	SAY(link("none", "l3"));
	put("l2", "changed by the other name");
	show("l");
	SAY(unlink("l"));
	show("l2");
	char *t4095 = filled('t', 4095);
	say(symlink(t4095, "long"), "a link to 4095 bytes");
	show("long");
	say(symlink("", "empty"), "a link to nothing");
	free(t4095);
	SAY(symlink("l2", "s"));
	SAY(symlink("s", "s"));
	show("s");
	SAY(symlink("loop2", "loop1"));
	SAY(symlink("loop1", "loop2"));
	SAY(open("loop1", O_RDONLY));
	SAY(open("s", O_RDONLY | O_NOFOLLOW));
	SAY(linkat(AT_FDCWD, "s", AT_FDCWD, "s-hard", 0));
	show("s-hard");
	SAY(linkat(AT_FDCWD, "s", AT_FDCWD, "l-hard", AT_SYMLINK_FOLLOW));
	show("l-hard");
	SAY(readlink("l2", (char[10]){0}, 10));
	SAY(chmod("s", 0600));
	show("l2");
}

static void nodes(void)
{
	section("mknod");
	SAY(mknod("fifo", S_IFIFO | 0640, 0));
	show("fifo");
	int r = open("fifo", O_RDONLY | O_NONBLOCK);
	int w = open("fifo", O_WRONLY | O_NONBLOCK);
	SAY(write(w, "through", 7));
	SAY(read(r, (char[8]){0}, 8));
	close(r);
	close(w);
	SAY(mknod("plain", S_IFREG | 0600, 0));
	show("plain");
	SAY(mknod("plain", S_IFREG | 0600, 0));
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "sock"};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	SAY(bind(s, (struct sockaddr *)&un, sizeof(un)));
	SAY(listen(s, 1));
	show("sock");
	int c = socket(AF_UNIX, SOCK_STREAM, 0);
	SAY(connect(c, (struct sockaddr *)&un, sizeof(un)));
	SAY(bind(c, (struct sockaddr *)&un, sizeof(un)));
	close(c);
	close(s);
	SAY(unlink("sock"));
}

void same_names(void)
{
	directories();
	listing();
	renaming();
	linking();
	nodes();
}
