/*
 * Ownership where it is declared: CLEANUP(freep) char *p = NULL; frees p at the end of its scope,
 * steal(&p) hands it on. A function uses CLEANUP or goto, never both.
 */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Hands *p on and leaves NULL behind. */
#define steal(p)                                                                                   \
	({                                                                                         \
		__typeof__(*(p)) stolen_ = *(p);                                                   \
		*(p) = NULL;                                                                       \
		stolen_;                                                                           \
	})

static inline int steal_fd(int *fd)
{
	int f = *fd;
	*fd = -1;
	return f;
}

/* p: address of any pointer that came from malloc. */
static inline void freep(void *p)
{
	free(*(void **)p);
}

/* Closes *fd unless it is negative; errno is kept. */
static inline void closep(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void json_deletep(cJSON **j)
{
	cJSON_Delete(*j);
}

static inline void unlockp(pthread_mutex_t **m)
{
	pthread_mutex_unlock(*m);
}

static inline pthread_mutex_t *lock_scope_take(pthread_mutex_t *m)
{
	pthread_mutex_lock(m);
	return m;
}

/* Holds the mutex until the end of the enclosing scope; for leaf functions only. */
#define LOCK_SCOPE(m)                                                                              \
	CLEANUP(unlockp)                                                                           \
	pthread_mutex_t *lock_scope_ __attribute__((unused)) = lock_scope_take(m)
