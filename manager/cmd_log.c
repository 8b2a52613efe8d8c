/*
 * One stream a repo, each with its next wanted record in hand; the oldest of those is printed. With -n
 * each log is read backwards instead, so that the end of a large one costs little.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "manager/auditdiff.h"
#include "manager/auditlog.h"
#include "manager/auditview.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/json.h"
#include "manager/cmdutil.h"

enum { FOLLOW_LINES = 10, LINES_MAX = 1000000, COMPLAINTS_MAX = 10, FOLLOW_POLL_MS = 2000 };

struct options {
	const char *what; /* REPO or NULL */
	long long lines;  /* -1: all */
	bool follow, json, verify, diff;
	struct auditview view;
};

/* A record in hand. */
struct entry {
	char *text;    /* owned; the line as it is */
	cJSON *record; /* owned */
};

struct stream {
	const struct repo *repo; /* borrowed */
	struct auditlog *log;    /* owned */
	struct entry head;       /* record NULL: none in hand */
	/* with -n, newest first */
	struct entry *last; /* owned */
	size_t n_last, room;
	struct show *show; /* borrowed */
};

struct show {
	const struct options *o;
	struct stream *streams; /* owned */
	size_t n;
	uint64_t complaints, printed;
};

static void entry_deinit(struct entry *en)
{
	free(en->text);
	cJSON_Delete(en->record);
	*en = (struct entry){NULL, NULL};
}

static void complain(struct stream *s, const struct auditlog_line *line, const char *why)
{
	if (s->show->complaints++ >= COMPLAINTS_MAX)
		return;
	fprintf(stderr, "rrm: %s/%s, the line at byte %llu, is skipped: %s; rrm log --verify %s\n",
		s->repo->state_dir, line->file, (unsigned long long)line->offset, why,
		s->repo->name);
}

/* 1: out is a wanted record. 0: the line is not wanted or no record (then said). -ENOMEM. */
static int take(struct stream *s, const struct auditlog_line *line, struct entry *out)
{
	struct err why = ERR_INIT;
	int r = auditlog_parse(line, &out->record, &why);

	if (r == -EINVAL) {
		complain(s, line, why.text);
		return 0;
	}
	if (r)
		return r;
	if (auditview_wants(&s->show->o->view, out->record)) {
		out->text = strndup(line->text, line->len);
		if (out->text)
			return 1;
		r = -ENOMEM;
	}
	entry_deinit(out);
	return r;
}

/* Fills s->head. 1, or 0 at the end of what is there now, or negative errno. */
static int next(struct stream *s, struct err *e)
{
	struct auditlog_line line;
	int r;

	while ((r = auditlog_next(s->log, &line, e)) == 1) {
		r = take(s, &line, &s->head);
		if (r)
			return r;
	}
	return r;
}

static void print_entry(struct show *sh, const struct stream *s, const struct entry *en)
{
	if (!sh->o->json) {
		auditview_print(&sh->o->view, stdout, sh->n > 1 ? s->repo->name : NULL, en->record);
		if (sh->o->diff)
			auditdiff_print(stdout, s->repo, en->record);
	} else if (sh->o->follow) {
		puts(en->text);
	} else {
		fputs(sh->printed ? ",\n " : "[\n ", stdout);
		fputs(en->text, stdout);
	}
	sh->printed++;
}

static bool older(const cJSON *a, const cJSON *b)
{
	/* RFC 3339 in UTC and of one length: text order is time order */
	return strcmp(json_str(a, "ts", ""), json_str(b, "ts", "")) < 0;
}

static int show_forwards(struct show *sh, struct err *e)
{
	for (size_t i = 0; i < sh->n; i++) {
		int r = next(&sh->streams[i], e);
		if (r < 0)
			return r;
	}
	for (;;) {
		struct stream *first = NULL;
		for (size_t i = 0; i < sh->n; i++) {
			struct stream *s = &sh->streams[i];
			if (s->head.record && (!first || older(s->head.record, first->head.record)))
				first = s;
		}
		if (!first || ferror(stdout))
			return 0;
		print_entry(sh, first, &first->head);
		entry_deinit(&first->head);
		int r = next(first, e);
		if (r < 0)
			return r;
	}
}

/* auditlog_backwards(): keeps up to o->lines. */
static int keep(const struct auditlog_line *line, void *arg)
{
	struct stream *s = arg;
	struct entry en = {NULL, NULL};

	if (s->n_last >= (size_t)s->show->o->lines)
		return 1;
	int r = take(s, line, &en);
	if (r != 1)
		return r;
	if (s->n_last == s->room) {
		size_t room = s->room ? s->room * 2 : 16;
		void *more = reallocarray(s->last, room, sizeof(*s->last));
		if (!more) {
			entry_deinit(&en);
			return -ENOMEM;
		}
		s->last = more;
		s->room = room;
	}
	s->last[s->n_last++] = en;
	return 0;
}

