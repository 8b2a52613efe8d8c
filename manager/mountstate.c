#include "manager/mountstate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"

enum { MOUNT_JSON_MAX = 64 << 10 };

int mountstate_write(const struct config *c, const char *mountpoint, pid_t pid, bool replaceable,
		     struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	CLEANUP(freep) char *path = path_join(c->base, "mount.json");
	char boot_id[40] = "";
	struct proc_stat st;

	int r = proc_stat(pid, &st);
	if (!r)
		r = proc_boot_id(boot_id, sizeof(boot_id));
	if (!r &&
	    (!j || !path || json_add_bytes(j, "mountpoint", mountpoint) ||
	     json_add_int(j, "pid", pid) || json_add_int(j, "server", getpid()) ||
	     json_add_int(j, "start_time", (int64_t)st.start) ||
	     json_add_str(j, "boot_id", boot_id) || json_add_bool(j, "replaceable", replaceable)))
		r = -ENOMEM;
	if (!r)
		r = file_mkdirs(c->base, 0700);
	if (!r)
		r = json_replace_file(AT_FDCWD, path, j, 0600);
	return r ? err_errno(e, r, "writing %s/mount.json", c->base) : 0;
}

static int read_state(const char *path, struct mountstate *out)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	char boot_id[40];

	out->mountpoint = NULL;
	if (json_read_file(AT_FDCWD, path, MOUNT_JSON_MAX, &j, NULL) ||
	    proc_boot_id(boot_id, sizeof(boot_id)) ||
	    strcmp(boot_id, json_str(j, "boot_id", "")) != 0)
		return -ENOENT;
	out->pid = (pid_t)json_int(j, "pid", 0);
	out->server = (pid_t)json_int(j, "server", 0);
	out->start_time = (uint64_t)json_int(j, "start_time", 0);
	out->replaceable = json_bool(j, "replaceable", true);
	if (out->pid <= 0 || !proc_alive(out->pid, out->start_time))
		return -ENOENT;
	int r = json_get_bytes(j, "mountpoint", &out->mountpoint);
	if (!r && out->mountpoint && out->mountpoint[0] == '/')
		return 0;
	mountstate_deinit(out);
	return r == -ENOMEM ? r : -ENOENT;
}

int mountstate_read(const struct config *c, struct mountstate *out)
{
	CLEANUP(freep) char *path = path_join(c->base, "mount.json");

	out->mountpoint = NULL;
	return path ? read_state(path, out) : -ENOMEM;
}

void mountstate_clear(const struct config *c, pid_t pid)
{
	CLEANUP(freep) char *path = path_join(c->base, "mount.json");
	struct mountstate m;

	if (!path)
		return;
	/* another mount that serves this base now keeps its entry */
	if (!read_state(path, &m)) {
		bool ours = m.pid == pid;
		mountstate_deinit(&m);
		if (!ours)
			return;
	}
	unlink(path);
}

void mountstate_deinit(struct mountstate *m)
{
	free(m->mountpoint);
	m->mountpoint = NULL;
}

bool mountstate_place(const struct config *c, const char *name, char **out)
{
	struct mountstate m;
	bool up = mountstate_read(c, &m) == 0;
	*out = path_join(up ? m.mountpoint : c->mountpoint, name);
	if (up)
		mountstate_deinit(&m);
	return up;
}
