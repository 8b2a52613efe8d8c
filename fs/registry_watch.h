/*
 * What may change the list of repositories: repo.json files in <base>/repos, and the directories in which
 * the roots lie. An inotify instance of its own, for one has one watch only for a directory, and
 * those may be watched for their entries as well (coherence.h).
 *
 * Threads: registry_watch_read() on one, the others on any.
 */
#pragma once
#include <stdbool.h>

struct repos;
struct registry_watch;

int registry_watch_new(struct registry_watch **out); /* 0 or negative errno */
struct registry_watch *registry_watch_free(struct registry_watch *w);
int registry_watch_fd(const struct registry_watch *w); /* to poll */

/* Watches <base>/repos and the state directories in it. What is watched already stays so. */
void registry_watch_base(struct registry_watch *w, const char *base);
/* Watches the directory in which this root of a repo lies. */
void registry_watch_root(struct registry_watch *w, const char *root);

/* Takes all events; true when repos_reload() is due. */
bool registry_watch_read(struct registry_watch *w, struct repos *repos);
