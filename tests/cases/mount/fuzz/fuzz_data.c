/* Operations on open files: their content, locks and maps. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuzz.h"

enum { BUFFER = 2 << 20 };
static char buffer[BUFFER] __attribute__((aligned(4096)));

static const char *fill(uint32_t r, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buffer[i] = (char)('a' + (r + i / 7) % 26);
	return buffer;
}

static off_t offset_of(uint32_t r)
{
	if (chance(r >> 8, 3))
		return -1;
	if (chance(r >> 10, 3))
		return (off_t)1 << 40;
	if (chance(r >> 12, 30))
		return (off_t)(r % 20) * 4096;
	return r % (chance(r >> 4, 50) ? 3000 : 200000);
}

static size_t size_of(uint32_t r)
{
	if (chance(r >> 9, 1))
		return 1500000;
	return r % (chance(r >> 7, 10) ? 200000 : chance(r >> 11, 50) ? 5000 : 100);
}

static int flags_of(uint32_t r)
{
	static const int access[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR};
	return access[r % 4] | (chance(r >> 2, 60) ? O_CREAT : 0) |
	       (chance(r >> 5, 12) ? O_EXCL : 0) | (chance(r >> 7, 20) ? O_TRUNC : 0) |
	       (chance(r >> 11, 20) ? O_APPEND : 0) | (chance(r >> 3, 8) ? O_NOFOLLOW : 0) |
	       (chance(r >> 9, 4) ? O_DIRECTORY : 0) | (chance(r >> 6, 3) ? O_PATH : 0) |
	       (chance(r >> 4, 4) ? O_DSYNC : 0) | O_NONBLOCK;
}

static void opened(struct worker *w, const struct op *op, int fd)
{
	struct stat st;
	if (result(w, fd < 0 ? -1 : 0) == 0 && fstat(fd, &st) == 0)
		put_stat(w, op, &st);
	if (fd >= 0)
		slot_set(w, op->r[0], fd);
}

static void do_open(struct worker *w, const struct op *op)
{
	int flags = flags_of(op->r[2]);
	slot_of(w, op->r[0]);
	const char *path = path_of(w, 0, op->r[1]);
	/* What O_EXCL without O_CREAT does is not defined, nor what O_DIRECTORY and O_CREAT do together. */
	if (!(flags & O_CREAT))
		flags &= ~O_EXCL;
	else
		flags &= ~O_DIRECTORY;
	put(w, " %o %o", (unsigned)flags, mode_of(op->r[3]));
	opened(w, op, open(path, flags, mode_of(op->r[3])));
}

static void do_tmpfile(struct worker *w, const struct op *op)
{
	if (getenv("NO_TMPFILE"))
		return;
	slot_of(w, op->r[0]);
	const char *path = dir_of(w, 0, op->r[1]);
	int flags =
		O_TMPFILE | (op->r[2] % 2 ? O_RDWR : O_WRONLY) | (op->r[2] % 5 == 0 ? O_EXCL : 0);
	put(w, " %o %o", (unsigned)flags, mode_of(op->r[3]));
	opened(w, op, open(path, flags, mode_of(op->r[3])));
}

static void do_reopen(struct worker *w, const struct op *op)
{
	char proc[40];
	slot_of(w, op->r[0]);
	int flags = flags_of(op->r[2]) & ~(O_CREAT | O_EXCL | O_NOFOLLOW | O_DIRECTORY);
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", slot_of(w, op->r[1]));
	put(w, " %o", (unsigned)flags);
	opened(w, op, open(proc, flags));
}

static void do_close(struct worker *w, const struct op *op)
{
	slot_of(w, op->r[0]);
	slot_set(w, op->r[0], -1);
}

static void do_write(struct worker *w, const struct op *op)
{
	int fd = slot_of(w, op->r[0]);
	size_t len = size_of(op->r[1]);
	off_t off = offset_of(op->r[2]);
	struct iovec iov = {.iov_base = buffer, .iov_len = len};
	fill(op->r[3], len);
	switch (op->r[4] % 5) {
	case 0:
		put(w, " write %zu", len);
		result(w, write(fd, buffer, len));
		break;
	case 1:
		put(w, " append %zu", len);
		result(w, pwritev2(fd, &iov, 1, -1, RWF_APPEND));
		break;
	default:
		put(w, " %zu at %lld", len, (long long)off);
		result(w, pwrite(fd, buffer, len, off));
	}
	put(w, " pos %lld", (long long)lseek(fd, 0, SEEK_CUR));
}

