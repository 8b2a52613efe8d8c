#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/stat.h>

#include "fs/lookup.h"

static void a_stamp_is_never_zero_and_follows_ctime_and_size(void **state)
{
	struct timespec t = {.tv_sec = 1700000000, .tv_nsec = 123456789}, u = t;
	uint64_t stamp = lookup_stamp(&t, 100);
	assert_int_not_equal(stamp, 0);
	assert_int_equal(lookup_stamp(&u, 100), stamp);
	assert_int_not_equal(lookup_stamp(&t, 101), stamp);
	u.tv_nsec++;
	assert_int_not_equal(lookup_stamp(&u, 100), stamp);
	u = t;
	u.tv_sec++;
	assert_int_not_equal(lookup_stamp(&u, 100), stamp);
	u = (struct timespec){0};
	assert_int_not_equal(lookup_stamp(&u, 0), 0);
}

static void statx_says_what_stat_says(void **state)
{
	struct tmp *t = *state;
	struct lookup_stat ls;
	struct stat st;
	int fd = openat(t->dir, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	assert_int_equal(write(fd, "hello", 5), 5);
	close(fd);
	assert_int_equal(fstatat(t->dir, "f", &st, 0), 0);
	assert_int_equal(lookup_statx(t->dir, "f", &ls), 0);
	assert_int_equal(ls.st.st_dev, st.st_dev);
	assert_int_equal(ls.st.st_ino, st.st_ino);
	assert_int_equal(ls.st.st_mode, st.st_mode);
	assert_int_equal(ls.st.st_nlink, st.st_nlink);
	assert_int_equal(ls.st.st_uid, st.st_uid);
	assert_int_equal(ls.st.st_gid, st.st_gid);
	assert_int_equal(ls.st.st_size, st.st_size);
	assert_int_equal(ls.st.st_blocks, st.st_blocks);
	assert_memory_equal(&ls.st.st_mtim, &st.st_mtim, sizeof(st.st_mtim));
	assert_memory_equal(&ls.st.st_ctim, &st.st_ctim, sizeof(st.st_ctim));
	assert_int_equal(ls.stamp, lookup_stamp(&st.st_ctim, st.st_size));
}

static void statx_does_not_follow_and_says_what_is_missing(void **state)
{
	struct tmp *t = *state;
	struct lookup_stat ls;
	assert_int_equal(symlinkat("nowhere", t->dir, "l"), 0);
	assert_int_equal(lookup_statx(t->dir, "l", &ls), 0);
	assert_true(S_ISLNK(ls.st.st_mode));
	assert_int_equal(lookup_statx(t->dir, "none", &ls), -ENOENT);
	assert_int_equal(lookup_statx(t->dir, "l/x", &ls), -ENOENT);
	assert_int_equal(lookup_statx(-1, "", &ls), -EBADF);
}

static void an_empty_name_is_the_descriptor_itself(void **state)
{
	struct tmp *t = *state;
	struct lookup_stat ls;
	struct stat st;
	assert_int_equal(fstat(t->dir, &st), 0);
	assert_int_equal(lookup_statx(t->dir, "", &ls), 0);
	assert_int_equal(ls.st.st_ino, st.st_ino);
}

/* What lookup_stat_node() and lookup_hidden() need of a mount. */
struct small {
	struct overlay o;
	struct node *root;
};

static void small_new(struct small *s, const struct tmp *t)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(nodes_new(&s->o.nodes), 0);
	assert_int_equal(fdcache_new(&s->o.fds, s->o.nodes, 1024), 0);
	struct lookup_stat ls;
	assert_int_equal(lookup_statx(t->dir, "", &ls), 0);
	struct node_key key = {
		.dev = ls.st.st_dev, .ino = ls.st.st_ino, .born = ls.born, .flags = NODE_DIR};
	assert_int_equal(node_intern(s->o.nodes, &key, node_at(s->o.nodes, NODE_ROOT_ID), "repo",
				     true, &s->root, NULL),
			 0);
	s->root->flags |= NODE_REPO_ROOT;
	fds_give_path(s->o.fds, s->root, open(t->path, O_PATH | O_CLOEXEC));
}

