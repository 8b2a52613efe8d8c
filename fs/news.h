/*
 * News: what the server heard of changes outside and has not looked at yet, and what it is about to tell the kernel.
 * Each is noted in the estate before it is queued and crossed out when it is done, so the successor of a server
 * that was killed does again what may not have been done (recheck.c), and need not look at anything else.
 * What finds no place is counted; a server that dies with such leaves it to its successor to look at everything.
 *
 * Locking: one leaf lock.
 */
#pragma once
#include "fs/estate.h"

/* Numbers for news_done(), also where there was no place. es NULL: nothing is kept. */
int news_look(struct estate *es, uint64_t node, const char *name);
int news_tell(struct estate *es, uint16_t repo, uint64_t node, const char *name, bool data,
	      bool expire);
void news_done(struct estate *es, int at);

/* A new server's first: what is there now is its predecessor's. */
void news_begin(struct estate *es);

/* The next of those from *at on, *at being its number: to be done again, then news_done(). False: no more. */
bool news_left(struct estate *es, int *at, struct estate_news *out);
