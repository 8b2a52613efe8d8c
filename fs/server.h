/*
 * The server: the process that answers for the mount, from the first request to the last. Its parent is the guard.
 */
#pragma once
#include "fs/estate.h"
#include "fs/options.h"
#include "manager/config.h"

/* Serves until unmounted or told to end (SIGTERM, SIGINT); the server of guard.h. Goes on where one before it
 * stopped, when es says that there was one. es->ready gets an 'r' once the mount answers and is then closed and
 * set to -1. 0 or negative errno with a sentence. Does not return after SIGUSR2 (ESTATE_HANDOVER). */
int server_run(struct config *c, const struct options *opt, struct estate *es, struct err *e);
