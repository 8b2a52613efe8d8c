#include "tests/unit/fake_world.h"

#include <sys/stat.h>

/* What the plugin of a backend announces. */

static struct tmp *announced_setup(void **state)
{
	struct tmp *t = *state;

	setup(NULL);
	register_backend("web-1", 20, 1020, 1);
	add(20, 10, "/m/web");
	add(30, 20, "/m/web"); /* rrm lock */
	assert_int_equal(mkdirat(t->dir, "repos", 0700), 0);
	assert_int_equal(mkdirat(t->dir, "repos/web-1", 0700), 0);
	assert_int_equal(mkdirat(t->dir, "repos/web-1/turns", 0700), 0);
	return t;
}

static struct identity announced_to(struct tmp *t, pid_t tid, const char *text)
{
	struct identity who = who_is(tid);

	assert_int_equal(file_replace(t->dir, "repos/web-1/turns/api-2", text, strlen(text), 0600),
			 0);
	identity_announced(&world, t->path, "api-2", sessions, &who);
	return who;
}

static void a_backend_writes_for_the_session_that_was_announced(void **state)
{
	struct tmp *t = announced_setup(state);
	struct identity who = announced_to(t, 20, "ses_1 30-1030-4711\n");

	assert_string_equal(who.session, "ses_1");
	assert_int_equal(who.session_id, sessions_intern(sessions, "web-1", "ses_1"));
	assert_int_equal(who.held.n, 1);
	assert_string_equal(who.held.items[0].repo, "api-2");
	assert_int_equal(who.held.items[0].offset, 4711);
	who = announced_to(t, 20, "ses_1 -\n"); /* writes without a turn */
	assert_string_equal(who.session, "ses_1");
	assert_int_equal(who.held.n, 0);
	who = who_is(20);
	identity_announced(&world, t->path, "sub-3", sessions, &who);
	assert_string_equal(who.session, "20-1020");
	at(30)->gone = true;
	assert_string_equal(announced_to(t, 20, "ses_1 30-1030-4711\n").session, "20-1020");
	teardown(NULL);
}

static void what_is_announced_is_for_no_one_else(void **state)
{
	struct tmp *t = announced_setup(state);

	add(40, 20, "/m/web")->environ = "RRM_SESSION=ses_2";
	add(41, 20, "/m/web"); /* a formatter */
	add(42, 10, "/m/web");
	assert_int_equal(announced_to(t, 40, "ses_1 30-1030-4711\n").held.n, 0);
	assert_string_equal(announced_to(t, 40, "ses_1 30-1030-4711\n").session, "ses_2");
	assert_string_equal(announced_to(t, 41, "ses_1 30-1030-4711\n").session, "ses_1");
	assert_int_equal(announced_to(t, 42, "ses_1 30-1030-4711\n").held.n, 0);
	teardown(NULL);
}

static void a_damaged_announcement_is_none(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		" ",
		"ses_1",
		"ses_1 ",
		"ses_1 30",
		"ses_1 30-1030",
		"ses_1 30-1030-",
		"ses_1 30-1030-4711x",
		" 30-1030-4711",
		"s\x01 30-1030-4711",
		"ses_1 30-7-4711",
		"an_endless_name_of_a_session_longer_than_any_that_there_is_here_ 30-1030-4711\n"};
	struct tmp *t = announced_setup(state);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct identity who = announced_to(t, 20, texts[i]);

		assert_string_equal(who.session, "20-1020");
		assert_int_equal(who.held.n, 0);
	}
	teardown(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(a_backend_writes_for_the_session_that_was_announced),
		tmp_test(what_is_announced_is_for_no_one_else),
		tmp_test(a_damaged_announcement_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
