#include "router/turnlock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/sha256.h"

enum { COUNTER_LEN = 32, POKE_AGAIN_MS = 5, COUNTER_TRIES = 2000, POKE_SIGNAL = SIGURG };

/* glibc before 2.38 has no name for it. */
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define TURNS_BEGIN ((off_t)4096)
#define TURNS_LEN ((off_t)1 << 32)
#define MARK_DISTANCE ((off_t)1 << 40)

struct range {
	off_t begin, len; /* len 0: none */
};

struct turnlock {
	char *path; /* owned */
	int fd;
	struct range held;
	struct range marked;
};

static bool same_range(struct range a, struct range b)
{
	return a.begin == b.begin && a.len == b.len;
}

static int set_lock(int fd, short type, off_t begin, off_t len)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = begin, .l_len = len};

	while (fcntl(fd, F_OFD_SETLK, &fl) < 0) {
		if (errno == EACCES)
			return -EAGAIN;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* True when another open file description has a lock there that a lock of this type would meet. */
static bool met(int fd, short type, off_t begin, off_t len)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = begin, .l_len = len};

	return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

off_t turnlock_offset(const char *branch)
{
	char hex[SHA256_HEX_LEN];

	if (sha256_hex(branch, strlen(branch), hex) < 0)
		return TURNS_BEGIN; /* no libcrypto: one turn for all branches is still correct */
	hex[8] = '\0';
	return TURNS_BEGIN + (off_t)strtoul(hex, NULL, 16);
}

static struct range range_of(const char *branch)
{
	if (!branch)
		return (struct range){TURNS_BEGIN, TURNS_LEN};
	return (struct range){turnlock_offset(branch), 1};
}

static int open_file(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	return fd < 0 ? -errno : fd;
}

int turnlock_open(struct turnlock **out, const char *state_dir, struct err *e)
{
	struct turnlock *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->fd = -1;
	l->path = path_join(state_dir, "lock");
	if (!l->path) {
		turnlock_close(l);
		return -ENOMEM;
	}
	l->fd = open_file(l->path);
	if (l->fd < 0) {
		int rc = err_errno(e, l->fd, "cannot open the turn lock %s", l->path);

		turnlock_close(l);
		return rc;
	}
	*out = l;
	return 0;
}

struct turnlock *turnlock_close(struct turnlock *l)
{
	if (!l)
		return NULL;
	closep(&l->fd);
	free(l->path);
	free(l);
	return NULL;
}

/* Somebody removed the file: locks on it would exclude nobody any more. */
static int reopen_removed(struct turnlock *l)
{
	struct stat st;
	int fd;

	if (fstat(l->fd, &st) < 0)
		return -errno;
	if (st.st_nlink > 0)
		return 0;
	fd = open_file(l->path);
	if (fd < 0)
		return fd;
	close(l->fd);
	l->fd = fd;
	l->held = l->marked = (struct range){0};
	return 0;
}

void turnlock_unmark(struct turnlock *l)
{
	if (!l->marked.len)
		return;
	set_lock(l->fd, F_UNLCK, l->marked.begin + MARK_DISTANCE, l->marked.len);
	l->marked = (struct range){0};
}

static void put_mark(struct turnlock *l, struct range want)
{
	if (l->marked.len && same_range(l->marked, want))
		return;
	turnlock_unmark(l);
	if (set_lock(l->fd, F_RDLCK, want.begin + MARK_DISTANCE, want.len) == 0)
		l->marked = want;
}

int turnlock_try(struct turnlock *l, const char *branch, bool mark)
{
	struct range want = range_of(branch);
	int rc;

	if (l->held.len && same_range(l->held, want))
		return 0;
	rc = reopen_removed(l);
	if (rc < 0)
		return rc;
	turnlock_release(l);
	rc = set_lock(l->fd, F_WRLCK, want.begin, want.len);
	if (rc == 0) {
		l->held = want;
		turnlock_unmark(l);
	} else if (rc == -EAGAIN && mark) {
		put_mark(l, want);
	}
	return rc;
}

/* ---- waiting ---- */

static void poked(int sig)
{
}

static pthread_once_t poke_once = PTHREAD_ONCE_INIT;

/* Without SA_RESTART: fcntl() ends with EINTR. */
static void catch_pokes(void)
{
	struct sigaction sa = {.sa_handler = poked};

	sigaction(POKE_SIGNAL, &sa, NULL);
}

void turnlock_poke(pthread_t thread)
{
	pthread_once(&poke_once, catch_pokes);
	pthread_kill(thread, POKE_SIGNAL);
}

static int block_for(struct turnlock *l, struct range want)
{
	struct flock fl = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = want.begin, .l_len = want.len};
	struct stat st;

	put_mark(l, want);
	if (fcntl(l->fd, F_OFD_SETLKW, &fl) < 0)
		return -errno;
	if (fstat(l->fd, &st) == 0 && st.st_nlink == 0) {
		set_lock(l->fd, F_UNLCK, want.begin, want.len);
		return -ESTALE;
	}
	l->held = want;
	turnlock_unmark(l);
	return 0;
}

