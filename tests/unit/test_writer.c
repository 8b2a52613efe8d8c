#include "tests/unit/unit.h"

#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "router/writer.h"

static struct actor actor = {.pid = 7, .comm = "sh", .session = "s"};
static const struct writer who = {.actor = &actor, .since_wall_ms = 1, .path = "f"};

static bool waits(const struct tmp *t, pid_t process)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	const cJSON *item;
	if (json_read_file(t->dir, "writer.json", 1 << 20, &j, NULL) < 0)
		return false;
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(j, "waiters"))
		if (json_int(item, "process", 0) == process)
			return true;
	return false;
}

static void it_says_who_has_the_turn_and_goes_with_him(void **state)
{
	const struct tmp *t = *state;
	char text[300];
	assert_int_equal(writer_put(t->path, "main", &who, &who, 1), 0);
	assert_true(waits(t, getpid()));
	writer_describe(t->path, text, sizeof(text));
	assert_non_null(strstr(text, "sh pid 7 of no repository (session s)"));
	assert_int_equal(writer_put(t->path, "main", NULL, NULL, 0), 0);
	assert_int_equal(faccessat(t->dir, "writer.json", F_OK, 0), -1);
}

/* What one has taken out, another who reads and replaces at the same time does not put back. */
static void who_is_gone_stays_gone(void **state)
{
	const struct tmp *t = *state;
	pid_t other = fork();
	if (other == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;; usleep(1000)) /* it leaves room: nobody stands in line for that lock */
			writer_put(t->path, "main", &who, NULL, 0);
	}
	for (int i = 0; i < 300; i++) {
		assert_int_equal(writer_put(t->path, "main", NULL, &who, 1), 0);
		assert_int_equal(writer_put(t->path, "main", NULL, NULL, 0), 0);
		for (int k = 0; k < 20; k++)
			assert_false(waits(t, getpid()));
	}
	kill(other, SIGKILL);
	assert_int_equal(waitpid(other, NULL, 0), other);
	assert_int_equal(writer_put(t->path, "main", NULL, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_says_who_has_the_turn_and_goes_with_him,
						tmp_setup, tmp_teardown),
		cmocka_unit_test_setup_teardown(who_is_gone_stays_gone, tmp_setup, tmp_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
