#include "fs/closer.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/log.h"

enum {
	MOST = 128,
	GATHER_US = 2000, /* so that a walk that removes wakes us rarely */
	LOOK_US = 100,    /* closer_settle() looks so often, */
	LOOKS = 10,       /* so many times */
};

struct closer {
	pthread_t thread;
	sem_t wake; /* posted when `awake` is set, and at the end */
	pthread_mutex_t lock;
	int fds[MOST]; /* protected by lock, as is all below */
	unsigned n, most;
	bool awake, busy, stop;
};

/* -1: there is none, and the next one has to wake us. */
static int next_one(struct closer *c, bool *stop)
{
	LOCK_SCOPE(&c->lock);
	c->busy = c->awake = c->n > 0;
	*stop = c->stop;
	return c->n ? c->fds[--c->n] : -1;
}

static void *work(void *arg)
{
	struct closer *c = arg;
	bool stop = false;
	while (!stop) {
		while (sem_wait(&c->wake) < 0)
			;
		usleep(GATHER_US);
		for (int fd = next_one(c, &stop); fd >= 0; fd = next_one(c, &stop))
			close(fd);
	}
	return NULL;
}

struct closer *closer_new(unsigned most)
{
	struct closer *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->most = most < MOST ? most : MOST;
	sem_init(&c->wake, 0, 0);
	pthread_mutex_init(&c->lock, NULL);
	int rc = pthread_create(&c->thread, NULL, work, c);
	if (rc == 0)
		return c;
	log_warn("event=closer error=\"no thread: %s\" effect=\"removals take longer\"",
		 strerror(rc));
	sem_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

struct closer *closer_free(struct closer *c)
{
	if (!c)
		return NULL;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_mutex_unlock(&c->lock);
	sem_post(&c->wake);
	pthread_join(c->thread, NULL);
	sem_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

void closer_give(struct closer *c, int fd)
{
	bool kept = false, wake = false;
	if (c) {
		LOCK_SCOPE(&c->lock);
		kept = c->n < c->most;
		if (kept)
			c->fds[c->n++] = fd;
		wake = kept && !c->awake;
		c->awake |= kept;
	}
	if (wake)
		sem_post(&c->wake);
	if (!kept)
		close(fd);
}

bool closer_settle(struct closer *c, bool wait)
{
	bool any = false;
	for (unsigned looks = 0; c && looks < LOOKS;) {
		pthread_mutex_lock(&c->lock);
		const bool busy = c->busy;
		const int fd = c->n ? c->fds[--c->n] : -1;
		pthread_mutex_unlock(&c->lock);
		if (fd < 0 && !(busy && wait))
			break;
		any = true;
		if (fd >= 0) {
			close(fd);
		} else {
			usleep(LOOK_US);
			looks++;
		}
	}
	return any;
}
