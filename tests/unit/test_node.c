#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/node.h"

static int table_setup(void **state)
{
	struct nodes *t = NULL;
	assert_int_equal(nodes_new(&t), 0);
	*state = t;
	return 0;
}

static int table_teardown(void **state)
{
	nodes_free(*state);
	return 0;
}

static struct node_key key_of(ino_t ino, uint32_t flags)
{
	return (struct node_key){
		.dev = 7, .ino = ino, .born = 1, .flags = flags, .stamp = 5, .repo = 3};
}

/* A node called name in parent, one lookup counted. */
static struct node *intern(struct nodes *t, ino_t ino, uint32_t flags, struct node *parent,
			   const char *name)
{
	struct node_key key = key_of(ino, flags);
	struct node *n = NULL;
	assert_int_equal(node_intern(t, &key, parent, name, false, &n, NULL), 0);
	assert_non_null(n);
	return n;
}

/* Forgets count lookups and buries what comes back; says how many those were. */
static unsigned forget(struct nodes *t, struct node *n, uint64_t count)
{
	unsigned dead = 0;
	struct node *next = NULL;
	for (struct node *d = node_forget(t, n, count); d; d = next, dead++) {
		next = node_next_dead(t, d);
		node_bury(t, d);
	}
	return dead;
}

static uint64_t known(struct nodes *t)
{
	struct nodes_stats s;
	nodes_stats(t, &s);
	return s.nodes;
}

static uint64_t names(struct nodes *t)
{
	struct nodes_stats s;
	nodes_stats(t, &s);
	return s.names;
}

static struct node *top(struct nodes *t)
{
	return node_at(t, NODE_ROOT_ID);
}

static void the_top_directory_is_node_one_and_stays(void **state)
{
	struct nodes *t = *state;
	assert_ptr_equal(node_get(t, NODE_ROOT_ID), top(t));
	assert_int_equal(node_id(top(t)), NODE_ROOT_ID);
	assert_int_equal(forget(t, top(t), 100), 0);
	assert_non_null(node_get(t, NODE_ROOT_ID));
}

static void numbers_that_name_no_node_give_null(void **state)
{
	struct nodes *t = *state;
	struct node *n = intern(t, 10, NODE_REG, top(t), "f");
	assert_null(node_get(t, 0));
	assert_null(node_get(t, 2 + n->index));
	assert_null(node_get(t, UINT64_MAX));
	assert_null(node_get(t, node_id(n) + ((uint64_t)1 << 32)));
	assert_null(node_hold(t, UINT64_MAX));
	assert_ptr_equal(node_get(t, node_id(n)), n);
}

static void the_same_file_is_the_same_node(void **state)
{
	struct nodes *t = *state;
	struct node_key key = key_of(10, NODE_REG);
	struct node *a = NULL, *b = NULL;
	bool made = false;
	assert_int_equal(node_intern(t, &key, top(t), "f", false, &a, &made), 0);
	assert_true(made);
	assert_int_equal(node_intern(t, &key, top(t), "f", false, &b, &made), 0);
	assert_false(made);
	assert_ptr_equal(a, b);
	assert_int_equal(a->nlookup, 2);
	assert_int_equal(node_dev(t, a), 7);
	key.dev = 8;
	assert_int_equal(node_intern(t, &key, top(t), "g", false, &b, &made), 0);
	assert_true(made);
	assert_ptr_not_equal(a, b);
}

static void a_node_goes_with_its_last_lookup(void **state)
{
	struct nodes *t = *state;
	struct node *n = intern(t, 10, NODE_REG, top(t), "f");
	uint64_t id = node_id(n);
	intern(t, 10, NODE_REG, top(t), "f");
	assert_int_equal(forget(t, n, 1), 0);
	assert_int_equal(forget(t, n, 1), 1);
	assert_null(node_get(t, id));
	assert_null(node_name_find(t, top(t), "f", NULL));
	assert_int_equal(known(t), 1);
	assert_int_equal(names(t), 0);
}

static void more_forgets_than_lookups_do_no_harm(void **state)
{
	struct nodes *t = *state;
	struct node *n = intern(t, 10, NODE_REG, top(t), "f");
	assert_int_equal(forget(t, n, UINT64_MAX), 1);
	assert_int_equal(known(t), 1);
}

