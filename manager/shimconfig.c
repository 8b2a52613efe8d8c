#include "manager/shimconfig.h"

#include <fcntl.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/registry.h"
#include "manager/start.h"

#define FILE_NAME "config-content.json"
#define VARIABLE "OPENCODE_CONFIG_CONTENT"
enum {
	CONTENT_MAX = 100 << 10, /* one string of an environment has at most 128 KiB */
	LOCK_MS = 1500,          /* the SDK waits 5 s for all of it */
};

int shimconfig_take(char **text, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	const char *value = getenv(VARIABLE);

	*text = NULL;
	if (!value || !value[strspn(value, " \t\r\n")])
		return unsetenv(VARIABLE) ? -errno : 0;
	if (strlen(value) > CONTENT_MAX)
		return err_set(e, -EINVAL, VARIABLE " has more than %d KiB; use a file",
			       CONTENT_MAX >> 10);
	int r = json_parse(value, strlen(value), &j, e);
	if (r == 0 && !cJSON_IsObject(j))
		r = err_set(e, -EINVAL, "it is no object");
	if (r < 0)
		return err_prefix(e, r, VARIABLE);
	if (j->child) {
		*text = json_text(j);
		if (!*text)
			return -ENOMEM;
	}
	return unsetenv(VARIABLE) ? -errno : 0;
}

static int read_content(const struct repo *r, char **text)
{
	CLEANUP(closep) int dir = open(r->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t len;
	return dir < 0 ? -errno : file_read(dir, FILE_NAME, CONTENT_MAX, text, &len);
}

static bool is_content(const struct repo *r, const char *text)
{
	CLEANUP(freep) char *now = NULL;
	return read_content(r, &now) == 0 && now && strcmp(now, text) == 0;
}

static int refusal(const struct repo *r, struct err *e)
{
	return err_set(e, -EBUSY,
		       "the backend of %s runs with another configuration than this program's, and "
		       "takes one only when it starts; `rrm stop %s` first, leave the program's "
		       "config out, or put it into the repository's opencode.json",
		       r->name, r->name);
}

int shimconfig_offer(const struct repo *r, const char *text, struct err *e)
{
	struct endpoint ep;
	bool alive;

	if (!text || is_content(r, text))
		return 0;
	/* A start that goes on has read the file already, or found none. */
	CLEANUP(closep) int lock = -1;
	if (start_lock(r, clock_mono_ms() + LOCK_MS, &lock, NULL) == -ETIMEDOUT)
		return is_content(r, text) ? 0 : refusal(r, e);
	if (registry_read(r, &ep, &alive, NULL) == 0 && alive)
		return refusal(r, e);
	CLEANUP(closep) int dir = open(r->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int rc = dir < 0 ? -errno : file_replace(dir, FILE_NAME, text, strlen(text), 0600);
	return rc < 0 ? err_errno(e, rc, "writing %s/" FILE_NAME, r->state_dir) : 0;
}

int shimconfig_check(const struct repo *r, const char *text, struct err *e)
{
	return !text || is_content(r, text) ? 0 : refusal(r, e);
}

void shimconfig_withdraw(const struct repo *r, const char *text)
{
	CLEANUP(closep) int dir = open(r->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct endpoint ep;
	bool alive = false;

	registry_read(r, &ep, &alive, NULL);
	if (dir >= 0 && text && !alive && is_content(r, text))
		unlinkat(dir, FILE_NAME, 0);
}

int shimconfig_env(const struct repo *r, struct spawn_env *env)
{
	CLEANUP(freep) char *text = NULL;
	int rc = read_content(r, &text);

	if (rc == -ENOENT)
		return 0;
	return rc < 0 ? rc : spawn_env_set(env, VARIABLE, text);
}
