#include "tests/unit/fake_backend.h"

#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/proc.h"
#include "manager/cmd.h"
#include "manager/ensure.h"
#include "manager/port.h"

/* A state base with one repo, and a configuration. */
struct world {
	struct tmp *tmp;
	struct config *c;
	struct repo *r;
	char self[4096];
};

/* A fork() of a program that once had a thread counts it as leaked when the child ends, with exit status 66. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0";
}

static void script(const struct world *w, const char *name)
{
	char path[128], text[5000];
	snprintf(path, sizeof(path), "bin/%s", name);
	int n = snprintf(text, sizeof(text), "#!/bin/sh\nFAKE_AS=%s exec '%s' \"$@\"\n", name,
			 w->self);
	assert_int_equal(file_replace(w->tmp->dir, path, text, (size_t)n, 0755), 0);
}

static void set_dir(const struct tmp *t, const char *variable, const char *below)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", t->path, below);
	assert_int_equal(file_mkdirs(path, 0700), 0);
	setenv(variable, path, 1);
}

static void configure(const struct world *w, unsigned timeout_ms)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "{\"backend\":\"embedded\",\"start_timeout_ms\":%u}",
			 timeout_ms);
	assert_int_equal(file_mkdirs(getenv("XDG_CONFIG_HOME"), 0700), 0);
	char path[160];
	snprintf(path, sizeof(path), "%s/rrm", getenv("XDG_CONFIG_HOME"));
	assert_int_equal(file_mkdirs(path, 0700), 0);
	strcat(path, "/config.json");
	assert_int_equal(file_replace(AT_FDCWD, path, text, (size_t)n, 0600), 0);
	w->c->start_timeout_ms = timeout_ms;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct err e = ERR_INIT;
	void *tmp;
	tmp_setup(&tmp);
	w->tmp = tmp;
	assert_true(readlink("/proc/self/exe", w->self, sizeof(w->self) - 1) > 0);
	set_dir(w->tmp, "HOME", "h");
	set_dir(w->tmp, "XDG_CONFIG_HOME", "h/c");
	set_dir(w->tmp, "XDG_DATA_HOME", "h/d");
	set_dir(w->tmp, "XDG_STATE_HOME", "h/s");
	set_dir(w->tmp, "RRM_HOME", "s");
	set_dir(w->tmp, "RRM_BINDIR", "bin");
	setenv("FAKE_DIR", w->tmp->path, 1);
	setenv("FAKE_MODE", "", 1);
	script(w, "rrm-backend");
	script(w, "rrm");
	assert_int_equal(config_load(&w->c, &e), 0);
	w->c->backend = CONFIG_BACKEND_EMBEDDED;
	configure(w, 20000);
	char root[64];
	snprintf(root, sizeof(root), "%s/web", w->tmp->path);
	assert_int_equal(mkdir(root, 0700), 0);
	if (repo_add(w->c, root, NULL, true, &w->r, &e) != 0)
		fail_msg("%s", e.text);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	if (ensure_stop(w->c, w->r, &e) != 0)
		fail_msg("%s", e.text);
	repo_free(w->r);
	config_free(w->c);
	void *tmp = w->tmp;
	free(w);
	return tmp_teardown(&tmp);
}

static struct endpoint ensured(const struct world *w)
{
	struct endpoint ep;
	struct err e = ERR_INIT;
	if (ensure_start(w->c, w->r, &ep, &e) != 0)
		fail_msg("%s", e.text);
	return ep;
}

/* Pids of all starts so far, and how many of them live. */
static size_t starts(const struct world *w, size_t *living)
{
	CLEANUP(freep) char *text = NULL;
	size_t len, n = 0;
	*living = 0;
	if (file_read(w->tmp->dir, "starts", 1 << 20, &text, &len) < 0)
		return 0;
	for (char *p = text; *p; p = strchr(p, '\n') + 1, n++) {
		struct proc_stat st;
		*living += proc_stat(atoi(p), &st) == 0 && st.state != 'Z';
	}
	return n;
}

static void expect_living(const struct world *w, size_t total, size_t living)
{
	size_t now;
	assert_int_equal(starts(w, &now), total);
	assert_int_equal(now, living);
}

/* Of a start that fails by the clock: so late that the backend came to where it fails. */
enum { END_MS = 6000 };

