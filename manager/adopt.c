#include "manager/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/path.h"
#include "manager/base/proc.h"
#include "manager/base/sqlite.h"
#include "manager/mountstate.h"
#include "manager/opencode_db.h"
#include "manager/registry.h"
#include "manager/runtimes.h"
#include "manager/start.h"

enum { LOCK_MS = 5000, DIFF_MAX = 64 << 20, CHUNK = 1 << 20 };

/* ---- the copy to read from ---- */

static int refuse_in_use(const char *path, struct err *e)
{
	struct runtimes all;
	struct stat st;
	int rc = runtimes_read(&all, e);
	if (rc == 0 && stat(path, &st) < 0)
		rc = errno == ENOENT ? 0 : err_errno(e, -errno, "looking at %s", path);
	for (size_t i = 0; rc == 0 && i < all.n; i++)
		for (size_t k = 0; rc == 0 && k < all.items[i].n_dbs; k++) {
			const struct runtime_file *f = &all.items[i].dbs[k];
			char command[256] = "";
			if ((f->dev != st.st_dev || f->ino != st.st_ino) &&
			    strcmp(f->path, path) != 0)
				continue;
			proc_cmdline(all.items[i].pid, command, sizeof(command));
			rc = err_set(e, -EBUSY, "%s is in use by pid %d (%s); end it first", path,
				     (int)all.items[i].pid, command);
		}
	runtimes_deinit(&all);
	return rc;
}

static int copy_file(const char *from, const char *to)
{
	CLEANUP(freep) char *buf = malloc(CHUNK);
	CLEANUP(closep) int in = open(from, O_RDONLY | O_CLOEXEC);
	CLEANUP(closep)
	int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t got = CHUNK;
	int rc = !buf ? -ENOMEM : in < 0 || out < 0 ? -errno : 0;
	while (rc == 0 && got == CHUNK) {
		rc = file_read_full(in, buf, CHUNK, &got);
		if (rc == 0)
			rc = file_write_all(out, buf, got);
	}
	return rc;
}

static int make_copy(struct adopt *a, struct err *e)
{
	CLEANUP(freep) char *dir = path_join(a->x->config->base, "adopt.XXXXXX");
	CLEANUP(freep) char *log = NULL;
	CLEANUP(freep) char *log_copy = NULL;
	int rc = dir ? file_mkdirs(a->x->config->base, 0700) : -ENOMEM;
	if (rc == 0 && !mkdtemp(dir))
		rc = -errno;
	if (rc == 0)
		a->copy = path_join(dir, path_basename(a->database));
	if (rc == 0 && (!a->copy || asprintf(&log, "%s-wal", a->database) < 0 ||
			asprintf(&log_copy, "%s-wal", a->copy) < 0))
		rc = -ENOMEM;
	if (rc == 0)
		rc = copy_file(a->database, a->copy);
	if (rc == 0) {
		rc = copy_file(log, log_copy);
		rc = rc == -ENOENT ? 0 : rc;
	}
	return rc ? err_errno(e, rc, "copying %s below %s", a->database, a->x->config->base) : 0;
}

/* ---- whose sessions there are ---- */

static struct adopt_share *share_of(struct adopt *a, char **root)
{
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->shares[i].root, *root) == 0)
			return &a->shares[i];
	struct adopt_share *shares = reallocarray(a->shares, a->n + 1, sizeof(*shares));
	if (!shares)
		return NULL;
	a->shares = shares;
	shares[a->n] = (struct adopt_share){.root = steal(root)};
	for (size_t i = 0; i < a->x->repos.n; i++)
		if (strcmp(a->x->repos.items[i].root, shares[a->n].root) == 0)
			shares[a->n].repo = &a->x->repos.items[i];
	return &shares[a->n++];
}

/* directory, number of sessions */
static int note_directory(void *arg, int n, char **values, char **names)
{
	struct adopt *a = arg;
	CLEANUP(freep) char *root = NULL;
	if (!values[0] || values[0][0] != '/' || !values[1])
		return 0;
	int rc = opencode_db_tree(a->x, values[0], &root);
	if (rc)
		return rc;
	struct adopt_share *s = share_of(a, &root);
	char **all = s ? reallocarray(s->directories, s->n_directories + 1, sizeof(*all)) : NULL;
	if (!all)
		return -ENOMEM;
	s->directories = all;
	all[s->n_directories] = strdup(values[0]);
	if (!all[s->n_directories])
		return -ENOMEM;
	s->n_directories++;
	s->sessions += (unsigned)strtoul(values[1], NULL, 10);
	return 0;
}

