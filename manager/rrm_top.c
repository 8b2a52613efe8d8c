/*
 * rrm-top DELAY ORDER [reverse]: the live table that `rrm top` executes. One thread looks at the
 * backends, which may take as long as they do not answer; the main one owns the terminal and waits for keys
 * and for news through an eventfd. What a key orders is done by rrm: stop and restart in a thread of
 * their own, attach and log in the foreground, with the terminal given back meanwhile.
 */
#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/log.h"
#include "manager/child.h"
#include "manager/program.h"
#include "manager/statusview.h"
#include "manager/topdata.h"

enum { HEAD_LINES = 2, ORDER_TIMEOUT_MS = 120000, TEXT_MAX = 512, ESC_MS = 25 };

struct top {
	const struct config *config; /* borrowed */
	char *rrm;                   /* owned; path of the program */
	unsigned delay_s;
	int news; /* eventfd: there is something to show */

	pthread_mutex_t lock;
	pthread_cond_t wake; /* the looking thread: look now */
	/* protected by lock */
	struct top_sample fresh; /* not yet taken by the main thread */
	bool has_fresh, look_now, stop;
	char note[TEXT_MAX]; /* how the last order went, or why nothing can be seen */
	bool has_note, ordering;

	/* the main thread's */
	struct top_sample shown;
	enum top_order order;
	bool reverse, help;
	char selected[REPO_ID_MAX];
	int first; /* row at the top of the window */
	char message[TEXT_MAX];
	int asking; /* 's' or 'r' while yes or no is awaited; 0 */
};

static void tell(struct top *t)
{
	uint64_t one = 1;
	if (write(t->news, &one, sizeof(one)) < 0)
		return; /* full: it is told already */
}

static void note_locked(struct top *t, const char *text)
{
	snprintf(t->note, sizeof(t->note), "%s", text);
	t->has_note = true;
}

/* Waits for the next look: the delay, or less when something was ordered. */
static void pause_locked(struct top *t)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += t->delay_s;
	while (!t->stop && !t->look_now)
		if (pthread_cond_timedwait(&t->wake, &t->lock, &until))
			break;
	t->look_now = false;
}

static void *look(void *arg)
{
	struct top *t = arg;
	struct top_sample before = {NULL, 0, 0}, now, copy;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		struct err e = ERR_INIT;
		pthread_mutex_unlock(&t->lock);
		int r = top_take(t->config, before.rows ? &before : NULL, &now, &e);
		/* one to compare the next with, one to hand over */
		int r2 = r ? r : top_copy(&now, &copy);
		if (!r2) {
			top_sample_deinit(&before);
			before = now;
		} else if (!r) {
			top_sample_deinit(&now);
		}
		pthread_mutex_lock(&t->lock);
		if (r2) {
			note_locked(t, e.text[0] ? e.text : strerror(-r2));
		} else {
			if (t->has_fresh)
				top_sample_deinit(&t->fresh);
			t->fresh = copy;
			t->has_fresh = true;
		}
		tell(t);
		pause_locked(t);
	}
	pthread_mutex_unlock(&t->lock);
	top_sample_deinit(&before);
	return NULL;
}

struct order {
	struct top *top; /* borrowed */
	char verb[16], id[REPO_ID_MAX], name[TEXT_MAX / 2];
};

static void *obey(void *arg)
{
	struct order *o = arg;
	struct top *t = o->top;
	struct err e = ERR_INIT;
	char text[TEXT_MAX];
	const char *args[] = {o->verb, o->id, NULL};

	int r = child_run(t->config, args, ORDER_TIMEOUT_MS, &e);
	if (r)
		snprintf(text, sizeof(text), "%.*s", TEXT_MAX - 1, e.text);
	else
		snprintf(text, sizeof(text), "%s: %s", o->name,
			 !strcmp(o->verb, "stop") ? "stopped" : "restarted");
	pthread_mutex_lock(&t->lock);
	note_locked(t, text);
	t->ordering = false;
	t->look_now = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	tell(t);
	free(o);
	return NULL;
}

