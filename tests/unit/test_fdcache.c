#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/fsuid.h>
#include <sys/stat.h>

#include "fs/closer.h"
#include "fs/fdcache.h"
#include "fs/lookup.h"
#include "manager/base/clock.h"

enum { LIMIT = 640, PATHS = 640 - 80 - 512, SLOTS = 80 }; /* what fdcache_new() makes of it */

struct world {
	struct tmp *tmp;
	struct nodes *nodes;
	struct fdcache *fds;
	struct node *root;
	unsigned woken;
};

static struct node *intern_at(struct world *w, struct node *parent, int dirfd, const char *name)
{
	struct lookup_stat ls;
	struct node *n = NULL;
	assert_int_equal(lookup_statx(dirfd, name, &ls), 0);
	struct node_key key = {.dev = ls.st.st_dev,
			       .ino = ls.st.st_ino,
			       .born = ls.born,
			       .flags = S_ISDIR(ls.st.st_mode) ? NODE_DIR : NODE_REG,
			       .stamp = ls.stamp};
	assert_int_equal(node_intern(w->nodes, &key, parent, name, false, &n, NULL), 0);
	return n;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	assert_int_equal(tmp_setup((void **)&w->tmp), 0);
	assert_int_equal(nodes_new(&w->nodes), 0);
	assert_int_equal(fdcache_new(&w->fds, w->nodes, LIMIT), 0);
	/* As the mount does it: the root of a repo keeps its descriptor. */
	w->root = intern_at(w, node_at(w->nodes, NODE_ROOT_ID), w->tmp->dir, "");
	w->root->flags |= NODE_REPO_ROOT;
	fds_give_path(w->fds, w->root, open(w->tmp->path, O_PATH | O_CLOEXEC));
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	fdcache_free(w->fds);
	nodes_free(w->nodes);
	void *tmp = w->tmp;
	free(w);
	return tmp_teardown(&tmp);
}