static void fails(const struct world *w, const char *mode, int error, const char *words)
{
	struct endpoint ep;
	struct err e = ERR_INIT;
	setenv("FAKE_MODE", mode, 1);
	uint64_t begun = clock_mono_ms();
	assert_int_equal(ensure_start(w->c, w->r, &ep, &e), error);
	assert_true(clock_mono_ms() - begun < w->c->start_timeout_ms + 60000);
	if (!strstr(e.text, words) || strncmp(e.text, "starting backend for web: ", 26) != 0)
		fail_msg("said \"%s\", not \"%s\"", e.text, words);
	assert_int_equal(registry_read(w->r, &ep, NULL, &e), 0);
	assert_string_equal(ep.state, "failed");
	assert_non_null(strstr(ep.error, words));
	expect_living(w, 1, 0);
}

static void without_a_backend_it_is_cold(void **state)
{
	struct world *w = *state;
	struct endpoint ep;
	assert_int_equal(ensure_warm(w->c, w->r, 200, &ep), ENSURE_COLD);
}

static void the_second_ensure_finds_what_the_first_started(void **state)
{
	struct world *w = *state;
	struct endpoint a = ensured(w), b = ensured(w);
	struct endpoint c;
	assert_int_equal(a.pid, b.pid);
	assert_int_equal(ensure_warm(w->c, w->r, 30000, &c), 0);
	assert_string_equal(c.url, a.url);
	assert_string_equal(c.backend, "embedded");
	assert_string_equal(c.version, "f1");
	assert_string_equal(c.state, "ready");
	expect_living(w, 1, 1);
	struct proc_stat st;
	assert_int_equal(proc_stat(a.pid, &st), 0);
	assert_int_equal(st.session, a.pid);
	assert_int_equal(st.pgid, a.pid);
}

static void the_password_is_random_private_and_stays(void **state)
{
	struct world *w = *state;
	char path[4200];
	snprintf(path, sizeof(path), "%s/password", w->r->state_dir);
	ensured(w);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	CLEANUP(freep) char *one = NULL, *two = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 100, &one, &len), 0);
	assert_int_equal(len, 33);
	assert_int_equal(strspn(one, "0123456789abcdef"), 32);
	struct endpoint ep;
	assert_int_equal(ensure_restart(w->c, w->r, NULL, &ep, NULL), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 100, &two, &len), 0);
	assert_string_equal(one, two);
}

/* True: the process waits for start.lock, or has it. */
static bool at_the_lock(const struct world *w, pid_t pid)
{
	char path[4200], fds[64], target[4200];
	bool found = false;
	snprintf(path, sizeof(path), "%s/start.lock", w->r->state_dir);
	snprintf(fds, sizeof(fds), "/proc/%d/fd", (int)pid);
	CLEANUP(closedirp) DIR *d = opendir(fds);
	const struct dirent *de;
	while (d && !found && (de = readdir(d))) {
		ssize_t len = readlinkat(dirfd(d), de->d_name, target, sizeof(target) - 1);
		target[len > 0 ? len : 0] = '\0';
		found = strcmp(target, path) == 0;
	}
	return found;
}

/* Lets the start fail when all have called ensure_start(), by the clock that the times of files come from, too. */
static void fail_them(const struct world *w, const pid_t *pids, int n)
{
	struct timespec now, coarse;
	for (int i = 0; i < n; i++)
		while (!at_the_lock(w, pids[i]))
			poll(NULL, 0, 1);
	clock_gettime(CLOCK_REALTIME, &now);
	do {
		poll(NULL, 0, 1);
		clock_gettime(CLOCK_REALTIME_COARSE, &coarse);
	} while (coarse.tv_sec < now.tv_sec ||
		 (coarse.tv_sec == now.tv_sec && coarse.tv_nsec < now.tv_nsec));
	assert_int_equal(file_replace(w->tmp->dir, "now", "", 0, 0600), 0);
}

/* n processes call ensure_start at the same moment; how many succeeded. fails: the start fails. */
static int at_once(const struct world *w, int n, bool fails)
{
	int gate[2], good = 0;
	assert_int_equal(pipe(gate), 0);
	pid_t *pids = calloc((size_t)n, sizeof(*pids));
	for (int i = 0; i < n; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			struct endpoint ep;
			char c;
			close(gate[1]);
			_exit(read(gate[0], &c, 1) != 0 ||
			      ensure_start(w->c, w->r, &ep, NULL) != 0);
		}
	}
	close(gate[0]);
	close(gate[1]);
	if (fails)
		fail_them(w, pids, n);
	for (int i = 0; i < n; i++) {
		int ws;
		assert_int_equal(waitpid(pids[i], &ws, 0), pids[i]);
		good += WIFEXITED(ws) && WEXITSTATUS(ws) == 0;
	}
	free(pids);
	return good;
}

