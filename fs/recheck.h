/*
 * After a server was killed: what it had heard of changes outside, and not yet passed on, nobody knows. So each
 * file is compared with what the kernel was told of it, and each name is asked for again when it
 * is used next, while the new server serves already. (What happened after its death is in the inotify
 * queue, which is taken over.)
 */
#pragma once
#include "fs/overlay.h"

int recheck_new(struct overlay *o, struct recheck **out); /* starts its thread */
struct recheck *recheck_free(struct recheck *r);          /* ends it; NULL is fine */
