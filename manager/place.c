#include "manager/place.h"

#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/path.h"
#include "manager/mountstate.h"

enum { SHOW_WAIT_MS = 10000, SHOW_POLL_US = 10000 };

int place_of(const struct config *c, const struct repo *r, struct place *out)
{
	struct mountstate m;

	out->in_mount = !mountstate_read(c, &m);
	if (out->in_mount) {
		out->dir = path_join(m.mountpoint, r->name);
		mountstate_deinit(&m);
	} else {
		out->dir = strdup(r->root);
	}
	return out->dir ? 0 : -ENOMEM;
}

void place_deinit(struct place *p)
{
	free(p->dir);
	p->dir = NULL;
}

int place_enter(const struct place *p)
{
	uint64_t until = clock_mono_ms() + SHOW_WAIT_MS;

	while (chdir(p->dir)) {
		if (!p->in_mount || errno != ENOENT || clock_mono_ms() >= until)
			return -errno;
		usleep(SHOW_POLL_US);
	}
	return setenv("PWD", p->dir, 1) ? -ENOMEM : 0;
}