static void put_file(struct world *w, const char *name, const char *text)
{
	int fd = openat(w->tmp->dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static struct node *file(struct world *w, const char *name)
{
	put_file(w, name, name);
	return intern_at(w, w->root, w->tmp->dir, name);
}

static void reads(struct world *w, struct node *n, const char *want)
{
	struct fd_hold h;
	char got[64] = "";
	assert_int_equal(fds_open(w->fds, n, FD_READ, &h), 0);
	assert_int_equal(pread(h.fd, got, sizeof(got) - 1, 0), strlen(want));
	assert_string_equal(got, want);
	fds_put(w->fds, &h);
}

static unsigned open_fds(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static bool has_path(const struct node *n)
{
	return n->path_fd >= 0;
}

static void a_path_descriptor_is_opened_once(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	struct fd_hold a, b;
	assert_false(fds_path_cached(w->fds, n, &a));
	assert_int_equal(fds_path(w->fds, n, &a), 0);
	assert_int_equal(fds_path(w->fds, n, &b), 0);
	assert_int_equal(a.fd, b.fd);
	fds_put(w->fds, &a);
	fds_put(w->fds, &b);
	assert_true(fds_path_cached(w->fds, n, &a));
	fds_put(w->fds, &a);
}

static void a_second_path_descriptor_is_closed(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	unsigned before = open_fds();
	fds_give_path(w->fds, n, openat(w->tmp->dir, "f", O_PATH | O_CLOEXEC));
	fds_give_path(w->fds, n, openat(w->tmp->dir, "f", O_PATH | O_CLOEXEC));
	assert_int_equal(open_fds(), before + 1);
}

static void ten_thousand_files_stay_within_the_limit(void **state)
{
	struct world *w = *state;
	unsigned before = open_fds();
	struct node *first = NULL;
	char name[16];
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		struct node *n = file(w, name);
		first = first ? first : n;
		reads(w, n, name);
	}
	assert_true(open_fds() <= before + PATHS + SLOTS);
	assert_false(has_path(first));
	assert_true(has_path(w->root));
	reads(w, first, "f0"); /* found again by its name */
	assert_true(has_path(first));
}

static void what_is_in_use_is_not_evicted(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "used");
	struct fd_hold h;
	char name[16];
	assert_int_equal(fds_path(w->fds, n, &h), 0);
	for (int i = 0; i < 3 * PATHS; i++) {
		struct fd_hold other;
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(fds_path(w->fds, file(w, name), &other), 0);
		fds_put(w->fds, &other);
	}
	struct stat st;
	assert_true(has_path(n));
	assert_int_equal(fstat(h.fd, &st), 0);
	assert_int_equal(st.st_ino, n->ino);
	fds_put(w->fds, &h);
}

/* Uses so many others that what is used least recently goes. */
static void push_out(struct world *w)
{
	char name[16];
	for (int i = 0; i < 2 * PATHS; i++) {
		snprintf(name, sizeof(name), "push%d", i);
		reads(w, file(w, name), name);
	}
}

static void a_file_deleted_outside_stays_readable_while_its_descriptor_is_there(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	reads(w, n, "f");
	assert_int_equal(unlinkat(w->tmp->dir, "f", 0), 0);
	reads(w, n, "f");
}

static void a_replaced_file_is_stale_once_its_descriptor_is_gone(void **state)
{
	struct world *w = *state;
	struct fd_hold h;
	struct node *n = file(w, "f");
	reads(w, n, "f");
	put_file(w, "new", "other");
	assert_int_equal(renameat(w->tmp->dir, "new", w->tmp->dir, "f"), 0);
	push_out(w);
	assert_false(has_path(n));
	assert_int_equal(fds_path(w->fds, n, &h), -ESTALE);
	assert_int_equal(fds_open(w->fds, n, FD_READ, &h), -ESTALE);
	assert_int_equal(fds_open(w->fds, n, FD_WRITE, &h), -ESTALE);
}

static void the_file_with_a_reused_inode_number_is_not_taken_for_the_old_one(void **state)
{
	struct world *w = *state;
	struct fd_hold h;
	struct node *n = file(w, "f");
	reads(w, n, "f");
	n->born ^= 1; /* as if the file of that number were another one now */
	push_out(w);
	assert_int_equal(fds_path(w->fds, n, &h), -ESTALE);
}

static void it_is_found_by_its_other_name(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	assert_int_equal(linkat(w->tmp->dir, "f", w->tmp->dir, "g", 0), 0);
	node_name_add(w->nodes, n, w->root, "g");
	assert_int_equal(unlinkat(w->tmp->dir, "g", 0), 0);
	reads(w, n, "f");
}

static void it_is_found_through_directories_that_have_no_descriptor(void **state)
{
	struct world *w = *state;
	struct node *at = w->root;
	int fd = dup(w->tmp->dir);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		at = intern_at(w, at, fd, "d");
		int next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
	struct fd_hold h;
	assert_int_equal(fds_path(w->fds, at, &h), 0);
	fds_put(w->fds, &h);
}

static void names_that_go_round_in_a_circle_end_as_stale(void **state)
{
	struct world *w = *state;
	assert_int_equal(mkdirat(w->tmp->dir, "a", 0755), 0);
	assert_int_equal(mkdirat(w->tmp->dir, "b", 0755), 0);
	struct node *a = intern_at(w, w->root, w->tmp->dir, "a");
	struct node *b = intern_at(w, w->root, w->tmp->dir, "b");
	char name[16];
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), "x%d", i);
		node_name_add(w->nodes, a, b, name);
		node_name_add(w->nodes, b, a, name);
	}
	node_name_drop(w->nodes, w->root, "a", NULL);
	node_name_drop(w->nodes, w->root, "b", NULL);
	struct fd_hold h;
	assert_int_equal(fds_path(w->fds, a, &h), -ESTALE);
}

