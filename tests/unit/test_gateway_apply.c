/* Mutations on a real tree, and the ways out of it that must not exist. */
#include "tests/unit/gateway_test.h"

#include <linux/fs.h>
#include <sys/xattr.h>

#include "manager/base/clock.h"
#include "router/gateway_apply.h"

/* Applies and frees m. */
static int apply(struct gateway_apply *a, struct mutation *m, struct mutation_answer *answer)
{
	struct gateway_target t;
	struct err e = ERR_INIT;
	bool outside;
	*answer = (struct mutation_answer){0};
	int r = gateway_apply_open(a, m, &t, &outside, &e);
	if (r == 0) {
		r = gateway_apply_commit(a, m, &t, answer, &e);
		gateway_target_close(&t);
	}
	assert_true((r < 0) == (*e.text != '\0'));
	mutation_free(m);
	return r;
}

static struct gateway_apply *opened(struct place *p)
{
	struct gateway_apply *a = NULL;
	assert_int_equal(gateway_apply_new(&a, p->root, NULL), 0);
	return a;
}

static void files_are_made_written_and_removed(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	assert_int_equal(apply(a, change(MUTATION_MKDIR, "d", NULL), &w), 0);
	assert_true(w.has_attr && S_ISDIR(w.attr.st_mode));
	assert_int_equal(apply(a, change(MUTATION_CREATE, "d/f", NULL), &w), 0);
	struct mutation *m = change(MUTATION_WRITE, "d/f", "world");
	m->offset = 6;
	assert_int_equal(apply(a, m, &w), 0);
	assert_true(w.bytes == 5 && w.offset == 6 && w.attr.st_size == 11);
	assert_int_equal(apply(a, change(MUTATION_WRITE, "d/f", "hello "), &w), 0);
	assert_file(p->root_fd, "d/f", "hello world");
	assert_int_equal(apply(a, change(MUTATION_APPEND, "d/f", "!"), &w), 0);
	assert_true(w.bytes == 1 && w.offset == 11);
	m = change(MUTATION_TRUNCATE, "d/f", NULL);
	m->length = 5;
	assert_int_equal(apply(a, m, &w), 0);
	assert_file(p->root_fd, "d/f", "hello");
	assert_int_equal(apply(a, change2(MUTATION_LINK, "d/f", "g"), &w), 0);
	assert_int_equal(w.attr.st_nlink, 2);
	assert_int_equal(apply(a, change(MUTATION_RMDIR, "d", NULL), &w), -ENOTEMPTY);
	assert_int_equal(apply(a, change(MUTATION_UNLINK, "d/f", NULL), &w), 0);
	assert_false(w.has_attr);
	assert_int_equal(apply(a, change(MUTATION_RMDIR, "d", NULL), &w), 0);
	assert_int_equal(apply(a, change(MUTATION_UNLINK, "d/f", NULL), &w), -ENOENT);
	gateway_apply_free(a);
}

static void renames_obey_their_flags(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	put_file(p->root_fd, "a", "A");
	put_file(p->root_fd, "b", "B");
	struct mutation *m = change2(MUTATION_RENAME, "a", "b");
	m->flags = RENAME_NOREPLACE;
	assert_int_equal(apply(a, m, &w), -EEXIST);
	m = change2(MUTATION_RENAME, "a", "b");
	m->flags = RENAME_EXCHANGE;
	assert_int_equal(apply(a, m, &w), 0);
	assert_file(p->root_fd, "a", "B");
	assert_int_equal(apply(a, change2(MUTATION_RENAME, "a", "b"), &w), 0);
	assert_file(p->root_fd, "b", "B");
	assert_false(there_is(p->root_fd, "a"));
	gateway_apply_free(a);
}

