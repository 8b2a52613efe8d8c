/*
 * A write(2) that stands still between filling the kernel's cache and asking the file system, while the file is
 * changed outside and read.
 *
 *	rrm-overtaken MOUNTED REAL
 *
 * REAL is a file of two pages, MOUNTED the same one in the mount. The buffer's second page is not there (userfaultfd(2)),
 * so that write(2) waits for it when the first page is in the cache. Exit 0 when the writer then reads what he
 * wrote, 1 when he reads what was there before, 2 when the test did not come to where it wanted to.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, LIMIT_MS = 5000 };

struct outsider {
	int faults; /* userfaultfd */
	const char *mounted, *real;
	char *missing; /* the page that the writer waits for */
	bool filled, seen, overtaken;
};

static int open_or_end(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		err(2, "%s", path);
	return fd;
}

static char byte_at(int fd, off_t at)
{
	char c = 0;
	if (pread(fd, &c, 1, at) != 1)
		err(2, "pread");
	return c;
}

/* A change of the second page outside is seen, which takes the first one out of the cache as well. */
static void change_outside(struct outsider *s)
{
	int in = open_or_end(s->mounted, O_RDONLY), out = open_or_end(s->real, O_WRONLY);
	s->filled = byte_at(in, 0) == 'w';
	if (pwrite(out, "o", 1, 2 * PAGE - 1) != 1)
		err(2, "%s", s->real);
	for (int i = 0; i < LIMIT_MS && !s->seen; i++) {
		usleep(1000);
		s->seen = byte_at(in, 2 * PAGE - 1) == 'o';
	}
	s->overtaken = byte_at(in, 0) != 'w';
	close(in);
	close(out);
}

static void *outside(void *arg)
{
	struct outsider *s = arg;
	struct pollfd p = {.fd = s->faults, .events = POLLIN};
	struct uffd_msg m;
	static char page[PAGE];
	memset(page, 'w', PAGE);
	if (poll(&p, 1, LIMIT_MS) == 1 && read(s->faults, &m, sizeof(m)) == sizeof(m))
		change_outside(s);
	struct uffdio_copy copy = {
		.dst = (uintptr_t)s->missing, .src = (uintptr_t)page, .len = PAGE};
	if (ioctl(s->faults, UFFDIO_COPY, &copy) < 0)
		err(2, "UFFDIO_COPY");
	return NULL;
}

static int faults_of(void *page)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register r = {.range = {.start = (uintptr_t)page, .len = PAGE},
				    .mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &r) < 0)
		err(2, "userfaultfd");
	return fd;
}

int main(int argc, char **argv)
{
	char was[2 * PAGE];
	pthread_t thread;
	if (argc != 3)
		errx(2, "usage: rrm-overtaken MOUNTED REAL");
	int fd = open_or_end(argv[1], O_RDWR);
	if (pread(fd, was, sizeof(was), 0) != sizeof(was)) /* the kernel has it now */
		err(2, "%s", argv[1]);
	char *buf =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buf == MAP_FAILED)
		err(2, "mmap");
	memset(buf, 'w', PAGE);
	struct outsider s = {.faults = faults_of(buf + PAGE),
			     .mounted = argv[1],
			     .real = argv[2],
			     .missing = buf + PAGE};
	if (pthread_create(&thread, NULL, outside, &s) != 0)
		errx(2, "no thread");
	if (pwrite(fd, buf, 2 * PAGE, 0) != 2 * PAGE)
		err(2, "pwrite");
	char got = byte_at(fd, 0);
	pthread_join(thread, NULL);
	printf("filled %d, change outside seen %d, a READ overtook it %d, read back '%c'\n",
	       s.filled, s.seen, s.overtaken, got);
	if (!s.filled || !s.seen || !s.overtaken)
		return 2;
	return got == 'w' ? 0 : 1;
}
