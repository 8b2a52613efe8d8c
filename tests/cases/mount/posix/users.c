/* Several users, as root makes them: who may do what, and what becomes of owners, groups and set-id bits. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "posix.h"

enum { ANN = 1001, BOB = 1002, EVE = 1003, TEAM = 4000 };

/* Ann and Bob are in the team, Eve is not. */
static const gid_t team[] = {TEAM};
static const char *who;

static void as_all(void (*fn)(void))
{
	who = "root";
	as(0, 0, 0, NULL, fn);
	who = "ann";
	as(ANN, ANN, 1, team, fn);
	who = "bob";
	as(BOB, BOB, 1, team, fn);
	who = "eve";
	as(EVE, EVE, 0, NULL, fn);
}

#define WHO(call) ((void)say((long)(call), "%s: %s", who, #call))

static void give(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	if (lchown(path, uid, gid) < 0 || chmod(path, mode) < 0)
		note("%s cannot be given: %s", path, strerrorname_np(errno));
}

static long tried(int fd)
{
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}

/* ---- every mode of a file and of a directory ---- */

static void use_file(void)
{
	char buf[4];
	WHO(tried(open("uf", O_RDONLY)));
	WHO(tried(open("uf", O_WRONLY)));
	WHO(tried(open("uf", O_RDWR | O_CREAT, 0600)));
	WHO(tried(open("uf", O_RDONLY | O_NOATIME)));
	WHO(access("uf", R_OK | X_OK));
	WHO(truncate("uf", 10));
	WHO(utimensat(AT_FDCWD, "uf", NULL, 0));
	WHO(utimensat(AT_FDCWD, "uf", (struct timespec[2]){{.tv_sec = 1}, {.tv_sec = 2}}, 0));
	WHO(setxattr("uf", "user.u", who, 3, 0));
	WHO(getxattr("uf", "user.u", buf, sizeof(buf)));
	WHO(removexattr("uf", "user.u"));
	WHO(setxattr("uf", "trusted.t", "1", 1, 0));
	WHO(link("uf", "uf-link"));
	(void)unlink("uf-link");
}

static void use_dir(void)
{
	char name[64];
	snprintf(name, sizeof(name), "ud/%s", who);
	WHO(tried(open("ud", O_RDONLY | O_DIRECTORY)));
	WHO(access("ud/inside", F_OK));
	WHO(tried(open("ud/inside", O_RDWR)));
	if (say(tried(open(name, O_CREAT | O_EXCL | O_WRONLY, 0666)), "%s: makes a file", who) == 0)
		show(name);
	say(rename(name, "ud/renamed"), "%s: renames it", who);
	say(unlink("ud/renamed"), "%s: removes it", who);
	say(mkdir(name, 0777), "%s: makes a directory", who);
	say(rmdir(name), "%s: removes it", who);
	say(symlink("x", name), "%s: makes a link", who);
	(void)unlink(name);
	say(mkfifo(name, 0600), "%s: makes a fifo", who);
	(void)unlink(name);
	say(tried(open("ud", O_TMPFILE | O_RDWR, 0600)), "%s: makes a file without a name", who);
	WHO(rename("ud/inside", "ud/outside"));
	(void)rename("ud/outside", "ud/inside");
}

static void modes(void)
{
	static const mode_t file_modes[] = {0,    0400, 0200, 0600, 0040, 0060,
					    0004, 0006, 0644, 0111, 0077, 0707};
	static const mode_t dir_modes[] = {0,     0500,  0700,  0300,  0070, 0030, 0007, 0777,
					   01777, 01770, 02775, 02770, 0711, 0755, 01707};
	section("file modes");
	put("uf", "file of ann");
	for (size_t i = 0; i < sizeof(file_modes) / sizeof(file_modes[0]); i++) {
		note("%o", file_modes[i]);
		put("uf", "file of ann");
		give("uf", ANN, TEAM, file_modes[i]);
		as_all(use_file);
		show("uf");
	}
	section("directory modes");
	mkdir("ud", 0755);
	put("ud/inside", "");
	for (size_t i = 0; i < sizeof(dir_modes) / sizeof(dir_modes[0]); i++) {
		note("%o", dir_modes[i]);
		give("ud/inside", BOB, TEAM, 0660);
		give("ud", ANN, TEAM, dir_modes[i]);
		as_all(use_dir);
	}
}

/* ---- changing what it is ---- */

static const mode_t own_set[] = {06755, 02644, 04644, 02755};
static const mode_t suid_set[] = {06777, 02766, 04766, 02776, 06666};

