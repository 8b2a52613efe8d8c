#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
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

/* A program with so much in its environment, stopped before its first instruction. */
static pid_t start_with(size_t bytes)
{
	char *value = malloc(bytes + 3), name[] = "cat", first[] = "A=1";
	char *argv[] = {name, NULL}, *envp[] = {first, value, NULL};
	pid_t pid;
	int status;

	assert_non_null(value);
	memset(value, 'v', bytes + 2);
	memcpy(value, "B=", 2);
	value[bytes + 2] = '\0';
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execve("/bin/cat", argv, envp);
		_exit(1);
	}
	free(value);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	return pid;
}

static void the_environment_is_the_same_wherever_it_is_read(void **state)
{
	static const size_t sizes[] = {0, 100, 5000, (16 << 10) - 7, 16 << 10, 100000};
	char none[] = "/nonexistent";
	struct config c = {.base = none};
	struct identity_world w;

	identity_world(&w, &c);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		const size_t whole = 4 + sizes[i] + 3;
		pid_t pid = start_with(sizes[i]);
		struct proc_stat st;
		uint64_t start;

		assert_int_equal(proc_stat(pid, &st), 0);
		start = st.env_start;
		assert_int_equal(st.env_end - start, whole);
		for (int how = 0; how < 3; how++) { /* by its memory; not told where; told wrong */
			char *data;
			size_t len;

			st.env_start = how == 2 ? 4096 : how ? 0 : start;
			st.env_end = how == 1 ? 0 : st.env_start + whole;
			assert_int_equal(w.environ(w.arg, &st, &data, &len), 0);
			assert_int_equal(len, whole);
			assert_memory_equal(data, "A=1\0B=", 6);
			assert_int_equal(strlen(data + 4), sizes[i] + 2);
			free(data);
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		start = st.env_start = 0;
		assert_true(w.environ(w.arg, &st, &(char *){NULL}, &(size_t){0}) < 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(real_processes_are_read_from_proc),
		cmocka_unit_test(the_environment_is_the_same_wherever_it_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