static const struct top_row *selected(const struct top *t)
{
	for (size_t i = 0; t->shown.rows && i < t->shown.n; i++)
		if (!strcmp(t->shown.rows[i].id, t->selected))
			return &t->shown.rows[i];
	return t->shown.n ? t->shown.rows : NULL;
}

static void begin_order(struct top *t, const char *verb, const struct top_row *row)
{
	struct order *o = calloc(1, sizeof(*o));
	pthread_attr_t detached;
	pthread_t thread;

	LOCK_SCOPE(&t->lock);
	if (!o || t->ordering) {
		snprintf(t->message, sizeof(t->message), "the order before is still under way");
		free(o);
		return;
	}
	o->top = t;
	snprintf(o->verb, sizeof(o->verb), "%s", verb);
	snprintf(o->id, sizeof(o->id), "%s", row->id);
	snprintf(o->name, sizeof(o->name), "%s", row->name ? row->name : "");
	snprintf(t->message, sizeof(t->message), "%s: %s ...", o->name,
		 !strcmp(verb, "stop") ? "stopping" : "restarting");
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	t->ordering = !pthread_create(&thread, &detached, obey, o);
	pthread_attr_destroy(&detached);
	if (!t->ordering)
		free(o);
}

/* rrm VERB ID in the foreground. Ctrl-C is for it. */
static void foreground(struct top *t, const char *verb, const char *option,
		       const struct top_row *row)
{
	int status = 0;

	def_prog_mode();
	endwin();
	signal(SIGINT, SIG_IGN);
	pid_t pid = fork();
	if (!pid) {
		signal(SIGINT, SIG_DFL);
		execl(t->rrm, "rrm", verb, option ? option : row->id,
		      option ? row->id : (char *)NULL, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	signal(SIGINT, SIG_DFL);
	if (pid > 0 && WIFEXITED(status) && WEXITSTATUS(status)) {
		fputs("\nEnter goes back to rrm top. ", stdout);
		fflush(stdout);
		for (int c; (c = getchar()) != '\n' && c != EOF;)
			;
	}
	reset_prog_mode();
	clearok(stdscr, TRUE);
	refresh();
}

static short pair_of(enum term_colour c)
{
	return c == TERM_GREEN ? 1 : c == TERM_YELLOW ? 2 : c == TERM_RED ? 3 : 0;
}

static void put_line(int y, const char *text, attr_t attr)
{
	char cut[TEXT_MAX * 2];

	term_fit(cut, sizeof(cut), text, COLS);
	attron(attr);
	mvaddstr(y, 0, cut);
	attroff(attr);
}

static void draw_help(void)
{
	static const char *const lines[] = {
		"rrm top: backends of all repositories",
		"",
		"arrows, PgUp, PgDn, Home, End: choose",
		"s  stop its backend      r  restart it",
		"a  attach its terminal interface",
		"l  follow its log (Ctrl-C comes back)",
		"o  sort by another column  R  reverse",
		"space  look now            q  quit",
		"",
		"MEMORY  PSS of the process tree",
		"CPU%    of one processor",
		"SESS    sessions at work",
		"TURN    who has the write turn",
		"WAIT    how many wait for it",
		"",
		"Any key goes back.",
	};

	for (int i = 0; i < (int)(sizeof(lines) / sizeof(lines[0])) && i < LINES; i++)
		put_line(i, lines[i], i ? A_NORMAL : A_BOLD);
}

static void draw_row(const struct table *table, const struct top_row *row, int y, int index,
		     bool chosen)
{
	CLEANUP(freep) char *line = table_line(table, index);
	int at = 0, width = table_column_width(table, TOP_COLUMN_STATE, &at);
	attr_t attr = chosen ? A_REVERSE : A_NORMAL;

	attron(attr);
	mvhline(y, 0, ' ', COLS);
	mvaddstr(y, 0, line ? line : "");
	attroff(attr);
	if (width && !chosen && has_colors())
		mvchgat(y, at, width, A_NORMAL, pair_of(statusview_colour(row->state)), NULL);
}

/* Index of the selected row; the window moves so that it is in it. */
static int scroll_to_selected(struct top *t, int room)
{
	const struct top_row *row = selected(t);
	int at = row ? (int)(row - t->shown.rows) : 0;

	if (at < t->first)
		t->first = at;
	if (at >= t->first + room)
		t->first = at - room + 1;
	if (t->first > (int)t->shown.n - room)
		t->first = (int)t->shown.n - room;
	t->first = t->first < 0 ? 0 : t->first;
	return at;
}

static void draw_table(struct top *t)
{
	struct table *table = top_table(&t->shown);
	int room = LINES - HEAD_LINES - 1, at = scroll_to_selected(t, room > 0 ? room : 1);

	if (!table)
		return;
	table_layout(table, COLS);
	CLEANUP(freep) char *titles = table_line(table, -1);
	put_line(1, titles ? titles : "", A_BOLD | A_UNDERLINE);
	for (int i = 0; i < room && t->first + i < (int)t->shown.n; i++)
		draw_row(table, &t->shown.rows[t->first + i], HEAD_LINES + i, t->first + i,
			 t->first + i == at);
	table_free(table);
}

static void draw_bottom(const struct top *t)
{
	char keys[TEXT_MAX];

	snprintf(keys, sizeof(keys),
		 "h help  q quit  s stop  r restart  a attach  l log  o sort: %s%s",
		 top_order_word(t->order), t->reverse ? " (reversed)" : "");
	put_line(LINES - 1, t->message[0] ? t->message : keys, t->message[0] ? A_BOLD : A_DIM);
}

static void draw(struct top *t)
{
	char sum[256];

	erase();
	if (t->help) {
		draw_help();
	} else {
		top_sum(&t->shown, sum, sizeof(sum));
		put_line(0, t->shown.rows ? sum : "looking at the backends ...", A_BOLD);
		if (LINES > HEAD_LINES)
			draw_table(t);
		draw_bottom(t);
	}
	refresh();
}

/* What the other threads have. */
static void take_news(struct top *t)
{
	uint64_t n;

	if (read(t->news, &n, sizeof(n)) < 0)
		return;
	LOCK_SCOPE(&t->lock);
	if (t->has_fresh) {
		top_sample_deinit(&t->shown);
		t->shown = t->fresh;
		t->has_fresh = false;
		top_sort(&t->shown, t->order, t->reverse);
	}
	if (t->has_note)
		snprintf(t->message, sizeof(t->message), "%s", t->note);
	t->has_note = false;
}

static void look_soon(struct top *t)
{
	LOCK_SCOPE(&t->lock);
	t->look_now = true;
	pthread_cond_signal(&t->wake);
}

static void move_to(struct top *t, long at)
{
	long last = (long)t->shown.n - 1;

	at = at > last ? last : at;
	at = at < 0 ? 0 : at;
	if (t->shown.n)
		strcpy(t->selected, t->shown.rows[at].id);
}

static bool moved(struct top *t, int key)
{
	const struct top_row *row = selected(t);
	long at = row ? row - t->shown.rows : 0, page = LINES - HEAD_LINES - 1;

	switch (key) {
	case KEY_UP:
	case 'k':
		move_to(t, at - 1);
		return true;
	case KEY_DOWN:
	case 'j':
		move_to(t, at + 1);
		return true;
	case KEY_PPAGE:
		move_to(t, at - page);
		return true;
	case KEY_NPAGE:
		move_to(t, at + page);
		return true;
	case KEY_HOME:
		move_to(t, 0);
		return true;
	case KEY_END:
		move_to(t, (long)t->shown.n - 1);
		return true;
	default:
		return false;
	}
}

static void ask(struct top *t, int key, const struct top_row *row)
{
	t->asking = key;
	strcpy(t->selected, row->id);
	snprintf(t->message, sizeof(t->message), "%s the backend of %s? y or n",
		 key == 's' ? "stop" : "restart", row->name ? row->name : "");
}

static void answer(struct top *t, int key)
{
	const struct top_row *row = selected(t);
	const char *verb = t->asking == 's' ? "stop" : "restart";

	t->asking = 0;
	t->message[0] = '\0';
	if (row && (key == 'y' || key == 'Y') && !strcmp(row->id, t->selected))
		begin_order(t, verb, row);
}

/* Keys about the selected repository. */
static void act(struct top *t, int key, const struct top_row *row)
{
	if (key == 's' || key == 'r')
		ask(t, key, row);
	else if (key == 'a' || key == '\n' || key == KEY_ENTER)
		foreground(t, "attach", NULL, row);
	else if (key == 'l')
		foreground(t, "log", "-f", row);
}

/* false: quit. */
static bool take_key(struct top *t, int key)
{
	const struct top_row *row = selected(t);

	if (key == KEY_RESIZE)
		return true;
	if (t->asking) {
		answer(t, key);
		return true;
	}
	t->message[0] = '\0';
	if (t->help) {
		t->help = false;
		return true;
	}
	if (moved(t, key))
		return true;
	if (key == 'q')
		return false;
	if (key == 'h' || key == '?')
		t->help = true;
	else if (key == ' ')
		look_soon(t);
	else if (key == 'o')
		t->order = (t->order + 1) % TOP_ORDERS;
	else if (key == 'R')
		t->reverse = !t->reverse;
	else if (row)
		act(t, key, row);
	top_sort(&t->shown, t->order, t->reverse);
	return true;
}

static void loop(struct top *t)
{
	for (bool on = true; on;) {
		draw(t);
		struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN},
					{.fd = t->news, .events = POLLIN}};
		/* EINTR: a resize, which getch() gives as a key */
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents & (POLLERR | POLLHUP | POLLNVAL))
			return; /* the terminal is gone */
		if (fds[1].revents)
			take_news(t);
		for (int key; on && (key = getch()) != ERR;)
			on = take_key(t, key);
	}
}