static void a_directory_that_may_not_be_searched_says_so(void **state)
{
	struct world *w = *state;
	struct fd_hold h;
	assert_int_equal(mkdirat(w->tmp->dir, "d", 0755), 0);
	put_file(w, "d/f", "x");
	struct node *d = intern_at(w, w->root, w->tmp->dir, "d");
	int fd = openat(w->tmp->dir, "d", O_RDONLY | O_CLOEXEC);
	struct node *n = intern_at(w, d, fd, "f");
	close(fd);
	assert_int_equal(fchmodat(w->tmp->dir, "d", 0, 0), 0);
	setfsuid(65534); /* root would be let in */
	assert_int_equal(fds_path(w->fds, n, &h), -EACCES);
	setfsuid(geteuid());
	assert_int_equal(fchmodat(w->tmp->dir, "d", 0755, 0), 0);
}

static void a_pinned_file_can_be_written_after_its_mode_forbids_it(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	struct fd_hold h;
	fds_pin(w->fds, n, FD_READ);
	fds_pin(w->fds, n, FD_WRITE);
	assert_int_equal(fchmodat(w->tmp->dir, "f", 0, 0), 0);
	fds_expire(w->fds, UINT64_MAX);
	push_out(w);
	reads(w, n, "f");
	assert_int_equal(fds_open(w->fds, n, FD_WRITE, &h), 0);
	assert_int_equal(h.kind, 1); /* out of the pool, not opened anew as root could */
	assert_int_equal(pwrite(h.fd, "F", 1, 0), 1);
	fds_put(w->fds, &h);
	reads(w, n, "F");
}

static void pins_leave_half_of_the_pool_to_the_others(void **state)
{
	struct world *w = *state;
	char name[16];
	for (int i = 0; i < 2 * SLOTS; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fds_pin(w->fds, file(w, name), FD_READ);
		fds_pin(w->fds, file(w, name), FD_WRITE);
	}
	struct node *n = file(w, "other");
	struct fd_hold h;
	assert_int_equal(fds_open(w->fds, n, FD_WRITE, &h), 0);
	fds_put(w->fds, &h);
	assert_true(fds_written(w->fds, n, 0));
}

static void wake(void *arg)
{
	((struct world *)arg)->woken++;
}

static void write_descriptors_expire_and_wake_once(void **state)
{
	struct world *w = *state;
	struct node *a = file(w, "a"), *b = file(w, "b");
	struct fd_hold h;
	fds_on_write(w->fds, wake, w);
	reads(w, a, "a");
	assert_int_equal(w->woken, 0);
	assert_int_equal(fds_open(w->fds, a, FD_WRITE, &h), 0);
	fds_put(w->fds, &h);
	assert_int_equal(fds_open(w->fds, b, FD_WRITE, &h), 0);
	assert_int_equal(w->woken, 1);
	a->flags |= NODE_CONTENDED;
	assert_int_equal(fds_expire(w->fds, 0), 2); /* not old enough */
	assert_true(fds_written(w->fds, a, 0));
	assert_int_equal(fds_expire(w->fds, UINT64_MAX), 1); /* b is in use */
	assert_false(fds_written(w->fds, a, 0));
	assert_false(a->flags & NODE_CONTENDED);
	assert_true(fds_written(w->fds, b, 0));
	fds_put(w->fds, &h);
	assert_int_equal(fds_expire(w->fds, UINT64_MAX), 0);
	assert_int_equal(fds_open(w->fds, a, FD_WRITE, &h), 0);
	fds_put(w->fds, &h);
	assert_int_equal(w->woken, 2);
}

static void a_given_write_descriptor_is_used_and_expires(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	struct fd_hold h;
	unsigned before = open_fds();
	int fd = openat(w->tmp->dir, "f", O_RDWR | O_CLOEXEC);
	fds_give_write(w->fds, n, fd, 0644, false);
	assert_int_equal(fds_open(w->fds, n, FD_WRITE, &h), 0);
	assert_int_equal(h.fd, fd);
	fds_expire(w->fds, UINT64_MAX); /* in use: stays */
	assert_true(fds_written(w->fds, n, 0));
	fds_put(w->fds, &h);
	fds_expire(w->fds, UINT64_MAX);
	assert_false(fds_written(w->fds, n, 0));
	assert_int_equal(open_fds(), before);
}

