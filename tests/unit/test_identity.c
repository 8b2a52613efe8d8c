#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "manager/base/clock.h"
#include "router/identity.h"
#include "router/sessions.h"

enum { N_PROCS = 32 };

/* A /proc of our own. */
struct fake {
	pid_t pid, tgid, ppid, pgid;
	uint64_t start;
	const char *cwd;     /* NULL: cannot be read */
	const char *environ; /* words with '\n' between; NULL: cannot be read */
	bool gone;
};

static struct fake procs[N_PROCS];
static unsigned n_procs, n_stats, n_cwds, n_sessions;
static struct {
	const char *repo;
	pid_t pid;
	uint64_t start, stamp;
} backends[2];
static struct {
	pid_t pid;
	uint64_t start;
	const char *repo, *session;
} run_session;

static struct fake *add(pid_t pid, pid_t ppid, const char *cwd)
{
	struct fake *p = &procs[n_procs++];

	assert_true(n_procs <= N_PROCS);
	*p = (struct fake){.pid = pid,
			   .tgid = pid,
			   .ppid = ppid,
			   .pgid = pid,
			   .start = 1000 + (uint64_t)pid,
			   .cwd = cwd,
			   .environ = ""};
	return p;
}

static struct fake *find(pid_t pid)
{
	for (unsigned i = 0; i < n_procs; i++)
		if (procs[i].pid == pid && !procs[i].gone)
			return &procs[i];
	return NULL;
}

static struct fake *at(pid_t pid)
{
	struct fake *p = find(pid);

	if (!p)
		abort();
	return p;
}

static int fake_stat(void *arg, pid_t pid, struct proc_stat *out)
{
	const struct fake *p = find(pid);

	n_stats++;
	if (!p)
		return -ESRCH;
	*out = (struct proc_stat){
		.pid = pid, .ppid = p->ppid, .pgid = p->pgid, .state = 'S', .start = p->start};
	snprintf(out->comm, sizeof(out->comm), "p%d", (int)pid);
	return 0;
}

static int fake_tgid(void *arg, pid_t tid, pid_t *tgid)
{
	const struct fake *p = find(tid);

	if (!p)
		return -ESRCH;
	*tgid = p->tgid;
	return 0;
}

static int fake_cwd(void *arg, pid_t pid, char *buf, size_t size)
{
	const struct fake *p = find(pid);

	n_cwds++;
	if (!p || !p->cwd)
		return p ? -EACCES : -ESRCH;
	snprintf(buf, size, "%s", p->cwd);
	return 0;
}

static int fake_environ(void *arg, pid_t pid, char **data, size_t *len)
{
	const struct fake *p = find(pid);

	if (!p || !p->environ)
		return -EACCES;
	*data = strdup(p->environ);
	*len = strlen(p->environ) + 1;
	for (char *c = *data; *c; c++)
		if (*c == '\n')
			*c = '\0';
	return 0;
}

static int fake_session(void *arg, pid_t pid, uint64_t start, char *repo_id, char *session)
{
	n_sessions++;
	if (!run_session.repo || run_session.pid != pid || run_session.start != start)
		return -ENOENT;
	snprintf(repo_id, REPO_ID_MAX, "%s", run_session.repo);
	snprintf(session, SESSION_ID_MAX, "%s", run_session.session);
	return 0;
}

static uint64_t fake_stamp(void *arg, const struct repo *r)
{
	for (int i = 0; i < 2; i++)
		if (backends[i].repo && strcmp(backends[i].repo, r->id) == 0)
			return backends[i].stamp;
	return 0;
}

static int fake_registry(void *arg, const struct repo *r, struct endpoint *ep)
{
	for (int i = 0; i < 2; i++) {
		if (!backends[i].repo || strcmp(backends[i].repo, r->id) != 0)
			continue;
		*ep = (struct endpoint){.pid = backends[i].pid, .start_time = backends[i].start};
		return 0;
	}
	return -ENOENT;
}

static struct identities *ids;
static struct sessions *sessions;
static uint64_t now;

/* Handles: an index into those that were given out. */
static struct {
	pid_t pid;
	uint64_t start;
	bool open;
} handles[512];
static unsigned n_handles, n_open;
static uint64_t session_stamp;

