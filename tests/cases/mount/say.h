/*
 * What a file system answers, as lines of text: a call and what came of it. In a plain
 * directory, at home in the mount and as a foreigner they must be the same. Nothing that legitimately differs
 * is said: inode numbers, the times of the clock.
 */
#pragma once
#include <sys/stat.h>
#include <sys/types.h>

/* " = RESULT" or " = EWHAT"; returns result, errno kept. */
long say(long result, const char *what, ...) __attribute__((format(printf, 2, 3)));
#define SAY(call) ((void)say((long)(call), "%s", #call))

void section(const char *name);
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void show(const char *path);                      /* what path is, without following a link */
int put_open(const char *path, const char *text); /* open to read and write */
void put(const char *path, const char *text);
void shell(const char *command); /* must succeed */
char *filled(char ch, size_t n); /* owned by the caller */

/* Runs fn as this user, with his groups, in a process of its own. */
void as(uid_t uid, gid_t gid, size_t n, const gid_t *groups, void (*fn)(void));
