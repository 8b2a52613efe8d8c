#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "manager/base/clock.h"
#include "router/identity.h"
#include "router/sessions.h"

/* With real processes. */

static pid_t spawn_in(const char *dir, int ready, bool orphan)
{
	pid_t pid = fork();
	char line[32];

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (chdir(dir) < 0)
		_exit(1);
	setsid();
	if (orphan && fork() != 0)
		_exit(0);
	snprintf(line, sizeof(line), "%d\n", (int)getpid());
	if (write(ready, line, strlen(line)) < 0)
		_exit(1);
	alarm(60);
	pause();
	_exit(0);
}

static void real_processes_are_read_from_proc(void **state)
{
	struct tmp *t = *state;
	struct config c = {.base = t->path};
	struct repo r = {.id = "web-1"};
	struct identity_world w;
	struct identities *ids;
	struct sessions *sessions;
	struct identity who;
	char root[64], line[32] = "";
	int ready[2];
	pid_t pid, orphan;

	snprintf(root, sizeof(root), "%s/web", t->path);
	assert_int_equal(mkdir(root, 0700), 0);
	r.root = root, r.name = root + strlen(t->path) + 1, r.state_dir = t->path;
	r.added = line;
	assert_int_equal(sessions_new(&sessions), 0);
	identity_world(&w, &c);
	assert_int_equal(identities_new(&ids, &w, t->path, sessions), 0);
	assert_int_equal(identities_add_repo(ids, &r), 0);
	assert_int_equal(pipe(ready), 0);
	pid = spawn_in(root, ready[1], false);
	assert_true(read(ready[0], line, sizeof(line)) > 0);
	identity_of(ids, pid, clock_mono_ms(), &who);
	assert_string_equal(who.home, "web-1");
	assert_int_equal(who.rule, 2);
	assert_int_equal(who.anchor, pid);
	memset(line, 0, sizeof(line));
	waitpid(spawn_in(root, ready[1], true), NULL, 0);
	assert_true(read(ready[0], line, sizeof(line) - 1) > 0);
	orphan = atoi(line);
	identity_of(ids, orphan, clock_mono_ms(), &who);
	assert_string_equal(who.home, "web-1");
	assert_int_equal(who.anchor, orphan);
	kill(orphan, SIGKILL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	identity_of(ids, pid, clock_mono_ms() + 100, &who);
	assert_int_equal(who.rule, 3);
	close(ready[0]);
	close(ready[1]);
	identities_free(ids);
	sessions_free(sessions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(real_processes_are_read_from_proc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