static int fake_open(void *arg, pid_t pid)
{
	const struct fake *p = find(pid);

	if (!p)
		return -1;
	assert_true(n_handles < sizeof(handles) / sizeof(handles[0]));
	handles[n_handles].pid = pid;
	handles[n_handles].start = p->start;
	handles[n_handles].open = true;
	n_open++;
	return (int)n_handles++;
}

static bool fake_alive(void *arg, const int *h, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		const struct fake *p = find(handles[h[i]].pid);

		assert_true(handles[h[i]].open);
		if (!p || p->start != handles[h[i]].start)
			return false;
	}
	return true;
}

static void fake_close(void *arg, int h)
{
	assert_true(handles[h].open);
	handles[h].open = false;
	n_open--;
}

static uint64_t fake_session_stamp(void *arg)
{
	return session_stamp;
}

static const struct identity_world world = {
	.stat = fake_stat,
	.tgid = fake_tgid,
	.cwd = fake_cwd,
	.environ = fake_environ,
	.session = fake_session,
	.session_stamp = fake_session_stamp,
	.open = fake_open,
	.alive = fake_alive,
	.close = fake_close,
	.registry_stamp = fake_stamp,
	.registry = fake_registry,
};

static void add_repo(const char *id, const char *root, const char *name)
{
	struct repo r = {.root = strdup(root),
			 .name = strdup(name),
			 .state_dir = strdup("/nowhere"),
			 .added = strdup("")};

	snprintf(r.id, sizeof(r.id), "%s", id);
	assert_int_equal(identities_add_repo(ids, &r), 0);
	repo_deinit(&r);
}

static int setup(void **state)
{
	n_procs = n_handles = n_open = 0;
	session_stamp = 0;
	now = 10000;
	memset(backends, 0, sizeof(backends));
	memset(&run_session, 0, sizeof(run_session));
	assert_int_equal(sessions_new(&sessions), 0);
	assert_int_equal(identities_new(&ids, &world, "/m", sessions), 0);
	add_repo("web-1", "/srv/web", "web");
	add_repo("api-2", "/srv/api", "api");
	add_repo("sub-3", "/srv/web/lib/sub", "sub");
	add(1, 0, "/");
	add(10, 1, "/home/ann"); /* a shell */
	return 0;
}

static int teardown(void **state)
{
	ids = identities_free(ids);
	sessions = sessions_free(sessions);
	return n_open ? -1 : 0;
}

static struct identity who_is(pid_t tid)
{
	struct identity who;

	identity_of(ids, tid, now, &who);
	return who;
}

static void is(pid_t tid, int rule, const char *home, const char *session)
{
	struct identity who = who_is(tid);

	assert_int_equal(who.rule, rule);
	assert_string_equal(who.home, home);
	assert_string_equal(who.session, session);
}

static void a_person_who_walks_into_the_mount_is_at_home_there(void **state)
{
	is(10, 3, "", "10-1010");
	at(10)->cwd = "/m/web/src";
	now += 5;
	is(10, 2, "web-1", "10-1010");
	at(10)->cwd = "/m/api";
	now += 5;
	is(10, 2, "api-2", "10-1010");
}

static void a_child_that_goes_elsewhere_stays_at_home(void **state)
{
	add(20, 10, "/m/web");
	add(21, 20, "/m/api");
	add(22, 21, "/m/api/src");
	is(22, 2, "web-1", "20-1020");
	is(20, 2, "web-1", "20-1020");
	assert_int_equal(who_is(22).session_id, who_is(20).session_id);
}

static void the_topmost_counts_even_when_it_is_the_last_to_come(void **state)
{
	add(20, 10, "/m/api");
	is(20, 2, "api-2", "20-1020");
	at(10)->cwd = "/m/web";
	now += 1000; /* a new topmost is looked for at least each second */
	is(20, 2, "web-1", "10-1010");
}

static void a_nested_repo_owns_its_directory(void **state)
{
	add(20, 10, "/m/web/lib/sub/x");
	add(30, 1, "/m/web/lib");
	add(40, 1, "/m/sub");
	is(20, 2, "sub-3", "20-1020");
	is(30, 2, "web-1", "30-1030");
	is(40, 2, "sub-3", "40-1040");
}

static void a_removed_directory_is_still_a_home(void **state)
{
	add(20, 10, "/m/web/gone (deleted)");
	add(30, 1, "/m/api (deleted)");
	is(20, 2, "web-1", "20-1020");
	is(30, 2, "api-2", "30-1030");
}

