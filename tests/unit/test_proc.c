#include "tests/unit/unit.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "manager/base/cleanup.h"
#include "manager/base/proc.h"

/* A child that waits for its end of life on a pipe; name is its comm. */
struct child {
	pid_t pid;
	int hold; /* closing it ends the child */
};

static struct child start_child(const char *name)
{
	int ready[2];
	int hold[2];
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char c;
		close(hold[1]);
		prctl(PR_SET_NAME, name);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		ssize_t n = read(hold[0], &c, 1);
		_exit(n == 0 ? 0 : 1);
	}
	char c;
	close(ready[1]);
	close(hold[0]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return (struct child){.pid = pid, .hold = hold[1]};
}

static void end_child(const struct child *c)
{
	close(c->hold);
	int status;
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
}

static void a_process_finds_itself(void **state)
{
	struct proc_stat st;
	assert_int_equal(proc_stat(getpid(), &st), 0);
	assert_int_equal(st.pid, getpid());
	assert_int_equal(st.ppid, getppid());
	assert_int_equal(st.pgid, getpgid(0));
	assert_int_equal(st.session, getsid(0));
	assert_int_equal(st.state, 'R');
	assert_true(st.start > 0);
	assert_string_equal(st.comm, "test_proc");
	assert_true(proc_alive(getpid(), st.start));
	assert_false(proc_alive(getpid(), st.start + 1));
}

static void a_name_with_parentheses_and_blanks_hides_nothing(void **state)
{
	const char *names[] = {") S 1 1 (", "((", "))", "a b c", ")", "x) Z 1 2 3"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct child c = start_child(names[i]);
		struct proc_stat st;
		int r = proc_stat(c.pid, &st);
		end_child(&c);
		assert_int_equal(r, 0);
		assert_string_equal(st.comm, names[i]);
		assert_int_equal(st.ppid, getpid());
		assert_true(st.state == 'S' || st.state == 'R');
		assert_true(st.start > 0);
	}
}

static void a_zombie_is_not_alive_and_a_reaped_process_is_gone(void **state)
{
	struct child c = start_child("zombie");
	struct proc_stat st;
	assert_int_equal(proc_stat(c.pid, &st), 0);
	assert_true(proc_alive(c.pid, st.start));
	close(c.hold);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)c.pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(proc_alive(c.pid, st.start));
	assert_int_equal(proc_stat(c.pid, &st), 0);
	assert_int_equal(st.state, 'Z');
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	assert_int_equal(proc_stat(c.pid, &st), -ESRCH);
	char buf[64];
	pid_t tgid;
	struct proc_memory mem;
	assert_int_equal(proc_cwd(c.pid, buf, sizeof(buf)), -ESRCH);
	assert_int_equal(proc_cmdline(c.pid, buf, sizeof(buf)), -ESRCH);
	assert_int_equal(proc_tgid(c.pid, &tgid), -ESRCH);
	assert_int_equal(proc_memory(c.pid, &mem), -ESRCH);
	char *value = NULL;
	assert_int_equal(proc_environ(c.pid, "HOME", &value), -ESRCH);
	pid_t *pids = NULL;
	size_t n;
	assert_int_equal(proc_tree(c.pid, &pids, &n), -ESRCH);
	gid_t *groups = NULL;
	assert_int_equal(proc_groups(c.pid, &groups, &n), -ESRCH);
}

static void a_signal_that_is_handled_kills_nobody(void **state)
{
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old); /* the child has it pending */
	struct child c = start_child("waits");
	assert_int_equal(kill(c.pid, SIGUSR1), 0);
	assert_int_equal(proc_signal(c.pid), PROC_UNSIGNALLED);
	sigprocmask(SIG_SETMASK, &old, NULL);
	end_child(&c);
	assert_int_equal(proc_signal(c.pid), PROC_DYING);
	assert_int_equal(proc_signal(0), PROC_DYING);
}

static void ignore(int sig)
{
}