static void do_read(struct worker *w, const struct op *op)
{
	int fd = slot_of(w, op->r[0]);
	size_t len = size_of(op->r[1]);
	off_t off = offset_of(op->r[2]);
	bool here = op->r[4] % 3 == 0;
	put(w, " %zu at %lld", len, here ? -2LL : (long long)off);
	long n = result(w, here ? read(fd, buffer, len) : pread(fd, buffer, len, off));
	if (n > 0)
		put(w, " %lx", fuzz_hash(0, buffer, (size_t)n));
}

/* Opens, reads or writes whole blocks past the caches, closes. */
static void do_direct(struct worker *w, const struct op *op)
{
	bool writes = op->r[1] % 2;
	const char *path = path_of(w, 0, op->r[0]);
	size_t len = (1 + op->r[2] % 8) * 4096;
	off_t off = (off_t)(op->r[3] % 30) * 4096;
	put(w, " %s %zu at %lld", writes ? "write" : "read", len, (long long)off);
	int fd = open(path, (writes ? O_WRONLY : O_RDONLY) | O_DIRECT | O_NONBLOCK);
	struct stat st;
	if (result(w, fd < 0 ? -1 : 0) < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		fill(op->r[4], len);
		long n = result(w, writes ? pwrite(fd, buffer, len, off)
					  : pread(fd, buffer, len, off));
		if (n > 0 && !writes)
			put(w, " %lx", fuzz_hash(0, buffer, (size_t)n));
	}
	close(fd);
}

static void do_lseek(struct worker *w, const struct op *op)
{
	static const int whences[] = {SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE};
	int fd = slot_of(w, op->r[0]), whence = whences[op->r[1] % 5];
	off_t off = whence == SEEK_CUR || whence == SEEK_END ? -(off_t)(op->r[2] % 1000)
							     : offset_of(op->r[2]);
	struct stat st;
	/* The offsets of a directory are its file system's own. */
	if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
		return;
	put(w, " %lld %d", (long long)off, whence);
	off_t pos = lseek(fd, off, whence);
	if (whence < SEEK_DATA || (!op->falloc && !op->loose))
		result(w, pos);
	(void)lseek(fd, (off_t)(op->r[3] % 5000), SEEK_SET);
}

static void do_truncate(struct worker *w, const struct op *op)
{
	off_t len = offset_of(op->r[1]);
	int rc;
	if (op->r[2] % 2) {
		int fd = slot_of(w, op->r[0]);
		put(w, " %lld", (long long)len);
		rc = ftruncate(fd, len);
	} else {
		const char *path = path_of(w, 0, op->r[0]);
		put(w, " %lld", (long long)len);
		rc = truncate(path, len);
	}
	result(w, rc);
}

