#include "manager/complete.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "manager/cmdutil.h"
#include "manager/usage.h"

/* A line in the making. */
struct completion {
	const char *word; /* borrowed; being typed */
	FILE *f;          /* borrowed */
};

static void offer(const struct completion *x, const char *word, const char *what)
{
	if (strncmp(word, x->word, strlen(x->word)) != 0 || strpbrk(word, "\t\n"))
		return;
	fprintf(x->f, "%s\t%.*s\n", word, (int)strcspn(what, "\n"), what);
}

static void offer_commands(const struct completion *x, const struct command *const *commands)
{
	for (; *commands; commands++)
		offer(x, (*commands)->name, (*commands)->summary);
	offer(x, "help", "what a command does");
	if (x->word[0] == '-') {
		offer(x, "--help", "the commands");
		offer(x, "--version", "the version of rrm");
	}
}

static void offer_options(const struct completion *x, const struct command *cmd)
{
	struct usage_option all[USAGE_OPTIONS_MAX];
	size_t n = usage_options(cmd, all);

	for (size_t i = 0; i < n; i++) {
		if (*all[i].name)
			offer(x, all[i].name, all[i].text);
		if (*all[i].shorter)
			offer(x, all[i].shorter, all[i].text);
	}
	if (strstr(cmd->usage, "-- "))
		offer(x, "--", "a command follows");
}

static void offer_repos(const struct completion *x)
{
	struct cmd_context c;

	if (cmd_context_init(&c, NULL))
		return;
	for (size_t i = 0; i < c.repos.n; i++)
		offer(x, c.repos.items[i].name, c.repos.items[i].root);
	cmd_context_deinit(&c);
}

static void offer_entry(const struct completion *x, const char *dir, const char *before,
			const char *name)
{
	CLEANUP(freep) char *path = path_join(dir, name), *word = NULL;
	struct stat st;

	if (!path || lstat(path, &st))
		return;
	bool is_dir = S_ISDIR(st.st_mode);
	if (asprintf(&word, "%s%s%s", before, name, is_dir ? "/" : "") < 0) {
		word = NULL;
		return;
	}
	offer(x, word, is_dir ? "directory" : "file");
}

/* "web/sr": the entries of that directory of the real tree. */
static void offer_paths_of(const struct completion *x, const struct repo *r)
{
	const char *slash = strrchr(x->word, '/'), *below = x->word + strlen(r->name) + 1;
	CLEANUP(freep) char *before = strndup(x->word, (size_t)(slash + 1 - x->word));
	CLEANUP(freep) char *sub = strndup(below, (size_t)(slash + 1 - below));
	CLEANUP(freep) char *dir = sub ? path_join(r->root, sub) : NULL;

	CLEANUP(closedirp) DIR *d = dir ? opendir(dir) : NULL;
	if (!d || !before)
		return;
	for (const struct dirent *de; (de = readdir(d));)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0 &&
		    (de->d_name[0] != '.' || slash[1] == '.'))
			offer_entry(x, dir, before, de->d_name);
}

/* REPO/PATH: a name with its slash, then what is below it. */
static void offer_repo_paths(const struct completion *x)
{
	struct cmd_context c;

	if (cmd_context_init(&c, NULL))
		return;
	for (size_t i = 0; i < c.repos.n; i++) {
		const struct repo *r = &c.repos.items[i];
		size_t len = strlen(r->name);
		CLEANUP(freep) char *with_slash = NULL;
		if (!strncmp(x->word, r->name, len) && x->word[len] == '/')
			offer_paths_of(x, r);
		else if (asprintf(&with_slash, "%s/", r->name) >= 0)
			offer(x, with_slash, r->root);
		else
			with_slash = NULL;
	}
	cmd_context_deinit(&c);
}

/* What stands for kind in a usage. */
static void offer_kind(const struct completion *x, const char *kind)
{
	if (!strcmp(kind, "REPO"))
		offer_repos(x);
	else if (!strcmp(kind, "REPO/PATH"))
		offer_repo_paths(x);
	else if (!strcmp(kind, "PATH") || !strcmp(kind, "FILE"))
		fputs(":files\n", x->f);
	else if (!strcmp(kind, "DIR") || !strcmp(kind, "MOUNTPOINT"))
		fputs(":dirs\n", x->f);
	else if (kind[0] >= 'a' && kind[0] <= 'z')
		offer(x, kind, "");
}

/* The option that word is, when its value is the next word; else NULL. */
static const struct usage_option *wants_value(const struct usage_option *all, size_t n,
					      const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (*all[i].value && !all[i].attached &&
		    (!strcmp(word, all[i].name) || !strcmp(word, all[i].shorter)))
			return &all[i];
	return NULL;
}

static void offer_arguments(const struct completion *x, const struct command *cmd,
			    char *const *words, int n)
{
	char kinds[USAGE_OPTIONS_MAX][USAGE_WORD_MAX];
	struct usage_option all[USAGE_OPTIONS_MAX];
	size_t n_options = usage_options(cmd, all), n_kinds = usage_arguments(cmd, kinds);
	int given = 0; /* arguments before this one */

	for (int i = 1; i + 1 < n; i++) {
		if (wants_value(all, n_options, words[i]))
			i++;
		else
			given += words[i][0] != '-';
	}
	for (size_t i = 0; i < n_kinds; i++) {
		bool literal = kinds[i][0] >= 'a' && kinds[i][0] <= 'z';
		/* words like "install" stand first, and before them nothing else does */
		bool first = kinds[0][0] >= 'a' && kinds[0][0] <= 'z';
		if (first ? literal == (given == 0) : !literal)
			offer_kind(x, kinds[i]);
	}
}

static void complete_of(const struct completion *x, const struct command *cmd, char *const *words,
			int n)
{
	struct usage_option all[USAGE_OPTIONS_MAX];
	size_t n_options = usage_options(cmd, all);

	for (int i = 1; i + 1 < n; i++)
		if (!strcmp(words[i], "--")) {
			fprintf(x->f, ":command %d\n", i + 1);
			return;
		}
	const struct usage_option *o = n > 2 ? wants_value(all, n_options, words[n - 2]) : NULL;
	if (o)
		offer_kind(x, o->value);
	else if (x->word[0] == '-')
		offer_options(x, cmd);
	else
		offer_arguments(x, cmd, words, n);
}

void complete_print(const struct command *const *commands, char *const *words, int n, FILE *f)
{
	struct completion x = {.word = n > 0 ? words[n - 1] : "", .f = f};

	if (n <= 1 || (n == 2 && !strcmp(words[0], "help"))) {
		offer_commands(&x, commands);
		return;
	}
	for (; *commands; commands++)
		if (!strcmp((*commands)->name, words[0])) {
			complete_of(&x, *commands, words, n);
			return;
		}
}
