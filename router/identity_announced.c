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

static bool is_session(const char *word)
{
	size_t n = 0;

	for (; word[n]; n++)
		if (word[n] <= ' ' || word[n] >= 0x7f)
			return false;
	return n > 0 && n < SESSION_ID_MAX;
}

/* Some turn of that repo is held above it already. */
static bool held_of(const struct identity *who, const char *repo_id)
{
	for (unsigned i = 0; i < who->held.n; i++)
		if (strcmp(who->held.items[i].repo, repo_id) == 0)
			return true;
	return false;
}

/* Adds the turn that text names to those of who. False: its holder is no more, or it is none. */
static bool lend(const struct identity_world *w, const char *text, const char *repo_id,
		 struct identity *who)
{
	struct proc_stat st;
	struct held h;

	return held_parse(text, repo_id, &h) && w->stat(w->arg, h.pid, &st) == 0 &&
	       st.start == h.start && st.state != 'Z' && held_push(&who->held, &h);
}

void identity_announced(const struct identity_world *w, const char *base, const char *repo_id,
			struct sessions *s, struct identity *who)
{
	CLEANUP(freep) char *path = NULL, *text = NULL;
	size_t len;
	char *holder;

	if (who->by != IDENTITY_BY_BACKEND || who->named || held_of(who, repo_id))
		return;
	if (asprintf(&path, "%s/repos/%s/turns/%s", base, who->home, repo_id) < 0 ||
	    file_read(AT_FDCWD, path, ANNOUNCED_MAX, &text, &len) < 0)
		return;
	holder = strchr(text, ' ');
	if (!holder)
		return;
	*holder++ = '\0';
	if (!is_session(text) || (strcmp(holder, "-\n") != 0 && !lend(w, holder, repo_id, who)))
		return;
	strcpy(who->session, text);
	who->session_id = sessions_intern(s, who->home, who->session);
}
