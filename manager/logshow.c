/*
 * Two streams a repo, its audit and refused.jsonl, each with its next wanted record in hand; the oldest of those is printed. With -n
 * each log is read backwards instead, so that the end of a large one costs little.
 */
#include "manager/logshow.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "manager/auditdiff.h"
#include "manager/auditlog.h"
#include "manager/base/cleanup.h"
#include "manager/cmdutil.h"

enum { COMPLAINTS_MAX = 10, FOLLOW_POLL_MS = 2000 };

/* A record in hand. */
struct entry {
	char *text;    /* owned; the line as it is */
	cJSON *record; /* owned */
};

struct stream {
	const struct repo *repo; /* borrowed */
	bool refused;            /* of refused.jsonl */
	struct auditlog *log;    /* owned */
	struct entry head;       /* record NULL: none in hand */
	/* with -n, newest first */
	struct entry *last; /* owned */
	size_t n_last, room;
	struct logshow *show; /* borrowed */
};

struct logshow {
	const struct logshow_options *o; /* borrowed */
	struct stream *streams;          /* owned */
	size_t n, n_repos;
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
	fprintf(stderr, "rrm: %s/%s, the line at byte %llu, is skipped: %s", s->repo->state_dir,
		line->file, (unsigned long long)line->offset, why);
	if (s->refused)
		fputc('\n', stderr);
	else
		fprintf(stderr, "; rrm log --verify %s\n", s->repo->name);
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

static int print_entry(struct logshow *sh, const struct stream *s, const struct entry *en)
{
	if (sh->o->take)
		return sh->o->take(sh->o->arg, s->repo, en->record);
	if (!sh->o->json) {
		auditview_print(&sh->o->view, stdout, sh->n_repos > 1 ? s->repo->name : NULL,
				en->record);
		if (sh->o->diff)
			auditdiff_print(stdout, s->repo, en->record);
	} else if (sh->o->follow) {
		puts(en->text);
	} else {
		fputs(sh->printed ? ",\n " : "[\n ", stdout);
		fputs(en->text, stdout);
	}
	sh->printed++;
	return 0;
}

static bool older(const cJSON *a, const cJSON *b)
{
	/* RFC 3339 in UTC and of one length: text order is time order */
	return strcmp(json_str(a, "ts", ""), json_str(b, "ts", "")) < 0;
}

static int show_forwards(struct logshow *sh, struct err *e)
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
		int r = print_entry(sh, first, &first->head);
		entry_deinit(&first->head);
		if (!r)
			r = next(first, e);
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
static ssize_t newest(const struct logshow *sh, const size_t *used)
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
static int print_last(struct logshow *sh)
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
		int r = print_entry(sh, s, &s->last[--used[order[n]]]);
		if (r)
			return r;
	}
	return 0;
}

static int show_last(struct logshow *sh, struct err *e)
{
	for (size_t i = 0; i < sh->n; i++) {
		struct stream *s = &sh->streams[i];
		s->log = auditlog_close(s->log);
		int r = s->refused ? auditlog_backwards_refused(s->repo->state_dir, keep, s,
								&s->log, e)
				   : auditlog_backwards(s->repo->state_dir, keep, s, &s->log, e);
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

static int follow(struct logshow *sh, int watch, struct err *e)
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

static int watch_all(const struct logshow *sh, struct err *e)
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

int logshow_run(struct logshow *sh, struct err *e)
{
	/* before the first look, so that nothing falls between the two */
	CLEANUP(closep) int watch = sh->o->follow ? watch_all(sh, e) : -1;

	if (sh->o->follow && watch < 0)
		return watch;
	int r = sh->o->lines >= 0 ? show_last(sh, e) : show_forwards(sh, e);
	if (r)
		return r;
	if (sh->o->json && !sh->o->follow && !sh->o->take)
		puts(sh->printed ? "\n]" : "[]");
	if (sh->complaints > COMPLAINTS_MAX)
		fprintf(stderr, "rrm: %llu damaged lines in all were skipped\n",
			(unsigned long long)sh->complaints);
	r = cmd_flush(e);
	return r || !sh->o->follow ? r : follow(sh, watch, e);
}

struct logshow *logshow_close(struct logshow *sh)
{
	if (!sh)
		return NULL;
	for (size_t i = 0; i < sh->n; i++) {
		struct stream *s = &sh->streams[i];
		auditlog_close(s->log);
		entry_deinit(&s->head);
		while (s->n_last)
			entry_deinit(&s->last[--s->n_last]);
		free(s->last);
	}
	free(sh->streams);
	free(sh);
	return NULL;
}

int logshow_open(struct logshow **out, const struct logshow_options *o, const struct repo *repos,
		 size_t n, struct err *e)
{
	struct logshow *sh = calloc(1, sizeof(*sh));

	if (!sh || !(sh->streams = calloc(2 * n + 1, sizeof(*sh->streams)))) {
		logshow_close(sh);
		return err_errno(e, -ENOMEM, "reading the audit");
	}
	sh->o = o;
	sh->n_repos = n;
	for (; sh->n < 2 * n; sh->n++) {
		struct stream *s = &sh->streams[sh->n];
		s->repo = &repos[sh->n / 2];
		s->refused = sh->n % 2;
		s->show = sh;
		if (!s->refused)
			auditlog_settle(s->repo->state_dir);
		int r = s->refused ? auditlog_open_refused(&s->log, s->repo->state_dir, e)
				   : auditlog_open(&s->log, s->repo->state_dir, e);
		if (r) {
			logshow_close(sh);
			return r;
		}
	}
	*out = sh;
	return 0;
}
