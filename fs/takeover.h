/* What a server does first with the estate (estate.h) of one before it. 0 or negative errno. */
#pragma once
#include "fs/overlay.h"

/* Closes the descriptors that nobody recorded. While there are only those of the estate, and no thread. */
int takeover_sweep(struct overlay *o);

/* Gives the sessions in the nodes the numbers of the new router. */
int takeover_sessions(struct overlay *o);

/* Says that it serves, and the processor time that it took to come to that. */
void takeover_log(const struct overlay *o);

/* Of a server that did not come to have a session: unmounts what the one before it served, for nobody answers any
 * more. Nothing where that is no successor. */
void takeover_failed(struct overlay *o);