static void thirty_processes_at_once_start_one_backend(void **state)
{
	struct world *w = *state;
	configure(w, 60000);
	assert_int_equal(at_once(w, 30, false), 30);
	expect_living(w, 1, 1);
}

static void those_who_waited_for_a_failed_start_fail_with_it(void **state)
{
	struct world *w = *state;
	configure(w, 60000);
	setenv("FAKE_MODE", "late", 1);
	assert_int_equal(at_once(w, 10, true), 0);
	expect_living(w, 1, 0);
}

static void kill_9(const struct endpoint *ep)
{
	assert_int_equal(kill(ep->pid, SIGKILL), 0);
	while (proc_alive(ep->pid, ep->start_time))
		poll(NULL, 0, 1);
}

static void killed_it_comes_back_on_its_port(void **state)
{
	struct world *w = *state;
	struct endpoint a = ensured(w);
	kill_9(&a);
	struct endpoint b = ensured(w);
	assert_int_not_equal(a.pid, b.pid);
	assert_int_equal(a.port, b.port);
	expect_living(w, 2, 1);
}

static void restarted_it_keeps_its_port(void **state)
{
	struct world *w = *state;
	struct endpoint a = ensured(w), b;
	assert_int_equal(ensure_restart(w->c, w->r, NULL, &b, NULL), 0);
	assert_int_not_equal(a.pid, b.pid);
	assert_int_equal(a.port, b.port);
	expect_living(w, 2, 1);
}

static void a_reused_pid_is_not_believed(void **state)
{
	struct world *w = *state;
	struct endpoint a = ensured(w);
	kill_9(&a);
	struct proc_stat st;
	assert_int_equal(proc_stat(getpid(), &st), 0);
	a.pid = getpid(); /* lives, but started at another time */
	a.start_time = st.start - 1;
	assert_int_equal(registry_write(w->r, &a, NULL), 0);
	assert_int_not_equal(ensured(w).pid, getpid());
	expect_living(w, 2, 1);
}

static void an_entry_from_before_a_reboot_is_stale(void **state)
{
	struct world *w = *state;
	struct endpoint a = ensured(w);
	kill_9(&a);
	struct proc_stat st;
	assert_int_equal(proc_stat(getpid(), &st), 0);
	a.pid = getpid();
	a.start_time = st.start;
	strcpy(a.boot_id, "00000000-0000-0000-0000-000000000000");
	assert_int_equal(registry_write(w->r, &a, NULL), 0);
	assert_int_not_equal(ensured(w).pid, getpid());
	assert_int_equal(ensure_stop(w->c, w->r, NULL), 0); /* and does not end us */
}

static void a_lost_registry_does_not_make_two_backends(void **state)
{
	struct world *w = *state;
	ensured(w);
	assert_int_equal(registry_clear(w->r), 0);
	ensured(w);
	expect_living(w, 2, 1);
}

static int take_port(int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 8) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void with_its_port_taken_it_gets_another(void **state)
{
	struct world *w = *state;
	struct endpoint a = ensured(w);
	kill_9(&a);
	int fd = take_port(a.port);
	assert_true(fd >= 0);
	assert_int_not_equal(ensured(w).port, a.port);
	close(fd);
}

/* Binds the port that the fake is about to use, once. */
struct taker {
	int listener, taken, port;
	pthread_t thread;
};

static void *taker_run(void *arg)
{
	struct taker *t = arg;
	int fd = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC);
	close(t->listener);
	if (read(fd, &t->port, sizeof(t->port)) == sizeof(t->port))
		t->taken = take_port(t->port);
	if (write(fd, "k", 1) != 1)
		t->taken = -1;
	close(fd);
	return NULL;
}

static void a_port_taken_between_choice_and_start_is_tried_with_another(void **state)
{
	struct world *w = *state;
	struct taker t = {.taken = -1};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path, sizeof(un.sun_path), "%s/taker", w->tmp->path);
	t.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(t.listener, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(t.listener, 1), 0);
	assert_int_equal(pthread_create(&t.thread, NULL, taker_run, &t), 0);
	setenv("FAKE_MODE", "taken", 1);
	struct endpoint ep = ensured(w);
	pthread_join(t.thread, NULL);
	assert_true(t.taken >= 0);
	assert_int_not_equal(ep.port, t.port);
	expect_living(w, 2, 1);
	close(t.taken);
}