/* Stopped, it takes no signal: they stay pending. */
static void what_stops_is_not_what_ends_a_wait(void **state)
{
	void (*before)(int) = signal(SIGWINCH, ignore);
	struct child c = start_child("waits");
	signal(SIGWINCH, before);
	assert_int_equal(kill(c.pid, SIGSTOP), 0);
	for (struct proc_stat st; proc_stat(c.pid, &st) == 0 && st.state != 'T';)
		usleep(1000);
	assert_int_equal(proc_signal(c.pid), PROC_UNSIGNALLED);
	assert_int_equal(kill(c.pid, SIGTSTP), 0);
	assert_int_equal(proc_signal(c.pid), PROC_UNSIGNALLED);
	assert_int_equal(kill(c.pid, SIGWINCH), 0); /* handled */
	assert_int_equal(proc_signal(c.pid), PROC_UNSIGNALLED);
	assert_int_equal(kill(c.pid, SIGQUIT), 0); /* with a core, so it does not become SIGKILL */
	assert_int_equal(proc_signal(c.pid), PROC_SIGNALLED);
	assert_int_equal(kill(c.pid, SIGKILL), 0);
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	close(c.hold);
}

static void pids_that_cannot_be_are_no_process(void **state)
{
	struct proc_stat st;
	pid_t tgid;
	assert_int_equal(proc_stat(0, &st), -ESRCH);
	assert_int_equal(proc_stat(-1, &st), -ESRCH);
	assert_int_equal(proc_tgid(0, &tgid), -ESRCH);
	assert_false(proc_alive(0, 0));
}

static void *thread_asks(void *arg)
{
	pid_t *out = arg;
	struct proc_stat st;
	if (proc_tgid(gettid(), out) < 0 || proc_stat(gettid(), &st) < 0 || st.pid != gettid())
		*out = -1;
	return NULL;
}

static void a_thread_belongs_to_its_process(void **state)
{
	pid_t tgid = 0;
	assert_int_equal(proc_tgid(getpid(), &tgid), 0);
	assert_int_equal(tgid, getpid());
	pthread_t th;
	assert_int_equal(pthread_create(&th, NULL, thread_asks, &tgid), 0);
	pthread_join(th, NULL);
	assert_int_equal(tgid, getpid());
}

static void directory_program_and_command_line_are_read(void **state)
{
	char buf[PATH_MAX];
	char want[PATH_MAX];
	assert_non_null(getcwd(want, sizeof(want)));
	assert_int_equal(proc_cwd(getpid(), buf, sizeof(buf)), 0);
	assert_string_equal(buf, want);
	assert_int_equal(proc_exe(getpid(), buf, sizeof(buf)), 0);
	assert_non_null(strstr(buf, "test_proc"));
	assert_int_equal(proc_exe(getpid(), buf, 3), -ENAMETOOLONG);
	assert_int_equal(proc_cmdline(getpid(), buf, sizeof(buf)), 0);
	assert_non_null(strstr(buf, "test_proc"));
	assert_int_equal(proc_cmdline(getpid(), buf, 4), 0);
	assert_int_equal(strlen(buf), 3);
}

static void a_command_line_has_blanks_between_its_words(void **state)
{
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		static char sh[] = "sh", c[] = "-c", script[] = "echo ready; read x";
		static char one[] = "one", none[] = "", two[] = "two words";
		static char a[] = "A=1", ab[] = "AB=", home[] = "RRM_HOME_REPO=web-0123=x";
		char *argv[] = {sh, c, script, one, none, two, NULL};
		char *envp[] = {a, ab, home, NULL};
		int in[2];
		if (pipe(in) == 0)
			dup2(in[0], STDIN_FILENO);
		execve("/bin/sh", argv, envp);
		_exit(127);
	}
	char line[8];
	close(out[1]);
	assert_true(read(out[0], line, sizeof(line)) > 0);
	close(out[0]);
	char buf[128];
	int r = proc_cmdline(pid, buf, sizeof(buf));
	char *home = NULL;
	char *empty = NULL;
	char *none = NULL;
	int rh = proc_environ(pid, "RRM_HOME_REPO", &home);
	int re = proc_environ(pid, "AB", &empty);
	int rn = proc_environ(pid, "RRM_HOME", &none);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(r, 0);
	assert_string_equal(buf, "sh -c echo ready; read x one  two words");
	assert_int_equal(rh, 0);
	assert_string_equal(home, "web-0123=x");
	assert_int_equal(re, 0);
	assert_string_equal(empty, "");
	assert_int_equal(rn, -ENOENT);
	free(home);
	free(empty);
}

