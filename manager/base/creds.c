#include "manager/base/creds.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/proc.h"

/*
 * What the kernel takes away when the file system uid leaves 0. CAP_FSETID too: whether a new file may
 * have its set-group-id bit was judged in the mount by who the caller is, with his groups; we are in none.
 */
static const int kept[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE,    CAP_DAC_READ_SEARCH, CAP_FOWNER,
			   CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_MKNOD,           CAP_MAC_OVERRIDE};

/* By the raw system calls: they act on the calling thread alone. */
static void raise_kept(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct set[_LINUX_CAPABILITY_U32S_3];
	memset(set, 0, sizeof(set));
	if (syscall(SYS_capget, &head, set) < 0)
		return;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		unsigned word = CAP_TO_INDEX(kept[i]);
		unsigned bit = CAP_TO_MASK(kept[i]);
		set[word].effective |= set[word].permitted & bit;
	}
	/* A failure leaves fewer rights than hoped for: the operation itself then says EACCES. */
	syscall(SYS_capset, &head, set);
}

void creds_become(struct creds *saved, uid_t uid, gid_t gid)
{
	memset(saved, 0, sizeof(*saved));
	if (geteuid() != 0)
		return;
	saved->gid = (gid_t)setfsgid(gid);
	saved->uid = (uid_t)setfsuid(uid);
	saved->changed = 1;
	if (saved->uid == 0 && uid != 0)
		raise_kept();
}

void creds_restore(const struct creds *saved)
{
	if (!saved->changed)
		return;
	/* Back to 0 the kernel itself raises all of the file system capabilities again. */
	if (setfsuid(saved->uid) == 0 && saved->uid != 0)
		raise_kept(); /* the end of becoming root while being somebody else */
	setfsgid(saved->gid);
}

static bool in_group(pid_t pid, gid_t gid, gid_t wanted)
{
	CLEANUP(freep) gid_t *groups = NULL;
	size_t n = 0;
	if (gid == wanted)
		return true;
	if (proc_groups(pid, &groups, &n) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

int creds_drop_suid(int fd, const struct stat *st, pid_t pid, gid_t gid)
{
	char proc[40];
	mode_t drop = st->st_mode & S_ISUID;
	if (geteuid() != 0 || !S_ISREG(st->st_mode))
		return 0;
	if (st->st_mode & S_ISGID && (st->st_mode & S_IXGRP || !in_group(pid, gid, st->st_gid)))
		drop |= S_ISGID;
	if (!drop)
		return 0;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return chmod(proc, st->st_mode & 07777 & ~drop) < 0 ? -errno : 0;
}

int creds_keep_suid(int fd, const struct stat *before)
{
	const mode_t bits = before->st_mode & (S_ISUID | S_ISGID);
	char proc[40];
	struct stat st;
	if (!bits || !S_ISREG(before->st_mode) || fstat(fd, &st) < 0 || (st.st_mode & bits) == bits)
		return 0;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	return chmod(proc, (st.st_mode & 07777) | bits) < 0 ? -errno : 0;
}