/* The stream whose newest entry behind its first used[i] is the newest of all, or -1. */
static ssize_t newest(const struct show *sh, const size_t *used)
{
	ssize_t best = -1;

	for (size_t i = 0; i < sh->n; i++) {
		const struct stream *s = &sh->streams[i];
		if (used[i] < s->n_last &&
		    (best < 0 ||
		     older(sh->streams[best].last[used[best]].record, s->last[used[i]].record)))
			best = (ssize_t)i;
	}
	return best;
}

/* Of what the streams kept, the last o->lines of all, oldest first. */
static int print_last(struct show *sh)
{
	CLEANUP(freep) size_t *used = calloc(sh->n + 1, sizeof(*used));
	CLEANUP(freep) size_t *order = calloc((size_t)sh->o->lines + 1, sizeof(*order));
	size_t n = 0;

	if (!used || !order)
		return -ENOMEM;
	while (n < (size_t)sh->o->lines) {
		ssize_t i = newest(sh, used);
		if (i < 0)
			break;
		used[i]++;
		order[n++] = (size_t)i;
	}
	while (n-- > 0) {
		struct stream *s = &sh->streams[order[n]];
		print_entry(sh, s, &s->last[--used[order[n]]]);
	}
	return 0;
}

static int show_last(struct show *sh, struct err *e)
{
	for (size_t i = 0; i < sh->n; i++) {
		struct stream *s = &sh->streams[i];
		s->log = auditlog_close(s->log);
		int r = auditlog_backwards(s->repo->state_dir, keep, s, &s->log, e);
		if (r < 0)
			return r;
	}
	int r = print_last(sh);
	for (size_t i = 0; i < sh->n; i++) {
		struct stream *s = &sh->streams[i];
		while (s->n_last)
			entry_deinit(&s->last[--s->n_last]);
	}
	return r ? err_errno(e, r, "showing the audit") : 0;
}

/* Waits until one of the logs may have grown. 0, or 1 when nobody reads what we print any more. */
static int wait_for_news(int watch)
{
	struct pollfd fds[2] = {{.fd = watch, .events = POLLIN}, {.fd = STDOUT_FILENO}};
	char events[16 << 10] __attribute__((aligned(8)));

	/* the bound is for file systems on which inotify says nothing */
	if (poll(fds, 2, FOLLOW_POLL_MS) > 0 && fds[1].revents & (POLLERR | POLLHUP))
		return 1;
	while (read(watch, events, sizeof(events)) > 0)
		; /* which file it was does not matter: all are looked at */
	return 0;
}

static int follow(struct show *sh, int watch, struct err *e)
{
	for (;;) {
		int r = show_forwards(sh, e);
		if (!r)
			r = cmd_flush(e);
		if (r)
			return r;
		if (wait_for_news(watch))
			return 0;
	}
}

static int watch_all(const struct show *sh, struct err *e)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (fd < 0)
		return err_errno(e, -errno, "following the audit");
	for (size_t i = 0; i < sh->n; i++)
		if (inotify_add_watch(fd, sh->streams[i].repo->state_dir,
				      IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
			int r = err_errno(e, -errno, "following %s",
					  sh->streams[i].repo->state_dir);
			close(fd);
			return r;
		}
	return fd;
}

static int show(struct show *sh, struct err *e)
{
	/* before the first look, so that nothing falls between the two */
	CLEANUP(closep) int watch = sh->o->follow ? watch_all(sh, e) : -1;

	if (sh->o->follow && watch < 0)
		return watch;
	int r = sh->o->lines >= 0 ? show_last(sh, e) : show_forwards(sh, e);
	if (r)
		return r;
	if (sh->o->json && !sh->o->follow)
		puts(sh->printed ? "\n]" : "[]");
	if (sh->complaints > COMPLAINTS_MAX)
		fprintf(stderr, "rrm: %llu damaged lines in all were skipped\n",
			(unsigned long long)sh->complaints);
	r = cmd_flush(e);
	return r || !sh->o->follow ? r : follow(sh, watch, e);
}

static int verify_one(const struct repo *r, const struct options *o, cJSON *all, struct err *e)
{
	struct auditlog_check check;
	int rc = auditlog_verify(r->state_dir, &check, e);

	if (rc)
		return rc;
	if (o->json) {
		cJSON *j = cJSON_CreateObject();
		if (!j || !cJSON_AddItemToArray(all, j) || json_add_str(j, "repo_id", r->id) ||
		    json_add_bytes(j, "name", r->name) || json_add_bool(j, "ok", !check.bad) ||
		    json_add_int(j, "records", (int64_t)check.records))
			return err_errno(e, -ENOMEM, "checking the audit");
		if (check.bad && (json_add_str(j, "file", check.file) ||
				  json_add_int(j, "line", (int64_t)check.number) ||
				  json_add_str(j, "problem", check.problem.text)))
			return err_errno(e, -ENOMEM, "checking the audit");
	} else if (!check.bad) {
		cmd_print_bytes(stdout, r->name);
		printf(": %llu records, the chain is whole\n", (unsigned long long)check.records);
	}
	if (check.bad) {
		if (e->text[0]) /* main prints the last one */
			fprintf(stderr, "rrm: %s\n", e->text);
		err_set(e, 0, "%s: %s", r->name, check.problem.text);
	}
	return check.bad;
}