static void a_crash_at_start_is_told_with_its_last_words(void **state)
{
	fails(*state, "crash", -ECHILD, "it printed: one | two | the disk is on fire");
}

static void one_that_never_listens_ends_at_the_timeout(void **state)
{
	struct world *w = *state;
	configure(w, END_MS);
	fails(w, "quiet", -ETIMEDOUT, "does not listen; it printed nothing");
}

static void one_that_never_answers_ends_at_the_timeout(void **state)
{
	struct world *w = *state;
	configure(w, END_MS);
	fails(w, "mute", -ETIMEDOUT, "accepts connections and does not answer");
}

static void one_with_another_password_is_refused(void **state)
{
	struct world *w = *state;
	configure(w, END_MS);
	fails(w, "locked", -ETIMEDOUT, "refuses the password of this repository (401)");
}

static void one_of_another_repo_is_refused(void **state)
{
	struct world *w = *state;
	configure(w, END_MS);
	fails(w, "other", -ETIMEDOUT, "answers as somebody else");
}

static void a_missing_gateway_is_noticed(void **state)
{
	struct world *w = *state;
	configure(w, END_MS);
	fails(w, "nogateway", -ETIMEDOUT, "its gateway (gateway.sock) does not listen");
}

static void a_missing_program_is_told(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	struct endpoint ep;
	w->c->backend = CONFIG_BACKEND_OPENCODE;
	free(w->c->opencode_command);
	w->c->opencode_command = strdup("no-such-opencode");
	assert_int_equal(ensure_start(w->c, w->r, &ep, &e), -ENOENT);
	assert_non_null(strstr(e.text, "\"no-such-opencode\" is not found on PATH"));
}

static void after_a_failure_the_next_ensure_tries_again(void **state)
{
	struct world *w = *state;
	fails(w, "crash", -ECHILD, "on fire");
	setenv("FAKE_MODE", "", 1);
	ensured(w);
	expect_living(w, 2, 1);
}

static void a_hung_backend_is_replaced(void **state)
{
	struct world *w = *state;
	/* 10 s of it are for the one that hangs, and 2 s for its end. */
	configure(w, 60000);
	struct endpoint a = ensured(w);
	assert_int_equal(kill(a.pid, SIGSTOP), 0);
	struct endpoint b = ensured(w);
	assert_int_not_equal(a.pid, b.pid);
	assert_int_equal(a.port, b.port);
	expect_living(w, 2, 1);
}

static void one_whose_starter_was_killed_is_adopted(void **state)
{
	struct world *w = *state;
	struct endpoint a = ensured(w), c = a;
	strcpy(c.state, "starting");
	assert_int_equal(registry_write(w->r, &c, NULL), 0);
	assert_int_equal(ensure_warm(w->c, w->r, 30000, &c), ENSURE_COLD);
	assert_int_equal(ensured(w).pid, a.pid);
	assert_int_equal(ensure_warm(w->c, w->r, 30000, &c), 0);
}

static int no_fake_child(pid_t pid, void *arg)
{
	CLEANUP(freep) char *dir = NULL;
	char line[64] = "";
	return proc_cmdline(pid, line, sizeof(line)) == 0 && strstr(line, "fake-child") &&
	       proc_environ(pid, "FAKE_DIR", &dir) == 0 && strcmp(dir, arg) == 0;
}

static void stop_ends_children_in_sessions_of_their_own(void **state)
{
	struct world *w = *state;
	struct err e = ERR_INIT;
	setenv("FAKE_MODE", "children", 1);
	ensured(w);
	while (!proc_each(no_fake_child, w->tmp->path))
		poll(NULL, 0, 1);
	if (ensure_stop(w->c, w->r, &e) != 0)
		fail_msg("%s", e.text);
	expect_living(w, 1, 0);
	assert_int_equal(proc_each(no_fake_child, w->tmp->path), 0);
	struct endpoint ep;
	assert_int_equal(registry_read(w->r, &ep, NULL, NULL), -ENOENT);
	char path[4200];
	snprintf(path, sizeof(path), "%s/gateway.sock", w->r->state_dir);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof(path), "%s/port", w->r->state_dir);
	assert_int_equal(access(path, F_OK), -1);
}