static void a_number_is_not_given_again_for_another_file(void **state)
{
	struct nodes *t = *state;
	struct node *n = intern(t, 10, NODE_REG, top(t), "f");
	uint64_t id = node_id(n);
	assert_int_equal(forget(t, n, 1), 1);
	struct node *other = intern(t, 11, NODE_REG, top(t), "g");
	assert_ptr_equal(other, n); /* the same memory */
	assert_int_not_equal(node_id(other), id);
	assert_null(node_get(t, id));
	assert_null(node_hold(t, id));
}

static void a_held_node_stays_until_it_is_let_go(void **state)
{
	struct nodes *t = *state;
	struct node *n = intern(t, 10, NODE_REG, top(t), "f");
	assert_ptr_equal(node_hold(t, node_id(n)), n);
	assert_int_equal(forget(t, n, 1), 0);
	assert_non_null(node_get(t, node_id(n)));
	assert_int_equal(forget(t, n, 1), 1);
}

static void a_directory_waits_for_its_children(void **state)
{
	struct nodes *t = *state;
	struct node *dir = intern(t, 10, NODE_DIR, top(t), "d");
	struct node *sub = intern(t, 11, NODE_DIR, dir, "s");
	struct node *file = intern(t, 12, NODE_REG, sub, "f");
	assert_int_equal(forget(t, dir, 1), 0);
	assert_int_equal(forget(t, sub, 1), 0);
	assert_ptr_equal(node_get(t, node_id(dir)), dir);
	assert_int_equal(forget(t, file, 1), 3);
	assert_int_equal(known(t), 1);
	assert_int_equal(names(t), 0);
}

static void a_directory_that_waited_goes_after_a_change_of_names(void **state)
{
	struct nodes *t = *state;
	struct node *dir = intern(t, 10, NODE_DIR, top(t), "d");
	struct node *file = intern(t, 11, NODE_REG, dir, "f");
	assert_int_equal(forget(t, dir, 1), 0);
	bool last = false;
	assert_ptr_equal(node_name_drop(t, dir, "f", &last), file);
	assert_true(last);
	assert_int_equal(forget(t, file, 1), 2);
	assert_int_equal(known(t), 1);
}

static void a_file_with_a_name_in_each_of_a_thousand_directories_frees_them_all(void **state)
{
	struct nodes *t = *state;
	struct node *file = NULL;
	for (ino_t i = 0; i < 1000; i++) {
		char name[16];
		snprintf(name, sizeof(name), "d%d", (int)i);
		struct node *dir = intern(t, 100 + i, NODE_DIR, top(t), name);
		file = intern(t, 10, NODE_REG, dir, "f");
		assert_int_equal(forget(t, dir, 1), 0);
	}
	assert_int_equal(forget(t, file, 1000), 1001);
	assert_int_equal(known(t), 1);
	assert_int_equal(names(t), 0);
}

static void a_reused_inode_number_is_another_node(void **state)
{
	struct nodes *t = *state;
	struct node_key key = key_of(10, NODE_REG);
	struct node *old = intern(t, 10, NODE_REG, top(t), "f"), *now = NULL;
	bool made = false;
	key.born = 2;
	assert_int_equal(node_intern(t, &key, top(t), "f", false, &now, &made), 0);
	assert_true(made);
	assert_ptr_not_equal(now, old);
	assert_ptr_equal(node_get(t, node_id(old)), old); /* a program may have it open */
	struct node *parent = NULL;
	char name[NODE_NAME_MAX];
	assert_false(node_name_nth(t, old, 0, &parent, name));
	assert_int_equal(forget(t, old, 1), 1);
	struct node *again = NULL;
	assert_int_equal(node_intern(t, &key, top(t), "f", false, &again, &made), 0);
	assert_false(made);
	assert_ptr_equal(again, now);
}

static void a_file_that_became_a_directory_is_another_node(void **state)
{
	struct nodes *t = *state;
	struct node *file = intern(t, 10, NODE_REG, top(t), "x");
	struct node *dir = intern(t, 10, NODE_DIR, top(t), "x");
	assert_ptr_not_equal(file, dir);
	assert_int_equal(dir->flags, NODE_DIR);
}

