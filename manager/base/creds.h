/*
 * Acting for somebody else, where the program runs as root: the calling thread's file system uid and
 * gid become the caller's, so that what it creates has the right owner, while it keeps the
 * capabilities with which root passes permission checks (the kernel already made them, by
 * default_permissions). Without root both calls do nothing. Per thread; no other thread is touched.
 */
#pragma once
#include <sys/stat.h>
#include <sys/types.h>

struct creds {
	uid_t uid; /* what was in force before */
	gid_t gid;
	int changed;
};

void creds_become(struct creds *saved, uid_t uid, gid_t gid);
void creds_restore(const struct creds *saved);

/*
 * Takes from a file what its change by somebody else takes: the set-user-id bit, and the set-group-id bit
 * where it is one of a program or the changer is not in the file's group. The kernel does that by itself but for
 * root, as whom we work. fd may be an O_PATH one, st is of it, pid (a thread's will do) says by
 * its /proc entry who is in which groups, gid his own. Nothing happens without root. 0 or negative errno.
 */
int creds_drop_suid(int fd, const struct stat *st, pid_t pid, gid_t gid);

/* Gives back what our own write to fd took of the set-id bits that the file had before: what is stored into a mapping
 * takes none. 0 or negative errno. */
int creds_keep_suid(int fd, const struct stat *before);