static void the_boot_id_has_36_characters(void **state)
{
	char id[40];
	assert_int_equal(proc_boot_id(id, sizeof(id)), 0);
	assert_int_equal(strlen(id), 36);
	assert_int_equal(proc_boot_id(id, 36), -ENAMETOOLONG);
}

static int is_me(pid_t pid, void *arg)
{
	++*(int *)arg;
	return pid == getpid() ? 77 : 0;
}

static int count_all(pid_t pid, void *arg)
{
	++*(int *)arg;
	return 0;
}

static void every_process_is_visited_until_told_to_stop(void **state)
{
	int stopped_after = 0;
	int all = 0;
	assert_int_equal(proc_each(is_me, &stopped_after), 77);
	assert_int_equal(proc_each(count_all, &all), 0);
	assert_true(stopped_after >= 1 && all >= 1);
}

static void a_tree_holds_children_and_grandchildren(void **state)
{
	int ready[2];
	int hold[2];
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char c;
		close(hold[1]);
		pid_t grandchild = fork();
		ssize_t n = write(ready[1], "x", 1);
		n += read(hold[0], &c, 1);
		if (grandchild > 0)
			waitpid(grandchild, NULL, 0);
		_exit(n == 1 ? 0 : 1);
	}
	char c[2];
	size_t got;
	close(hold[0]);
	close(ready[1]);
	assert_int_equal(file_read_full(ready[0], c, 2, &got), 0);
	close(ready[0]);
	pid_t *pids = NULL;
	size_t n = 0;
	int r = proc_tree(pid, &pids, &n);
	close(hold[1]);
	waitpid(pid, NULL, 0);
	assert_int_equal(r, 0);
	assert_int_equal(n, 2);
	assert_int_equal(pids[0], pid);
	assert_true(pids[1] > 0 && pids[1] != pid);
	free(pids);
}

static void memory_is_counted(void **state)
{
	struct proc_memory mem;
	assert_int_equal(proc_memory(getpid(), &mem), 0);
	assert_true(mem.rss_kib > 100);
	assert_true(mem.pss_kib <= mem.rss_kib);
	assert_int_equal(proc_memory(-5, &mem), -ESRCH);
}

static void supplementary_groups_are_read(void **state)
{
	gid_t *groups = NULL;
	size_t n = 0;
	assert_int_equal(proc_groups(gettid(), &groups, &n), 0);
	int want = getgroups(0, NULL);
	assert_int_equal(n, want);
	gid_t *mine = calloc((size_t)want + 1, sizeof(*mine));
	assert_int_equal(getgroups(want, mine), want);
	for (int i = 0; i < want; i++) {
		int found = 0;
		for (size_t k = 0; k < n; k++)
			found |= groups[k] == mine[i];
		assert_true(found);
	}
	free(mine);
	free(groups);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_finds_itself),
		cmocka_unit_test(a_name_with_parentheses_and_blanks_hides_nothing),
		cmocka_unit_test(a_zombie_is_not_alive_and_a_reaped_process_is_gone),
		cmocka_unit_test(a_signal_that_is_handled_kills_nobody),
		cmocka_unit_test(what_stops_is_not_what_ends_a_wait),
		cmocka_unit_test(pids_that_cannot_be_are_no_process),
		cmocka_unit_test(a_thread_belongs_to_its_process),
		cmocka_unit_test(directory_program_and_command_line_are_read),
		cmocka_unit_test(a_command_line_has_blanks_between_its_words),
		cmocka_unit_test(the_boot_id_has_36_characters),
		cmocka_unit_test(every_process_is_visited_until_told_to_stop),
		cmocka_unit_test(a_tree_holds_children_and_grandchildren),
		cmocka_unit_test(memory_is_counted),
		cmocka_unit_test(supplementary_groups_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
