#include "manager/summary.h"

#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/cmdutil.h"
#include "manager/mountstate.h"
#include "manager/status.h"
#include "manager/statusview.h"
#include "manager/words.h"

struct state {
	unsigned repos, running, failed, writing;
	unsigned long waiting;
	int64_t kib;
};

static struct state add_up(const cJSON *all)
{
	struct state s = {.repos = 0};
	const cJSON *j;

	cJSON_ArrayForEach (j, all) {
		const cJSON *turn = cJSON_GetObjectItemCaseSensitive(j, "turn");
		s.repos++;
		s.running += json_int(j, "pid", 0) > 0;
		s.failed += !strcmp(json_str(j, "state", ""), "failed");
		s.writing += cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(turn, "holder"));
		s.waiting += (unsigned long)cJSON_GetArraySize(
			cJSON_GetObjectItemCaseSensitive(turn, "waiters"));
		s.kib += statusview_memory(j);
	}
	return s;
}

static void line(FILE *f, const struct term *t, enum term_colour c, const char *what,
		 const char *text)
{
	fprintf(f, "  %s%-13s%s", term_escape(t, TERM_DIM), what, term_escape(t, TERM_PLAIN));
	fputs(term_escape(t, c), f);
	term_put(f, text, t->width ? t->width - 15 : 0, false);
	fprintf(f, "%s\n", term_escape(t, TERM_PLAIN));
}

static bool print_mount(FILE *f, const struct term *t, const struct config *c)
{
	CLEANUP(freep) char *text = NULL;
	struct mountstate m;

	if (mountstate_read(c, &m)) {
		if (asprintf(&text, "not mounted (%s)", c->mountpoint) < 0)
			text = NULL;
		line(f, t, TERM_YELLOW, "mount", text ? text : "");
		return false;
	}
	if (asprintf(&text, "%s, served by pid %d", m.mountpoint, (int)m.server) < 0)
		text = NULL;
	mountstate_deinit(&m);
	line(f, t, TERM_GREEN, "mount", text ? text : "");
	return true;
}

static void print_state(FILE *f, const struct term *t, const struct state *s)
{
	char text[128], memory[WORDS_MAX];

	snprintf(text, sizeof(text), "%u", s->repos);
	line(f, t, TERM_PLAIN, "repositories", text);
	snprintf(text, sizeof(text), "%u running, %s of memory%s", s->running,
		 words_memory(memory, s->kib), s->failed ? "; some failed:" : "");
	line(f, t, TERM_PLAIN, "backends", text);
	if (s->writing || s->waiting) {
		snprintf(text, sizeof(text), "%u held, %lu waiting", s->writing, s->waiting);
		line(f, t, TERM_YELLOW, "write turns", text);
	}
}

static void print_failed(FILE *f, const struct term *t, const cJSON *all)
{
	const cJSON *j;

	cJSON_ArrayForEach (j, all) {
		CLEANUP(freep) char *name = NULL, *text = NULL;
		if (strcmp(json_str(j, "state", ""), "failed") != 0 ||
		    json_get_bytes(j, "name", &name))
			continue;
		if (asprintf(&text, "%s: %s", name ? name : "?", json_str(j, "last_error", "")) < 0)
			text = NULL;
		line(f, t, TERM_RED, "failed", text ? text : "");
	}
}

static void print_next(FILE *f, const struct term *t, const struct state *s, bool mounted)
{
	putc('\n', f);
	if (!s->repos)
		line(f, t, TERM_PLAIN, "rrm scan DIR", "registers the git repositories below DIR");
	if (!mounted)
		line(f, t, TERM_PLAIN, "rrm-mount", "shows all repositories under one tree");
	if (s->repos) {
		line(f, t, TERM_PLAIN, "rrm status", "all of them; rrm top: live");
		line(f, t, TERM_PLAIN, "rrm log", "who wrote what into which repository");
	}
	line(f, t, TERM_PLAIN, "rrm --help", "all commands");
}

int summary_print(FILE *f, struct err *e)
{
	CLEANUP(json_deletep) cJSON *all = NULL;
	struct term t = term_of(STDOUT_FILENO);
	struct config *c = NULL;

	int r = config_load(&c, e);
	if (!r)
		r = status_json(c, NULL, &all, e);
	if (!r) {
		struct state s = add_up(all);
		fprintf(f, "%srrm " RRM_VERSION "%s\n", term_escape(&t, TERM_BOLD),
			term_escape(&t, TERM_PLAIN));
		bool mounted = print_mount(f, &t, c);
		print_state(f, &t, &s);
		print_failed(f, &t, all);
		print_next(f, &t, &s, mounted);
	}
	config_free(c);
	return r;
}
