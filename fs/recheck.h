/*
 * After a server was killed, while the new one serves already: what it had heard of changes outside and not yet
 * passed on (news.h) is looked at and told, and so is each file that was in doubt. Where there was more news than has
 * a place, each file is compared with what the kernel was told of it, and each name is asked for again when
 * it is used next. (What happened after its death is in the inotify queue, which is taken over.)
 */
#pragma once
#include "fs/overlay.h"

int recheck_new(struct overlay *o, struct recheck **out); /* starts its thread */
struct recheck *recheck_free(struct recheck *r);          /* ends it; NULL is fine */