int adopt_begin(struct adopt *a, const struct cmd_context *x, const char *path, struct err *e)
{
	CLEANUP(sqlite_closep) struct sqlite *db = NULL;
	*a = (struct adopt){.x = x};
	int rc = path_canonical(path, &a->database, e);
	if (rc == 0)
		rc = refuse_in_use(a->database, e);
	if (rc == 0)
		rc = make_copy(a, e);
	if (rc == 0)
		rc = refuse_in_use(a->database, e); /* nor did anybody open it meanwhile */
	if (rc == 0)
		rc = sqlite_open(&db, a->copy, SQLITE_WRITE, e);
	if (rc == 0)
		rc = sqlite_run(db, "SELECT directory, count(*) FROM session GROUP BY directory",
				note_directory, a, e);
	if (rc)
		adopt_end(a);
	return rc;
}

void adopt_end(struct adopt *a)
{
	for (size_t i = 0; i < a->n; i++) {
		for (size_t k = 0; k < a->shares[i].n_directories; k++)
			free(a->shares[i].directories[k]);
		free(a->shares[i].directories);
		free(a->shares[i].root);
	}
	free(a->shares);
	if (a->copy) {
		*strrchr(a->copy, '/') = '\0';
		file_remove_tree(AT_FDCWD, a->copy);
	}
	free(a->copy);
	free(a->database);
	*a = (struct adopt){0};
}

/* ---- into the new one ---- */

/* What statements a query gives, run one by one after it: a table cannot be changed while it is read. */
struct statements {
	char **sql; /* owned */
	size_t n;
};

static int collect(void *arg, int n, char **values, char **names)
{
	struct statements *s = arg;
	char **sql = values[0] ? reallocarray(s->sql, s->n + 1, sizeof(*sql)) : NULL;
	if (!values[0])
		return 0;
	if (!sql)
		return -ENOMEM;
	s->sql = sql;
	sql[s->n] = strdup(values[0]);
	return sql[s->n] ? (s->n++, 0) : -ENOMEM;
}

static int run_each(struct sqlite *db, const char *query, struct err *e)
{
	struct statements s = {0};
	int rc = sqlite_run(db, query, collect, &s, e);
	for (size_t i = 0; i < s.n; i++) {
		if (rc == 0)
			rc = sqlite_run(db, s.sql[i], NULL, NULL, e);
		free(s.sql[i]);
	}
	free(s.sql);
	return rc;
}

static int take_number(void *arg, int n, char **values, char **names)
{
	*(unsigned *)arg = values[0] ? (unsigned)strtoul(values[0], NULL, 10) : 0;
	return 0;
}

/* Where a directory of the work tree is for the new backend: in the mount when that is up. */
static char *new_place(const struct cmd_context *x, const struct repo *r, const char *directory)
{
	CLEANUP(freep) char *place = NULL;
	const char *rel;
	if (!mountstate_place(x->config, r->name, &place))
		return place ? strdup(directory) : NULL;
	if (!place || !path_below(r->root, directory, &rel))
		return place ? strdup(directory) : NULL;
	return *rel ? path_join(place, rel) : strdup(place);
}

static int note_places(struct sqlite *db, const struct adopt *a, const struct adopt_share *s,
		       struct err *e)
{
	int rc = sqlite_run(db, "CREATE TEMP TABLE dirs (old TEXT PRIMARY KEY, new TEXT NOT NULL)",
			    NULL, NULL, e);
	for (size_t i = 0; rc == 0 && i < s->n_directories; i++) {
		CLEANUP(freep) char *place = new_place(a->x, s->repo, s->directories[i]);
		rc = place ? sqlite_runf(db, NULL, NULL, e, "INSERT INTO temp.dirs VALUES (%Q, %Q)",
					 s->directories[i], place)
			   : -ENOMEM;
	}
	return rc ? rc
		  : sqlite_run(
			    db,
			    "CREATE TEMP TABLE ids AS SELECT id, project_id FROM old.session WHERE "
			    "directory IN (SELECT old FROM temp.dirs);",
			    NULL, NULL, e);
}

