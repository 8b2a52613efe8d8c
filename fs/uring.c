#include "fs/uring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/toucher.h"
#include "fs/uring_inner.h"
#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/log.h"

static const char *unusable(void)
{
	CLEANUP(freep) char *text = NULL;
	size_t len = 0;
	if (file_read(AT_FDCWD, "/sys/module/fuse/parameters/enable_uring", 16, &text, &len) < 0)
		return "the kernel has no FUSE over io_uring (Linux 6.14 and newer have it)";
	if (len == 0 || (text[0] != 'Y' && text[0] != '1'))
		return "it is switched off; root switches it on with `echo Y > "
		       "/sys/module/fuse/parameters/enable_uring`";
	return NULL;
}

/* The answer to INIT says that requests may come through the rings, and how large their data may be. */
static ssize_t answer_init(struct uring *u, int fd, struct iovec *iov, int count)
{
	const struct fuse_out_header *out = iov[0].iov_base;
	struct fuse_init_out *init = iov[1].iov_base;
	if (out->error)
		return writev(fd, iov, count);
	init->flags |= FUSE_INIT_EXT;
	init->flags2 |= FLAGS2_OVER_IO_URING;
	u->payload = (size_t)init->max_pages * PAGE;
	if (u->payload < init->max_write)
		u->payload = init->max_write;
	if (u->payload < FLOOR)
		u->payload = FLOOR;
	u->payload = (u->payload + PAGE - 1) / PAGE * PAGE;
	u->told = true;
	ssize_t n = writev(fd, iov, count);
	for (unsigned i = 0; i < u->n; i++)
		sem_post(&u->begin);
	return n;
}

static ssize_t on_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct overlay *o = userdata;
	struct uring *u = o->uring;
	const struct fuse_out_header *out = iov[0].iov_base;
	if (!u || out->unique == 0)
		return writev(fd, iov, count);
	if (!u->told && count == 2 && iov[1].iov_len >= sizeof(struct fuse_init_out))
		return answer_init(u, fd, iov, count);
	struct entry *e = line_entry_of(u, out->unique);
	return e ? line_answer(e, iov, count) : writev(fd, iov, count);
}

static ssize_t on_read(int fd, void *buf, size_t size, void *userdata)
{
	return read(fd, buf, size);
}

/* ---- what waits for a buffer ---- */

/* Has a request answered on that processor, and once more as long as that let one in that waits in its turn. */
static void kick(struct uring *u, unsigned cpu)
{
	unsigned before = 0;
	do {
		u->has_grown[cpu] = false;
		before = u->held[cpu];
		usleep(KICK_US);
		toucher_touch(&u->o->toucher, TOUCH_CPU, u->o->mountpoint, cpu);
		usleep(KICK_US);
	} while (!u->end && !u->refusing && u->held[cpu] != before);
}

static void *kick_work(void *arg)
{
	struct uring *u = arg;
	while (!u->end) {
		while (sem_wait(&u->grown) < 0)
			;
		for (unsigned cpu = 0; cpu < u->n / u->each && !u->end; cpu++)
			if (u->has_grown[cpu])
				kick(u, cpu);
	}
	return NULL;
}

/* ---- begin and end ---- */

/* Processors that there may ever be: the kernel wants a queue for each. */
static unsigned processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);
	return n > 0 ? (unsigned)n : 1;
}

static unsigned lines_each(unsigned cpus)
{
	unsigned each = LINES_ALL / cpus;
	return each > LINES_MAX ? LINES_MAX : each < LINES_MIN ? LINES_MIN : each;
}

static int uring_new(struct overlay *o, struct uring **out)
{
	static const struct fuse_custom_io io = {.writev = on_writev, .read = on_read};
	struct uring *u = calloc(1, sizeof(*u));
	const unsigned cpus = processors();
	int rc = 0;
	if (!u)
		return -ENOMEM;
	u->o = o;
	u->each = lines_each(cpus);
	const unsigned n = cpus * u->each;
	sem_init(&u->begin, 0, 0);
	sem_init(&u->grown, 0, 0);
	u->lines = calloc(n, sizeof(*u->lines));
	u->has_grown = calloc(cpus, sizeof(*u->has_grown));
	u->held = calloc(cpus, sizeof(*u->held));
	if (!u->lines || !u->has_grown || !u->held)
		rc = -ENOMEM;
	for (; rc == 0 && u->n < n; u->n++)
		rc = line_start(u, u->n);
	if (rc == 0)
		rc = -pthread_create(&u->kicker, NULL, kick_work, u);
	u->kicks = rc == 0;
	if (rc == 0)
		rc = fuse_session_custom_io(o->se, &io, fuse_session_fd(o->se));
	if (rc < 0) {
		uring_free(u);
		return rc;
	}
	*out = u;
	return 0;
}

int uring_choose(struct overlay *o, struct err *e)
{
	const enum config_transport want = o->config->transport;
	/* The kernel was told at the start of the mount how its requests come, and that was not so: where it is so,
	 * there is no successor. */
	if (want == CONFIG_TRANSPORT_DEV || o->taken_over)
		return 0;
	const char *why = unusable();
	int rc = why ? -EOPNOTSUPP : uring_new(o, &o->uring);
	if (rc < 0 && !why)
		why = strerror(-rc);
	if (rc == 0)
		log_info("event=transport name=uring");
	else if (want == CONFIG_TRANSPORT_URING)
		return err_set(e, rc,
			       "requests cannot come through io_uring, which the key transport of "
			       "config.json asks for: %s",
			       why);
	else
		log_info("event=transport name=dev reason=\"%s\"", why);
	return 0;
}

void uring_refuse(struct uring *u)
{
	if (!u)
		return;
	u->refusing = true;
	while (u->serving)
		usleep(1000);
}

struct uring *uring_free(struct uring *u)
{
	if (!u)
		return NULL;
	u->end = true;
	for (unsigned i = 0; i < u->n; i++) {
		sem_post(&u->begin);
		line_wake(&u->lines[i]);
	}
	sem_post(&u->grown);
	if (u->kicks)
		pthread_join(u->kicker, NULL);
	for (unsigned i = 0; i < u->n; i++)
		line_free(&u->lines[i]);
	free(u->lines);
	free(u->has_grown);
	free(u->held);
	sem_destroy(&u->begin);
	sem_destroy(&u->grown);
	free(u);
	return NULL;
}