static void own(void)
{
	static const struct {
		uid_t uid;
		gid_t gid;
	} to[] = {{ANN, -1}, {BOB, -1},  {-1, ANN},   {-1, TEAM}, {-1, EVE},
		  {-1, -1},  {ANN, ANN}, {ANN, TEAM}, {0, 0}};
	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++)
		for (size_t k = 0; k < 4; k++) {
			char path[64];
			/* Of nothing, by somebody else: the kernel's FUSE does not let it be judged. */
			if (i == 5 && geteuid() != 0 && geteuid() != ANN)
				continue;
			snprintf(path, sizeof(path), "own/%s-%zu-%zu", who, i, k);
			say(chown(path, to[i].uid, to[i].gid), "%s: chown %o %d:%d", who,
			    own_set[k], (int)to[i].uid, (int)to[i].gid);
			show(path);
		}
}

/* dir/WHO-I-K with the mode set[k], for each who and each of n kinds i. */
static void prepare(const char *dir, unsigned n, const mode_t *set, size_t n_set, const char *text)
{
	static const char *const names[] = {"root", "ann", "bob", "eve"};
	char path[64];
	mkdir(dir, 0755);
	for (size_t w = 0; w < 4; w++)
		for (unsigned i = 0; i < n; i++)
			for (size_t k = 0; k < n_set; k++) {
				snprintf(path, sizeof(path), "%s/%s-%u-%zu", dir, names[w], i, k);
				put(path, text);
				give(path, ANN, TEAM, set[k]);
			}
}

static void chmods(void)
{
	static const mode_t modes_to[] = {0600, 02755, 04755, 01644, 02644, 06711};
	for (size_t i = 0; i < 6; i++) {
		say(chmod("cm", modes_to[i]), "%s: chmod %o", who, modes_to[i]);
		show("cm");
		say(chmod("cm-team", modes_to[i]), "%s: chmod %o of one of the team's", who,
		    modes_to[i]);
		show("cm-team");
		say(chmod("cm-dir", modes_to[i]), "%s: chmod %o of a directory", who, modes_to[i]);
		show("cm-dir");
	}
}

/* What takes set-id bits: each on a fresh file that all may write. */
static void write_suid(void)
{
	for (unsigned what = 0; what < 7; what++)
		for (size_t k = 0; k < 5; k++) {
			char path[64];
			snprintf(path, sizeof(path), "suid/%s-%u-%zu", who, what, k);
			int fd = open(path, O_RDWR);
			long rc = -1;
			switch (what) {
			case 0:
				rc = write(fd, "x", 1);
				break;
			case 1:
				rc = ftruncate(fd, 3);
				break;
			case 2:
				rc = truncate(path, 0);
				break;
			case 3:
				rc = fallocate(fd, 0, 0, 100);
				break;
			case 4:
				rc = tried(open(path, O_WRONLY | O_TRUNC));
				break;
			case 5:
				rc = copy_file_range(fd, &(loff_t){0}, fd, &(loff_t){100}, 4, 0);
				break;
			default:
				rc = write(fd, "x", 0);
			}
			say(rc, "%s: change %u of %o", who, what, suid_set[k]);
			show(path);
			close(fd);
		}
}

/* ---- what new things get ---- */

static void make_in(const char *dir, mode_t mask)
{
	char path[128];
	umask(mask);
	snprintf(path, sizeof(path), "%s/%s-f-%o", dir, who, mask);
	say(tried(open(path, O_CREAT | O_WRONLY, 02777)), "%s: file", who);
	show(path);
	snprintf(path, sizeof(path), "%s/%s-d-%o", dir, who, mask);
	say(mkdir(path, 0777), "%s: directory", who);
	show(path);
	snprintf(path, sizeof(path), "%s/%s-p-%o", dir, who, mask);
	say(mkfifo(path, 02666), "%s: fifo", who);
	show(path);
	snprintf(path, sizeof(path), "%s/%s-n-%o", dir, who, mask);
	say(mknod(path, S_IFREG | 06777, 0), "%s: node", who);
	show(path);
	snprintf(path, sizeof(path), "%s/%s-c-%o", dir, who, mask);
	say(mknod(path, S_IFCHR | 0666, makedev(1, 3)), "%s: device", who);
	show(path);
	snprintf(path, sizeof(path), "%s/%s-b-%o", dir, who, mask);
	say(mknod(path, S_IFBLK | 0666, makedev(7, 77)), "%s: block device", who);
	show(path);
	snprintf(path, sizeof(path), "%s/%s-s-%o", dir, who, mask);
	say(symlink("to", path), "%s: link", who);
	show(path);
	int fd = open(dir, O_TMPFILE | O_RDWR, 02770);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	char to[128];
	snprintf(to, sizeof(to), "%s/%s-t-%o", dir, who, mask);
	say(linkat(AT_FDCWD, path, AT_FDCWD, to, AT_SYMLINK_FOLLOW), "%s: named later", who);
	show(to);
	if (fd >= 0)
		close(fd);
	umask(022);
}

