#include "manager/session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/proc.h"

enum { SESSION_JSON_MAX = 16 << 10 };

static char *dir_of(const struct config *c)
{
	char *dir = NULL;
	return asprintf(&dir, "%s/sessions", c->base) < 0 ? NULL : dir;
}

static char *file_of(const struct config *c, pid_t pid)
{
	char *path = NULL;
	return asprintf(&path, "%s/sessions/%d.json", c->base, (int)pid) < 0 ? NULL : path;
}

static int describe(const struct repo *r, pid_t pid, const char *session, cJSON **out)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	struct proc_stat st;
	char boot_id[40];

	int rc = proc_stat(pid, &st);
	if (!rc)
		rc = proc_boot_id(boot_id, sizeof(boot_id));
	if (rc)
		return rc;
	if (!j || json_add_int(j, "pid", pid) || json_add_int(j, "start_time", (int64_t)st.start) ||
	    json_add_str(j, "boot_id", boot_id) || json_add_str(j, "repo_id", r->id) ||
	    json_add_str(j, "session", session))
		return -ENOMEM;
	*out = steal(&j);
	return 0;
}

int session_register(const struct config *c, const struct repo *r, pid_t pid,
		     char session[SESSION_ID_MAX], struct err *e)
{
	CLEANUP(freep) char *dir = dir_of(c), *path = file_of(c, pid);
	CLEANUP(json_deletep) cJSON *j = NULL;
	unsigned char random[3];

	if (!dir || !path)
		return err_errno(e, -ENOMEM, "registering the session");
	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_errno(e, -EIO, "registering the session: no random bytes");
	snprintf(session, SESSION_ID_MAX, "run-%d-%02x%02x%02x", (int)pid, random[0], random[1],
		 random[2]);
	int rc = describe(r, pid, session, &j);
	if (!rc)
		rc = file_mkdirs(dir, 0700);
	if (!rc)
		rc = json_replace_file(AT_FDCWD, path, j, 0600);
	return rc ? err_errno(e, rc, "registering the session in %s", path) : 0;
}

void session_unregister(const struct config *c, pid_t pid)
{
	CLEANUP(freep) char *path = file_of(c, pid);
	if (path)
		unlink(path);
}

int session_lookup(const struct config *c, pid_t pid, uint64_t start, char repo_id[REPO_ID_MAX],
		   char session[SESSION_ID_MAX])
{
	CLEANUP(freep) char *path = file_of(c, pid);
	CLEANUP(json_deletep) cJSON *j = NULL;
	char boot_id[40];

	if (!path)
		return -ENOMEM;
	if (json_read_file(AT_FDCWD, path, SESSION_JSON_MAX, &j, NULL) ||
	    json_int(j, "pid", 0) != pid || (uint64_t)json_int(j, "start_time", 0) != start ||
	    proc_boot_id(boot_id, sizeof(boot_id)) ||
	    strcmp(boot_id, json_str(j, "boot_id", "")) != 0)
		return -ENOENT;
	const char *id = json_str(j, "repo_id", ""), *name = json_str(j, "session", "");
	if (!*id || strlen(id) >= REPO_ID_MAX || strlen(name) >= SESSION_ID_MAX)
		return -ENOENT;
	strcpy(repo_id, id);
	strcpy(session, name);
	return 0;
}

int session_each(const struct config *c, void (*fn)(const char *repo_id, void *arg), void *arg)
{
	CLEANUP(freep) char *dir = dir_of(c);
	char repo_id[REPO_ID_MAX], session[SESSION_ID_MAX];
	struct proc_stat st;

	CLEANUP(closedirp) DIR *d = dir ? opendir(dir) : NULL;
	if (!d)
		return !dir ? -ENOMEM : errno == ENOENT ? 0 : -errno;
	for (const struct dirent *de; (de = readdir(d));) {
		char *end;
		long pid = strtol(de->d_name, &end, 10);
		if (pid > 0 && !strcmp(end, ".json") && !proc_stat((pid_t)pid, &st) &&
		    !session_lookup(c, (pid_t)pid, st.start, repo_id, session))
			fn(repo_id, arg);
	}
	return 0;
}
