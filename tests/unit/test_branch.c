#include "tests/unit/unit.h"

#include <sys/stat.h>

#include "router/branch.h"

static void head(const struct tmp *t, const char *text)
{
	char path[80], tmp[80];
	FILE *f;

	/* As git does: a new file renamed over the old one. */
	snprintf(path, sizeof(path), "%s/.git/HEAD", t->path);
	snprintf(tmp, sizeof(tmp), "%s/.git/HEAD.lock", t->path);
	f = fopen(tmp, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(rename(tmp, path), 0);
}

static void is_branch(struct branch *b, const char *want)
{
	char name[BRANCH_MAX];

	branch_name(b, name);
	assert_string_equal(name, want);
}

static void a_moved_head_is_seen_at_the_next_look(void **state)
{
	struct tmp *t = *state;
	struct branch b;
	uint64_t v;

	assert_int_equal(mkdirat(t->dir, ".git", 0700), 0);
	head(t, "ref: refs/heads/main\n");
	assert_int_equal(branch_init(&b, t->path), 0);
	is_branch(&b, "main");
	v = branch_poll(&b, 100);
	head(t, "ref: refs/heads/topic/x\n");
	assert_int_equal(branch_poll(&b, 101), v); /* not looked at within 2 ms */
	assert_int_equal(branch_poll(&b, 102), v + 1);
	is_branch(&b, "topic/x");
	head(t, "ref: refs/heads/topic/x\n");
	assert_int_equal(branch_poll(&b, 200), v + 1); /* written anew, same name */
	head(t, "0123456789012345678901234567890123456789\n");
	assert_int_equal(branch_poll(&b, 300), v + 2);
	is_branch(&b, "0123456789012345678901234567890123456789");
	branch_deinit(&b);
}

static void a_directory_without_git_has_no_branch_until_git_init(void **state)
{
	struct tmp *t = *state;
	struct branch b;
	uint64_t v;

	assert_int_equal(branch_init(&b, t->path), 0);
	is_branch(&b, "");
	v = branch_poll(&b, 100);
	assert_int_equal(branch_poll(&b, 200), v);
	assert_int_equal(mkdirat(t->dir, ".git", 0700), 0);
	head(t, "ref: refs/heads/main\n");
	assert_int_equal(branch_poll(&b, 300), v + 1);
	is_branch(&b, "main");
	branch_deinit(&b);
}

static void a_removed_git_directory_leaves_no_branch(void **state)
{
	struct tmp *t = *state;
	struct branch b;

	assert_int_equal(mkdirat(t->dir, ".git", 0700), 0);
	head(t, "ref: refs/heads/main\n");
	assert_int_equal(branch_init(&b, t->path), 0);
	assert_int_equal(file_remove_tree(t->dir, ".git"), 0);
	branch_poll(&b, 100);
	is_branch(&b, "");
	branch_deinit(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(a_moved_head_is_seen_at_the_next_look),
		tmp_test(a_directory_without_git_has_no_branch_until_git_init),
		tmp_test(a_removed_git_directory_leaves_no_branch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