static void make_all(void)
{
	make_in("plain", 022);
	make_in("plain", 077);
	make_in("sgid", 002);
	make_in("sgid", 0);
	make_in("acl", 077);
	make_in("team", 007);
}

static void inherit(void)
{
	/* u::rwx u:1003:rwx g::r-x g:4000:rwx m::rwx o::--- as a default */
	static const struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} e[6];
	} acl = {2,
		 {{1, 7, UINT32_MAX},
		  {2, 7, EVE},
		  {4, 5, UINT32_MAX},
		  {8, 7, TEAM},
		  {16, 7, UINT32_MAX},
		  {32, 0, UINT32_MAX}}};
	section("inherited");
	const char *const dirs[] = {"plain", "sgid", "acl", "team"};
	for (size_t i = 0; i < 4; i++)
		mkdir(dirs[i], 0755);
	give("plain", 0, 0, 0777);
	give("sgid", ANN, TEAM, 02777);
	give("team", ANN, TEAM, 0770);
	give("acl", ANN, TEAM, 0700);
	SAY(setxattr("acl", "system.posix_acl_default", &acl, sizeof(acl), 0));
	SAY(setxattr("acl", "system.posix_acl_access", &acl, sizeof(acl), 0));
	show("acl");
	as_all(make_all);
}

/* ---- sticky directories, and directories that move ---- */

static void in_sticky(void)
{
	SAY(chdir("sticky"));
	WHO(unlink("ann"));
	WHO(rename("bob", "bob2"));
	(void)rename("bob2", "bob");
	WHO(rename("eve", "ann"));
	WHO(rmdir("bob-dir"));
	WHO(rename("bob-dir", "bob-dir2"));
	(void)rename("bob-dir2", "bob-dir");
	WHO(renameat2(AT_FDCWD, "bob", AT_FDCWD, "eve", RENAME_EXCHANGE));
	WHO(link("ann", "ann-link"));
	(void)unlink("ann-link");
	WHO(rename("bob-dir", "../open/bob-dir"));
	(void)rename("../open/bob-dir", "bob-dir");
	WHO(tried(open("ann", O_WRONLY | O_CREAT, 0666)));
	WHO(tried(open("fifo", O_RDWR | O_CREAT | O_NONBLOCK, 0666)));
	WHO(tried(open("to-ann", O_RDONLY)));
}

static void sticky(void)
{
	section("sticky");
	for (unsigned owner = 0; owner < 3; owner++) {
		shell("rm -rf sticky open && mkdir sticky open sticky/bob-dir");
		put("sticky/ann", "a");
		put("sticky/bob", "b");
		put("sticky/eve", "e");
		mkfifo("sticky/fifo", 0666);
		symlink("ann", "sticky/to-ann");
		give("sticky/ann", ANN, ANN, 0666);
		give("sticky/bob", BOB, BOB, 0644);
		give("sticky/eve", EVE, EVE, 0644);
		give("sticky/bob-dir", BOB, BOB, 0755);
		if (lchown("sticky/to-ann", BOB, BOB) < 0 || chown("sticky/fifo", BOB, BOB) < 0)
			abort();
		give("open", 0, 0, 0777);
		give("sticky", owner == 0 ? 0 : owner == 1 ? ANN : EVE, 0, 01777);
		note("of %u", owner);
		as_all(in_sticky);
	}
}

static void beside(void)
{
	WHO(access("closed/f", F_OK));
	WHO(chdir("closed"));
	WHO(tried(open("closed/f", O_RDONLY)));
	WHO(mkdir("closed/d", 0755));
	WHO(unlink("closed/f"));
	WHO(rename("closed/f", "moved"));
	WHO(link("closed/f", "linked"));
	WHO(unlink("cm"));
	WHO(chmod("acl", 0777));
	WHO(setxattr("acl", "system.posix_acl_access", "", 0, 0));
	WHO(setxattr("plain", "user.d", "1", 1, 0));
	WHO(setxattr("sticky", "user.d", "1", 1, 0));
	WHO(chown("plain", EVE, (gid_t)-1));
}

void posix_users(void)
{
	modes();
	section("chown");
	prepare("own", 9, own_set, 4, "");
	as_all(own);
	section("chmod");
	put("cm", "");
	put("cm-team", "");
	mkdir("cm-dir", 0755);
	give("cm", ANN, ANN, 0644);
	give("cm-team", ANN, TEAM, 0644);
	give("cm-dir", ANN, EVE, 0755);
	as_all(chmods);
	section("set-id");
	prepare("suid", 7, suid_set, 5, "content");
	as_all(write_suid);
	inherit();
	sticky();
	section("beside");
	mkdir("closed", 0755);
	put("closed/f", "f");
	give("closed", 0, 0, 0700);
	as_all(beside);
}
