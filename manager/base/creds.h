/*
 * Acting for somebody else, where the program runs as root: the calling thread's file system uid and
 * gid become the caller's, so that what it creates has the right owner, while it keeps the
 * capabilities with which root passes permission checks (the kernel already made them, by
 * default_permissions). Without root both calls do nothing. Per thread; no other thread is touched.
 */
#pragma once
#include <sys/types.h>

struct creds {
	uid_t uid; /* what was in force before */
	gid_t gid;
	int changed;
};

void creds_become(struct creds *saved, uid_t uid, gid_t gid);
void creds_restore(const struct creds *saved);