static void what_is_no_repo_in_the_mount_is_no_home(void **state)
{
	add(20, 10, "/m");
	add(21, 20, "/m/.rrm");
	add(22, 10, "/m/webx");
	add(23, 10, "/mnt/web");
	add(24, 10, "/srv/web");
	for (pid_t p = 20; p <= 24; p++)
		assert_int_equal(who_is(p).rule, 3);
}

static void the_mount_root_above_does_not_hide_a_repo_below(void **state)
{
	add(20, 10, "/m");
	add(21, 20, "/m/web");
	is(21, 2, "web-1", "21-1021");
}

static void a_backend_and_its_children_are_at_home(void **state)
{
	backends[0].repo = "web-1", backends[0].pid = 50, backends[0].start = 1050;
	backends[0].stamp = 7;
	add(50, 1, "/m/web");
	add(51, 50, "/m/api");
	add(52, 51, "/tmp");
	is(50, 1, "web-1", "50-1050");
	is(52, 1, "web-1", "50-1050");
	at(51)->environ = "A=b\nRRM_SESSION=ses_42\nC=";
	now += 1000;
	is(51, 1, "web-1", "ses_42");
}

static void a_backend_that_comes_up_is_known_within_100_ms(void **state)
{
	add(50, 1, "/tmp");
	assert_int_equal(who_is(50).rule, 3);
	backends[0].repo = "web-1", backends[0].pid = 50, backends[0].start = 1050;
	backends[0].stamp = 7;
	now += 100;
	is(50, 1, "web-1", "50-1050");
	backends[0].stamp = 8, backends[0].pid = 60;
	now += 100;
	assert_int_equal(who_is(50).rule, 3);
}

static void a_reused_pid_of_a_backend_is_not_the_backend(void **state)
{
	backends[0].repo = "web-1", backends[0].pid = 50, backends[0].start = 77;
	backends[0].stamp = 7;
	add(50, 1, "/tmp");
	is(50, 3, "", "50-1050");
}

static void the_nearest_registered_ancestor_wins(void **state)
{
	backends[0].repo = "web-1", backends[0].pid = 50, backends[0].start = 1050;
	backends[0].stamp = 7;
	run_session.pid = 51, run_session.start = 1051;
	run_session.repo = "api-2", run_session.session = "run-51-abc";
	add(50, 1, "/m/web");
	add(51, 50, "/m/web");
	add(52, 51, "/m/web");
	is(52, 1, "api-2", "run-51-abc");
	is(50, 1, "web-1", "50-1050");
}

static void an_orphan_keeps_its_home_by_its_environment(void **state)
{
	add(60, 1, "/m/web")->environ = "RRM_HOME_REPO=api-2\nRRM_SESSION=ses_7";
	is(60, 1, "api-2", "ses_7");
	add(61, 1, "/m/web")->environ = "RRM_HOME_REPO=no-such-repo";
	is(61, 2, "web-1", "61-1061");
	backends[0].repo = "web-1", backends[0].pid = 50, backends[0].start = 1050;
	backends[0].stamp = 7;
	add(50, 1, "/");
	add(62, 1, "/tmp")->environ = "OPENCODE_PID=50";
	now += 100;
	is(62, 1, "web-1", "50-1050");
	add(63, 1, "/tmp")->environ = "OPENCODE_PID=51";
	is(63, 3, "", "63-1063");
}

static void a_thread_is_its_process(void **state)
{
	struct identity who;

	add(20, 10, "/m/web");
	*add(25, 10, NULL) = (struct fake){.pid = 25, .tgid = 20, .start = 1999, .environ = ""};
	who = who_is(25);
	assert_int_equal(who.pid, 20);
	assert_string_equal(who.comm, "p20");
	assert_string_equal(who.home, "web-1");
}

static void a_reused_thread_id_is_somebody_else(void **state)
{
	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
	*at(20) = (struct fake){.pid = 20,
				.tgid = 20,
				.ppid = 1,
				.pgid = 20,
				.start = 5555,
				.cwd = "/m/api",
				.environ = ""};
	now += 5;
	is(20, 2, "api-2", "20-5555");
}

