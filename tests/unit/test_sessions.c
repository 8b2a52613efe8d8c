#include "tests/unit/unit.h"

#include <errno.h>

#include "router/sessions.h"

static void sessions_are_numbers_and_back(void **state)
{
	char home[REPO_ID_MAX], session[SESSION_ID_MAX];
	struct sessions *s = NULL;
	uint32_t a, b;

	assert_int_equal(sessions_new(&s), 0);
	a = sessions_intern(s, "web-1", "s");
	b = sessions_intern(s, "", "s");
	assert_true(a && b && a != b);
	assert_int_equal(sessions_intern(s, "web-1", "s"), a);
	assert_int_equal(sessions_lookup(s, a, home, session), 0);
	assert_string_equal(home, "web-1");
	assert_string_equal(session, "s");
	assert_int_equal(sessions_lookup(s, b, home, session), 0);
	assert_string_equal(home, "");
	assert_int_equal(sessions_lookup(s, 12345, home, session), -ENOENT);
	sessions_free(s);
}

static void sessions_not_used_for_longest_are_forgotten(void **state)
{
	char home[REPO_ID_MAX], session[SESSION_ID_MAX], name[20];
	struct sessions *s = NULL;
	uint32_t kept, lost, again;

	assert_int_equal(sessions_new(&s), 0);
	lost = sessions_intern(s, "web-1", "lost");
	kept = sessions_intern(s, "web-1", "kept");
	for (int i = 0; i < SESSIONS_MAX; i++) {
		snprintf(name, sizeof(name), "s%d", i);
		sessions_intern(s, "", name);
		assert_int_equal(sessions_lookup(s, kept, home, session), 0);
	}
	assert_string_equal(session, "kept");
	assert_int_equal(sessions_lookup(s, lost, home, session), -ENOENT);
	again = sessions_intern(s, "web-1", "lost");
	assert_true(again > SESSIONS_MAX);
	assert_int_equal(sessions_lookup(s, again, home, session), 0);
	assert_string_equal(session, "lost");
	sessions_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_are_numbers_and_back),
		cmocka_unit_test(sessions_not_used_for_longest_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
