#include "fs/awake.h"

#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/log.h"

#define DRIVER "/sys/devices/system/cpu/cpuidle/current_driver"

enum {
	MANY = 16, /* requests within a step of the coarse clock (1-4 ms): then it pays */
	FEW = 4,   /* in awake_ms: no longer */
};

struct awake {
	uint32_t ms;
	pthread_t thread;
	sem_t wake; /* posted when `on` is set, and at the end */
	_Atomic bool on, stop;
	_Atomic uint64_t served, step; /* requests in all; the coarse clock's, */
	_Atomic unsigned in_step;      /* and how many came in it */
};

static bool would_help(void)
{
	CLEANUP(freep) char *driver = NULL;
	size_t len = 0;
	return file_read(AT_FDCWD, DRIVER, 64, &driver, &len) == 0 &&
	       strncmp(driver, "haltpoll", 8) == 0 && access(AWAKE_DEVICE, W_OK) == 0;
}

/* Until few requests have come in a->ms. */
static void hold(struct awake *a)
{
	const int32_t us = 0;
	CLEANUP(closep) int fd = open(AWAKE_DEVICE, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, &us, sizeof(us)) != sizeof(us))
		return;
	for (uint64_t before = a->served - MANY; !a->stop && a->served - before >= FEW;) {
		before = a->served;
		usleep(a->ms * 1000);
	}
}

static void *work(void *arg)
{
	struct awake *a = arg;
	while (!a->stop) {
		while (sem_wait(&a->wake) < 0)
			;
		if (!a->stop)
			hold(a);
		a->on = false;
	}
	return NULL;
}

struct awake *awake_new(uint32_t ms)
{
	struct awake *a = ms && would_help() ? calloc(1, sizeof(*a)) : NULL;
	if (!a)
		return NULL;
	a->ms = ms;
	sem_init(&a->wake, 0, 0);
	if (pthread_create(&a->thread, NULL, work, a) == 0)
		return a;
	log_warn("event=awake error=\"no thread: %m\" effect=\"requests take longer\"");
	sem_destroy(&a->wake);
	free(a);
	return NULL;
}

void awake_note(struct awake *a)
{
	if (!a)
		return;
	atomic_fetch_add_explicit(&a->served, 1, memory_order_relaxed);
	if (a->on)
		return;
	uint64_t now = clock_coarse_ms();
	if (atomic_exchange_explicit(&a->step, now, memory_order_relaxed) != now)
		a->in_step = 0;
	if (++a->in_step >= MANY && !atomic_exchange(&a->on, true))
		sem_post(&a->wake);
}

struct awake *awake_free(struct awake *a)
{
	if (!a)
		return NULL;
	a->stop = true;
	sem_post(&a->wake);
	pthread_join(a->thread, NULL);
	sem_destroy(&a->wake);
	free(a);
	return NULL;
}
