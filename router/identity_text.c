/* What identity says in words, and what a directory of the mount stands for: pure. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "router/identity.h"

static char *real_path_of(const struct repo_list *l, const char *rel)
{
	size_t len = strcspn(rel, "/");

	for (size_t i = 0; i < l->n; i++) {
		const struct repo *r = &l->items[i];

		if (strlen(r->name) == len && memcmp(r->name, rel, len) == 0)
			return rel[len] ? path_join(r->root, rel + len + 1) : strdup(r->root);
	}
	return NULL;
}

char *identity_real_path(const struct repo_list *l, const char *mountpoint, const char *cwd)
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(cwd), tail = sizeof(deleted) - 1;
	CLEANUP(freep) char *shorter = NULL;
	const char *rel;
	char *real;

	if (!path_below(mountpoint, cwd, &rel) || !*rel)
		return NULL;
	real = real_path_of(l, rel);
	if (real || len <= tail || strcmp(cwd + len - tail, deleted) != 0)
		return real;
	shorter = strndup(cwd, len - tail); /* the repo's own directory was removed under it */
	if (!shorter || !path_below(mountpoint, shorter, &rel) || !*rel)
		return NULL;
	return real_path_of(l, rel);
}

void identity_why(const struct identity *who, char *buf, size_t size)
{
	int pid = (int)who->anchor;

	switch (who->by) {
	case IDENTITY_BY_BACKEND:
		snprintf(buf, size, "process %d, it or its ancestor, is the backend of its home",
			 pid);
		break;
	case IDENTITY_BY_RUN:
		snprintf(buf, size, "process %d, it or its ancestor, was started by rrm run", pid);
		break;
	case IDENTITY_BY_ENVIRONMENT:
		snprintf(buf, size, "RRM_HOME_REPO in the environment of process %d says so", pid);
		break;
	case IDENTITY_BY_OPENCODE_PID:
		snprintf(buf, size, "OPENCODE_PID in its environment names %d, a backend", pid);
		break;
	case IDENTITY_BY_DIRECTORY:
		snprintf(buf, size,
			 "process %d, it or its topmost ancestor in the mount, works there", pid);
		break;
	case IDENTITY_BY_KERNEL:
		snprintf(buf, size, "the kernel did not say who asks");
		break;
	case IDENTITY_BY_NOTHING:
		if (who->start)
			snprintf(buf, size,
				 "neither it nor an ancestor is registered or works in "
				 "the mount");
		else
			snprintf(buf, size, "process %d cannot be read in /proc", (int)who->pid);
		break;
	}
}

int identity_json(const struct identity *who, const char *name, cJSON **out)
{
	cJSON *j = cJSON_CreateObject();
	char why[200];

	if (!j)
		return -ENOMEM;
	identity_why(who, why, sizeof(why));
	json_add_int(j, "pid", who->pid);
	json_add_str(j, "comm", who->comm);
	json_add_str(j, "home", who->home[0] ? who->home : NULL);
	if (name)
		json_add_bytes(j, "name", name);
	json_add_str(j, "session", who->session);
	json_add_int(j, "rule", who->rule);
	json_add_str(j, "why", why);
	*out = j;
	return 0;
}
