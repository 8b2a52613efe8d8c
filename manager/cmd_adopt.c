#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "manager/adopt.h"
#include "manager/adopted.h"
#include "manager/base/cleanup.h"
#include "manager/opencode_db.h"

/* Whether the user named it, or none. */
static bool wanted(const struct adopt_share *s, const struct repo *const *only, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (only[i] == s->repo)
			return true;
	return s->repo && n == 0;
}

static unsigned show(const struct adopt *a, const struct repo *const *only, size_t n)
{
	unsigned sessions = 0;
	printf("%s:\n", a->database);
	for (size_t i = 0; i < a->n; i++) {
		const struct adopt_share *s = &a->shares[i];
		printf("  %u session%s of ", s->sessions, s->sessions == 1 ? "" : "s");
		cmd_print_bytes(stdout, s->root);
		if (wanted(s, only, n)) {
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

static int adopt_one(const struct cmd_context *x, const char *path, const struct repo *const *only,
		     size_t n, bool yes, struct err *e)
{
	struct adopt a;
	int rc = adopt_begin(&a, x, path, e);
	if (rc)
		return rc;
	unsigned sessions = show(&a, only, n);
	if (sessions && !yes)
		rc = consent(e);
	for (size_t i = 0; rc == 0 && i < a.n; i++) {
		unsigned added = 0;
		if (!wanted(&a.shares[i], only, n))
			continue;
		rc = adopt_copy(&a, &a.shares[i], &added, e);
		if (rc == 0)
			printf("%s: %u session%s adopted, %u were there already\n",
			       a.shares[i].repo->name, added, added == 1 ? "" : "s",
			       a.shares[i].sessions - added);
	}
	if (rc == 0 && n == 0)
		rc = adopted_note(x->config, a.database, e);
	adopt_end(&a);
	return rc;
}

static int adopt_all(const struct cmd_context *x, const struct repo *const *only, size_t n,
		     bool yes, struct err *e)
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
		rc = adopt_one(x, paths[i], only, n, yes, e);
	opencode_db_free_list(paths, n_paths);
	return rc;
}

static int run(const char *from, bool yes, int argc, char **argv, struct err *e)
{
	struct cmd_context x;
	size_t n = 0;
	int rc = cmd_context_init(&x, e);
	CLEANUP(freep) const struct repo **only = calloc((size_t)argc + 1, sizeof(*only));
	if (rc == 0 && !only)
		rc = -ENOMEM;
	for (int i = 0; rc == 0 && i < argc; i++)
		rc = cmd_find(&x, argv[i], &only[n++], e);
	if (rc == 0)
		rc = from ? adopt_one(&x, from, only, n, yes, e) : adopt_all(&x, only, n, yes, e);
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