static int verify(const struct show *sh, struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = cJSON_CreateArray();
	int code = CMD_OK;

	for (size_t i = 0; i < sh->n; i++) {
		int r = verify_one(sh->streams[i].repo, sh->o, all, e);
		if (r < 0)
			return CMD_FAILED;
		if (r)
			code = CMD_FOUND_PROBLEMS;
	}
	if (sh->o->json && (!all || json_print(all)))
		return CMD_FAILED;
	return code;
}

/* One repo, or all of them. */
static int open_streams(struct show *sh, const struct cmd_context *x, struct err *e)
{
	const struct repo *only = NULL;
	int r = cmd_find(x, sh->o->what, &only, e);

	if (r && (sh->o->what || r != -ENOENT))
		return r;
	size_t n = only ? 1 : x->repos.n;
	sh->streams = calloc(n + 1, sizeof(*sh->streams));
	if (!sh->streams)
		return err_errno(e, -ENOMEM, "reading the audit");
	err_set(e, 0, "%s", "");
	for (; sh->n < n; sh->n++) {
		struct stream *s = &sh->streams[sh->n];
		s->repo = only ? only : &x->repos.items[sh->n];
		s->show = sh;
		r = auditlog_open(&s->log, s->repo->state_dir, e);
		if (r)
			return r;
	}
	return 0;
}

static void show_deinit(struct show *sh)
{
	for (size_t i = 0; i < sh->n; i++) {
		struct stream *s = &sh->streams[i];
		auditlog_close(s->log);
		entry_deinit(&s->head);
		while (s->n_last)
			entry_deinit(&s->last[--s->n_last]);
		free(s->last);
	}
	free(sh->streams);
}

/* A repo that is not registered any more is still meant by its repo_id. */
static void resolve_from(struct options *o, const struct cmd_context *x)
{
	const struct repo *r;

	if (!o->view.from)
		return;
	if (!repo_find(x->config, &x->repos, o->view.from, &r, NULL, NULL))
		o->view.from = r->id;
	else if (!strcmp(o->view.from, "none"))
		o->view.from = "";
}

static int run(struct options *o, struct err *e)
{
	struct cmd_context x;
	struct show sh = {.o = o};

	if (cmd_context_init(&x, e))
		return CMD_FAILED;
	o->view.repos = &x.repos;
	resolve_from(o, &x);
	int code = CMD_FAILED;
	if (!open_streams(&sh, &x, e))
		code = o->verify ? verify(&sh, e) : cmd_exit(show(&sh, e));
	if (code == CMD_OK && cmd_flush(e))
		code = CMD_FAILED;
	show_deinit(&sh);
	o->view.repos = NULL;
	o->view.from = NULL;
	cmd_context_deinit(&x);
	return code;
}

/* CMD_OK, or CMD_USAGE with a sentence. */
static int set_option(struct options *o, int opt, struct err *e)
{
	switch (opt) {
	case 'n':
		if (!cmd_number(optarg, 0, LINES_MAX, &o->lines))
			return cmd_usage("log", e, "-n must be a number from 0 to 1000000");
		break;
	case 's':
		if (auditview_since(optarg, clock_wall_ms(), &o->view.since_ms))
			return cmd_usage("log", e,
					 "--since must be a time as 2026-11-22T17:40:00Z "
					 "or how long ago as 10m");
		o->view.has_since = true;
		break;
	case 'f':
		o->follow = true;
		break;
	case 'p':
		o->view.path = optarg;
		break;
	case 'F':
		o->view.from = optarg;
		break;
	case 'j':
		o->json = true;
		break;
	case 'd':
		o->diff = true;
		break;
	case 'v':
		o->verify = true;
		break;
	default:
		return CMD_USAGE;
	}
	return CMD_OK;
}

int cmd_log(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"lines", required_argument, NULL, 'n'},
					      {"follow", no_argument, NULL, 'f'},
					      {"since", required_argument, NULL, 's'},
					      {"path", required_argument, NULL, 'p'},
					      {"from", required_argument, NULL, 'F'},
					      {"json", no_argument, NULL, 'j'},
					      {"verify", no_argument, NULL, 'v'},
					      {"diff", no_argument, NULL, 'd'},
					      {NULL, 0, NULL, 0}};
	struct options o = {.lines = -1};

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":n:f", longs, e)) != -1;)
		if (set_option(&o, opt, e))
			return CMD_USAGE;
	if (argc - optind > 1)
		return cmd_usage("log", e, "give one REPO");
	if (o.verify &&
	    (o.follow || o.lines >= 0 || o.view.has_since || o.view.path || o.view.from))
		return cmd_usage("log", e, "--verify goes with --json only");
	if (o.diff && (o.json || o.verify))
		return cmd_usage("log", e, "--diff goes neither with --json nor with --verify");
	if (o.follow && o.lines < 0 && !o.view.has_since)
		o.lines = FOLLOW_LINES;
	o.what = argv[optind];
	return run(&o, e);
}
