#include "fs/estate.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "fs/news.h"
#include "fs/node.h"
#include "manager/base/cleanup.h"

static const char MAGIC[8] = {'r', 'r', 'm', 'm', 'o', 'u', 'n', 't'};
enum { AREA = 64 << 20 }; /* of struct estate, in the file; the node table comes behind it */

static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER; /* leaf; of estate.kept */
static uint32_t kept_hint;

_Static_assert(sizeof(struct estate) <= AREA, "the node table would lie in it");

off_t estate_nodes_at(void)
{
	return AREA;
}

static int map(struct estate **out, int fd)
{
	void *p = mmap(NULL, sizeof(struct estate), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

int estate_new(struct estate **out, struct err *e)
{
	struct estate *es = NULL;
	int fd = memfd_create("rrm-mount", MFD_CLOEXEC);
	int rc = fd < 0 ? -errno : 0;
	if (rc == 0 && ftruncate(fd, AREA + (off_t)NODES_BYTES) < 0)
		rc = -errno;
	if (rc == 0)
		rc = map(&es, fd);
	if (rc < 0 || !es) {
		closep(&fd);
		return err_errno(e, rc, "making the memory that a new server takes over");
	}
	memcpy(es->magic, MAGIC, sizeof(MAGIC));
	es->version = ESTATE_VERSION;
	es->bytes = sizeof(*es);
	es->memfd = fd;
	es->program = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	es->fuse = es->inotify = es->ready = -1;
	es->guard = getpid();
	if (getrandom(&es->mount, sizeof(es->mount), 0) != sizeof(es->mount))
		es->mount = (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)es;
	*out = es;
	return 0;
}

int estate_open(struct estate **out, int fd, struct err *e)
{
	struct estate *es = NULL;
	if (lseek(fd, 0, SEEK_END) != AREA + (off_t)NODES_BYTES || map(&es, fd) < 0 || !es ||
	    memcmp(es->magic, MAGIC, sizeof(MAGIC)) != 0 || es->guard != getpid())
		return err_set(e, -EINVAL, "descriptor %d is not that of a running mount", fd);
	*out = es;
	if (es->version != ESTATE_VERSION || es->bytes != sizeof(*es))
		return err_set(
			e, -ESTALE,
			"this rrm-mount keeps its nodes in another form (%d, not %u): unmount "
			"and mount again to use it",
			ESTATE_VERSION, es->version);
	return 0;
}

void estate_begin(struct estate *es)
{
	es->servers++;
	news_begin(es);
	/* Those of callers that were killed as well: nobody asked for them again. A server that was killed before
	 * it had read everything leaves what it did not come to. */
	for (uint32_t i = 0; i < ESTATE_INTENTS; i++)
		if (es->intents[i].server < es->drained)
			es->intents[i].state = INTENT_FREE;
}

/* ---- descriptors ---- */

int estate_keep(struct estate *es, enum estate_kind kind, uint64_t key, int fd)
{
	if (!es)
		return -1;
	LOCK_SCOPE(&kept_lock);
	for (uint32_t i = 0; i < ESTATE_KEPT; i++) {
		uint32_t at = (kept_hint + i) % ESTATE_KEPT;
		struct estate_fd *k = &es->kept[at];
		if (k->kind != ESTATE_FREE)
			continue;
		k->key = key;
		k->fd = fd;
		k->kind = kind;
		kept_hint = at + 1;
		return (int)at;
	}
	return -1;
}

void estate_drop(struct estate *es, int at)
{
	if (es && at >= 0)
		es->kept[at].kind = ESTATE_FREE;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

struct fd_set_of {
	int *fds; /* owned */
	size_t n;
};

static void add(struct fd_set_of *s, int fd)
{
	if (fd > STDERR_FILENO)
		s->fds[s->n++] = fd;
}

void estate_sweep(struct estate *es, int *fds, size_t n)
{
	struct fd_set_of s = {.fds = malloc((n + ESTATE_KEPT + ESTATE_INTENTS + 5) * sizeof(int))};
	unsigned from = STDERR_FILENO + 1;
	if (!s.fds)
		return; /* what stays open is a leak, not an error */
	for (size_t i = 0; i < n; i++)
		add(&s, fds[i]);
	for (size_t i = 0; i < ESTATE_KEPT; i++)
		if (es->kept[i].kind != ESTATE_FREE)
			add(&s, es->kept[i].fd);
	for (size_t i = 0; i < ESTATE_INTENTS; i++)
		if (es->intents[i].state != INTENT_FREE)
			add(&s, es->intents[i].fd);
	const int own[] = {es->memfd, es->program, es->fuse, es->inotify, es->ready};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		add(&s, own[i]);
	qsort(s.fds, s.n, sizeof(int), by_number);
	for (size_t i = 0; i < s.n; i++) {
		if ((unsigned)s.fds[i] > from)
			close_range(from, (unsigned)s.fds[i] - 1, 0);
		from = (unsigned)s.fds[i] + 1;
	}
	close_range(from, ~0u, 0);
	free(s.fds);
}

/* ---- sessions ---- */

void estate_note_session(struct estate *es, uint32_t number, const char *home, const char *session)
{
	uint32_t was = SESSION_FREE; /* several workers may have its first change in hand */
	if (!es || number == 0 || number >= ESTATE_SESSIONS)
		return;
	struct estate_session *s = &es->sessions[number];
	if (s->state != SESSION_FREE ||
	    !atomic_compare_exchange_strong(&s->state, &was, SESSION_WRITING))
		return;
	snprintf(s->home, sizeof(s->home), "%s", home);
	snprintf(s->session, sizeof(s->session), "%s", session);
	s->state = SESSION_NOTED;
}