static void names_are_found_dropped_and_moved(void **state)
{
	struct nodes *t = *state;
	struct node *dir = intern(t, 10, NODE_DIR, top(t), "d");
	struct node *file = intern(t, 11, NODE_REG, dir, "a");
	bool last = true;
	node_name_add(t, file, dir, "b");
	assert_ptr_equal(node_name_drop(t, dir, "a", &last), file);
	assert_false(last);
	assert_null(node_name_drop(t, dir, "a", &last));
	assert_false(node_name_drop_of(t, dir, "a", file));
	assert_false(node_name_drop_of(t, dir, "b", dir)); /* something else is called so */
	assert_null(node_name_find(t, dir, "a", NULL));
	assert_ptr_equal(node_name_find(t, dir, "b", NULL), file);
	assert_int_equal(file->nlookup, 2); /* the find holds it */
	assert_null(node_name_find(t, top(t), "b", NULL));
	assert_int_equal(forget(t, file, 1), 0);
}

static void the_nth_name_is_the_newest_first(void **state)
{
	struct nodes *t = *state;
	struct node *one = intern(t, 10, NODE_DIR, top(t), "1"), *parent = NULL;
	struct node *two = intern(t, 11, NODE_DIR, top(t), "2");
	struct node *file = intern(t, 12, NODE_REG, one, "a");
	char name[NODE_NAME_MAX];
	intern(t, 12, NODE_REG, two, "b");
	assert_true(node_name_nth(t, file, 0, &parent, name));
	assert_ptr_equal(parent, two);
	assert_string_equal(name, "b");
	assert_true(node_name_nth(t, file, 1, &parent, name));
	assert_ptr_equal(parent, one);
	assert_string_equal(name, "a");
	assert_false(node_name_nth(t, file, 2, &parent, name));
}

static void a_path_is_made_of_the_newest_names_up_to_the_repository(void **state)
{
	struct nodes *t = *state;
	struct node *repo = intern(t, 9, NODE_DIR | NODE_REPO_ROOT, top(t), "r");
	struct node *dir = intern(t, 10, NODE_DIR, repo, "d");
	struct node *deep = intern(t, 11, NODE_DIR, dir, "deep");
	struct node *file = intern(t, 12, NODE_REG, deep, "a");
	struct node *lost = intern(t, 13, NODE_DIR, top(t), "of-no-repository");
	char path[PATH_MAX], long_name[NODE_NAME_MAX];
	assert_true(node_path(t, repo, NULL, path));
	assert_string_equal(path, "");
	assert_true(node_path(t, repo, "new", path));
	assert_string_equal(path, "new");
	assert_true(node_path(t, file, NULL, path));
	assert_string_equal(path, "d/deep/a");
	assert_true(node_path(t, deep, "new", path));
	assert_string_equal(path, "d/deep/new");
	node_name_add(t, deep, repo, "moved");
	assert_true(node_path(t, file, NULL, path));
	assert_string_equal(path, "moved/a");
	node_name_drop(t, deep, "a", NULL);
	assert_false(node_path(t, file, NULL, path));
	assert_false(node_path(t, lost, "x", path));

	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	struct node *at = repo;
	for (unsigned i = 0; i < 15; i++)
		at = intern(t, 100 + i, NODE_DIR, at, long_name);
	assert_true(node_path(t, at, long_name, path));
	assert_int_equal(strlen(path), PATH_MAX - 1);
	assert_false(node_path(t, intern(t, 200, NODE_DIR, at, "n"), long_name, path));
	/* out of date, and so a circle */
	node_name_add(t, dir, at, "c");
	assert_true(node_path(t, repo, NULL, path));
	node_name_add(t, intern(t, 100, NODE_DIR, at, "c"), at, "c2");
	assert_false(node_path(t, at, NULL, path));
}

static void a_name_that_names_something_else_now_leaves_the_other(void **state)
{
	struct nodes *t = *state;
	struct node *old = intern(t, 10, NODE_REG, top(t), "f"), *parent = NULL;
	struct node *now = intern(t, 11, NODE_REG, top(t), "f");
	char name[NODE_NAME_MAX];
	assert_false(node_name_nth(t, old, 0, &parent, name));
	assert_ptr_equal(node_name_find(t, top(t), "f", NULL), now);
	assert_int_equal(names(t), 1);
}