static void what_cannot_be_read_is_rule_3(void **state)
{
	struct fake *p = add(20, 10, NULL);

	is(20, 3, "", "20-1020");
	p->environ = NULL;
	now += 5;
	is(20, 3, "", "20-1020");
	assert_int_equal(who_is(999).rule, 3);
	assert_int_equal(who_is(0).rule, 3);
	assert_int_equal(who_is(-4).by, IDENTITY_BY_KERNEL);
}

static void an_unreadable_ancestor_does_not_count(void **state)
{
	at(10)->cwd = NULL;
	at(1)->cwd = NULL;
	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
}

static void a_process_without_home_goes_by_its_group(void **state)
{
	add(20, 10, "/tmp");
	add(21, 20, "/tmp")->pgid = 20;
	is(21, 3, "", "20-1020");
	at(20)->gone = true;
	now += 5;
	is(21, 3, "", "21-1021");
}

static void a_reused_parent_pid_is_no_ancestor(void **state)
{
	add(20, 10, "/m/web")->start = 99999;
	add(21, 20, "/tmp");
	is(21, 3, "", "21-1021");
}

static void a_loop_of_parents_ends(void **state)
{
	add(20, 21, "/tmp")->start = 5;
	add(21, 20, "/tmp")->start = 5;
	assert_int_equal(who_is(20).rule, 3);
}

static void a_known_caller_costs_no_look_at_proc(void **state)
{
	unsigned before;

	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
	before = n_stats;
	for (int i = 0; i < 100; i++)
		is(20, 2, "web-1", "20-1020");
	assert_int_equal(n_stats, before);
	now += 5;
	is(20, 2, "web-1", "20-1020");
	assert_in_range(n_stats - before, 1, 2);
}

static void a_repo_that_comes_or_goes_is_noticed_at_once(void **state)
{
	add(20, 10, "/m/new");
	assert_int_equal(who_is(20).rule, 3);
	add_repo("new-4", "/srv/new", "new");
	is(20, 2, "new-4", "20-1020");
	identities_remove_repo(ids, "new-4");
	assert_int_equal(who_is(20).rule, 3);
}

/* ---- ancestors are remembered while they live ---- */

/* 20 to 29 below the shell, each the parent of the next. */
static void ten_deep(void)
{
	for (pid_t p = 20; p < 30; p++)
		add(p, p == 20 ? 10 : p - 1, p == 24 ? "/m/web" : "/tmp");
}

static void the_ancestors_of_a_second_child_are_not_read_again(void **state)
{
	unsigned stats, cwds, looked;

	session_stamp = 7;
	ten_deep();
	add(40, 29, "/tmp");
	add(41, 29, "/tmp");
	is(40, 2, "web-1", "24-1024");
	stats = n_stats, cwds = n_cwds, looked = n_sessions;
	is(41, 2, "web-1", "24-1024");
	assert_int_equal(n_stats - stats, 1);
	assert_int_equal(n_cwds - cwds, 0);
	assert_int_equal(n_sessions - looked, 1);
	assert_int_equal(n_open, 12);
}

static void an_ancestor_that_ended_is_read_anew_with_all_of_them(void **state)
{
	ten_deep();
	add(40, 29, "/tmp");
	add(41, 29, "/tmp");
	is(40, 2, "web-1", "24-1024");
	at(24)->gone = true;
	at(25)->ppid = 10; /* a subreaper */
	is(41, 3, "", "41-1041");
	add(24, 10, "/m/api")->start = 5000; /* the pid is used again, by no ancestor */
	now += 5;
	is(41, 3, "", "41-1041");
}

static void a_remembered_parent_with_a_new_parent_is_read_anew(void **state)
{
	add(20, 10, "/m/web");
	add(21, 20, "/tmp");
	add(22, 21, "/tmp");
	add(23, 21, "/tmp");
	at(10)->gone = true; /* 20 is all of the chain that is known, then */
	is(22, 2, "web-1", "20-1020");
	at(20)->gone = true;
	at(21)->ppid = 1;
	is(23, 3, "", "23-1023");
}

static void an_ancestor_that_walks_is_followed_within_5_ms(void **state)
{
	add(20, 10, "/m/web");
	add(21, 20, "/tmp");
	add(22, 20, "/tmp");
	is(21, 2, "web-1", "20-1020");
	at(20)->cwd = "/m/api";
	now += 5;
	is(22, 2, "api-2", "20-1020");
}

