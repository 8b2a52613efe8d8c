/*
 * What coherence.c still has to look at: a name in a directory, or (name "") the content of a node; each once.
 * A list is a uthash table, NULL when empty. No locks; no function fails but for memory, and then the entry is lost.
 * Each is news (news.h) in es as long as it is in a list; es NULL: in none.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>

struct estate;

struct pending {
	char *key; /* owned: 16 hex digits of the nodeid, then the name */
	uint64_t node;
	uint64_t since_ms; /* CLOCK_MONOTONIC: when it was added */
	struct estate *es; /* borrowed */
	int news;
	UT_hash_handle hh;
};

void pending_add(struct pending **list, struct estate *es, uint64_t node, const char *name);
bool pending_has(struct pending *list, uint64_t node, const char *name);

/* "": the content. Valid as long as p. */
const char *pending_name(const struct pending *p);

/* Moves all of *from into *to; what is there already stays as it is. */
void pending_move(struct pending **to, struct pending **from);

void pending_done(struct pending **list, struct pending *p); /* takes it out and frees it */
void pending_free(struct pending **list);
