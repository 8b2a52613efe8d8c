#include "manager/base/sqlite.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"

enum { BUSY_MS = 2000 };

struct sqlite {
	sqlite3 *db;
	char *path; /* owned */
};

/* Filled once by load(); read-only after that. */
static struct {
	__typeof__(&sqlite3_open_v2) open;
	__typeof__(&sqlite3_close) close;
	__typeof__(&sqlite3_exec) exec;
	__typeof__(&sqlite3_errmsg) errmsg;
	__typeof__(&sqlite3_busy_timeout) busy_timeout;
	__typeof__(&sqlite3_vmprintf) vmprintf;
	__typeof__(&sqlite3_free) free;
} lite;

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static bool loaded;

static bool find(void *lib, const char *name, void *slot)
{
	void *sym = dlsym(lib, name);
	memcpy(slot, &sym, sizeof(sym)); /* C has no cast from an object to a function pointer */
	return sym;
}

static void load(void)
{
	void *lib = dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL);
	loaded = lib && find(lib, "sqlite3_open_v2", &lite.open) &&
		 find(lib, "sqlite3_close", &lite.close) && find(lib, "sqlite3_exec", &lite.exec) &&
		 find(lib, "sqlite3_errmsg", &lite.errmsg) &&
		 find(lib, "sqlite3_busy_timeout", &lite.busy_timeout) &&
		 find(lib, "sqlite3_vmprintf", &lite.vmprintf) &&
		 find(lib, "sqlite3_free", &lite.free);
}

static bool has_log(const char *path)
{
	CLEANUP(freep) char *log = NULL;
	struct stat st;
	return asprintf(&log, "%s-wal", path) < 0 || (stat(log, &st) == 0 && st.st_size > 0);
}

/* "file:PATH?MODE" with the bytes that mean something in a URI as %XX; owned. */
static char *uri_of(const char *path, const char *mode)
{
	char *uri = malloc(3 * strlen(path) + strlen(mode) + 16);
	if (!uri)
		return NULL;
	size_t n = (size_t)sprintf(uri, "file:");
	for (const unsigned char *p = (const unsigned char *)path; *p; p++)
		n += (size_t)sprintf(uri + n, strchr("?#%", *p) ? "%%%02X" : "%c", *p);
	sprintf(uri + n, "?%s", mode);
	return uri;
}

static int open_as(struct sqlite *s, enum sqlite_mode mode)
{
	const char *how = mode == SQLITE_CREATE  ? "mode=rwc"
			  : mode == SQLITE_WRITE ? "mode=rw"
			  : has_log(s->path)     ? "mode=ro"
						 : "immutable=1";
	CLEANUP(freep) char *uri = uri_of(s->path, how);
	int flags = mode == SQLITE_READ    ? SQLITE_OPEN_READONLY
		    : mode == SQLITE_WRITE ? SQLITE_OPEN_READWRITE
					   : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
	return uri ? lite.open(uri, &s->db, flags | SQLITE_OPEN_URI, NULL) : SQLITE_NOMEM;
}

int sqlite_open(struct sqlite **out, const char *path, enum sqlite_mode mode, struct err *e)
{
	*out = NULL;
	pthread_once(&load_once, load);
	if (!loaded)
		return err_set(e, -ENOSYS,
			       "libsqlite3.so.0 cannot be loaded; install libsqlite3-0 to read %s",
			       path);
	if (mode != SQLITE_CREATE && access(path, R_OK) < 0)
		return err_errno(e, -errno, "opening the database %s", path);
	CLEANUP(sqlite_closep) struct sqlite *s = calloc(1, sizeof(*s));
	if (!s || !(s->path = strdup(path)))
		return err_errno(e, -ENOMEM, "opening the database %s", path);
	if (open_as(s, mode) != SQLITE_OK)
		return err_set(e, -EIO, "the database %s cannot be opened: %s", path,
			       s->db ? lite.errmsg(s->db) : "out of memory");
	lite.busy_timeout(s->db, BUSY_MS);
	*out = steal(&s);
	return 0;
}

struct sqlite *sqlite_close(struct sqlite *s)
{
	if (s) {
		if (s->db)
			lite.close(s->db);
		free(s->path);
		free(s);
	}
	return NULL;
}

void sqlite_closep(struct sqlite **s)
{
	sqlite_close(*s);
}

/* Between the caller's function and SQLite's: keeps what it returned. */
struct through {
	sqlite_row *row;
	void *arg;
	int rc;
};

static int each_row(void *arg, int n, char **values, char **names)
{
	struct through *t = arg;
	t->rc = t->row(t->arg, n, values, names);
	return t->rc;
}

int sqlite_run(struct sqlite *s, const char *sql, sqlite_row *row, void *arg, struct err *e)
{
	struct through t = {.row = row, .arg = arg};
	int rc = lite.exec(s->db, sql, row ? each_row : NULL, &t, NULL);
	if (t.rc)
		return t.rc;
	if (rc == SQLITE_OK)
		return 0;
	return err_set(e, -EIO, "the database %s: %s", s->path, lite.errmsg(s->db));
}

int sqlite_runf(struct sqlite *s, sqlite_row *row, void *arg, struct err *e, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	char *sql = lite.vmprintf(fmt, ap);
	va_end(ap);
	int rc = sql ? sqlite_run(s, sql, row, arg, e) : -ENOMEM;
	lite.free(sql);
	return rc;
}
