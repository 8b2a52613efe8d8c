#include "manager/adopted.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"

enum { FILE_MAX = 1 << 20 };

static int read_list(const struct config *c, char **path, cJSON **list)
{
	*path = path_join(c->base, "adopted.json");
	if (!*path)
		return -ENOMEM;
	int rc = json_read_file(AT_FDCWD, *path, FILE_MAX, list, NULL);
	if (rc == 0 && cJSON_IsArray(*list))
		return 0;
	cJSON_Delete(*list);
	*list = NULL;
	return rc == 0 ? -EINVAL : rc;
}

/* owned; NULL when path is not there. */
static cJSON *describe(const char *path)
{
	CLEANUP(freep) char *wal = NULL;
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	struct stat st, log = {0};
	if (!j || asprintf(&wal, "%s-wal", path) < 0 || stat(path, &st) < 0)
		return NULL;
	if (stat(wal, &log) < 0)
		log.st_size = 0;
	int64_t mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
	if (json_add_bytes(j, "path", path) || json_add_int(j, "dev", (int64_t)st.st_dev) ||
	    json_add_int(j, "ino", (int64_t)st.st_ino) || json_add_int(j, "size", st.st_size) ||
	    json_add_int(j, "mtime_ms", mtime_ms) || json_add_int(j, "wal_size", log.st_size))
		return NULL;
	return steal(&j);
}

static bool same_path(const cJSON *j, const char *path)
{
	CLEANUP(freep) char *have = NULL;
	return json_get_bytes(j, "path", &have) == 0 && have && strcmp(have, path) == 0;
}

bool adopted_unchanged(const struct config *c, const char *path)
{
	static const char *const keys[] = {"dev", "ino", "size", "mtime_ms", "wal_size"};
	CLEANUP(freep) char *file = NULL;
	CLEANUP(json_deletep) cJSON *list = NULL;
	CLEANUP(json_deletep) cJSON *text = describe(path);
	CLEANUP(json_deletep) cJSON *now = NULL;
	const cJSON *j;
	if (!text || read_list(c, &file, &list) < 0)
		return false;
	/* json_add_int() makes raw text, to be read only once it was parsed. */
	CLEANUP(freep) char *printed = json_text(text);
	if (!printed || json_parse(printed, strlen(printed), &now, NULL) < 0)
		return false;
	cJSON_ArrayForEach (j, list) {
		size_t same = 0;
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			same += json_int(j, keys[i], -1) == json_int(now, keys[i], -2);
		if (same_path(j, path) && same == sizeof(keys) / sizeof(keys[0]))
			return true;
	}
	return false;
}

int adopted_note(const struct config *c, const char *path, struct err *e)
{
	CLEANUP(freep) char *file = NULL;
	CLEANUP(json_deletep) cJSON *list = NULL;
	cJSON *now = describe(path);
	char ts[CLOCK_ISO_LEN];
	read_list(c, &file, &list);
	if (!list)
		list = cJSON_CreateArray();
	for (int i = list ? cJSON_GetArraySize(list) - 1 : -1; i >= 0; i--)
		if (same_path(cJSON_GetArrayItem(list, i), path))
			cJSON_DeleteItemFromArray(list, i);
	if (!file || !list || !now || json_add_str(now, "ts", clock_iso(ts, clock_wall_ms())) ||
	    !cJSON_AddItemToArray(list, now)) {
		cJSON_Delete(now);
		return err_errno(e, -ENOMEM, "noting what was adopted");
	}
	int rc = json_replace_file(AT_FDCWD, file, list, 0600);
	return rc ? err_errno(e, rc, "writing %s", file) : 0;
}