static void attributes_change_on_the_object_itself(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	put_file(p->root_fd, "f", "x");
	struct mutation *m = change(MUTATION_SYMLINK, "l", NULL);
	m->target = strdup("f");
	assert_int_equal(apply(a, m, &w), 0);
	assert_true(S_ISLNK(w.attr.st_mode));
	m = change(MUTATION_CHMOD, "f", NULL);
	m->mode = 0400;
	assert_int_equal(apply(a, m, &w), 0);
	assert_int_equal(w.attr.st_mode & 07777, 0400);
	m = change(MUTATION_UTIMENS, "l", NULL);
	m->atime.tv_nsec = UTIME_OMIT;
	m->mtime = (struct timespec){.tv_sec = 12345, .tv_nsec = 678};
	assert_int_equal(apply(a, m, &w), 0);
	assert_true(S_ISLNK(w.attr.st_mode) && w.attr.st_mtim.tv_sec == 12345 &&
		    w.attr.st_mtim.tv_nsec == 678);
	m = change(MUTATION_CHOWN, "l", NULL);
	m->uid = getuid();
	m->gid = UINT32_MAX;
	assert_int_equal(apply(a, m, &w), 0);
	assert_true(S_ISLNK(w.attr.st_mode));
	m = change(MUTATION_CHMOD, "", NULL);
	m->mode = 0750;
	assert_int_equal(apply(a, m, &w), 0);
	assert_int_equal(w.attr.st_mode & 07777, 0750);
	assert_int_equal(apply(a, change(MUTATION_FSYNC, "f", NULL), &w), 0);
	assert_int_equal(apply(a, change(MUTATION_FSYNC, "", NULL), &w), 0);
	gateway_apply_free(a);
}

static void extended_attributes_come_and_go(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	put_file(p->root_fd, "f", "x");
	struct mutation *m = change(MUTATION_SETXATTR, "f", "value");
	m->xattr = strdup("user.note");
	int r = apply(a, m, &w);
	if (r == -EOPNOTSUPP) {
		gateway_apply_free(a);
		skip();
	}
	assert_int_equal(r, 0);
	m = change(MUTATION_REMOVEXATTR, "f", NULL);
	m->xattr = strdup("user.note");
	assert_int_equal(apply(a, m, &w), 0);
	m = change(MUTATION_REMOVEXATTR, "f", NULL);
	m->xattr = strdup("user.note");
	assert_int_equal(apply(a, m, &w), -ENODATA);
	gateway_apply_free(a);
}

static void nothing_leads_out_of_the_root(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	struct gateway_target t;
	bool outside;
	put_file(p->state, "victim", "safe");
	assert_int_equal(symlinkat(p->state_path, p->root_fd, "abs"), 0);
	assert_int_equal(symlinkat("../state", p->root_fd, "rel"), 0);
	assert_int_equal(symlinkat("../state/victim", p->root_fd, "file"), 0);
	static const char *const ways[] = {"abs/victim", "rel/victim"};
	for (size_t i = 0; i < 2; i++) {
		struct mutation *m = change(MUTATION_UNLINK, ways[i], NULL);
		assert_int_equal(gateway_apply_open(a, m, &t, &outside, NULL), -EACCES);
		assert_true(outside);
		mutation_free(m);
		assert_int_equal(apply(a, change(MUTATION_WRITE, ways[i], "bad"), &w), -EACCES);
		assert_int_equal(apply(a, change(MUTATION_TRUNCATE, ways[i], NULL), &w), -EACCES);
		assert_int_equal(apply(a, change(MUTATION_CHMOD, ways[i], NULL), &w), -EACCES);
		assert_int_equal(apply(a, change2(MUTATION_RENAME, "file", ways[i]), &w), -EACCES);
		assert_int_equal(apply(a, change2(MUTATION_LINK, ways[i], "stolen"), &w), -EACCES);
	}
	assert_int_equal(apply(a, change(MUTATION_WRITE, "file", "bad"), &w), -ELOOP);
	assert_int_equal(apply(a, change(MUTATION_CREATE, "file", NULL), &w), -ELOOP);
	assert_int_equal(apply(a, change(MUTATION_APPEND, "file", "bad"), &w), -ELOOP);
	assert_file(p->state, "victim", "safe");
	gateway_apply_free(a);
}

static void a_symlink_that_stays_inside_is_a_way(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	assert_int_equal(mkdirat(p->root_fd, "real", 0700), 0);
	assert_int_equal(symlinkat("real", p->root_fd, "alias"), 0);
	assert_int_equal(apply(a, change(MUTATION_CREATE, "alias/f", NULL), &w), 0);
	assert_int_equal(apply(a, change(MUTATION_WRITE, "alias/f", "x"), &w), 0);
	assert_file(p->root_fd, "real/f", "x");
	gateway_apply_free(a);
}

static void another_inode_at_the_path_is_stale(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	struct stat st;
	put_file(p->root_fd, "f", "x");
	assert_int_equal(fstatat(p->root_fd, "f", &st, 0), 0);
	static const enum mutation_op ops[] = {MUTATION_WRITE, MUTATION_TRUNCATE, MUTATION_CHMOD,
					       MUTATION_UNLINK};
	for (size_t i = 0; i < 4; i++) {
		struct mutation *m = change(ops[i], "f", ops[i] == MUTATION_WRITE ? "y" : NULL);
		m->ino = st.st_ino + 1;
		m->dev = st.st_dev;
		assert_int_equal(apply(a, m, &w), -ESTALE);
	}
	struct mutation *m = change(MUTATION_WRITE, "f", "y");
	m->ino = st.st_ino;
	m->dev = st.st_dev;
	assert_int_equal(apply(a, m, &w), 0);
	assert_file(p->root_fd, "f", "y");
	gateway_apply_free(a);
}