static int give(struct world *w, struct node *n, const char *name, mode_t mode)
{
	int fd = openat(w->tmp->dir, name, O_RDWR | O_CLOEXEC);
	fds_give_write(w->fds, n, fd, mode, true);
	return fd;
}

static void what_made_a_read_only_file_is_kept_until_it_goes(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f"), *other = file(w, "other");
	struct fd_hold h;
	unsigned before = open_fds();
	fds_on_write(w->fds, wake, w);
	int fd = give(w, n, "f", 0444);
	assert_int_equal(w->woken, 0); /* nothing is to expire */
	assert_int_equal(fds_expire(w->fds, UINT64_MAX), 0);
	assert_true(fds_written(w->fds, n, 0));
	assert_int_equal(fds_open(w->fds, n, FD_WRITE, &h), 0);
	assert_int_equal(h.fd, fd);
	fds_put(w->fds, &h);
	/* Others still expire, and are told of. */
	assert_int_equal(fds_open(w->fds, other, FD_WRITE, &h), 0);
	fds_put(w->fds, &h);
	assert_int_equal(w->woken, 1);
	assert_int_equal(fds_expire(w->fds, UINT64_MAX), 0);
	assert_false(fds_written(w->fds, other, 0));
	fds_drop(w->fds, n);
	fds_drop(w->fds, other);
	assert_int_equal(open_fds(), before);
}

static void what_made_a_program_is_kept_for_a_second(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	fds_on_write(w->fds, wake, w);
	uint64_t now = clock_coarse_ms();
	give(w, n, "f", 0555);
	assert_int_equal(w->woken, 1);
	assert_int_equal(fds_expire(w->fds, now + 900), 1);
	assert_true(fds_written(w->fds, n, 0));
	assert_int_equal(fds_expire(w->fds, now + 2000), 0);
	assert_false(fds_written(w->fds, n, 0));
}

static void a_mode_says_how_long_it_is_kept(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	fds_on_write(w->fds, wake, w);
	uint64_t now = clock_coarse_ms();
	give(w, n, "f", 0444);
	assert_int_equal(fds_expire(w->fds, now + 9000), 0);
	fds_mode(w->fds, n, 0555); /* a program from here on */
	assert_int_equal(w->woken, 1);
	fds_mode(w->fds, n, 0444); /* or not */
	assert_int_equal(fds_expire(w->fds, now + 9000), 0);
	assert_true(fds_written(w->fds, n, 0));
	fds_mode(w->fds, n, 0755);
	assert_int_equal(fds_expire(w->fds, now + 9000), 0);
	assert_false(fds_written(w->fds, n, 0));
}

static void what_is_kept_is_trusted_again(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	give(w, n, "f", 0444);
	n->flags |= NODE_CONTENDED;
	assert_int_equal(fds_expire(w->fds, 0), 1); /* used since: look again */
	assert_true(n->flags & NODE_CONTENDED);
	assert_int_equal(fds_expire(w->fds, UINT64_MAX), 0);
	assert_false(n->flags & NODE_CONTENDED);
	assert_true(fds_written(w->fds, n, 0));
}

static void what_was_removed_is_freed_when_somebody_asks(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	unsigned before = open_fds();
	reads(w, n, "f");
	atomic_fetch_or(&n->flags, NODE_UNLINKED);
	fds_drop(w->fds, n);
	assert_true(fds_settle(w->fds, true));
	assert_int_equal(open_fds(), before);
	assert_false(fds_settle(w->fds, true));
}

static void of_too_many_those_used_last_are_kept(void **state)
{
	struct world *w = *state;
	struct fd_hold h;
	char name[16];
	struct node *first = file(w, "first"), *second = file(w, "second");
	give(w, first, "first", 0444);
	give(w, second, "second", 0444);
	for (int i = 0; i < 3 * SLOTS; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		give(w, file(w, name), name, 0444);
		if (i % 10 == 0)
			usleep(10000); /* more than a step of the coarse clock */
		assert_int_equal(fds_open(w->fds, second, FD_WRITE, &h), 0);
		fds_put(w->fds, &h);
	}
	fds_expire(w->fds, UINT64_MAX);
	assert_false(fds_written(w->fds, first, 0));
	assert_true(fds_written(w->fds, second, 0));
}