static void do_fallocate(struct worker *w, const struct op *op)
{
	static const int modes[] = {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_PUNCH_HOLE,
				    0,
				    FALLOC_FL_KEEP_SIZE,
				    FALLOC_FL_ZERO_RANGE,
				    FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
	int fd = slot_of(w, op->r[0]), mode = modes[op->r[1] % (op->falloc ? 6 : 2)];
	off_t off = (off_t)(op->r[2] % 200000), len = (off_t)(op->r[3] % 100000);
	put(w, " %d %lld %lld", mode, (long long)off, (long long)len);
	result(w, fallocate(fd, mode, off, len));
}

static void do_copy(struct worker *w, const struct op *op)
{
	int from = slot_of(w, op->r[0]), to = slot_of(w, op->r[1]);
	off_t a = offset_of(op->r[2]), b = offset_of(op->r[3]);
	size_t len = size_of(op->r[4]);
	put(w, " %lld %lld %zu", (long long)a, (long long)b, len);
	if (op->r[5] % 3 == 0)
		result(w, sendfile(to, from, &a, len));
	else
		result(w, copy_file_range(from, &a, to, &b, len, 0));
	put(w, " then %lld %lld", (long long)a, (long long)b);
}

static void do_sync(struct worker *w, const struct op *op)
{
	int fd = slot_of(w, op->r[0]);
	put(w, " %u", op->r[1] % 4);
	switch (op->r[1] % 4) {
	case 0:
		result(w, fsync(fd));
		break;
	case 1:
		result(w, fdatasync(fd));
		break;
	case 2:
		result(w, sync_file_range(fd, 0, 0, 7));
		break;
	default:
		result(w, posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	}
}

static void do_flock(struct worker *w, const struct op *op)
{
	static const int how[] = {LOCK_SH, LOCK_EX, LOCK_UN};
	int fd = slot_of(w, op->r[0]);
	put(w, " %u", op->r[1] % 3);
	result(w, flock(fd, how[op->r[1] % 3] | LOCK_NB));
}

static void do_lock(struct worker *w, const struct op *op)
{
	static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
	static const int commands[] = {F_SETLK, F_SETLK, F_OFD_SETLK, F_GETLK, F_OFD_GETLK};
	struct flock l = {.l_type = types[op->r[1] % 3],
			  .l_whence = SEEK_SET,
			  .l_start = op->r[2] % 100,
			  .l_len = op->r[3] % 50};
	int fd = slot_of(w, op->r[0]), command = commands[op->r[4] % 5];
	if (command >= F_OFD_GETLK || command == F_GETLK)
		l.l_pid = 0;
	put(w, " %d %d %lld %lld", command, l.l_type, (long long)l.l_start, (long long)l.l_len);
	if (result(w, fcntl(fd, command, &l)) == 0 &&
	    (command == F_GETLK || command == F_OFD_GETLK))
		put(w, " %d %lld %lld", l.l_type, (long long)l.l_start, (long long)l.l_len);
}

/* ---- maps ---- */

static sigjmp_buf beyond;

static void on_bus(int sig)
{
	siglongjmp(beyond, sig);
}

static void unmap(struct worker *w, unsigned m)
{
	if (w->map[m])
		munmap(w->map[m], w->map_len[m]);
	w->map[m] = NULL;
}

static void do_mmap(struct worker *w, const struct op *op)
{
	unsigned m = op->r[1] % MAPS;
	int fd = slot_of(w, op->r[0]), prot = op->r[2] % 3 ? PROT_READ | PROT_WRITE : PROT_READ;
	int how = op->r[3] % 4 ? MAP_SHARED : MAP_PRIVATE;
	size_t len = 65536;
	unmap(w, m);
	put(w, " %d %d", prot, how);
	char *at = mmap(NULL, len, prot, how, fd, 0);
	if (result(w, at == MAP_FAILED ? -1 : 0) < 0)
		return;
	w->map[m] = at;
	w->map_len[m] = len;
}

static void do_store(struct worker *w, const struct op *op)
{
	unsigned m = op->r[0] % MAPS;
	size_t off = op->r[1] % 60000, len = op->r[2] % 5000;
	put(w, " map %u %zu %zu", m, off, len);
	if (!w->map[m])
		return;
	signal(SIGBUS, on_bus);
	signal(SIGSEGV, on_bus);
	fill(op->r[3], len);
	int sig = sigsetjmp(beyond, 1);
	if (sig == 0)
		memcpy(w->map[m] + off, buffer, len);
	put(w, " signal %d", sig);
	signal(SIGSEGV, SIG_DFL);
	if (!op->loose)
		result(w, msync(w->map[m], w->map_len[m], MS_SYNC));
}

static void do_load(struct worker *w, const struct op *op)
{
	unsigned m = op->r[0] % MAPS;
	size_t off = op->r[1] % 60000, len = op->r[2] % 5000;
	put(w, " map %u %zu %zu", m, off, len);
	if (!w->map[m])
		return;
	signal(SIGBUS, on_bus);
	int sig = sigsetjmp(beyond, 1);
	if (sig == 0)
		memcpy(buffer, w->map[m] + off, len);
	put(w, " signal %d", sig);
	if (sig == 0)
		put(w, " %lx", fuzz_hash(0, buffer, len));
}

static void do_msync(struct worker *w, const struct op *op)
{
	unsigned m = op->r[0] % MAPS;
	put(w, " map %u", m);
	if (!w->map[m])
		return;
	if (op->r[1] % 3 == 0) {
		if (op->loose)
			(void)msync(w->map[m], w->map_len[m], MS_SYNC);
		unmap(w, m);
	} else {
		result(w, msync(w->map[m], w->map_len[m], op->r[1] % 3 == 1 ? MS_SYNC : MS_ASYNC));
	}
}

static void do_fstat(struct worker *w, const struct op *op)
{
	struct stat st;
	char names[4096];
	int fd = slot_of(w, op->r[0]);
	if (result(w, fstat(fd, &st)) == 0)
		put_stat(w, op, &st);
	result(w, flistxattr(fd, names, sizeof(names)));
}

const struct fuzz_kind fuzz_data_kinds[] = {
	{"open", 120, do_open},        {"tmpfile", 10, do_tmpfile},
	{"reopen", 12, do_reopen},     {"close", 15, do_close},
	{"write", 90, do_write},       {"read", 60, do_read},
	{"direct", 20, do_direct},     {"lseek", 30, do_lseek},
	{"truncate", 30, do_truncate}, {"fallocate", 25, do_fallocate},
	{"copy", 20, do_copy},         {"sync", 12, do_sync},
	{"flock", 12, do_flock},       {"lock", 25, do_lock},
	{"mmap", 20, do_mmap},         {"store", 25, do_store},
	{"load", 25, do_load},         {"msync", 10, do_msync},
	{"fstat", 30, do_fstat},       {NULL, 0, NULL},
};