/* An empty database of the same shape, which OpenCode takes for one that it has made itself. */
static int make_shape(struct sqlite *db, struct err *e)
{
	unsigned version = 0;
	int rc = run_each(
		db,
		"SELECT sql FROM old.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE "
		"'sqlite\\_%' ESCAPE '\\' ORDER BY type <> 'table'",
		e);
	if (rc == 0)
		rc = run_each(
			db,
			"SELECT 'INSERT INTO main.\"' || name || '\" SELECT * FROM old.\"' || "
			"name || '\"' FROM old.sqlite_master WHERE type = 'table' AND name IN "
			"('migration', 'data_migration', '__drizzle_migrations')",
			e);
	if (rc == 0)
		rc = sqlite_run(db, "PRAGMA old.user_version", take_number, &version, e);
	return rc ? rc : sqlite_runf(db, NULL, NULL, e, "PRAGMA main.user_version = %u", version);
}

static int check_shape(struct sqlite *db, const char *path, struct err *e)
{
	unsigned differ = 1;
	int rc = sqlite_run(
		db,
		"SELECT (SELECT count(*) FROM (SELECT id FROM main.migration EXCEPT SELECT id "
		"FROM old.migration)) + (SELECT count(*) FROM (SELECT id FROM old.migration "
		"EXCEPT SELECT id FROM main.migration))",
		take_number, &differ, e);
	if (rc == 0 && differ)
		rc = err_set(
			e, -ESTALE,
			"%s and the shared database are of different versions of OpenCode; run "
			"`opencode session list` once outside rrm with the version of this "
			"repository, which brings the shared one up to date",
			path);
	return rc;
}

/* One INSERT for each table that both have, of the columns that both have, by what ties its rows to a session. */
static const char copy_rows[] =
	"SELECT 'INSERT OR IGNORE INTO main.\"' || t || '\" (' || cols || ') SELECT ' || cols || "
	"' FROM old.\"' || t || '\" WHERE ' || CASE"
	" WHEN t = 'session' THEN 'id IN (SELECT id FROM temp.ids)'"
	" WHEN t = 'project' THEN 'id IN (SELECT project_id FROM temp.ids)'"
	" WHEN t = 'project_directory' THEN 'directory IN (SELECT old FROM temp.dirs) AND "
	"project_id IN "
	"(SELECT project_id FROM temp.ids)'"
	" WHEN keys LIKE '%,session_id,%' THEN 'session_id IN (SELECT id FROM temp.ids)'"
	" WHEN keys LIKE '%,aggregate_id,%' THEN 'aggregate_id IN (SELECT id FROM temp.ids)'"
	" ELSE 'project_id IN (SELECT project_id FROM temp.ids)' END"
	" FROM (SELECT m.name AS t, group_concat('\"' || c.name || '\"', ', ') AS cols,"
	" ',' || group_concat(c.name, ',') || ',' AS keys"
	" FROM old.sqlite_master m, pragma_table_info(m.name, 'old') c"
	" WHERE m.type = 'table' AND c.name IN (SELECT name FROM pragma_table_info(m.name, 'main'))"
	" GROUP BY m.name)"
	" WHERE t IN ('session', 'project') OR keys LIKE '%,session_id,%' OR keys LIKE "
	"'%,aggregate_id,%' OR keys LIKE '%,project_id,%'";

static int copy_share(struct sqlite *db, const struct adopt *a, const struct adopt_share *s,
		      bool fresh, const char *path, unsigned *added, struct err *e)
{
	int rc = sqlite_runf(db, NULL, NULL, e, "ATTACH DATABASE %Q AS old; BEGIN IMMEDIATE",
			     a->copy);
	if (rc == 0)
		rc = fresh ? make_shape(db, e) : check_shape(db, path, e);
	if (rc == 0)
		rc = note_places(db, a, s, e);
	if (rc == 0)
		rc = sqlite_run(db,
				"SELECT count(*) FROM temp.ids WHERE id NOT IN (SELECT id FROM "
				"main.session)",
				take_number, added, e);
	if (rc == 0)
		rc = run_each(db, copy_rows, e);
	if (rc == 0)
		rc = sqlite_run(
			db,
			"UPDATE main.session SET directory = (SELECT new FROM temp.dirs WHERE old "
			"= directory) WHERE directory IN (SELECT old FROM temp.dirs); COMMIT",
			NULL, NULL, e);
	return rc; /* closed without COMMIT: nothing has happened */
}