/* false when curses does not know the terminal. */
static bool curses_begin(void)
{
	setlocale(LC_ALL, "");
	/* names are UTF-8 whatever the locale says */
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		setlocale(LC_CTYPE, "C.UTF-8");
	if (!newterm(NULL, stdout, stdin))
		return false;
	set_escdelay(ESC_MS);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	curs_set(0);
	const char *no = getenv("NO_COLOR");
	if (has_colors() && !(no && *no)) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_GREEN, -1);
		init_pair(2, COLOR_YELLOW, -1);
		init_pair(3, COLOR_RED, -1);
	}
	return true;
}

/* Comes back only when it could not begin. */
static int run(struct top *t, struct err *e)
{
	const char *term = getenv("TERM");
	pthread_t looker;
	sigset_t resize;

	t->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->news < 0)
		return err_errno(e, -errno, "starting");
	if (!curses_begin())
		return err_set(e, -ENOTTY,
			       "this machine does not know the terminal type \"%s\"; set TERM to "
			       "one that it "
			       "knows, such as xterm, or use rrm top -b",
			       term ? term : "");
	/* SIGWINCH must interrupt the main thread's poll() */
	sigemptyset(&resize);
	sigaddset(&resize, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &resize, NULL);
	int r = -pthread_create(&looker, NULL, look, t);
	pthread_sigmask(SIG_UNBLOCK, &resize, NULL);
	if (r) {
		endwin();
		return err_errno(e, r, "starting");
	}
	loop(t);
	endwin();
	/* A look may be waiting for a backend, an order may be under way: the process ends without them. */
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	struct top t = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	struct err e = ERR_INIT;
	struct config *c = NULL;
	int order = argc > 2 ? top_order_of(argv[2]) : TOP_MEMORY;
	long delay = argc > 1 ? strtol(argv[1], NULL, 10) : 2;

	log_program("rrm-top");
	if (order < 0 || delay < 1 || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
		fputs("rrm-top is the live table of rrm top; run that\n", stderr);
		return 2;
	}
	t.delay_s = (unsigned)delay;
	t.order = (enum top_order)order;
	t.reverse = argc > 3 && !strcmp(argv[3], "reverse");
	int r = config_load(&c, &e);
	t.config = c;
	if (!r)
		r = program_find("rrm", &t.rrm, &e);
	if (!r)
		(void)run(&t, &e); /* comes back only when it could not begin */
	fprintf(stderr, "rrm: %s\n", e.text);
	free(t.rrm);
	config_free(c);
	fflush(NULL);
	_exit(1); /* what curses keeps of a terminal that it does not know cannot be freed */
}
