/*
 * What changes outside the mount is forgotten by the kernel.
 *
 * One thread reads inotify for exactly those directories whose entries the kernel may have cached (and
 * for files with several names). An event is compared with what we told the kernel: where truth and
 * belief agree and the change was made through the mount, nothing is done. Otherwise invalidate.c
 * tells the kernel. Events of a file or directory that is being changed through the mount this moment
 * wait for the end of that change.
 *
 * Why no change is ever lost from view. Names: an event from outside always makes the kernel forget the
 * name, or ask for it again when belief is right. The kernel does that with the directory locked,
 * hence after all lookups and readdirs under way, which may still bring an older answer. Our own changes
 * need none of it: the kernel made them with the directory locked. Content: belief (node.stamp) moves only when
 * nothing from outside came between (change_begin_content()).
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "fs/overlay.h"

/* Takes over the watches of the server before us, with all that happened since (struct estate). */
int coherence_new(struct overlay *o, struct coherence **out, struct err *e);
int coherence_start(struct overlay *o, struct err *e); /* starts the thread */
void coherence_stop(struct coherence *c);              /* ends it; NULL is fine */
struct coherence *coherence_free(struct coherence *c);

/* Watches n (a directory, or a file with several names) unless it is watched already. False when no
 * watch can be had: then nothing of it may be kept for long. Any thread. */
bool coherence_watch(struct overlay *o, struct node *n);
void coherence_unwatch(struct overlay *o, struct node *n);

/* Watches <base>/repos and the state directories in it: repos_reload() when a repo.json comes or goes. */
void coherence_watch_registry(struct overlay *o);

/* Watches the directory in which this root of a repo lies: repos_reload() when the root comes or goes. */
void coherence_watch_root(struct overlay *o, const char *root);

/* Somebody saw content version stamp of n; when it is not the one the kernel may have cached and nobody
 * is writing through the mount, the cached data goes. */
void coherence_seen(struct overlay *o, struct node *n, uint64_t stamp);

/* Looks at a name in a directory, or (name "") at the content of a node, as if an event had told of it. */
void coherence_look(struct overlay *o, uint64_t node, const char *name);

/* Drops the cached data of n when the change in hand is over: it is known to be wrong. */
void coherence_post(struct overlay *o, struct node *n);

/* The change of n through the mount has ended (node.changing is 0 again): waiting events are looked at. */
void coherence_changed(struct overlay *o, struct node *n);

/* name in parent was removed through the mount: its IN_DELETE or IN_MOVED_FROM tells nothing new. */
void coherence_own_removal(struct overlay *o, const struct node *parent, const char *name);

/* A write descriptor was cached: come back to close it. */
void coherence_poke(void *coherence);
