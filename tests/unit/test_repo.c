#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "manager/base/path.h"
#include "manager/config.h"
#include "manager/mountstate.h"
#include "manager/repo.h"

/* A temp dir with r/ for repositories, s as state base, m as mountpoint; a config that names them. */
struct world {
	struct tmp *t;
	char *tmp; /* owned; the canonical temp dir */
	struct config *c;
};

static char *at(const struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A path in the world, in one of a few static buffers. */
static char *at(const struct world *w, const char *fmt, ...)
{
	static char buffers[8][PATH_MAX];
	static unsigned next;
	char *to = buffers[next++ % 8];
	int n = snprintf(to, PATH_MAX, "%s/", w->tmp);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(to + n, (size_t)(PATH_MAX - n), fmt, ap);
	va_end(ap);
	return to;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	void *t;

	assert_int_equal(tmp_setup(&t), 0);
	w->t = t;
	w->tmp = realpath(w->t->path, NULL);
	setenv("HOME", w->tmp, 1);
	setenv("RRM_HOME", at(w, "s"), 1);
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("RRM_BACKEND");
	setenv("RRM_MOUNTPOINT", at(w, "m"), 1);
	assert_int_equal(config_load(&w->c, NULL), 0);
	assert_int_equal(mkdir(at(w, "r"), 0755), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	void *t = w->t;

	config_free(w->c);
	free(w->tmp);
	free(w);
	return tmp_teardown(&t);
}

static char *work_tree(const struct world *w, const char *rel)
{
	assert_int_equal(file_mkdirs(at(w, "%s/.git", rel), 0755), 0);
	assert_int_equal(file_replace(AT_FDCWD, at(w, "%s/.git/HEAD", rel),
				      "ref: refs/heads/main\n", 21, 0644),
			 0);
	return at(w, "%s", rel);
}

static void add(const struct world *w, const char *rel, const char *name)
{
	struct repo *r;
	struct err e = ERR_INIT;

	if (repo_add(w->c, work_tree(w, rel), name, false, &r, &e))
		fail_msg("%s", e.text);
	repo_free(r);
}

static void add_fails(const struct world *w, const char *path, const char *name, const char *why)
{
	struct repo *r;
	struct err e = ERR_INIT;

	assert_true(repo_add(w->c, path, name, false, &r, &e) < 0);
	if (!strstr(e.text, why))
		fail_msg("said \"%s\", not \"%s\"", e.text, why);
}

/* what must be found as name with rest (NULL: not asked for). */
static void finds(const struct world *w, const char *what, const char *name, const char *rest)
{
	struct repo_list l;
	const struct repo *r = NULL;
	struct err e = ERR_INIT;
	char *got = NULL;

	assert_int_equal(repo_list_load(w->c, &l, &e), 0);
	if (repo_find(w->c, &l, what, &r, rest ? &got : NULL, &e))
		fail_msg("%s: %s", what, e.text);
	assert_string_equal(r->name, name);
	if (rest)
		assert_string_equal(got, rest);
	free(got);
	repo_list_deinit(&l);
}

static void finds_nothing(const struct world *w, const char *what)
{
	struct repo_list l;
	const struct repo *r;
	struct err e = ERR_INIT;

	assert_int_equal(repo_list_load(w->c, &l, &e), 0);
	assert_int_equal(repo_find(w->c, &l, what, &r, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "not a registered repository"));
	repo_list_deinit(&l);
}

static void the_id_is_a_slug_and_a_hash_of_the_root(void **state)
{
	char id[REPO_ID_MAX], other[REPO_ID_MAX];

	assert_int_equal(repo_id_of("/srv/My Repo\xff.git", id), 0);
	assert_memory_equal(id, "my-repo-.git-", 13);
	assert_int_equal(strlen(id), 13 + 16);
	assert_int_equal(repo_id_of("/else/My Repo\xff.git", other), 0);
	assert_string_not_equal(id, other);
	assert_int_equal(repo_id_of("/", id), 0);
	assert_memory_equal(id, "repo-", 5);
	char longest[NAME_MAX + 2] = "/";
	memset(longest + 1, 'x', NAME_MAX);
	assert_int_equal(repo_id_of(longest, id), 0);
	assert_int_equal(strlen(id), 40 + 1 + 16);
}

static void an_added_repo_is_listed_with_what_was_said(void **state)
{
	struct world *w = *state;
	struct repo_list l;
	struct stat st;

	add(w, "r/web", NULL);
	add(w, "r/api", "backend");
	add(w, "r/web", NULL); /* already registered is success */
	assert_int_equal(repo_list_load(w->c, &l, NULL), 0);
	assert_int_equal(l.n, 2);
	assert_string_equal(l.items[0].name, "backend");
	assert_string_equal(l.items[0].root, at(w, "r/api"));
	assert_string_equal(l.items[1].name, "web");
	assert_int_equal(stat(l.items[1].state_dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	repo_list_deinit(&l);
}

static void names_and_roots_that_are_not_utf8_come_back_as_they_were(void **state)
{
	struct world *w = *state;

	add(w, "r/caf\xe9", NULL);
	add(w, "r/with\nnewline", NULL);
	finds(w, at(w, "r/caf\xe9/x\xff"), "caf\xe9", "x\xff");
	finds(w, "caf\xe9", "caf\xe9", "");
	finds(w, at(w, "r/with\nnewline"), "with-newline", "");
}

static void a_second_repo_of_one_basename_gets_a_suffix(void **state)
{
	struct world *w = *state;

	add(w, "r/web", NULL);
	add(w, "r/x/web", NULL);
	add(w, "r/y/web", NULL);
	finds(w, at(w, "r/x/web"), "web-2", "");
	finds(w, at(w, "r/y/web"), "web-3", "");
	add_fails(w, work_tree(w, "r/z"), "web-2", "belongs to");
	add_fails(w, at(w, "r/web"), "other", "registered as web already");
}

static void a_suffix_keeps_the_name_within_255_bytes(void **state)
{
	struct repo one = {.name = NULL};
	struct repo_list l = {&one, 1};
	char longest[NAME_MAX + 1];

	memset(longest, 'n', NAME_MAX);
	longest[NAME_MAX] = '\0';
	one.name = longest;
	char *name = repo_free_name(&l, longest);
	assert_int_equal(strlen(name), NAME_MAX);
	assert_string_equal(name + NAME_MAX - 2, "-2");
	free(name);
}

static void bad_names_are_refused_with_the_reason(void **state)
{
	struct world *w = *state;
	const char *root = work_tree(w, "r/web");
	char longest[302];

	memset(longest, 'n', 300);
	longest[300] = '\0';
	add_fails(w, root, "", "is empty");
	add_fails(w, root, "a/b", "slash");
	add_fails(w, root, "..", "there already");
	add_fails(w, root, ".", "there already");
	add_fails(w, root, "a\nb", "control byte");
	add_fails(w, root, "a\x7f", "control byte");
	add_fails(w, root, longest, "255 bytes");
	add_fails(w, root, ".rrm", "control directory");
}

static void what_is_no_work_tree_is_refused_with_the_reason(void **state)
{
	struct world *w = *state;
	struct repo *r;

	assert_int_equal(mkdir(at(w, "r/plain"), 0755), 0);
	assert_int_equal(file_replace(AT_FDCWD, at(w, "r/file"), "", 0, 0644), 0);
	assert_int_equal(file_mkdirs(at(w, "r/bare.git/objects"), 0755), 0);
	assert_int_equal(file_replace(AT_FDCWD, at(w, "r/bare.git/HEAD"), "", 0, 0644), 0);
	add_fails(w, at(w, "r/plain"), NULL, "not a git repository");
	add_fails(w, at(w, "r/none"), NULL, "does not exist");
	add_fails(w, at(w, "r/file"), NULL, "not a directory");
	add_fails(w, at(w, "r/bare.git"), NULL, "bare");
	add_fails(w, "", NULL, "empty");
	assert_int_equal(repo_add(w->c, at(w, "r/plain"), NULL, true, &r, NULL), 0);
	repo_free(r);
}

static void roots_that_hold_or_lie_in_rrms_own_places_are_refused(void **state)
{
	struct world *w = *state;

	add(w, "r/web", NULL);
	add_fails(w, work_tree(w, "s/repos/x"), NULL, "state directory");
	add_fails(w, work_tree(w, "m"), NULL, "nobody's");
	add_fails(w, work_tree(w, "m/inside"), NULL, "nobody's");
	add_fails(w, work_tree(w, "."), NULL, "holds the mountpoint");
}

static void a_root_inside_another_owns_its_part(void **state)
{
	struct world *w = *state;

	add(w, "r/web", NULL);
	add(w, "r/web/vendor/lib", NULL);
	finds(w, at(w, "r/web/vendor/lib/a.c"), "lib", "a.c");
	finds(w, at(w, "r/web/vendor/libx"), "web", "vendor/libx");
	finds(w, at(w, "r/web/vendor"), "web", "vendor");
	finds(w, "web/vendor/lib/a.c", "lib", "a.c");
}

static void a_repo_is_found_by_path_name_and_id(void **state)
{
	struct world *w = *state;
	struct repo_list l;
	char id[REPO_ID_MAX];

	add(w, "r/web", "site");
	assert_int_equal(repo_list_load(w->c, &l, NULL), 0);
	strcpy(id, l.items[0].id);
	repo_list_deinit(&l);
	finds(w, at(w, "r/web"), "site", "");
	finds(w, at(w, "r/web/"), "site", "");
	finds(w, at(w, "r/./web/../web/.git"), "site", ".git");
	finds(w, at(w, "r/web/not/there/yet"), "site", "not/there/yet");
	finds(w, "site", "site", NULL);
	finds(w, "site/new.txt", "site", "new.txt");
	finds(w, id, "site", NULL);
	finds_nothing(w, "web");
	finds_nothing(w, at(w, "r"));
	finds_nothing(w, "/");
	finds_nothing(w, "sit");
}

static void a_misspelt_name_is_not_a_file_of_the_working_directory(void **state)
{
	struct world *w = *state;
	char before[PATH_MAX];

	add(w, "r/web", NULL);
	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(at(w, "r/web")), 0);
	finds_nothing(w, "wbe");
	finds(w, ".", "web", "");
	finds(w, "./new", "web", "new");
	finds(w, "new", "web", "new"); /* with rest it is: rrm write new */
	assert_int_equal(chdir(before), 0);
}

static void symlinks_lead_to_the_owner_and_the_last_one_stays(void **state)
{
	struct world *w = *state;

	add(w, "r/web", NULL);
	add(w, "r/api", NULL);
	assert_int_equal(symlink(at(w, "r/api"), at(w, "r/web/api")), 0);
	assert_int_equal(symlink("r/web", at(w, "short")), 0);
	assert_int_equal(symlink("loop", at(w, "r/web/loop")), 0);
	finds(w, at(w, "r/web/api/f"), "api", "f");
	finds(w, at(w, "r/web/api"), "web", "api");
	finds(w, at(w, "r/web/api"), "api", NULL);
	finds(w, at(w, "short"), "web", "");
	finds(w, at(w, "short/../web/x"), "web", "x");
	struct repo_list l;
	const struct repo *r;
	assert_int_equal(repo_list_load(w->c, &l, NULL), 0);
	assert_int_equal(repo_find(w->c, &l, at(w, "r/web/loop/x"), &r, NULL, NULL), -ELOOP);
	repo_list_deinit(&l);
}

/* The mountpoint is a dangling symlink loop here: whoever touches it gets ELOOP. */
static void a_path_in_the_mount_is_translated_without_touching_it(void **state)
{
	struct world *w = *state;

	add(w, "r/web", "site");
	assert_int_equal(symlink("m", at(w, "m")), 0);
	assert_int_equal(symlink(".", at(w, "here")), 0);
	finds(w, at(w, "m/site"), "site", "");
	finds(w, at(w, "m/site/src/../a.c"), "site", "a.c");
	finds(w, at(w, "m/../m/./site/x"), "site", "x");
	finds(w, at(w, "here/m/site/x"), "site", "x");
	finds_nothing(w, at(w, "m"));
	finds_nothing(w, at(w, "m/.rrm/status"));
	finds_nothing(w, at(w, "m/nobody/x"));
	add_fails(w, at(w, "m/nobody"), NULL, "real directory");
}

static void a_running_mount_elsewhere_is_the_one_that_counts(void **state)
{
	struct world *w = *state;
	struct mountstate m;
	struct err e = ERR_INIT;

	add(w, "r/web", NULL);
	assert_int_equal(mountstate_read(w->c, &m), -ENOENT);
	assert_int_equal(mountstate_write(w->c, at(w, "other"), getpid(), false, &e), 0);
	assert_int_equal(mountstate_read(w->c, &m), 0);
	assert_string_equal(m.mountpoint, at(w, "other"));
	assert_int_equal(m.pid, getpid());
	assert_false(m.replaceable);
	mountstate_deinit(&m);
	finds(w, at(w, "other/web/x"), "web", "x");
	mountstate_clear(w->c, getpid());
	assert_int_equal(mountstate_read(w->c, &m), -ENOENT);
	finds_nothing(w, at(w, "other/web/x"));
}

static void a_corrupt_repo_json_is_moved_aside_and_the_rest_is_read(void **state)
{
	struct world *w = *state;
	struct repo_list l;
	static const char *const broken[] = {
		"{", "[]", "{\"repo_id\":1,\"root\":2,\"name\":3}", "",
		"{\"repo_id\":\"bad-4\",\"root\":\"/bad\",\"name\":\"x\"}"};

	add(w, "r/web", NULL);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(file_mkdirs(at(w, "s/repos/bad-%zu", i), 0700), 0);
		assert_int_equal(file_replace(AT_FDCWD, at(w, "s/repos/bad-%zu/repo.json", i),
					      broken[i], strlen(broken[i]), 0600),
				 0);
	}
	assert_int_equal(repo_list_load(w->c, &l, NULL), 0);
	assert_int_equal(l.n, 1);
	repo_list_deinit(&l);
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(access(at(w, "s/repos/bad-%zu/repo.json", i), F_OK), -1);
		assert_int_equal(access(at(w, "s/repos/bad-%zu/repo.json.corrupt-1", i), F_OK), 0);
	}
}

static void a_root_that_is_another_id_is_found_out(void **state)
{
	struct err e = ERR_INIT;
	struct repo r = {.id = "web-0000000000000000",
			 .root = (char *)(uintptr_t) "/srv/web",
			 .state_dir = (char *)(uintptr_t) "/s/repos/web-0000000000000000"};

	assert_int_equal(repo_verify(&r, &e), -EINVAL);
	assert_non_null(strstr(e.text, "/srv/web"));
	assert_int_equal(repo_id_of(r.root, r.id), 0);
	assert_int_equal(repo_verify(&r, &e), 0);
}

static void a_removed_repo_is_gone_and_can_come_back(void **state)
{
	struct world *w = *state;
	struct repo_list l;

	add(w, "r/web", NULL);
	assert_int_equal(repo_list_load(w->c, &l, NULL), 0);
	assert_int_equal(repo_remove(w->c, &l.items[0], NULL), 0);
	repo_list_deinit(&l);
	finds_nothing(w, "web");
	add(w, "r/web", NULL);
	finds(w, "web", "web", "");
}

static void many_adding_at_once_never_share_a_name(void **state)
{
	enum { MANY = 8 };
	struct world *w = *state;
	struct repo_list l;
	char rel[16];

	for (int i = 0; i < MANY; i++) {
		snprintf(rel, sizeof(rel), "r/%d/web", i);
		work_tree(w, rel);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (!pid) {
			struct repo *r;
			_exit(repo_add(w->c, at(w, "%s", rel), NULL, false, &r, NULL) != 0);
		}
	}
	for (int i = 0, status; i < MANY; i++) {
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	assert_int_equal(repo_list_load(w->c, &l, NULL), 0);
	assert_int_equal(l.n, MANY);
	for (size_t i = 1; i < l.n; i++)
		assert_string_not_equal(l.items[i - 1].name, l.items[i].name);
	/* what is on disk is unique too, not only what the list makes of it */
	finds(w, "web-8", "web-8", "");
	repo_list_deinit(&l);
}

static void a_scan_finds_work_trees_and_the_submodules_they_name(void **state)
{
	struct world *w = *state;
	size_t found = 0;
	static const char modules[] = "[submodule \"x\"]\n\tpath = sub/one\n\turl = ../x\n"
				      "[submodule \"y\"]\n\tpath = ../../escape\n";

	work_tree(w, "r/a");
	work_tree(w, "r/a/sub/one");
	work_tree(w, "r/a/unnamed");
	work_tree(w, "r/b/c/d");
	work_tree(w, "r/b/c/too/deep/x");
	work_tree(w, "r/.hidden");
	assert_int_equal(file_replace(AT_FDCWD, at(w, "r/a/.gitmodules"), modules,
				      sizeof(modules) - 1, 0644),
			 0);
	assert_int_equal(repo_scan(w->c, at(w, "r"), 3, &found, NULL), 0);
	assert_int_equal(found, 3);
	finds(w, "a", "a", "");
	finds(w, "one", "one", "");
	finds(w, "d", "d", "");
	finds_nothing(w, "unnamed");
	finds_nothing(w, "x");
	finds_nothing(w, ".hidden");
	assert_int_equal(repo_scan(w->c, at(w, "r/nothing"), 3, &found, NULL), -ENOENT);
}

static void branch_of(const struct world *w, const char *head, const char *want)
{
	char branch[256];

	assert_int_equal(file_replace(AT_FDCWD, at(w, "r/web/.git/HEAD"), head, strlen(head), 0644),
			 0);
	assert_int_equal(repo_branch(at(w, "r/web"), branch, sizeof(branch)), 0);
	assert_string_equal(branch, want);
}

static void the_branch_is_what_head_names(void **state)
{
	struct world *w = *state;
	char branch[256];

	work_tree(w, "r/web");
	branch_of(w, "ref: refs/heads/feature/x\n", "feature/x");
	branch_of(w, "ref: refs/remotes/o/x\n", "refs/remotes/o/x");
	branch_of(w, "0123456789012345678901234567890123456789\n",
		  "0123456789012345678901234567890123456789");
	branch_of(w, "", "");
	assert_int_equal(repo_branch(at(w, "r"), branch, sizeof(branch)), 0);
	assert_string_equal(branch, "");
	assert_int_equal(mkdir(at(w, "r/linked"), 0755), 0);
	branch_of(w, "ref: refs/heads/main\n", "main");
	assert_int_equal(
		file_replace(AT_FDCWD, at(w, "r/linked/.git"), "gitdir: ../web/.git\n", 20, 0644),
		0);
	assert_int_equal(repo_branch(at(w, "r/linked"), branch, sizeof(branch)), 0);
	assert_string_equal(branch, "main");
}

static void a_branch_longer_than_the_buffer_stays_distinct(void **state)
{
	struct world *w = *state;
	char head[600], a[256], b[256];

	work_tree(w, "r/web");
	int n = snprintf(head, sizeof(head), "ref: refs/heads/");
	memset(head + n, 'b', 400);
	strcpy(head + n + 400, "1\n");
	file_replace(AT_FDCWD, at(w, "r/web/.git/HEAD"), head, strlen(head), 0644);
	assert_int_equal(repo_branch(at(w, "r/web"), a, sizeof(a)), 0);
	head[n + 400] = '2';
	file_replace(AT_FDCWD, at(w, "r/web/.git/HEAD"), head, strlen(head), 0644);
	assert_int_equal(repo_branch(at(w, "r/web"), b, sizeof(b)), 0);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 255);
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_id_is_a_slug_and_a_hash_of_the_root),
		test(an_added_repo_is_listed_with_what_was_said),
		test(names_and_roots_that_are_not_utf8_come_back_as_they_were),
		test(a_second_repo_of_one_basename_gets_a_suffix),
		cmocka_unit_test(a_suffix_keeps_the_name_within_255_bytes),
		test(bad_names_are_refused_with_the_reason),
		test(what_is_no_work_tree_is_refused_with_the_reason),
		test(roots_that_hold_or_lie_in_rrms_own_places_are_refused),
		test(a_root_inside_another_owns_its_part),
		test(a_repo_is_found_by_path_name_and_id),
		test(a_misspelt_name_is_not_a_file_of_the_working_directory),
		test(symlinks_lead_to_the_owner_and_the_last_one_stays),
		test(a_path_in_the_mount_is_translated_without_touching_it),
		test(a_running_mount_elsewhere_is_the_one_that_counts),
		test(a_corrupt_repo_json_is_moved_aside_and_the_rest_is_read),
		test(a_root_that_is_another_id_is_found_out),
		test(a_removed_repo_is_gone_and_can_come_back),
		test(many_adding_at_once_never_share_a_name),
		test(a_scan_finds_work_trees_and_the_submodules_they_name),
		test(the_branch_is_what_head_names),
		test(a_branch_longer_than_the_buffer_stays_distinct),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
