/* What the plugin of an OpenCode backend says of the session that writes this moment. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "router/identity.h"
#include "router/sessions.h"

enum { ANNOUNCED_MAX = 4096 };

bool identity_holder(const char *text, const char *repo_id, struct identity *who)
{
	unsigned long long start;
	long long offset;
	int pid, end = 0;

	if (sscanf(text, "%d-%llu-%lld%n", &pid, &start, &offset, &end) != 3 ||
	    (text[end] && text[end] != '\n') || strlen(repo_id) >= sizeof(who->turn_repo))
		return false;
	strcpy(who->turn_repo, repo_id);
	who->turn_pid = pid;
	who->turn_start = start;
	who->turn_offset = offset;
	return true;
}

static bool is_session(const char *word)
{
	size_t n = 0;

	for (; word[n]; n++)
		if (word[n] <= ' ' || word[n] >= 0x7f)
			return false;
	return n > 0 && n < SESSION_ID_MAX;
}

static bool held(const struct identity_world *w, const char *holder, const char *repo_id,
		 struct identity *who)
{
	struct proc_stat st;

	return identity_holder(holder, repo_id, who) && w->stat(w->arg, who->turn_pid, &st) == 0 &&
	       st.start == who->turn_start && st.state != 'Z';
}

void identity_announced(const struct identity_world *w, const char *base, const char *repo_id,
			struct sessions *s, struct identity *who)
{
	CLEANUP(freep) char *path = NULL, *text = NULL;
	struct identity found = *who;
	size_t len;
	char *holder;

	if (who->by != IDENTITY_BY_BACKEND || who->named || strcmp(who->turn_repo, repo_id) == 0)
		return;
	if (asprintf(&path, "%s/repos/%s/turns/%s", base, who->home, repo_id) < 0 ||
	    file_read(AT_FDCWD, path, ANNOUNCED_MAX, &text, &len) < 0)
		return;
	holder = strchr(text, ' ');
	if (!holder)
		return;
	*holder++ = '\0';
	if (!is_session(text) || (strcmp(holder, "-\n") != 0 && !held(w, holder, repo_id, &found)))
		return;
	strcpy(found.session, text);
	found.session_id = sessions_intern(s, found.home, found.session);
	*who = found;
}
