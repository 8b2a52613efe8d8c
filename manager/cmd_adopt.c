#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "manager/adopt.h"
#include "manager/adopted.h"
#include "manager/base/cleanup.h"
#include "manager/opencode_db.h"

/* The repositories that the user named: by their place in the list; none: all. */
struct choice {
	bool *named; /* borrowed */
	bool all;
};

static bool wanted(const struct adopt *a, const struct adopt_share *s, const struct choice *which)
{
	return s->repo && (which->all || which->named[s->repo - a->x->repos.items]);
}

static unsigned show(const struct adopt *a, const struct choice *which)
{
	unsigned sessions = 0;
	printf("%s:\n", a->database);
	for (size_t i = 0; i < a->n; i++) {
		const struct adopt_share *s = &a->shares[i];
		printf("  %u session%s of ", s->sessions, s->sessions == 1 ? "" : "s");
		cmd_print_bytes(stdout, s->root);
		if (wanted(a, s, which)) {
			printf(" -> %s\n", s->repo->name);
			sessions += s->sessions;
		} else {
			puts(s->repo ? ": not asked for, left alone"
				     : ": not registered, left alone (rrm add)");
		}
	}
	return sessions;
}

/* 0; -ECANCELED, or -EPERM when there is nobody to ask, with a sentence. */
static int consent(struct err *e)
{
	char answer[16] = "";
	if (!isatty(STDIN_FILENO))
		return err_set(e, -EPERM,
			       "nobody is there to agree; --yes copies these sessions into the "
			       "databases of their repositories");
	fputs("Copy them into the databases of their repositories? The old one stays as it is. "
	      "[y/N] ",
	      stdout);
	fflush(stdout);
	if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return 0;
	return err_set(e, -ECANCELED, "nothing was copied");
}

static int adopt_one(const struct cmd_context *x, const char *path, const struct choice *which,
		     bool yes, struct err *e)
{
	struct adopt a;
	int rc = adopt_begin(&a, x, path, e);
	if (rc)
		return rc;
	unsigned sessions = show(&a, which);
	if (sessions && !yes)
		rc = consent(e);
	for (size_t i = 0; rc == 0 && i < a.n; i++) {
		unsigned added = 0;
		if (!wanted(&a, &a.shares[i], which))
			continue;
		rc = adopt_copy(&a, &a.shares[i], &added, e);
		if (rc == 0)
			printf("%s: %u session%s adopted, %u were there already\n",
			       a.shares[i].repo->name, added, added == 1 ? "" : "s",
			       a.shares[i].sessions - added);
	}
	if (rc == 0 && which->all)
		rc = adopted_note(x->config, a.database, e);
	adopt_end(&a);
	return rc;
}

static int adopt_all(const struct cmd_context *x, const struct choice *which, bool yes,
		     struct err *e)
{
	CLEANUP(freep) char *data = opencode_db_user_data();
	char **paths = NULL;
	size_t n_paths = 0;
	if (!data)
		return err_set(e, -ENOENT, "HOME is not set; name the database: --from FILE");
	int rc = opencode_db_list(data, &paths, &n_paths);
	if (rc == 0 && n_paths == 0)
		printf("nothing to adopt: there is no database in %s/opencode\n", data);
	for (size_t i = 0; rc == 0 && i < n_paths; i++)
		rc = adopt_one(x, paths[i], which, yes, e);
	opencode_db_free_list(paths, n_paths);
	return rc;
}

static int run(const char *from, bool yes, int argc, char **argv, struct err *e)
{
	struct cmd_context x;
	int rc = cmd_context_init(&x, e);
	CLEANUP(freep) bool *named = rc ? NULL : calloc(x.repos.n + 1, sizeof(*named));
	struct choice which = {.named = named, .all = argc == 0};
	if (rc == 0 && !named)
		rc = -ENOMEM;
	for (int i = 0; rc == 0 && i < argc; i++) {
		const struct repo *r;
		rc = cmd_find(&x, argv[i], &r, e);
		if (rc == 0)
			named[r - x.repos.items] = true;
	}
	if (rc == 0)
		rc = from ? adopt_one(&x, from, &which, yes, e) : adopt_all(&x, &which, yes, e);
	if (rc == 0)
		rc = cmd_flush(e);
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}

int cmd_adopt(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"yes", no_argument, NULL, 'y'},
					      {"from", required_argument, NULL, 'f'},
					      {NULL, 0, NULL, 0}};
	const char *from = NULL;
	bool yes = false;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":y", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		yes |= opt == 'y';
		from = opt == 'f' ? optarg : from;
	}
	return run(from, yes, argc - optind, argv + optind, e);
}
