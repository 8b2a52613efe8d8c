#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "router/turnlock.h"

static struct turnlock *open_lock(const struct tmp *t)
{
	struct turnlock *l = NULL;

	assert_int_equal(turnlock_open(&l, t->path, NULL), 0);
	return l;
}

static void two_holders_of_one_branch_exclude_each_other(void **state)
{
	struct turnlock *a = open_lock(*state), *b = open_lock(*state);

	assert_int_equal(turnlock_try(a, "main", false), 0);
	assert_int_equal(turnlock_try(a, "main", false), 0);
	assert_int_equal(turnlock_try(b, "main", false), -EAGAIN);
	assert_true(turnlock_taken(b, "main"));
	turnlock_release(a);
	assert_int_equal(turnlock_try(b, "main", false), 0);
	turnlock_close(a);
	turnlock_close(b);
}

static void branches_are_apart_and_all_means_all(void **state)
{
	struct turnlock *a = open_lock(*state), *b = open_lock(*state);

	assert_int_equal(turnlock_try(a, "main", false), 0);
	assert_int_equal(turnlock_try(b, "topic", false), 0);
	turnlock_release(b);
	assert_int_equal(turnlock_try(b, NULL, false), -EAGAIN);
	turnlock_release(a);
	assert_int_equal(turnlock_try(b, NULL, false), 0);
	assert_int_equal(turnlock_try(a, "main", false), -EAGAIN);
	assert_int_equal(turnlock_try(a, "anything", false), -EAGAIN);
	turnlock_close(a);
	turnlock_close(b);
}

static void a_holder_sees_who_waits(void **state)
{
	struct turnlock *a = open_lock(*state), *b = open_lock(*state), *c = open_lock(*state);

	assert_int_equal(turnlock_try(a, "main", false), 0);
	assert_false(turnlock_wanted(a));
	assert_int_equal(turnlock_try(b, "main", true), -EAGAIN);
	assert_int_equal(turnlock_try(c, "main", true), -EAGAIN);
	assert_true(turnlock_wanted(a));
	turnlock_unmark(b);
	assert_true(turnlock_wanted(a));
	turnlock_close(c);
	assert_false(turnlock_wanted(a));
	assert_int_equal(turnlock_try(b, NULL, true), -EAGAIN);
	assert_true(turnlock_wanted(a));
	turnlock_release(a);
	assert_int_equal(turnlock_try(b, NULL, true), 0);
	assert_false(turnlock_wanted(b));
	turnlock_close(a);
	turnlock_close(b);
}

static void a_wait_is_bounded_and_leaves_no_mark(void **state)
{
	struct turnlock *a = open_lock(*state), *b = open_lock(*state);

	assert_int_equal(turnlock_try(a, "main", false), 0);
	assert_int_equal(turnlock_wait(b, "main", 20), -ETIMEDOUT);
	assert_false(turnlock_wanted(a));
	turnlock_close(a);
	turnlock_close(b);
}

static void a_dead_holder_frees_the_turn(void **state)
{
	struct turnlock *a = open_lock(*state);
	int ready[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		struct turnlock *b = NULL;

		if (turnlock_open(&b, ((struct tmp *)*state)->path, NULL) < 0 ||
		    turnlock_try(b, "main", false) < 0)
			_exit(1);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	assert_int_equal(turnlock_try(a, "main", false), -EAGAIN);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(turnlock_try(a, "main", false), 0);
	turnlock_close(a);
	close(ready[0]);
	close(ready[1]);
}

static void epochs_only_grow_in_all_processes(void **state)
{
	struct turnlock *a = open_lock(*state), *b = open_lock(*state);
	uint64_t last = 0, e;

	for (int i = 0; i < 100; i++) {
		assert_int_equal(turnlock_next_epoch(i % 2 ? a : b, &e), 0);
		assert_true(e > last);
		last = e;
	}
	turnlock_close(a);
	turnlock_close(b);
}

static void a_damaged_or_lost_counter_starts_beyond_the_old_one(void **state)
{
	static const char *const damage[] = {"", "garbage", "-3\n",
					     "99999999999999999999999999999999", "12x34"};
	struct tmp *t = *state;
	uint64_t before, after;

	for (size_t i = 0; i < sizeof(damage) / sizeof(*damage); i++) {
		struct turnlock *l = open_lock(t);
		int fd;

		assert_int_equal(turnlock_next_epoch(l, &before), 0);
		turnlock_close(l);
		usleep(2000); /* the counter restarts from the clock, in milliseconds */
		fd = openat(t->dir, "lock", O_WRONLY | O_TRUNC);
		assert_int_equal(write(fd, damage[i], strlen(damage[i])), strlen(damage[i]));
		close(fd);
		l = open_lock(t);
		assert_int_equal(turnlock_next_epoch(l, &after), 0);
		assert_true(after > before);
		turnlock_close(l);
	}
}

static void a_removed_lock_file_is_made_anew(void **state)
{
	struct tmp *t = *state;
	struct turnlock *a = open_lock(t), *b;

	assert_int_equal(unlinkat(t->dir, "lock", 0), 0);
	assert_int_equal(turnlock_try(a, "main", false), 0);
	b = open_lock(t);
	assert_int_equal(turnlock_try(b, "main", false), -EAGAIN);
	turnlock_close(a);
	turnlock_close(b);
}

static void a_missing_state_directory_has_a_sentence(void **state)
{
	struct turnlock *l = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(turnlock_open(&l, "/tmp/rrm-no-such-dir", &e), -ENOENT);
	assert_non_null(strstr(e.text, "/tmp/rrm-no-such-dir/lock"));
	assert_null(l);
}

static void the_offset_is_that_of_the_format(void **state)
{
	/* printf main | sha256sum: 0d6e4079... */
	assert_int_equal(turnlock_offset("main"), 4096 + 0x0d6e4079LL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(two_holders_of_one_branch_exclude_each_other),
		tmp_test(branches_are_apart_and_all_means_all),
		tmp_test(a_holder_sees_who_waits),
		tmp_test(a_wait_is_bounded_and_leaves_no_mark),
		tmp_test(a_dead_holder_frees_the_turn),
		tmp_test(epochs_only_grow_in_all_processes),
		tmp_test(a_damaged_or_lost_counter_starts_beyond_the_old_one),
		tmp_test(a_removed_lock_file_is_made_anew),
		tmp_test(a_missing_state_directory_has_a_sentence),
		cmocka_unit_test(the_offset_is_that_of_the_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
