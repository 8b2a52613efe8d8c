#include "tests/unit/unit.h"

#include <errno.h>

#include "manager/base/proc.h"
#include "manager/session.h"

struct world {
	struct config config;
	struct repo repo;
	uint64_t start;
};

static struct world world_in(struct tmp *t)
{
	struct world w = {.config = {.base = t->path}, .repo = {.id = "web-0123456789abcdef"}};
	struct proc_stat st;

	assert_int_equal(proc_stat(getpid(), &st), 0);
	w.start = st.start;
	return w;
}

static void a_registered_process_is_found_until_it_unregisters(void **state)
{
	struct world w = world_in(*state);
	char session[SESSION_ID_MAX], got[SESSION_ID_MAX], repo[REPO_ID_MAX], want[32];

	assert_int_equal(session_lookup(&w.config, getpid(), w.start, repo, got), -ENOENT);
	assert_int_equal(session_register(&w.config, &w.repo, getpid(), session, NULL), 0);
	int n = snprintf(want, sizeof(want), "run-%d-", (int)getpid());
	assert_memory_equal(session, want, n);
	assert_int_equal(strlen(session), n + 6);
	assert_int_equal(session_lookup(&w.config, getpid(), w.start, repo, got), 0);
	assert_string_equal(repo, w.repo.id);
	assert_string_equal(got, session);
	session_unregister(&w.config, getpid());
	assert_int_equal(session_lookup(&w.config, getpid(), w.start, repo, got), -ENOENT);
}

static void a_reused_pid_is_another_process(void **state)
{
	struct world w = world_in(*state);
	char session[SESSION_ID_MAX], repo[REPO_ID_MAX];

	assert_int_equal(session_register(&w.config, &w.repo, getpid(), session, NULL), 0);
	assert_int_equal(session_lookup(&w.config, getpid(), w.start + 1, repo, session), -ENOENT);
}

static void a_damaged_entry_is_no_session(void **state)
{
	struct tmp *t = *state;
	struct world w = world_in(t);
	char session[SESSION_ID_MAX], repo[REPO_ID_MAX], path[64];
	static const char *const broken[] = {"", "{", "[]", "{\"pid\":\"x\"}"};

	assert_int_equal(session_register(&w.config, &w.repo, getpid(), session, NULL), 0);
	snprintf(path, sizeof(path), "sessions/%d.json", (int)getpid());
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(file_replace(t->dir, path, broken[i], strlen(broken[i]), 0600), 0);
		assert_int_equal(session_lookup(&w.config, getpid(), w.start, repo, session),
				 -ENOENT);
	}
}

static void a_process_that_is_gone_cannot_be_registered(void **state)
{
	struct world w = world_in(*state);
	char session[SESSION_ID_MAX];
	struct err e = ERR_INIT;

	assert_int_equal(session_register(&w.config, &w.repo, 0x3ffffffe, session, &e), -ESRCH);
	assert_non_null(strstr(e.text, "registering the session"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(a_registered_process_is_found_until_it_unregisters),
		tmp_test(a_reused_pid_is_another_process),
		tmp_test(a_damaged_entry_is_no_session),
		tmp_test(a_process_that_is_gone_cannot_be_registered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
