#include "manager/opencode_db.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/path.h"

enum { REFLOG_MAX = 16 << 20 };

char *opencode_db_user_data(void)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	if (data && data[0] == '/')
		return strdup(data);
	return home && home[0] == '/' ? path_join(home, ".local/share") : NULL;
}

static int is_database(const struct dirent *de)
{
	size_t n = strlen(de->d_name);
	return strncmp(de->d_name, "opencode", 8) == 0 && n > 3 &&
	       strcmp(de->d_name + n - 3, ".db") == 0;
}

int opencode_db_list(const char *data, char ***paths, size_t *n)
{
	CLEANUP(freep) char *dir = path_join(data, "opencode");
	struct dirent **found = NULL;
	*n = 0;
	*paths = NULL;
	if (!dir)
		return -ENOMEM;
	int have = scandir(dir, &found, is_database, alphasort);
	if (have < 0)
		return errno == ENOMEM ? -ENOMEM : 0;
	int rc = 0;
	*paths = calloc((size_t)have + 1, sizeof(**paths));
	for (int i = 0; i < have; i++) {
		if (*paths && ((*paths)[*n] = path_join(dir, found[i]->d_name)))
			++*n;
		else
			rc = -ENOMEM;
		free(found[i]);
	}
	free(found);
	return rc;
}

void opencode_db_free_list(char **paths, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(paths[i]);
	free(paths);
}

int opencode_db_tree(const struct cmd_context *x, const char *directory, char **root)
{
	const struct repo *r;
	*root = NULL;
	if (repo_find(x->config, &x->repos, directory, &r, NULL, NULL) == 0) {
		*root = strdup(r->root);
		return *root ? 0 : -ENOMEM;
	}
	CLEANUP(freep) char *at = strdup(directory);
	bool touch = at && at[0] == '/' && !path_below(x->config->mountpoint, directory, NULL);
	while (touch && at[1]) {
		CLEANUP(freep) char *head = NULL;
		if (repo_head_path(at, &head) == 0) {
			*root = steal(&at);
			return 0;
		}
		char *slash = strrchr(at, '/');
		slash[slash == at] = '\0';
	}
	*root = strdup(directory);
	return *root ? 0 : -ENOMEM;
}

/* "checkout: moving from A to B" of a line; A into from. */
static bool moved_from(const char *line, size_t len, char *from, size_t size)
{
	static const char word[] = "\tcheckout: moving from ";
	const char *at = memmem(line, len, word, strlen(word));
	if (!at)
		return false;
	at += strlen(word);
	size_t n = strcspn(at, " \n");
	snprintf(from, size, "%.*s", (int)n, at);
	return true;
}

/* "<old> <new> Name <mail> <seconds> <zone>\t...": the seconds. */
static int64_t line_time_ms(const char *line, size_t len)
{
	const char *mail = memchr(line, '>', len);
	return mail ? strtoll(mail + 1, NULL, 10) * 1000 : 0;
}

void opencode_db_branch_of(const char *reflog, const char *now, int64_t at_ms, char *buf,
			   size_t size)
{
	snprintf(buf, size, "%s", now);
	for (const char *line = reflog; *line;) {
		size_t len = strcspn(line, "\n");
		/* The first checkout after it left the branch of that time. Times of git are whole seconds. */
		if (line_time_ms(line, len) > at_ms && moved_from(line, len, buf, size))
			return;
		line += len + (line[len] == '\n');
	}
}

void opencode_db_branch(const char *root, int64_t at_ms, char *buf, size_t size)
{
	CLEANUP(freep) char *head = NULL, *log = NULL, *text = NULL;
	char now[256] = "";
	size_t len;
	buf[0] = '\0';
	if (repo_head_path(root, &head) < 0 || repo_branch(root, now, sizeof(now)) < 0)
		return;
	*strrchr(head, '/') = '\0';
	log = path_join(head, "logs/HEAD");
	if (!log || file_read(AT_FDCWD, log, REFLOG_MAX, &text, &len) < 0)
		snprintf(buf, size, "%s", now);
	else
		opencode_db_branch_of(text, now, at_ms, buf, size);
}
