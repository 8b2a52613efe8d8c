/*
 * The explicit turns that a process works under: those of each `rrm lock` above it. A command that a
 * lock runs finds them in its environment, the innermost first: RRM_TURN has the repo_ids, and
 * RRM_TURN_HOLDER "<pid>-<start>-<offset>-<epoch>" of each holder in the same order, both with blanks
 * between. What is changed under a turn is changed in its epoch, by whatever way it goes. Pure.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "manager/repo.h"

enum {
	HELD_MAX = 8, /* rrm lock goes no deeper */
	HELD_TEXT_MAX = HELD_MAX * (REPO_ID_MAX + 1),
};

#define HELD_ALL ((int64_t)-1)

struct held {
	char repo[REPO_ID_MAX];
	pid_t pid; /* the holder: rrm lock */
	uint64_t start;
	int64_t offset; /* turnlock_offset() of the branch; HELD_ALL: all branches */
	uint64_t epoch; /* of the turn when it was taken; see turnlock_renew_epoch() */
};

struct held_list {
	struct held items[HELD_MAX];
	unsigned n;
};

/* "<pid>-<start>-<offset>", "-<epoch>" (else 0), up to a blank or the end. False: it is not. */
bool held_parse(const char *text, const char *repo_id, struct held *out);
/* Both variables (NULL: not set); what is damaged ends the list. */
void held_parse_list(const char *repos, const char *holders, struct held_list *out);
/* As they are put into the environment. */
void held_text(const struct held_list *l, char repos[HELD_TEXT_MAX], char holders[HELD_TEXT_MAX]);

/* The one that lets its children change that branch (HELD_ALL: all of them), or NULL. */
const struct held *held_find(const struct held_list *l, const char *repo_id, int64_t offset);
bool held_same(const struct held *a, const struct held *b);
bool held_has(const struct held_list *l, const struct held *h);
/* Puts h in front, and takes it out of where it was. False: there is no room. */
bool held_push(struct held_list *l, const struct held *h);
void held_remove_at(struct held_list *l, unsigned i);
