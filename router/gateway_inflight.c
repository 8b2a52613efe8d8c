#include "router/gateway_inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/log.h"

static const char MAGIC[8] = {'r', 'r', 'm', 'i', 'n', 'f', 'l', '\n'};
enum { VERSION = 3 };

/* What another process sees after kill -9 is the order in which this one stored: keep it. */
static void set_state(uint32_t *field, uint32_t value)
{
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint32_t *)field = value;
	atomic_signal_fence(memory_order_seq_cst);
}

static uint64_t hash_id(const char *id)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	for (; *id; id++)
		h = (h ^ (unsigned char)*id) * UINT64_C(0x100000001b3);
	return h;
}

static bool ended(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool record_valid(const struct gateway_record *r)
{
	return r->op < MUTATION_N_OPS && r->result <= GATEWAY_RESULT_INTERRUPTED && r->error >= 0 &&
	       ended(r->path, sizeof(r->path)) && ended(r->path2, sizeof(r->path2)) &&
	       ended(r->branch, sizeof(r->branch)) && ended(r->message, sizeof(r->message)) &&
	       ended(r->undo.why, sizeof(r->undo.why)) &&
	       ended(r->undo.xattr, sizeof(r->undo.xattr)) &&
	       ended(r->actor.comm, sizeof(r->actor.comm)) &&
	       ended(r->actor.home, sizeof(r->actor.home)) &&
	       ended(r->actor.session, sizeof(r->actor.session));
}

static bool answer_valid(const struct mutation_answer *a)
{
	unsigned char has_attr, exists; /* a damaged bool may not be read as one */
	memcpy(&has_attr, &a->has_attr, 1);
	memcpy(&exists, &a->before.exists, 1);
	return ended(a->id, sizeof(a->id)) && ended(a->message, sizeof(a->message)) &&
	       a->error >= 0 && has_attr <= 1 && exists <= 1;
}

static bool work_valid(const struct gateway_work *w)
{
	return w->state <= GATEWAY_WORK_APPLIED &&
	       (w->state == GATEWAY_WORK_FREE ||
		(w->op < MUTATION_N_OPS && ended(w->id, sizeof(w->id)) &&
		 ended(w->xattr, sizeof(w->xattr)) && record_valid(&w->record) &&
		 answer_valid(&w->answer)));
}

static bool file_valid(const struct gateway_inflight_file *f)
{
	if (memcmp(f->magic, MAGIC, sizeof(MAGIC)) != 0 || f->version != VERSION ||
	    f->size != sizeof(*f) || f->pending_at > 1)
		return false;
	const struct gateway_pending *p = &f->pending[f->pending_at];
	if (p->used > 1 || (p->used && !record_valid(&p->record)) || !work_valid(&f->work))
		return false;
	for (int i = 0; i < GATEWAY_DEFERRED; i++)
		if (!work_valid(&f->deferred[i]))
			return false;
	for (int i = 0; i < GATEWAY_ANSWERS; i++)
		if (!answer_valid(&f->answers[i]))
			return false;
	return true;
}

/* An existing file, checked. -ENOENT when there is none or it was moved aside. */
static int open_old(struct gateway_inflight *i, int dirfd)
{
	CLEANUP(closep) int fd = openat(dirfd, "inflight", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	const size_t size = sizeof(struct gateway_inflight_file);
	if (lseek(fd, 0, SEEK_END) == (off_t)size) {
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (p == MAP_FAILED)
			return -errno;
		i->f = p;
		if (file_valid(i->f))
			return 0;
		munmap(p, size);
		i->f = NULL;
	}
	char moved[256];
	int r = file_move_aside(dirfd, "inflight", moved);
	if (r < 0)
		return r;
	log_error("event=inflight_corrupt moved_to=%s", moved);
	return -ENOENT;
}

/* Made complete under another name, so that a kill in between leaves nothing half made. */
static int open_new(struct gateway_inflight *i, int dirfd)
{
	const size_t size = sizeof(struct gateway_inflight_file);
	unlinkat(dirfd, "inflight.new", 0);
	CLEANUP(closep)
	int fd = openat(dirfd, "inflight.new", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = -posix_fallocate(fd, 0, (off_t)size);
	void *p = MAP_FAILED;
	if (r == 0) {
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		r = p == MAP_FAILED ? -errno : 0;
	}
	if (r < 0) {
		unlinkat(dirfd, "inflight.new", 0);
		return r;
	}
	i->f = p;
	memcpy(i->f->magic, MAGIC, sizeof(MAGIC));
	i->f->version = VERSION;
	i->f->size = (uint32_t)size;
	return renameat(dirfd, "inflight.new", dirfd, "inflight") < 0 ? -errno : 0;
}

int gateway_inflight_open(struct gateway_inflight *i, int dirfd, struct err *e)
{
	*i = (struct gateway_inflight){0};
	int r = open_old(i, dirfd);
	if (r == -ENOENT)
		r = open_new(i, dirfd);
	if (r < 0) {
		gateway_inflight_close(i);
		return err_errno(e, r, "opening inflight in the state directory");
	}
	for (int n = 0; n < GATEWAY_ANSWERS; n++)
		i->hashes[n] = hash_id(i->f->answers[n].id);
	return 0;
}

void gateway_inflight_close(struct gateway_inflight *i)
{
	if (i->f)
		munmap(i->f, sizeof(*i->f));
	i->f = NULL;
}

void gateway_side_fill(struct gateway_side *s, bool exists, const struct stat *st, bool had_xattr)
{
	*s = (struct gateway_side){.exists = exists, .had_xattr = had_xattr};
	if (exists) {
		s->dev = st->st_dev;
		s->ino = st->st_ino;
		s->size = st->st_size;
	}
}

void gateway_inflight_note(struct gateway_inflight *i, const struct mutation *m,
			   const struct gateway_target *t, const struct gateway_record *r)
{
	struct gateway_work *w = &i->f->work;
	set_state(&w->state, GATEWAY_WORK_FREE);
	w->applied = 0;
	w->number = ++i->f->number;
	w->claim = 0;
	memcpy(w->id, m->id, sizeof(w->id));
	w->op = m->op;
	w->len = m->data_len;
	w->offset = m->offset;
	w->length = m->length;
	w->flags = m->flags;
	strncpy(w->xattr, m->xattr ? m->xattr : "", sizeof(w->xattr) - 1);
	w->xattr[sizeof(w->xattr) - 1] = '\0';
	w->path = w->path2 = (struct gateway_side){0};
	if (t) {
		gateway_side_fill(&w->path, t->exists, &t->st, t->had_xattr);
		gateway_side_fill(&w->path2, t->exists2, &t->st2, false);
	}
	w->record = *r;
	w->answer = (struct mutation_answer){0};
	/* What changes nothing leaves nothing to judge. */
	if (t)
		set_state(&w->state, GATEWAY_WORK_NOTED);
}

void gateway_inflight_applied(struct gateway_inflight *i, const struct mutation_answer *a)
{
	i->f->work.answer = *a;
	set_state(&i->f->work.state, GATEWAY_WORK_APPLIED);
}

void gateway_inflight_clear(struct gateway_inflight *i)
{
	set_state(&i->f->work.state, GATEWAY_WORK_FREE);
}

const struct gateway_pending *gateway_inflight_pending(const struct gateway_inflight *i)
{
	return &i->f->pending[i->f->pending_at];
}

void gateway_inflight_set_pending(struct gateway_inflight *i, const struct gateway_pending *p)
{
	uint32_t other = !i->f->pending_at;
	i->f->pending[other] = *p;
	set_state(&i->f->pending_at, other);
}

void gateway_inflight_drop_pending(struct gateway_inflight *i)
{
	set_state(&i->f->pending[i->f->pending_at].used, 0);
}

const struct mutation_answer *gateway_inflight_answer(const struct gateway_inflight *i,
						      const char *id)
{
	uint64_t h = hash_id(id);
	for (int n = 0; n < GATEWAY_ANSWERS; n++)
		if (i->hashes[n] == h && strcmp(i->f->answers[n].id, id) == 0)
			return &i->f->answers[n];
	return NULL;
}

void gateway_inflight_put_answer(struct gateway_inflight *i, const struct mutation_answer *a)
{
	uint32_t n = i->f->n_answers % GATEWAY_ANSWERS;
	/* Without an id it is nobody's answer while it is written. */
	i->f->answers[n].id[0] = '\0';
	atomic_signal_fence(memory_order_seq_cst);
	struct mutation_answer copy = *a;
	copy.id[0] = '\0';
	i->f->answers[n] = copy;
	memcpy(i->f->answers[n].id + 1, a->id + 1, sizeof(a->id) - 1);
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile char *)i->f->answers[n].id = a->id[0];
	i->hashes[n] = hash_id(a->id);
	i->f->n_answers++;
}

struct gateway_work *gateway_inflight_deferred(struct gateway_inflight *i, const char *id)
{
	for (int n = 0; n < GATEWAY_DEFERRED; n++) {
		struct gateway_work *w = &i->f->deferred[n];
		if (w->state != GATEWAY_WORK_FREE && strcmp(w->id, id) == 0)
			return w;
	}
	return NULL;
}

static bool same(const struct gateway_side *a, const struct gateway_side *b)
{
	return a->exists && b->exists && a->dev == b->dev && a->ino == b->ino;
}

/* Collapse and insert move what follows, so twice is not once; the size tells. */
static bool fallocate_applied(const struct gateway_work *w, const struct gateway_side *now)
{
	enum { COLLAPSE = 0x08, INSERT = 0x20 };
	if (w->flags & COLLAPSE)
		return now->size == w->path.size - w->length;
	return (w->flags & INSERT) && now->size == w->path.size + w->length;
}

bool gateway_work_was_applied(const struct gateway_work *w, const struct gateway_side *now,
			      const struct gateway_side *now2)
{
	switch (w->op) {
	case MUTATION_CREATE:
	case MUTATION_MKDIR:
	case MUTATION_MKNOD:
	case MUTATION_SYMLINK:
		return !w->path.exists && now->exists;
	case MUTATION_UNLINK:
	case MUTATION_RMDIR:
		return w->path.exists && !same(&w->path, now);
	case MUTATION_LINK:
		return !w->path2.exists && same(&w->path, now2);
	case MUTATION_RENAME:
		return !same(&w->path, now) && same(&w->path, now2);
	case MUTATION_SETXATTR:
	case MUTATION_REMOVEXATTR:
		return same(&w->path, now) && w->path.had_xattr != now->had_xattr;
	case MUTATION_APPEND:
		return same(&w->path, now) && now->size >= w->path.size + (int64_t)w->len;
	case MUTATION_FALLOCATE:
		return same(&w->path, now) && fallocate_applied(w, now);
	default:
		return false;
	}
}
