/* What a server does first with the estate (estate.h) of one before it. 0 or negative errno. */
#pragma once
#include "fs/overlay.h"

/* Closes the descriptors that nobody recorded. While there are only those of the estate, and no thread. */
int takeover_sweep(struct overlay *o);

/* Gives the sessions in the nodes the numbers of the new router. */
int takeover_sessions(struct overlay *o);