static void stopping_what_does_not_run_is_success(void **state)
{
	struct world *w = *state;
	assert_int_equal(ensure_stop(w->c, w->r, NULL), 0);
	assert_int_equal(ensure_stop(w->c, w->r, NULL), 0);
}

static void ensure_running_starts_it_through_a_child(void **state)
{
	struct world *w = *state;
	struct endpoint ep;
	struct err e = ERR_INIT;
	if (ensure_running(w->c, w->r, &ep, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(ensured(w).pid, ep.pid);
	struct proc_stat st;
	assert_int_equal(proc_stat(ep.pid, &st), 0);
	assert_int_not_equal(st.ppid, getpid());
	expect_living(w, 1, 1);
}

static void ensure_running_hands_on_the_childs_sentence(void **state)
{
	struct world *w = *state;
	struct endpoint ep;
	struct err e = ERR_INIT;
	setenv("FAKE_MODE", "crash", 1);
	assert_int_equal(ensure_running(w->c, w->r, &ep, &e), -EIO);
	assert_int_equal(strncmp(e.text, "starting backend for web: ", 26), 0);
	assert_non_null(strstr(e.text, "the disk is on fire"));
}

static void *run_ensure_running(void *arg)
{
	struct world *w = arg;
	struct endpoint ep;
	return ensure_running(w->c, w->r, &ep, NULL) == 0 ? w : NULL;
}

static void eight_threads_get_one_backend(void **state)
{
	pthread_t t[8];
	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, run_ensure_running, *state), 0);
	for (int i = 0; i < 8; i++) {
		void *ok;
		pthread_join(t[i], &ok);
		assert_non_null(ok);
	}
	expect_living(*state, 1, 1);
}

static void the_json_has_the_promised_keys(void **state)
{
	struct world *w = *state;
	static const char *const keys[] = {"repo_id",  "name",         "root",    "url",
					   "pid",      "backend",      "version", "state",
					   "username", "password_file"};
	struct endpoint ep = ensured(w);
	cJSON *j;
	assert_int_equal(ensure_json(w->r, &ep, &j), 0);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!cJSON_HasObjectItem(j, keys[i]))
			fail_msg("no %s", keys[i]);
	assert_string_equal(json_str(j, "username", ""), "opencode");
	cJSON_Delete(j);
}

/* FAKE_AS=rrm: `rrm ensure --json ID`, as ensure_running() calls it. */
static int as_rrm(int argc, char **argv)
{
	struct err e = ERR_INIT;
	int code = argc > 1 ? cmd_ensure(argc - 1, argv + 1, &e) : CMD_USAGE;
	if (code != CMD_OK)
		fprintf(stderr, "rrm: %s\n", e.text);
	return code;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
	const char *as = getenv("FAKE_AS");
	if (as && strcmp(as, "rrm-backend") == 0)
		return fake_backend(argc, argv);
	if (as)
		return as_rrm(argc, argv);
	const struct CMUnitTest tests[] = {
		T(without_a_backend_it_is_cold),
		T(the_second_ensure_finds_what_the_first_started),
		T(the_password_is_random_private_and_stays),
		T(thirty_processes_at_once_start_one_backend),
		T(those_who_waited_for_a_failed_start_fail_with_it),
		T(killed_it_comes_back_on_its_port),
		T(restarted_it_keeps_its_port),
		T(a_reused_pid_is_not_believed),
		T(an_entry_from_before_a_reboot_is_stale),
		T(a_lost_registry_does_not_make_two_backends),
		T(with_its_port_taken_it_gets_another),
		T(a_port_taken_between_choice_and_start_is_tried_with_another),
		T(a_crash_at_start_is_told_with_its_last_words),
		T(one_that_never_listens_ends_at_the_timeout),
		T(one_that_never_answers_ends_at_the_timeout),
		T(one_with_another_password_is_refused),
		T(one_of_another_repo_is_refused),
		T(a_missing_gateway_is_noticed),
		T(a_missing_program_is_told),
		T(after_a_failure_the_next_ensure_tries_again),
		T(a_hung_backend_is_replaced),
		T(one_whose_starter_was_killed_is_adopted),
		T(stop_ends_children_in_sessions_of_their_own),
		T(stopping_what_does_not_run_is_success),
		T(ensure_running_starts_it_through_a_child),
		T(ensure_running_hands_on_the_childs_sentence),
		T(eight_threads_get_one_backend),
		T(the_json_has_the_promised_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
