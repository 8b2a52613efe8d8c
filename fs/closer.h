/*
 * Closes descriptors on a thread of its own. The last close of a file without a name is when the file system frees
 * what it held: as long as a removal takes, or milliseconds for a large one, and whoever asks for something meanwhile
 * would wait for that.
 */
#pragma once
#include <stdbool.h>

struct closer;

/* most: how many descriptors may wait. NULL: no thread could be had; all goes on, slower. */
struct closer *closer_new(unsigned most);

/* Closes what is left first. NULL is fine; returns NULL. */
struct closer *closer_free(struct closer *c);

/* Takes over fd. It is closed some milliseconds later; at once where `most` wait already, or c is NULL. Any thread. */
void closer_give(struct closer *c, int fd);

/* Closes what waits now; wait: and waits a moment for what is being closed, for who finds no room. False: there was
 * nothing. */
bool closer_settle(struct closer *c, bool wait);