/* As an ordinary user, because nothing is forbidden to root. */
static void maker_writes_its_read_only_file(void)
{
	char dir[] = "/tmp/rrm-gw-XXXXXX";
	struct gateway_apply *a = NULL;
	struct mutation_answer w;
	if (!mkdtemp(dir) || gateway_apply_new(&a, dir, NULL) < 0)
		_exit(2);
	struct mutation *m = change(MUTATION_CREATE, "f", NULL);
	m->mode = 0444;
	int ok = apply(a, m, &w) == 0;
	uint64_t ino = w.attr.st_ino, dev = w.attr.st_dev;
	ok = ok && apply(a, change(MUTATION_WRITE, "f", "no"), &w) == -EACCES;
	m = change(MUTATION_WRITE, "f", "object");
	m->ino = ino;
	m->dev = dev;
	ok = ok && apply(a, m, &w) == 0 && w.attr.st_size == 6;
	m = change(MUTATION_RELEASE, "f", NULL);
	m->ino = ino;
	m->dev = dev;
	gateway_apply_release(a, m);
	mutation_free(m);
	m = change(MUTATION_WRITE, "f", "late");
	m->ino = ino;
	m->dev = dev;
	ok = ok && apply(a, m, &w) == -EACCES;
	gateway_apply_free(a);
	file_remove_tree(AT_FDCWD, dir);
	_exit(ok ? 0 : 1);
}

