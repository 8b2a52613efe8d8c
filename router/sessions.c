#include "router/sessions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>
#include <utlist.h>

#include "manager/base/cleanup.h"

struct session {
	struct session *prev, *next; /* the one not used for longest first */
	uint32_t id;
	UT_hash_handle by_key, by_id;
	size_t home_len; /* key is home, a newline, session */
	char key[];
};

struct sessions {
	pthread_mutex_t lock;
	struct session *keys; /* protected by lock, as are the others */
	struct session *ids;
	struct session *by_use;
	uint32_t last;
};

int sessions_new(struct sessions **out)
{
	struct sessions *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	*out = s;
	return 0;
}

struct sessions *sessions_free(struct sessions *s)
{
	struct session *i, *next;

	if (!s)
		return NULL;
	HASH_CLEAR(by_key, s->keys);
	HASH_ITER (by_id, s->ids, i, next) {
		HASH_DELETE(by_id, s->ids, i);
		free(i);
	}
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static void used_locked(struct sessions *s, struct session *i)
{
	DL_DELETE(s->by_use, i);
	DL_APPEND(s->by_use, i);
}

static void forget_locked(struct sessions *s, struct session *i)
{
	DL_DELETE(s->by_use, i);
	HASH_DELETE(by_key, s->keys, i);
	HASH_DELETE(by_id, s->ids, i);
	free(i);
}

uint32_t sessions_intern(struct sessions *s, const char *home, const char *session)
{
	char key[REPO_ID_MAX + SESSION_ID_MAX + 2];
	size_t len = (size_t)snprintf(key, sizeof(key), "%.*s\n%.*s", REPO_ID_MAX - 1, home,
				      SESSION_ID_MAX - 1, session);
	struct session *i;

	LOCK_SCOPE(&s->lock);
	HASH_FIND(by_key, s->keys, key, len, i);
	if (i) {
		used_locked(s, i);
		return i->id;
	}
	i = calloc(1, sizeof(*i) + len + 1);
	if (!i)
		return 0;
	i->id = ++s->last;
	i->home_len = (size_t)(strchr(key, '\n') - key);
	memcpy(i->key, key, len + 1);
	HASH_ADD_KEYPTR(by_key, s->keys, i->key, len, i);
	HASH_ADD(by_id, s->ids, id, sizeof(i->id), i);
	DL_APPEND(s->by_use, i);
	if (HASH_CNT(by_id, s->ids) > SESSIONS_MAX)
		forget_locked(s, s->by_use);
	return i->id;
}

int sessions_lookup(struct sessions *s, uint32_t id, char home[REPO_ID_MAX],
		    char session[SESSION_ID_MAX])
{
	struct session *i;

	LOCK_SCOPE(&s->lock);
	HASH_FIND(by_id, s->ids, &id, sizeof(id), i);
	if (!i)
		return -ENOENT;
	used_locked(s, i);
	snprintf(home, REPO_ID_MAX, "%.*s", (int)i->home_len, i->key);
	snprintf(session, SESSION_ID_MAX, "%s", i->key + i->home_len + 1);
	return 0;
}