static void the_mark_of_an_own_name_is_told_once(void **state)
{
	struct nodes *t = *state;
	struct node_key key = key_of(10, NODE_REG);
	struct node *n = NULL;
	bool own = false;
	assert_int_equal(node_intern(t, &key, top(t), "f", true, &n, NULL), 0);
	/* Being looked up in between does not take the mark. */
	assert_int_equal(node_intern(t, &key, top(t), "f", false, &n, NULL), 0);
	assert_ptr_equal(node_name_find(t, top(t), "f", &own), n);
	assert_true(own);
	assert_ptr_equal(node_name_find(t, top(t), "f", &own), n);
	assert_false(own);
}

static void a_new_name_makes_a_file_part_of_the_tree_again(void **state)
{
	struct nodes *t = *state;
	struct node *n = intern(t, 10, NODE_REG, top(t), "f");
	n->flags |= NODE_UNLINKED;
	intern(t, 10, NODE_REG, top(t), "g");
	assert_false(n->flags & NODE_UNLINKED);
}

static void names_of_255_bytes_and_any_bytes_are_kept(void **state)
{
	struct nodes *t = *state;
	char longest[NODE_NAME_MAX], got[NODE_NAME_MAX];
	struct node *parent = NULL;
	for (size_t len = 1; len < NODE_NAME_MAX; len++) {
		memset(longest, '\xff', len);
		longest[len] = '\0';
		struct node *n = intern(t, 100 + len, NODE_REG, top(t), longest);
		assert_true(node_name_nth(t, n, 0, &parent, got));
		assert_string_equal(got, longest);
	}
	for (size_t len = 1; len < NODE_NAME_MAX; len++) {
		memset(longest, '\xff', len);
		longest[len] = '\0';
		struct node *n = node_name_find(t, top(t), longest, NULL);
		assert_non_null(n);
		assert_int_equal(n->ino, 100 + len);
		forget(t, n, 2);
	}
	assert_int_equal(names(t), 0);
}

static void more_devices_than_fit_are_an_error(void **state)
{
	struct nodes *t = *state;
	struct node_key key = key_of(10, NODE_REG);
	struct node *n = NULL;
	int rc = 0;
	for (dev_t dev = 1; dev <= 4096; dev++) {
		key.dev = dev;
		assert_int_equal(node_intern(t, &key, NULL, NULL, false, &n, NULL), 0);
	}
	key.dev = 5000;
	rc = node_intern(t, &key, NULL, NULL, false, &n, NULL);
	assert_int_equal(rc, -ENFILE);
	key.dev = 4000;
	assert_int_equal(node_intern(t, &key, NULL, NULL, false, &n, NULL), 0);
}

static void count(struct node *n, void *arg)
{
	(*(unsigned *)arg)++;
}

static void each_node_is_visited_once(void **state)
{
	struct nodes *t = *state;
	unsigned n = 0;
	intern(t, 10, NODE_REG, top(t), "a");
	forget(t, intern(t, 11, NODE_REG, top(t), "b"), 1);
	intern(t, 12, NODE_REG, top(t), "c");
	nodes_each(t, count, &n);
	assert_int_equal(n, 3); /* with the top */
}

enum { MANY = 300000, PER_DIR = 300 };

static void three_hundred_thousand_nodes_cost_200_bytes_each_and_all_go(void **state)
{
	struct nodes *t = *state;
	struct node *dir = NULL;
	char name[64];
	for (ino_t i = 0; i < MANY; i++) {
		if (i % PER_DIR == 0) {
			snprintf(name, sizeof(name), "dir-%d", (int)(i / PER_DIR));
			dir = intern(t, 1000000 + i, NODE_DIR, top(t), name);
		}
		snprintf(name, sizeof(name), "a_module_of_%d.c", (int)(i % PER_DIR));
		intern(t, 10 + i, NODE_REG, dir, name);
	}
	struct nodes_stats s;
	nodes_stats(t, &s);
	assert_int_equal(s.nodes, 1 + MANY + MANY / PER_DIR);
	assert_true(s.bytes / s.nodes <= 200);
	dir = node_name_find(t, top(t), "dir-777", NULL);
	assert_non_null(dir);
	struct node *n = node_name_find(t, dir, "a_module_of_123.c", NULL);
	assert_non_null(n);
	assert_int_equal(n->ino, 10 + 777 * PER_DIR + 123);
	for (uint32_t i = 2; i < 2 + s.nodes - 1; i++)
		if (node_at(t, i)->nlookup)
			forget(t, node_at(t, i), UINT64_MAX);
	assert_int_equal(known(t), 1);
	assert_int_equal(names(t), 0);
}