static void small_free(struct small *s)
{
	fdcache_free(s->o.fds);
	nodes_free(s->o.nodes);
}

static struct node *small_file(struct small *s, const struct tmp *t, const char *name)
{
	struct lookup_stat ls;
	struct node *n = NULL;
	close(openat(t->dir, name, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
	assert_int_equal(lookup_statx(t->dir, name, &ls), 0);
	struct node_key key = {.dev = ls.st.st_dev,
			       .ino = ls.st.st_ino,
			       .born = ls.born,
			       .flags = NODE_REG,
			       .stamp = ls.stamp};
	assert_int_equal(node_intern(s->o.nodes, &key, s->root, name, false, &n, NULL), 0);
	return n;
}

static void a_node_is_statted_by_name_without_taking_a_descriptor(void **state)
{
	struct tmp *t = *state;
	struct small s;
	struct lookup_stat ls;
	small_new(&s, t);
	struct node *n = small_file(&s, t, "f");
	assert_int_equal(lookup_stat_node(&s.o, n, &ls), 0);
	assert_int_equal(ls.st.st_ino, n->ino);
	assert_int_equal(n->path_fd, -1);
	small_free(&s);
}

static void a_node_whose_name_names_another_file_is_stale(void **state)
{
	struct tmp *t = *state;
	struct small s;
	struct lookup_stat ls;
	small_new(&s, t);
	struct node *n = small_file(&s, t, "f");
	small_file(&s, t, "g");
	assert_int_equal(renameat(t->dir, "g", t->dir, "f"), 0);
	assert_int_equal(lookup_stat_node(&s.o, n, &ls), -ESTALE);
	small_free(&s);
}

static void a_deleted_node_is_statted_by_its_descriptor(void **state)
{
	struct tmp *t = *state;
	struct small s;
	struct fd_hold h;
	struct lookup_stat ls;
	small_new(&s, t);
	struct node *n = small_file(&s, t, "f");
	assert_int_equal(fds_path(s.o.fds, n, &h), 0);
	fds_put(s.o.fds, &h);
	assert_int_equal(unlinkat(t->dir, "f", 0), 0);
	assert_int_equal(lookup_stat_node(&s.o, n, &ls), 0);
	assert_int_equal(ls.st.st_nlink, 0);
	small_free(&s);
}

static void only_the_mountpoint_itself_is_hidden(void **state)
{
	struct tmp *t = *state;
	struct small s;
	struct stat st;
	small_new(&s, t);
	assert_int_equal(fstat(t->dir, &st), 0);
	s.o.under_dev = st.st_dev;
	s.o.under_ino = st.st_ino;
	strcpy(s.o.under_name, "mnt");
	assert_true(lookup_hidden(&s.o, s.root, "mnt"));
	assert_false(lookup_hidden(&s.o, s.root, "mnt2"));
	assert_false(lookup_hidden(&s.o, node_at(s.o.nodes, NODE_ROOT_ID), "mnt"));
	s.o.under_dev++;
	assert_false(lookup_hidden(&s.o, s.root, "mnt"));
	small_free(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stamp_is_never_zero_and_follows_ctime_and_size),
		tmp_test(statx_says_what_stat_says),
		tmp_test(statx_does_not_follow_and_says_what_is_missing),
		tmp_test(an_empty_name_is_the_descriptor_itself),
		tmp_test(a_node_is_statted_by_name_without_taking_a_descriptor),
		tmp_test(a_node_whose_name_names_another_file_is_stale),
		tmp_test(a_deleted_node_is_statted_by_its_descriptor),
		tmp_test(only_the_mountpoint_itself_is_hidden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