int turnlock_block(struct turnlock *l, const char *branch)
{
	sigset_t set, before;
	int rc;

	pthread_once(&poke_once, catch_pokes);
	sigemptyset(&set);
	sigaddset(&set, POKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, &before);
	/* -ESTALE: the file was removed while we waited. */
	while ((rc = turnlock_try(l, branch, true)) == -EAGAIN &&
	       (rc = block_for(l, range_of(branch))) == -ESTALE)
		;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* Pokes the calling thread after timeout_ms, and then again and again. */
static int start_timer(timer_t *timer, uint32_t timeout_ms)
{
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = POKE_SIGNAL};
	struct itimerspec at = {
		.it_value = {.tv_sec = timeout_ms / 1000,
			     .tv_nsec = (long)(timeout_ms % 1000) * 1000000 + 1},
		.it_interval = {.tv_nsec = (long)POKE_AGAIN_MS * 1000000},
	};

	ev.sigev_notify_thread_id = gettid();
	pthread_once(&poke_once, catch_pokes);
	if (timer_create(CLOCK_MONOTONIC, &ev, timer) < 0)
		return -errno;
	timer_settime(*timer, 0, &at, NULL);
	return 0;
}

int turnlock_wait(struct turnlock *l, const char *branch, uint32_t timeout_ms)
{
	uint64_t end = clock_mono_ms() + timeout_ms;
	int rc = turnlock_try(l, branch, false);
	timer_t timer;

	if (rc != -EAGAIN || !timeout_ms)
		return rc == -EAGAIN ? -ETIMEDOUT : rc;
	rc = start_timer(&timer, timeout_ms);
	if (rc < 0)
		return rc;
	do
		rc = turnlock_block(l, branch);
	while (rc == -EINTR && clock_mono_ms() < end);
	timer_delete(timer);
	if (rc < 0)
		turnlock_unmark(l);
	return rc == -EINTR ? -ETIMEDOUT : rc;
}

void turnlock_release(struct turnlock *l)
{
	if (!l->held.len)
		return;
	set_lock(l->fd, F_UNLCK, l->held.begin, l->held.len);
	l->held = (struct range){0};
}

bool turnlock_held(const struct turnlock *l)
{
	return l->held.len > 0;
}

bool turnlock_wanted(const struct turnlock *l)
{
	if (!l->held.len)
		return false;
	return met(l->fd, F_WRLCK, l->held.begin + MARK_DISTANCE, l->held.len);
}

bool turnlock_taken(const struct turnlock *l, const char *branch)
{
	struct range r = range_of(branch);

	return met(l->fd, F_WRLCK, r.begin, r.len);
}

bool turnlock_awaited(const struct turnlock *l, const char *branch)
{
	struct range r = range_of(branch);

	return !turnlock_taken(l, branch) && met(l->fd, F_WRLCK, r.begin + MARK_DISTANCE, r.len);
}

/* 0 when the text is no number. */
static uint64_t parse_counter(char *text)
{
	char *end;
	unsigned long long v;

	if (text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	v = strtoull(text, &end, 10);
	if (errno || (*end && *end != '\n' && *end != ' ') || v >= (1ULL << 53))
		return 0;
	return v;
}

static int read_counter(struct turnlock *l, uint64_t *v)
{
	char text[COUNTER_LEN + 1] = "";
	ssize_t n = pread(l->fd, text, COUNTER_LEN, 0);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	*v = parse_counter(text);
	return 0;
}

static int raise_counter(struct turnlock *l, uint64_t *epoch)
{
	char text[COUNTER_LEN + 1] = "";
	uint64_t v = 0;
	int rc = read_counter(l, &v);

	if (rc < 0)
		return rc;
	v = v ? v + 1 : (uint64_t)clock_wall_ms();
	snprintf(text, sizeof(text), "%-31llu\n", (unsigned long long)v);
	*epoch = v;
	return file_pwrite_all(l->fd, text, COUNTER_LEN, 0);
}

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static int count(struct turnlock *l, int tries, uint64_t *epoch)
{
	int rc = l->held.len ? 0 : reopen_removed(l);

	if (rc < 0)
		return rc;
	rc = -EAGAIN;
	/* Byte 0 is held for microseconds; a holder stopped in between must not hang us for ever. */
	for (int i = 0; i < tries; i++) {
		rc = set_lock(l->fd, F_WRLCK, 0, 1);
		if (rc != -EAGAIN || i + 1 == tries)
			break;
		sleep_us(i < 20 ? 50 : 1000);
	}
	if (rc < 0)
		return rc;
	rc = raise_counter(l, epoch);
	set_lock(l->fd, F_UNLCK, 0, 1);
	return rc;
}

int turnlock_try_epoch(struct turnlock *l, uint64_t *epoch)
{
	return count(l, 1, epoch);
}

int turnlock_next_epoch(struct turnlock *l, uint64_t *epoch)
{
	int rc = count(l, COUNTER_TRIES, epoch);

	return rc == -EAGAIN ? -ETIMEDOUT : rc;
}

int turnlock_renew_epoch(struct turnlock *l, uint64_t *epoch)
{
	uint64_t newest = 0;
	int rc = l->held.len ? 0 : reopen_removed(l);

	if (rc == 0)
		rc = read_counter(l, &newest);
	return rc < 0 || (*epoch && newest == *epoch) ? rc : turnlock_next_epoch(l, epoch);
}