/* Table in a file; what is in the file afterwards is what a kill -9 leaves. */
static int memfd_new(void)
{
	int fd = memfd_create("table", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)NODES_BYTES), 0);
	return fd;
}

static struct nodes *reopen_with(struct nodes *t, int fd, bool doubt)
{
	struct nodes *again = NULL;
	nodes_free(t);
	assert_int_equal(nodes_open(&again, fd, 0, doubt), 0);
	return again;
}

/* All chains are made anew. */
static struct nodes *reopen(struct nodes *t, int fd)
{
	return reopen_with(t, fd, true);
}

static void count_taken(struct node *n, void *arg)
{
	(*(unsigned *)arg)++;
}

static void chains_are_taken_as_they_are(void **state)
{
	int fd = memfd_new();
	struct nodes *t = reopen(NULL, fd);
	struct node *dir = intern(t, 10, NODE_DIR, node_at(t, NODE_ROOT_ID), "dir");
	struct node *gone = intern(t, 11, NODE_REG, dir, "gone");
	char name[32];
	for (unsigned i = 0; i < 5000; i++) { /* the chains' heads are doubled some times */
		snprintf(name, sizeof(name), "file-%u", i);
		intern(t, 100 + i, NODE_REG, dir, name)->lru_next = i;
	}
	const uint64_t id = node_id(node_name_find(t, dir, "file-4321", NULL));
	const uint64_t dir_id = node_id(dir), gone_id = node_id(gone);
	node_get(t, id)->path_fd = 77;
	node_get(t, id)->changing = 3;
	assert_non_null(node_forget(t, gone, 1)); /* killed before it is buried */
	assert_int_equal(forget(t, dir, 1), 0);   /* waits for its children */
	for (int doubt = 0; doubt < 2; doubt++) {
		unsigned taken = 0;
		t = reopen_with(t, fd, doubt);
		dir = node_get(t, dir_id);
		nodes_taken(t, count_taken, &taken);
		nodes_taken_end(t);
		assert_int_equal(taken, 1);
		assert_int_equal(known(t), 5002);
		assert_int_equal(names(t), 5001);
		assert_null(node_get(t, gone_id));
		struct node *n = node_get(t, id);
		assert_non_null(n);
		assert_int_equal(n->changing, 0);
		assert_int_equal(n->lru_next, 0);
		assert_int_equal(node_name_ino(t, dir, "file-4999"), 5099);
		assert_ptr_equal(intern(t, 100 + 4321, NODE_REG, dir, "file-4321"), n);
	}
	/* what waited to be buried is used again, under another number */
	struct node *fresh = intern(t, 11, NODE_REG, dir, "gone");
	assert_int_equal(fresh->index, (uint32_t)gone_id);
	assert_true(node_id(fresh) != gone_id);
	nodes_free(t);
	close(fd);
}

static void a_successor_finds_what_the_kernel_knows(void **state)
{
	int fd = memfd_new();
	struct nodes *t = reopen(NULL, fd);
	struct node *top = node_at(t, NODE_ROOT_ID);
	struct node *dir = intern(t, 10, NODE_DIR, top, "dir");
	struct node *file = intern(t, 11, NODE_REG, dir, "file");
	node_name_add(t, file, dir, "second");
	struct node *half = intern(t, 12, NODE_REG, dir, "half");
	const uint64_t id = node_id(file), dir_id = node_id(dir), half_id = node_id(half);
	file->path_fd = 77;
	file->changing = 3;
	file->users = 2;
	assert_int_equal(forget(t, dir, 1), 0); /* waits for its children */
	half->nlookup = 0;                      /* killed in the middle of node_forget() */
	t = reopen(t, fd);

	file = node_get(t, id);
	assert_non_null(file);
	assert_int_equal(file->ino, 11);
	assert_int_equal(file->path_fd, 77);
	assert_int_equal(file->changing, 0);
	assert_int_equal(file->users, 0);
	assert_null(node_get(t, half_id));
	dir = node_get(t, dir_id);
	assert_non_null(dir);
	assert_int_equal(dir->children, 2);
	assert_int_equal(node_name_ino(t, dir, "second"), 11);
	assert_int_equal(node_name_ino(t, dir, "half"), 0);
	assert_ptr_equal(intern(t, 11, NODE_REG, dir, "file"), file);
	assert_int_equal(known(t), 3);
	assert_int_equal(names(t), 3);
	/* what was freed is used again, under another number */
	half = intern(t, 12, NODE_REG, dir, "half");
	assert_int_equal((uint32_t)node_id(half), (uint32_t)half_id);
	assert_true(node_id(half) != half_id);
	forget(t, half, 1);
	assert_int_equal(forget(t, file, 2), 2);
	nodes_free(t);
	close(fd);
}