static void a_file_without_a_name_is_closed_elsewhere(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	unsigned before = open_fds();
	reads(w, n, "f");
	atomic_fetch_or(&n->flags, NODE_UNLINKED);
	fds_drop(w->fds, n);
	for (int i = 0; i < 10000 && open_fds() > before; i++)
		usleep(1000);
	assert_int_equal(open_fds(), before);
}

/* However late the thread that closes them comes. */
static void few_wait_to_be_closed(void **state)
{
	unsigned before = open_fds();
	struct closer *c = closer_new(4);
	for (int i = 0; i < 100; i++) {
		closer_give(c, dup(STDERR_FILENO));
		assert_true(open_fds() <= before + 4 + 1); /* and one that it has in hand */
	}
	closer_free(c);
	assert_int_equal(open_fds(), before);
}

static void more_in_use_than_the_pool_holds_still_works(void **state)
{
	struct world *w = *state;
	struct fd_hold h[2 * SLOTS];
	char name[16];
	unsigned before = open_fds();
	for (int i = 0; i < 2 * SLOTS; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		assert_int_equal(fds_open(w->fds, file(w, name), FD_READ, &h[i]), 0);
	}
	for (int i = 0; i < 2 * SLOTS; i++)
		fds_put(w->fds, &h[i]);
	assert_true(open_fds() <= before + PATHS + SLOTS);
}

static void dropping_a_node_closes_what_it_has(void **state)
{
	struct world *w = *state;
	struct node *n = file(w, "f");
	struct fd_hold h;
	unsigned before = open_fds();
	reads(w, n, "f");
	assert_int_equal(fds_open(w->fds, n, FD_WRITE, &h), 0);
	fds_drop(w->fds, n);
	assert_int_equal(write(h.fd, "x", 1), 1); /* whoever uses it still has it */
	assert_false(fds_written(w->fds, n, 0));
	assert_int_equal(open_fds(), before + 1);
	fds_put(w->fds, &h);
	assert_int_equal(open_fds(), before);
}

#define world_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		world_test(a_path_descriptor_is_opened_once),
		world_test(a_second_path_descriptor_is_closed),
		world_test(ten_thousand_files_stay_within_the_limit),
		world_test(what_is_in_use_is_not_evicted),
		world_test(a_file_deleted_outside_stays_readable_while_its_descriptor_is_there),
		world_test(a_replaced_file_is_stale_once_its_descriptor_is_gone),
		world_test(the_file_with_a_reused_inode_number_is_not_taken_for_the_old_one),
		world_test(it_is_found_by_its_other_name),
		world_test(it_is_found_through_directories_that_have_no_descriptor),
		world_test(names_that_go_round_in_a_circle_end_as_stale),
		world_test(a_directory_that_may_not_be_searched_says_so),
		world_test(a_pinned_file_can_be_written_after_its_mode_forbids_it),
		world_test(pins_leave_half_of_the_pool_to_the_others),
		world_test(write_descriptors_expire_and_wake_once),
		world_test(a_given_write_descriptor_is_used_and_expires),
		world_test(more_in_use_than_the_pool_holds_still_works),
		world_test(dropping_a_node_closes_what_it_has),
		world_test(what_made_a_read_only_file_is_kept_until_it_goes),
		world_test(what_made_a_program_is_kept_for_a_second),
		world_test(a_mode_says_how_long_it_is_kept),
		world_test(what_is_kept_is_trusted_again),
		world_test(what_was_removed_is_freed_when_somebody_asks),
		world_test(of_too_many_those_used_last_are_kept),
		world_test(a_file_without_a_name_is_closed_elsewhere),
		cmocka_unit_test(few_wait_to_be_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
