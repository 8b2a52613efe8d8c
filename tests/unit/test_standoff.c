#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>

#include "manager/base/proc.h"
#include "router/standoff.h"

/* A turn of a repo, held by the process pid. */
static struct held turn(const char *repo, pid_t pid, int64_t offset)
{
	struct held h = {.pid = pid, .start = (uint64_t)pid + 1000, .offset = offset};

	strcpy(h.repo, repo);
	return h;
}

static struct claim hold(const char *repo, pid_t pid)
{
	struct claim c = {.turn = turn(repo, pid, 5), .who = pid, .comm = "make"};

	strcpy(c.name, repo);
	return c;
}

/* pid waits for repo; it works under the turns of those holders (0: no more). */
static struct claim waits(const char *repo, pid_t pid, const struct claim *above,
			  const struct claim *above2)
{
	struct claim c = {.waits = true, .turn = turn(repo, pid, 5), .who = pid, .comm = "sh"};

	strcpy(c.name, repo);
	if (above)
		held_push(&c.above, &above->turn);
	if (above2)
		held_push(&c.above, &above2->turn);
	return c;
}

static size_t find(const struct claim *all, size_t n, const struct claim *mine)
{
	const struct claim *path[16];

	return standoff_find(all, n, mine, path, 8);
}

static void two_who_wait_for_each_other_are_found_by_the_second(void **state)
{
	struct claim all[] = {hold("a", 1), hold("b", 2), waits("b", 11, &all[0], NULL)};
	struct claim mine = waits("a", 12, &all[1], NULL);
	const struct claim *path[4];

	assert_int_equal(find(all, 2, &all[2]), 0);
	assert_int_equal(standoff_find(all, 3, &mine, path, 2), 2);
	assert_ptr_equal(path[0], &all[0]);
	assert_ptr_equal(path[1], &all[2]);
	assert_ptr_equal(path[2], &all[1]);
	assert_null(path[3]);
}

static void a_mere_wait_is_none(void **state)
{
	struct claim all[] = {hold("a", 1), hold("b", 2), hold("c", 3),
			      waits("b", 11, &all[0], NULL), waits("c", 12, &all[1], NULL)};
	struct claim outside = waits("a", 13, NULL, NULL);
	struct claim other = waits("a", 14, &all[4], NULL);

	assert_int_equal(find(all, 5, &outside), 0); /* it has nothing */
	assert_int_equal(find(all, 5, &other), 0);
	assert_int_equal(find(all, 3, &all[3]), 0);
	assert_int_equal(find(all, 4, &all[4]), 0);
	assert_int_equal(find(NULL, 0, &all[3]), 0);
}

static void any_length_is_found(void **state)
{
	enum { N = 100 };
	static struct claim all[2 * N];
	char name[16];

	for (int i = 0; i < N; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		all[2 * i] = hold(name, 100 + i);
		snprintf(name, sizeof(name), "r%d", (i + 1) % N);
		all[2 * i + 1] = waits(name, 1000 + i, &all[2 * i], NULL);
	}
	assert_int_equal(find(all, 2 * N, &all[2 * N - 1]), N);
	assert_int_equal(find(all, 2 * N, &all[7]), N);
	/* one of them gives up */
	all[41].waits = false;
	all[41].turn.offset = 77;
	assert_int_equal(find(all, 2 * N, &all[7]), 0);
}

static void the_outer_of_two_turns_counts_as_well(void **state)
{
	struct claim all[] = {hold("a", 1), hold("b", 2), hold("c", 3),
			      waits("c", 11, &all[0], &all[1])};
	struct claim mine = waits("a", 12, &all[2], NULL), inner = waits("b", 13, &all[2], NULL);

	assert_int_equal(find(all, 4, &mine), 2);
	assert_int_equal(find(all, 4, &inner), 2);
}

static void to_want_all_branches_under_the_turn_of_one_is_a_circle(void **state)
{
	struct claim all[] = {hold("a", 1)};
	struct claim mine = waits("a", 11, &all[0], NULL);

	mine.turn.offset = HELD_ALL;
	assert_int_equal(find(all, 1, &mine), 1);
	mine.turn.offset = 6; /* another branch is another turn */
	assert_int_equal(find(all, 1, &mine), 0);
	all[0].turn.offset = HELD_ALL;
	assert_int_equal(find(all, 1, &mine),
			 0); /* and that of a dead or other holder is not above it */
}

static void the_sentence_says_who_has_what(void **state)
{
	struct claim all[] = {hold("a", 1), hold("b", 2), waits("b", 11, &all[0], NULL)};
	struct claim mine = waits("a", 12, &all[1], NULL);
	const struct claim *path[4];
	char text[500];
	size_t len = standoff_find(all, 3, &mine, path, 2);

	standoff_describe(&mine, path, len, text, sizeof(text));
	assert_non_null(strstr(text, "make pid 1 has that of a, and sh pid 11 under it waits for "
				     "that of b"));
	assert_non_null(strstr(text, "make pid 2 has that of b, and you work under it"));
	for (size_t size = 1; size < 300; size++) {
		standoff_describe(&mine, path, len, text, size);
		assert_true(strlen(text) < size);
	}
}

/* ---- the file ---- */

static void by(struct claim *c, pid_t pid, uint64_t serial)
{
	struct proc_stat st;

	assert_int_equal(proc_stat(pid, &st), 0);
	c->turn.pid = pid;
	c->turn.start = st.start;
	c->serial = serial;
}