static void records_that_were_not_finished_count_for_nothing(void **state)
{
	int fd = memfd_new();
	struct nodes *t = reopen(NULL, fd);
	struct node *top = node_at(t, NODE_ROOT_ID);
	struct node *dir = intern(t, 10, NODE_DIR, top, "dir");
	struct node *file = intern(t, 11, NODE_REG, dir, "file");
	const uint64_t old = node_id(file);
	file->ino = 0; /* as in the middle of node_intern(); its name is one of nothing */
	t = reopen(t, fd);
	dir = node_name_find(t, node_at(t, NODE_ROOT_ID), "dir", NULL);
	assert_non_null(dir);
	assert_int_equal(dir->children, 0);
	assert_int_equal(node_name_ino(t, dir, "file"), 0);
	assert_null(node_get(t, old) && node_get(t, old)->ino ? t : NULL);
	file = intern(t, 11, NODE_REG, dir, "file");
	assert_true(node_id(file) != old);
	nodes_free(t);
	close(fd);
}

static void a_replaced_file_stays_replaced(void **state)
{
	int fd = memfd_new();
	struct nodes *t = reopen(NULL, fd);
	struct node *top = node_at(t, NODE_ROOT_ID);
	const uint64_t old = node_id(intern(t, 11, NODE_REG, top, "file"));
	struct node_key key = key_of(11, NODE_REG);
	struct node *n = NULL;
	key.born = 2;
	assert_int_equal(node_intern(t, &key, top, "file", false, &n, NULL), 0);
	const uint64_t now = node_id(n);
	assert_true(now != old);
	t = reopen(t, fd);
	assert_int_equal(node_intern(t, &key, node_at(t, NODE_ROOT_ID), "file", false, &n, NULL),
			 0);
	assert_int_equal(node_id(n), now);
	assert_non_null(node_get(t, old));
	nodes_free(t);
	close(fd);
}

#define table_test(fn) cmocka_unit_test_setup_teardown(fn, table_setup, table_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		table_test(the_top_directory_is_node_one_and_stays),
		table_test(numbers_that_name_no_node_give_null),
		table_test(the_same_file_is_the_same_node),
		table_test(a_node_goes_with_its_last_lookup),
		table_test(more_forgets_than_lookups_do_no_harm),
		table_test(a_number_is_not_given_again_for_another_file),
		table_test(a_held_node_stays_until_it_is_let_go),
		table_test(a_directory_waits_for_its_children),
		table_test(a_directory_that_waited_goes_after_a_change_of_names),
		table_test(a_file_with_a_name_in_each_of_a_thousand_directories_frees_them_all),
		table_test(a_reused_inode_number_is_another_node),
		table_test(a_file_that_became_a_directory_is_another_node),
		table_test(names_are_found_dropped_and_moved),
		table_test(the_nth_name_is_the_newest_first),
		table_test(a_path_is_made_of_the_newest_names_up_to_the_repository),
		table_test(a_name_that_names_something_else_now_leaves_the_other),
		table_test(the_mark_of_an_own_name_is_told_once),
		table_test(a_new_name_makes_a_file_part_of_the_tree_again),
		table_test(names_of_255_bytes_and_any_bytes_are_kept),
		table_test(more_devices_than_fit_are_an_error),
		table_test(each_node_is_visited_once),
		cmocka_unit_test(chains_are_taken_as_they_are),
		cmocka_unit_test(a_successor_finds_what_the_kernel_knows),
		cmocka_unit_test(records_that_were_not_finished_count_for_nothing),
		cmocka_unit_test(a_replaced_file_stays_replaced),
		table_test(three_hundred_thousand_nodes_cost_200_bytes_each_and_all_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