/* storage/session_diff/<id>.json beside the databases: what a session changed, for its summary. */
struct diffs {
	const char *from, *to;
};

static int copy_diff(void *arg, int n, char **values, char **names)
{
	const struct diffs *d = arg;
	CLEANUP(freep) char *from = NULL;
	CLEANUP(freep) char *dir = path_join(d->to, "storage/session_diff");
	CLEANUP(freep) char *name = NULL;
	CLEANUP(freep) char *text = NULL;
	size_t len;
	if (!values[0] || !path_name_ok(values[0]))
		return 0;
	if (!dir || asprintf(&name, "%s.json", values[0]) < 0 ||
	    asprintf(&from, "%s/storage/session_diff/%s", d->from, name) < 0)
		return -ENOMEM;
	if (file_read(AT_FDCWD, from, DIFF_MAX, &text, &len) < 0)
		return 0; /* most have none */
	int rc = file_mkdirs(dir, 0700);
	CLEANUP(closep) int fd = rc ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rc || fd < 0)
		return rc ? rc : -errno;
	return faccessat(fd, name, F_OK, 0) == 0 ? 0 : file_replace(fd, name, text, len, 0600);
}

static int into(const struct adopt *a, const struct adopt_share *s, const char *dir,
		unsigned *added, struct err *e)
{
	CLEANUP(freep) char *path = path_join(dir, path_basename(a->database));
	CLEANUP(freep) char *from = strdup(a->database);
	CLEANUP(freep) char *temp = NULL;
	CLEANUP(sqlite_closep) struct sqlite *db = NULL;
	if (!path || !from || asprintf(&temp, "%s.rrm-adopt", path) < 0)
		return -ENOMEM;
	*strrchr(from, '/') = '\0';
	struct diffs d = {.from = from, .to = dir};
	bool fresh = access(path, F_OK) < 0;
	int rc = fresh ? file_remove_tree(AT_FDCWD, temp) : refuse_in_use(path, e);
	if (rc == 0)
		rc = sqlite_open(&db, fresh ? temp : path, fresh ? SQLITE_CREATE : SQLITE_WRITE, e);
	if (rc == 0)
		rc = copy_share(db, a, s, fresh, path, added, e);
	if (rc == 0)
		rc = sqlite_run(db, "SELECT id FROM temp.ids", copy_diff, &d, e);
	db = sqlite_close(db);
	if (fresh && rc == 0 && rename(temp, path) < 0)
		rc = err_errno(e, -errno, "putting %s in its place", path);
	if (fresh && rc)
		unlink(temp);
	return rc;
}

int adopt_copy(const struct adopt *a, const struct adopt_share *s, unsigned *added, struct err *e)
{
	CLEANUP(freep) char *dir = path_join(s->repo->state_dir, "data/opencode");
	CLEANUP(closep) int lock = -1;
	struct endpoint ep;
	bool alive = false;
	*added = 0;
	/* Held until it is done, so that no backend is started meanwhile. */
	int rc = start_lock(s->repo, clock_mono_ms() + LOCK_MS, &lock, e);
	if (rc == 0 && registry_read(s->repo, &ep, &alive, NULL) == 0 && alive)
		rc = err_set(e, -EBUSY, "its backend runs (pid %d); run rrm stop %s first",
			     (int)ep.pid, s->repo->name);
	if (rc == 0)
		rc = dir ? file_mkdirs(dir, 0700) : -ENOMEM;
	if (rc == 0)
		rc = into(a, s, dir, added, e);
	if (rc < 0 && !(e && e->text[0]))
		err_errno(e, rc, "copying its sessions");
	return rc ? err_prefix(e, rc, "adopting the sessions of %s", s->repo->name) : 0;
}
