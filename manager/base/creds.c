#include "manager/base/creds.h"

#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Of what the kernel takes away when the file system uid leaves 0, all but CAP_FSETID: without it a
 * write clears set-user-id bits as it would for the caller himself.
 */
static const int kept[] = {CAP_CHOWN,           CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER,
			   CAP_LINUX_IMMUTABLE, CAP_MKNOD,        CAP_MAC_OVERRIDE};

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