static void a_read_only_file_is_written_by_its_maker_until_release(void **state)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		if (getuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(3);
		maker_writes_its_read_only_file();
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void root_creates_for_the_actor(void **state)
{
	struct place *p = *state;
	struct mutation_answer w;
	if (getuid() != 0)
		skip();
	struct gateway_apply *a = opened(p);
	static const enum mutation_op ops[] = {MUTATION_CREATE, MUTATION_MKDIR, MUTATION_SYMLINK,
					       MUTATION_MKNOD};
	for (size_t i = 0; i < 4; i++) {
		struct mutation *m = change(ops[i], mutation_op_name(ops[i]), NULL);
		m->actor.uid = 12345;
		m->actor.gid = 54321;
		m->target = strdup("x");
		m->mode = ops[i] == MUTATION_MKNOD ? S_IFIFO | 0600 : 0700;
		assert_int_equal(apply(a, m, &w), 0);
		assert_int_equal(w.attr.st_uid, 12345);
		assert_int_equal(w.attr.st_gid, 54321);
	}
	struct stat st;
	put_file(p->root_fd, "after", "x");
	assert_int_equal(fstatat(p->root_fd, "after", &st, 0), 0);
	assert_int_equal(st.st_uid, 0);
	gateway_apply_free(a);
}

static void kept_fds_are_bounded_and_reach_unlinked_files(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	char name[16];
	uint64_t ino = 0;
	for (int i = 0; i < GATEWAY_APPLY_KEPT + 50; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		struct mutation *m = change(MUTATION_CREATE, name, NULL);
		m->mode = 0444;
		assert_int_equal(apply(a, m, &w), 0);
		ino = w.attr.st_ino;
	}
	assert_int_equal(apply(a, change(MUTATION_UNLINK, name, NULL), &w), 0);
	struct mutation *m = change(MUTATION_WRITE, name, "still here");
	m->ino = ino;
	assert_int_equal(apply(a, m, &w), 0);
	assert_int_equal(w.attr.st_nlink, 0);
	gateway_apply_free(a);
}

/* Whether a write of the maker of name is still possible for somebody whom its mode forbids it. */
static bool is_kept(struct gateway_apply *a, const char *name, const struct mutation_answer *made)
{
	bool owned = true;
	int fd = gateway_apply_reader(a, name, made->attr.st_dev, made->attr.st_ino, &owned);
	if (fd >= 0 && owned)
		close(fd);
	return fd >= 0 && !owned;
}

static void kept_fds_of_programs_and_of_nothing_expire(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer data, program, gone, w;
	assert_int_equal(gateway_apply_expire(a, UINT64_MAX), -1);
	struct mutation *m = change(MUTATION_CREATE, "data", NULL);
	m->mode = 0444;
	assert_int_equal(apply(a, m, &data), 0);
	m = change(MUTATION_CREATE, "program", NULL);
	m->mode = 0555;
	assert_int_equal(apply(a, m, &program), 0);
	m = change(MUTATION_CREATE, "gone", NULL);
	m->mode = 0444;
	assert_int_equal(apply(a, m, &gone), 0);
	assert_int_equal(apply(a, change(MUTATION_UNLINK, "gone", NULL), &w), 0);
	uint64_t now = clock_mono_ms();
	assert_in_range(gateway_apply_expire(a, now), 1, GATEWAY_APPLY_BRIEF_MS);
	assert_true(is_kept(a, "program", &program)); /* that was a use */
	assert_true(is_kept(a, "gone", &gone));
	/* Removed or made a program by somebody else: looked for now and then. */
	assert_in_range(gateway_apply_expire(a, now + 10 * GATEWAY_APPLY_BRIEF_MS), 1, 10000);
	assert_false(is_kept(a, "program", &program));
	assert_false(is_kept(a, "gone", &gone));
	assert_true(is_kept(a, "data", &data));
	assert_int_equal(fchmodat(p->root_fd, "data", 0555, 0), 0);
	assert_int_equal(gateway_apply_expire(a, now + 30 * GATEWAY_APPLY_BRIEF_MS), -1);
	assert_false(is_kept(a, "data", &data));
	m = change(MUTATION_CREATE, "later", NULL);
	m->mode = 0444;
	assert_int_equal(apply(a, m, &data), 0);
	assert_true(is_kept(a, "later", &data));
	assert_int_equal(gateway_apply_expire(a, clock_mono_ms() + 2 * GATEWAY_APPLY_KEPT_MS), -1);
	assert_false(is_kept(a, "later", &data));
	gateway_apply_free(a);
}

static void create_opens_what_is_there_unless_exclusive(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	put_file(p->root_fd, "f", "kept");
	assert_int_equal(apply(a, change(MUTATION_CREATE, "f", NULL), &w), 0);
	assert_int_equal(w.attr.st_size, 4);
	struct mutation *m = change(MUTATION_CREATE, "f", NULL);
	m->flags = O_EXCL;
	assert_int_equal(apply(a, m, &w), -EEXIST);
	assert_file(p->root_fd, "f", "kept");
	m = change(MUTATION_CREATE, "f", NULL);
	m->flags = O_TRUNC;
	assert_int_equal(apply(a, m, &w), 0);
	assert_int_equal(w.attr.st_size, 0);
	gateway_apply_free(a);
}

/* An fd kept for writing would make execve() fail with ETXTBSY. */
static void a_program_just_written_can_be_executed(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	int status;
	struct mutation *m = change(MUTATION_CREATE, "tool", NULL);
	m->mode = 0755;
	assert_int_equal(apply(a, m, &w), 0);
	m = change(MUTATION_WRITE, "tool", "#!/bin/true\n");
	m->ino = w.attr.st_ino;
	assert_int_equal(apply(a, m, &w), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (fchdir(p->root_fd) == 0)
			execl("./tool", "./tool", (char *)NULL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	gateway_apply_free(a);
}

static void a_fifo_or_a_directory_is_not_written(void **state)
{
	struct place *p = *state;
	struct gateway_apply *a = opened(p);
	struct mutation_answer w;
	assert_int_equal(mkfifoat(p->root_fd, "fifo", 0600), 0);
	assert_int_equal(mkdirat(p->root_fd, "d", 0700), 0);
	assert_int_equal(apply(a, change(MUTATION_WRITE, "fifo", "x"), &w), -ENXIO);
	assert_int_equal(apply(a, change(MUTATION_WRITE, "d", "x"), &w), -EISDIR);
	gateway_apply_free(a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(files_are_made_written_and_removed),
		TEST(renames_obey_their_flags),
		TEST(attributes_change_on_the_object_itself),
		TEST(extended_attributes_come_and_go),
		TEST(nothing_leads_out_of_the_root),
		TEST(a_symlink_that_stays_inside_is_a_way),
		TEST(another_inode_at_the_path_is_stale),
		TEST(a_read_only_file_is_written_by_its_maker_until_release),
		TEST(root_creates_for_the_actor),
		TEST(kept_fds_are_bounded_and_reach_unlinked_files),
		TEST(kept_fds_of_programs_and_of_nothing_expire),
		TEST(create_opens_what_is_there_unless_exclusive),
		TEST(a_program_just_written_can_be_executed),
		TEST(a_fifo_or_a_directory_is_not_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
