/* How operations are made of numbers, and what is common to them. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

static uint64_t mix(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15U;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
	return z ^ (z >> 31);
}

bool chance(uint32_t r, unsigned percent)
{
	return (r ^ (r >> 13)) % 100 < percent;
}

uint64_t fuzz_hash(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;
	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 1099511628211U;
	return h;
}

static const struct fuzz_kind *kind_at(unsigned n)
{
	const struct fuzz_kind *k = fuzz_name_kinds;
	while (k->name && n) {
		k++;
		n--;
	}
	return k->name ? k : &fuzz_data_kinds[n];
}

static unsigned pick_kind(uint64_t r)
{
	unsigned total = 0, n = 0;
	for (const struct fuzz_kind *k = fuzz_name_kinds; k->name; k++)
		total += k->weight;
	for (const struct fuzz_kind *k = fuzz_data_kinds; k->name; k++)
		total += k->weight;
	unsigned at = total ? (unsigned)(r % total) : 0;
	while (at >= kind_at(n)->weight)
		at -= kind_at(n++)->weight;
	return n;
}

void op_make(struct op *op, uint64_t seed, unsigned index)
{
	uint64_t state = seed * 0xd1342543de82ef95U + index;
	mix(&state);
	*op = (struct op){.index = index, .falloc = seed & 1, .loose = (seed & 6) == 0};
	op->worker = (unsigned)(mix(&state) % WORKERS);
	op->kind = pick_kind(mix(&state) >> 8);
	for (unsigned i = 0; i < RANDOMS; i++)
		op->r[i] = (uint32_t)(mix(&state) >> 16);
}

void put(struct worker *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(w->text + w->len, TEXT - w->len, fmt, ap);
	va_end(ap);
	w->len += (size_t)n;
	if (w->len >= TEXT)
		w->len = TEXT - 1;
}

long result(struct worker *w, long rc)
{
	int error = errno;
	if (rc < 0)
		put(w, " = %s", strerrorname_np(error));
	else
		put(w, " = %ld", rc);
	errno = error;
	return rc;
}

void put_stat(struct worker *w, const struct op *op, const struct stat *st)
{
	put(w, " [%o links %lu %u:%u", st->st_mode, (unsigned long)st->st_nlink, st->st_uid,
	    st->st_gid);
	if (!S_ISDIR(st->st_mode))
		put(w, " size %lld", (long long)st->st_size);
	/* What is written into a pipe changes its times on ext4; the kernel tells FUSE nothing of it. */
	if (!op->loose && !S_ISFIFO(st->st_mode) && st->st_mtim.tv_sec < SET_BEFORE)
		put(w, " mtime %lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	put(w, "]");
}

const char *show(const char *path)
{
	static char buf[2][80];
	static unsigned turn;
	size_t len = strlen(path);
	if (len < 40)
		return path;
	turn ^= 1;
	snprintf(buf[turn], sizeof(buf[turn]), "%.8s...(%zu)...%s", path, len, path + len - 8);
	return buf[turn];
}

/* Few of them, so that operations meet; what a name is changes all the time. */
static const char *const dirs[] = {"",    "",       "",       "d0/", "d0/",
				   "d1/", "d0/d1/", "d1/d2/", "l0/", "d0/d1/d2/"};
static const char *const names[] = {"f0", "f1", "f2", "f3", "d0", "d1", "d2", "l0", "l1", "p0"};

static void odd_path(char *path, uint32_t r)
{
	static const char *const odd[] = {
		"d0/",        "f0/",           "d0/.", "d0/..",  "f0/f1",        "l0/",
		"d1/../f0",   "nowhere/f0",    "",     "d0//f1", "./d0/./d1/f0", "p0/x",
		"\xff\xfe\n", "d0/d1/../../f2"};
	const size_t n = sizeof(odd) / sizeof(odd[0]);
	size_t at = r % (n + 4);
	if (at < n) {
		strcpy(path, odd[at]);
		return;
	}
	/* as long as a name may be, and one too long; a path as long as one may be, and one too long */
	size_t len = at == n ? 255 : at == n + 1 ? 256 : at == n + 2 ? PATH_MAX - 1 : PATH_MAX;
	memset(path, 'n', len);
	path[len] = '\0';
	for (size_t i = 0; len > 256 && i + 3 < len; i += 2)
		memcpy(path + i, "./", 2);
}

const char *path_of(struct worker *w, unsigned n, uint32_t r)
{
	char *path = w->path[n];
	if (chance(r >> 20, 4))
		odd_path(path, r);
	else
		snprintf(path, sizeof(w->path[n]), "%s%s", dirs[r % 10], names[(r >> 8) % 10]);
	put(w, " %s", show(path));
	return path;
}

const char *dir_of(struct worker *w, unsigned n, uint32_t r)
{
	static const char *const some[] = {".",     ".",     "d0",    "d1", "d2",
					   "d0/d1", "d0/d2", "d1/d2", "l0", "f0"};
	snprintf(w->path[n], sizeof(w->path[n]), "%s", some[r % 10]);
	put(w, " %s", w->path[n]);
	return w->path[n];
}

mode_t mode_of(uint32_t r)
{
	static const mode_t modes[] = {0644, 0600, 0755,  0700,  0664,  0666,  0777,
				       0444, 0555, 02755, 04755, 01777, 06711, 02644,
				       0200, 0400, 0,     0770,  02770, 0660};
	/*
	 * Without root, what its maker may not read he cannot read as a foreigner: its gateway alone has it open;
	 * and a program that may not be written any more is not kept open for those who write it: it must run.
	 */
	mode_t mode = modes[r % 20];
	return geteuid() == 0 ? mode : mode | S_IRUSR | (mode & 0111 ? S_IWUSR : 0);
}

int slot_of(struct worker *w, uint32_t r)
{
	put(w, " #%u", r % SLOTS);
	return w->fd[r % SLOTS];
}

void slot_set(struct worker *w, uint32_t r, int fd)
{
	if (w->fd[r % SLOTS] >= 0)
		close(w->fd[r % SLOTS]);
	w->fd[r % SLOTS] = fd;
}

void worker_init(struct worker *w, int root)
{
	memset(w, 0, sizeof(*w));
	w->root = root;
	for (unsigned i = 0; i < SLOTS; i++)
		w->fd[i] = -1;
}

void op_do(struct worker *w, const struct op *op)
{
	const struct fuzz_kind *k = kind_at(op->kind);
	w->len = 0;
	put(w, "%s", k->name);
	k->fn(w, op);
}