static void the_last_of_a_circle_is_told_and_makes_no_claim(void **state)
{
	const struct tmp *t = *state;
	struct claim a = hold("a", 1), b = hold("b", 1), first, second;
	struct err e = ERR_INIT;

	by(&a, getpid(), 1);
	by(&b, getpid(), 2);
	first = waits("b", 1, &a, NULL);
	second = waits("a", 1, &b, NULL);
	by(&first, getpid(), 3);
	by(&second, getpid(), 4);
	assert_int_equal(standoff_claim(t->path, &a, 100, &e), 0);
	assert_int_equal(standoff_claim(t->path, &b, 100, &e), 0);
	assert_int_equal(standoff_claim(t->path, &first, 100, &e), 0);
	assert_int_equal(standoff_claim(t->path, &second, 100, &e), -EDEADLK);
	assert_non_null(strstr(e.text, "would never come"));
	assert_int_equal(standoff_claim(t->path, &first, 100, &e),
			 0); /* again: it is there already */
	assert_int_equal(standoff_drop(t->path, &first), 0);
	assert_int_equal(standoff_claim(t->path, &second, 100, &e), 0);
	assert_int_equal(standoff_drop(t->path, &second), 0);
	assert_int_equal(standoff_drop(t->path, &a), 0);
	assert_int_equal(standoff_drop(t->path, &b), 0);
	assert_int_equal(faccessat(t->dir, "turns.json", F_OK, 0), -1);
}

static void the_dead_are_in_no_circle(void **state)
{
	const struct tmp *t = *state;
	struct claim a = hold("a", 1), b = hold("b", 1), first, second;
	pid_t child = fork();

	if (child == 0) {
		pause();
		_exit(0);
	}
	by(&a, getpid(), 1);
	by(&b, getpid(), 2);
	first = waits("b", 1, &a, NULL);
	second = waits("a", 1, &b, NULL);
	by(&first, child, 1);
	by(&second, getpid(), 4);
	assert_int_equal(standoff_claim(t->path, &a, 100, NULL), 0);
	assert_int_equal(standoff_claim(t->path, &b, 100, NULL), 0);
	assert_int_equal(standoff_claim(t->path, &first, 100, NULL), 0);
	assert_int_equal(standoff_claim(t->path, &second, 100, NULL), -EDEADLK);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	assert_int_equal(standoff_claim(t->path, &second, 100, NULL), 0);
}

static void a_damaged_file_is_no_circle(void **state)
{
	static const char *const texts[] = {
		"", "{", "null", "[null,1,\"x\",{},[]]",
		"[{\"waits\":true,\"pid\":\"x\",\"repo_id\":7,\"above\":3}]"};
	const struct tmp *t = *state;
	struct claim a = hold("a", 1), mine = waits("b", 1, &a, NULL);

	by(&mine, getpid(), 1);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(
			file_replace(t->dir, "turns.json", texts[i], strlen(texts[i]), 0600), 0);
		assert_int_equal(standoff_claim(t->path, &mine, 100, NULL), 0);
	}
}

/* ---- the list of those above ---- */

static void the_list_goes_through_the_environment_and_back(void **state)
{
	char repos[HELD_TEXT_MAX], holders[HELD_TEXT_MAX];
	struct held_list l = {.n = 0}, back;
	struct held h;
	char name[REPO_ID_MAX];

	for (int i = 0; i < HELD_MAX; i++) {
		snprintf(name, sizeof(name), "%.55s-%d",
			 "a-name-of-a-repository-that-is-as-long-as-they-can-ever-be-made", i);
		h = turn(name, 4194304 + i, i == 3 ? HELD_ALL : 4294971391);
		h.start = UINT64_MAX;
		assert_true(held_push(&l, &h));
	}
	held_text(&l, repos, holders);
	held_parse_list(repos, holders, &back);
	assert_int_equal(back.n, HELD_MAX);
	for (int i = 0; i < HELD_MAX; i++)
		assert_true(held_same(&l.items[i], &back.items[i]));
	h = turn("one-more", 7, 7);
	assert_false(held_push(&l, &h));
	h = l.items[5];
	assert_true(held_push(&l, &h)); /* one that is there comes to the front */
	assert_true(held_same(&l.items[0], &h));
	assert_int_equal(l.n, HELD_MAX);
	held_parse_list("a b c", "1-2-3 x 4-5-6", &back);
	assert_int_equal(back.n, 1);
	held_parse_list("a b", "1-2-3", &back);
	assert_int_equal(back.n, 1);
	held_parse_list("a", NULL, &back);
	assert_int_equal(back.n, 0);
	held_parse_list("  a  ", "  1-2--1 ", &back);
	assert_int_equal(back.n, 1);
	assert_true(back.items[0].offset == HELD_ALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_who_wait_for_each_other_are_found_by_the_second),
		cmocka_unit_test(a_mere_wait_is_none),
		cmocka_unit_test(any_length_is_found),
		cmocka_unit_test(the_outer_of_two_turns_counts_as_well),
		cmocka_unit_test(to_want_all_branches_under_the_turn_of_one_is_a_circle),
		cmocka_unit_test(the_sentence_says_who_has_what),
		tmp_test(the_last_of_a_circle_is_told_and_makes_no_claim),
		tmp_test(the_dead_are_in_no_circle),
		tmp_test(a_damaged_file_is_no_circle),
		cmocka_unit_test(the_list_goes_through_the_environment_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
