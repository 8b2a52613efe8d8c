#include "manager/startslot.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/base/path.h"

enum { PER_PROCESSOR = 2, NAP_MS = 20 };

static int slots(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
	return PER_PROCESSOR * (n > 0 ? n : 1);
}

static bool take_one(int fd, int n)
{
	for (int i = 0; i < n; i++) {
		struct flock lock = {
			.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i, .l_len = 1};
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return true;
	}
	return false;
}

void startslot_take(const struct config *c, uint64_t deadline_ms, int *fd)
{
	CLEANUP(freep) char *path = path_join(c->base, "starts.lock");
	CLEANUP(closep) int f = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	int n = slots();
	*fd = -1;
	if (f < 0) {
		log_warn("event=start_slot path=%s error=\"%m\"", path ? path : "");
		return;
	}
	while (!take_one(f, n)) {
		if (clock_mono_ms() >= deadline_ms)
			return;
		poll(NULL, 0, NAP_MS);
	}
	*fd = steal_fd(&f);
}