static void a_session_of_rrm_run_that_begins_is_seen_at_once(void **state)
{
	session_stamp = 7;
	add(20, 10, "/tmp");
	add(21, 20, "/tmp");
	add(22, 20, "/tmp");
	is(21, 3, "", "21-1021");
	run_session.pid = 20, run_session.start = 1020;
	run_session.repo = "api-2", run_session.session = "run-20-abc";
	session_stamp = 8;
	is(22, 1, "api-2", "run-20-abc");
	is(22, 1, "api-2", "run-20-abc");
}

static void remembered_ancestors_are_bounded(void **state)
{
	for (pid_t p = 1000; p < 1150; p++) {
		n_procs = 2;
		n_handles %= 400; /* enough of them are closed by then */
		if (n_handles < 100)
			while (handles[n_handles].open)
				n_handles++;
		add(p, 10, "/m/web");
		add(p + 5000, p, "/tmp");
		assert_string_equal(who_is(p + 5000).home, "web-1");
		assert_in_range(n_open, 1, 128);
	}
}

/* ---- processes of all kinds ---- */

static void setsid_and_nohup_change_nothing(void **state)
{
	backends[0].repo = "web-1", backends[0].pid = 50, backends[0].start = 1050;
	backends[0].stamp = 7;
	add(50, 1, "/srv/web");
	add(51, 50, "/tmp")->pgid = 51; /* its own session */
	add(52, 51, "/m/api");
	is(52, 1, "web-1", "50-1050");
	at(51)->gone = true; /* and then init's child: its environment tells */
	at(52)->ppid = 1;
	at(52)->environ = "OPENCODE_PID=50";
	now += 1000;
	is(52, 1, "web-1", "50-1050");
}

static void a_daemon_without_a_home_is_nobodys(void **state)
{
	add(60, 1, "/");
	add(61, 60, "/var/spool");
	is(61, 3, "", "61-1061");
}

static void a_process_of_another_pid_namespace_is_the_kernels(void **state)
{
	struct identity who = who_is(0);

	assert_int_equal(who.rule, 3);
	assert_int_equal(who.by, IDENTITY_BY_KERNEL);
	assert_string_equal(who.home, "");
}

static void a_process_whose_parent_is_in_another_namespace_is_judged_alone(void **state)
{
	add(70, 0, "/m/web");
	is(70, 2, "web-1", "70-1070");
}

static void a_caller_that_ended_is_rule_3_and_not_remembered(void **state)
{
	add(20, 10, "/m/web");
	is(20, 2, "web-1", "20-1020");
	at(20)->gone = true;
	now += 5;
	assert_int_equal(who_is(20).rule, 3);
	add(20, 10, "/m/api")->start = 7000;
	is(20, 2, "api-2", "20-7000");
}

static void turns_inside_one_another_are_all_known(void **state)
{
	struct identity who;

	add(20, 10, "/m/web");
	add(21, 20, "/m/web");
	add(22, 21, "/m/web")->environ =
		"RRM_TURN=api-2 web-1\nRRM_TURN_HOLDER=21-1021-5 20-1020--1";
	who = who_is(22);
	assert_int_equal(who.held.n, 2);
	assert_ptr_equal(held_find(&who.held, "api-2", 5), &who.held.items[0]);
	assert_null(held_find(&who.held, "api-2", 6));
	assert_ptr_equal(held_find(&who.held, "web-1", 4711), &who.held.items[1]);
	at(20)->gone = true;
	now += 5;
	who = who_is(22);
	assert_int_equal(who.held.n, 1);
	assert_string_equal(who.held.items[0].repo, "api-2");
}

static void a_turn_held_above_counts_while_its_holder_lives(void **state)
{
	struct identity who;

	add(20, 10, "/m/web");
	add(21, 20, "/m/web")->environ = "RRM_TURN=api-2\nRRM_TURN_HOLDER=20-1020-4711";
	who = who_is(21);
	assert_int_equal(who.held.n, 1);
	assert_string_equal(who.held.items[0].repo, "api-2");
	assert_int_equal(who.held.items[0].offset, 4711);
	at(20)->start = 7;
	now += 5;
	assert_int_equal(who_is(21).held.n, 0);
	add(22, 10, "/m/web")->environ = "RRM_TURN=api-2\nRRM_TURN_HOLDER=nonsense";
	assert_int_equal(who_is(22).held.n, 0);
}

