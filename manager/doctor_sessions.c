#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/adopted.h"
#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "manager/base/sqlite.h"
#include "manager/doctor.h"
#include "manager/opencode_db.h"

enum { TREES_MAX = 200 };

/* One work tree and branch that sessions of a database were on. */
struct tree {
	char *root; /* owned */
	char branch[256];
	unsigned sessions;
};

struct tally {
	const struct cmd_context *x;
	struct tree trees[TREES_MAX];
	size_t n;
	bool more; /* beyond TREES_MAX */
};

static void add_tree(struct tally *t, const char *root, const char *branch)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->trees[i].root, root) == 0 &&
		    strcmp(t->trees[i].branch, branch) == 0) {
			t->trees[i].sessions++;
			return;
		}
	if (t->n == TREES_MAX) {
		t->more = true;
		return;
	}
	struct tree *tree = &t->trees[t->n];
	tree->root = strdup(root);
	if (!tree->root)
		return;
	snprintf(tree->branch, sizeof(tree->branch), "%s", branch);
	tree->sessions = 1;
	t->n++;
}

/* directory, time_created, branch of its workspace */
static int note_session(void *arg, int n, char **values, char **names)
{
	struct tally *t = arg;
	CLEANUP(freep) char *root = NULL;
	char branch[256] = "";
	if (!values[0] || values[0][0] != '/')
		return 0;
	int rc = opencode_db_tree(t->x, values[0], &root);
	if (rc)
		return rc;
	if (values[2] && *values[2])
		snprintf(branch, sizeof(branch), "%s", values[2]);
	else
		opencode_db_branch(root, values[1] ? strtoll(values[1], NULL, 10) : 0, branch,
				   sizeof(branch));
	add_tree(t, root, branch);
	return 0;
}

static void tell(struct findings *f, const struct tally *t, const char *path,
		 const struct runtimes *all)
{
	struct stat st;
	cJSON *j =
		finding_add(f, FINDING_PROBLEM, "session_branches",
			    "an agent that goes on with a session of another branch or "
			    "repository works from what it saw there, and all of them wait for one "
			    "writer",
			    "one database holds sessions of %s%zu work trees and branches",
			    t->more ? "more than " : "", t->n);
	finding_path(f, j, path);
	for (size_t i = 0; i < t->n; i++) {
		char line[PATH_MAX + 300];
		snprintf(line, sizeof(line), "%s on %s: %u session%s", t->trees[i].root,
			 t->trees[i].branch[0] ? t->trees[i].branch : "no branch",
			 t->trees[i].sessions, t->trees[i].sessions == 1 ? "" : "s");
		finding_path(f, j, line);
	}
	if (stat(path, &st) == 0)
		for (size_t i = 0; i < all->n; i++)
			for (size_t k = 0; k < all->items[i].n_dbs; k++)
				if (all->items[i].dbs[k].ino == st.st_ino &&
				    all->items[i].dbs[k].dev == st.st_dev)
					finding_pid(f, j, all->items[i].pid);
	finding_fix(f, j,
		    "register the repositories (rrm add PATH), end what uses the database, then "
		    "rrm adopt");
}

static bool several_roots(const struct tally *t)
{
	for (size_t i = 1; i < t->n; i++)
		if (strcmp(t->trees[i].root, t->trees[0].root) != 0)
			return true;
	return false;
}

/* own: of an isolated backend, where checking out another branch is nothing special. */
static void look_at(struct findings *f, const struct cmd_context *x, const struct runtimes *all,
		    const char *path, bool own)
{
	CLEANUP(freep) struct tally *t = calloc(1, sizeof(*t));
	CLEANUP(sqlite_closep) struct sqlite *db = NULL;
	struct err e = ERR_INIT;
	if (!t)
		return;
	t->x = x;
	int rc = sqlite_open(&db, path, SQLITE_READ, &e);
	if (rc == 0)
		rc = sqlite_run(
			db,
			"SELECT s.directory, s.time_created, w.branch FROM session s LEFT JOIN "
			"workspace w ON w.id = s.workspace_id",
			note_session, t, &e);
	if (rc) {
		cJSON *j = finding_add(f, FINDING_NOTE, "unreadable_database",
				       "whose sessions it holds is not known", "%s", e.text);
		finding_path(f, j, path);
		finding_fix(f, j,
			    "if it is no OpenCode database of a version that rrm knows, nothing; "
			    "else run opencode once, "
			    "which brings it up to date");
	} else if (own ? several_roots(t) : t->n > 1) {
		tell(f, t, path, all);
	}
	for (size_t i = 0; i < t->n; i++)
		free(t->trees[i].root);
}

static bool in_use(const struct runtimes *all, const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return false;
	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->items[i].n_dbs; k++)
			if (all->items[i].dbs[k].ino == st.st_ino &&
			    all->items[i].dbs[k].dev == st.st_dev)
				return true;
	return false;
}

static void look_in(struct findings *f, const struct cmd_context *x, const struct runtimes *all,
		    const char *data, bool own)
{
	char **paths = NULL;
	size_t n = 0;
	opencode_db_list(data, &paths, &n);
	for (size_t i = 0; i < n; i++)
		if (own || in_use(all, paths[i]) || !adopted_unchanged(x->config, paths[i]))
			look_at(f, x, all, paths[i], own);
	opencode_db_free_list(paths, n);
}

void doctor_sessions(struct findings *f, const struct cmd_context *x, const struct runtimes *all)
{
	CLEANUP(freep) char *mine = opencode_db_user_data();
	if (mine)
		look_in(f, x, all, mine, false);
	/* Those of running processes that have them elsewhere, each once. */
	for (size_t i = 0; i < all->n; i++) {
		const char *dir = all->items[i].dirs[0];
		bool told = !dir || (mine && strcmp(dir, mine) == 0) ||
			    path_below(x->config->base, dir, NULL);
		for (size_t k = 0; k < i && !told; k++)
			told = all->items[k].dirs[0] && strcmp(all->items[k].dirs[0], dir) == 0;
		if (!told)
			look_in(f, x, all, dir, false);
	}
	for (size_t i = 0; i < x->repos.n; i++) {
		CLEANUP(freep) char *dir = path_join(x->repos.items[i].state_dir, "data");
		if (dir)
			look_in(f, x, all, dir, true);
	}
}
