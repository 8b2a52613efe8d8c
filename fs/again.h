/*
 * Changes that are asked for again: the server before us had read the request and was killed before it
 * answered, so the change may have been made or not. Each change under way is noted in the estate as an
 * intent, by the kernel's number of its request.
 *
 *	foreign   goes to the gateway again under the same id, which is made of that number: the gateway knows
 *	          what it has done
 *	at home   DONE: it was made. BEGUN: the tree tells (a name that is there since, one that is gone, ...);
 *	          what does no harm twice, such as a write at an offset, is simply done
 */
#pragma once
#include "fs/change.h"

/* Before it is applied or sent. Without room for it in the estate c->intent stays NULL: then a kill at the wrong
 * moment may answer EEXIST or ENOENT to what was done. */
void again_begin_home(struct change *c);
void again_begin_foreign(struct change *c);

/* It was applied at home, as out says. */
void again_done(struct change *c);

/* It was answered. */
void again_end(struct change *c);

/* Finds what the server before us noted of it, if c is asked for again. */
void again_find(struct change *c);

/* True when that was applied at home: c->out is filled as home_apply() would have, *rc is the result. */
bool again_was_applied(struct change *c, int *rc);

/* True when that was sent to the gateway. */
bool again_was_foreign(const struct change *c);

/* How many of the bytes of an append are in the file already. */
size_t again_appended(const struct change *c, int fd, int64_t size_now);

/* The id of its mutation number step; "" for a change without a number. */
void again_mutation_id(const struct change *c, unsigned step, char id[MUTATION_ID_MAX]);