static void many_callers_do_not_grow_the_cache_without_bound(void **state)
{
	at(10)->cwd = "/m/web";
	for (pid_t p = 100; p < 20000; p++) {
		n_procs = 2;
		add(p, 10, "/tmp");
		is(p, 2, "web-1", "10-1010");
	}
}

static void strange_bytes_of_a_session_stay_printable(void **state)
{
	add(20, 10, "/m/web")->environ = "RRM_SESSION=a b\xff\"c";
	assert_string_equal(who_is(20).session, "a_b_\"c");
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

static void sessions_are_numbers_and_back(void **state)
{
	char home[REPO_ID_MAX], session[SESSION_ID_MAX];
	uint32_t a = sessions_intern(sessions, "web-1", "s"),
		 b = sessions_intern(sessions, "", "s");

	assert_true(a && b && a != b);
	assert_int_equal(sessions_intern(sessions, "web-1", "s"), a);
	assert_int_equal(sessions_lookup(sessions, a, home, session), 0);
	assert_string_equal(home, "web-1");
	assert_string_equal(session, "s");
	assert_int_equal(sessions_lookup(sessions, b, home, session), 0);
	assert_string_equal(home, "");
	assert_int_equal(sessions_lookup(sessions, 12345, home, session), -ENOENT);
}

/* ---- what the plugin of a backend announces ---- */

static struct tmp *announced_setup(void **state)
{
	struct tmp *t = *state;

	setup(NULL);
	backends[0].repo = "web-1";
	backends[0].pid = 20;
	backends[0].start = 1020;
	backends[0].stamp = 1;
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

/* ---- with real processes ---- */

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
	teardown(NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_person_who_walks_into_the_mount_is_at_home_there),
		T(a_child_that_goes_elsewhere_stays_at_home),
		T(the_topmost_counts_even_when_it_is_the_last_to_come),
		T(a_nested_repo_owns_its_directory),
		T(a_removed_directory_is_still_a_home),
		T(what_is_no_repo_in_the_mount_is_no_home),
		T(the_mount_root_above_does_not_hide_a_repo_below),
		T(a_backend_and_its_children_are_at_home),
		T(a_backend_that_comes_up_is_known_within_100_ms),
		T(a_reused_pid_of_a_backend_is_not_the_backend),
		T(the_nearest_registered_ancestor_wins),
		T(an_orphan_keeps_its_home_by_its_environment),
		T(a_thread_is_its_process),
		T(a_reused_thread_id_is_somebody_else),
		T(what_cannot_be_read_is_rule_3),
		T(an_unreadable_ancestor_does_not_count),
		T(a_process_without_home_goes_by_its_group),
		T(a_reused_parent_pid_is_no_ancestor),
		T(a_loop_of_parents_ends),
		T(a_known_caller_costs_no_look_at_proc),
		T(a_repo_that_comes_or_goes_is_noticed_at_once),
		T(the_ancestors_of_a_second_child_are_not_read_again),
		T(an_ancestor_that_ended_is_read_anew_with_all_of_them),
		T(a_remembered_parent_with_a_new_parent_is_read_anew),
		T(an_ancestor_that_walks_is_followed_within_5_ms),
		T(a_session_of_rrm_run_that_begins_is_seen_at_once),
		T(remembered_ancestors_are_bounded),
		T(setsid_and_nohup_change_nothing),
		T(a_daemon_without_a_home_is_nobodys),
		T(a_process_of_another_pid_namespace_is_the_kernels),
		T(a_process_whose_parent_is_in_another_namespace_is_judged_alone),
		T(a_caller_that_ended_is_rule_3_and_not_remembered),
		T(turns_inside_one_another_are_all_known),
		T(a_turn_held_above_counts_while_its_holder_lives),
		T(many_callers_do_not_grow_the_cache_without_bound),
		T(strange_bytes_of_a_session_stay_printable),
		T(sessions_are_numbers_and_back),
		T(sessions_not_used_for_longest_are_forgotten),
		tmp_test(a_backend_writes_for_the_session_that_was_announced),
		tmp_test(what_is_announced_is_for_no_one_else),
		tmp_test(a_damaged_announcement_is_none),
		tmp_test(real_processes_are_read_from_proc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
