#include "manager/opencode.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/http.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/base/probe.h"
#include "manager/mountstate.h"
#include "manager/opencode_config.h"
#include "manager/program.h"
#include "manager/shimconfig.h"
#include "manager/shimfile.h"

enum { PLUGIN_MAX = 1 << 20 };

/*
 * Variables that an isolated backend has otherwise than its user. state: its directory below the state
 * directory. home: the user's default below HOME; NULL: fallback as it is; neither: it is only isolated
 * where the user has set it.
 */
static const struct isolated {
	const char *name, *state, *home, *fallback;
} isolated[] = {
	{"XDG_DATA_HOME", "data", ".local/share", NULL},
	{"XDG_CONFIG_HOME", "config", ".config", NULL},
	{"XDG_CACHE_HOME", "cache", ".cache", NULL},
	{"XDG_STATE_HOME", "state", ".local/state", NULL},
	{"TMPDIR", "tmp", NULL, "/tmp"},
	{"BUN_TMPDIR", "tmp", NULL, "/tmp"},
	{"npm_config_cache", "cache/npm", ".npm", NULL},
	{"OPENCODE_CONFIG_DIR", "configdir", NULL, NULL},
};
enum {
	N_ISOLATED = sizeof(isolated) / sizeof(isolated[0]),
	DATA_DIR = 0,
	CONFIG_DIR = 1,
	EXTRA_CONFIG_DIR = N_ISOLATED - 1,
};

/*
 * OpenCode runs npm in each configuration directory that it may write, also in one of the repository
 * (<root>/.opencode), which is not ours to seed; with a plugin, and we have one, its first answer waits for
 * that. So npm asks once, and takes 5 s of silence for an answer: a registry behind a firewall would
 * keep the backend from ever being ready. fallback: npm's own default, for the children of tools.
 */
static const struct npm_setting {
	const char *name, *value, *fallback;
} npm_settings[] = {
	{"npm_config_fetch_retries", "0", "2"},
	{"npm_config_fetch_timeout", "5000", "300000"},
};
enum { N_NPM_SETTINGS = sizeof(npm_settings) / sizeof(npm_settings[0]) };

int opencode_find(const struct config *c, char **path, struct err *e)
{
	int r = program_on_path_but(c->opencode_command, shimfile_is, path);
	if (r == -ELOOP)
		return err_set(e, r,
			       "opencode_command \"%s\" is rrm's own shim; name the real program "
			       "there",
			       c->opencode_command);
	if (r == -ENOENT)
		return err_set(
			e, r,
			"\"%s\" is not found on PATH; install OpenCode, set opencode_command, or "
			"set backend to \"embedded\"",
			c->opencode_command);
	if (r == -EACCES)
		return err_set(e, r,
			       "\"%s\" may not be executed; make it executable (chmod +x) or set "
			       "opencode_command",
			       c->opencode_command);
	return r < 0 ? err_errno(e, r, "looking for \"%s\"", c->opencode_command) : 0;
}

/* Numbers of "1.2.27" and "1.2.27-beta"; false for other texts. */
static bool parse_version(const char *text, unsigned out[3])
{
	return sscanf(text, "%5u.%5u.%5u", &out[0], &out[1], &out[2]) == 3;
}

bool opencode_too_old(const char *version)
{
	unsigned have[3], least[3];
	if (!parse_version(version, have) || !parse_version(OPENCODE_LEAST, least))
		return false;
	if (have[0] == 0 && have[1] == 0 && have[2] == 0)
		return false;
	for (int i = 0; i < 3; i++)
		if (have[i] != least[i])
			return have[i] < least[i];
	return false;
}

/*
 * rrm may run inside a backend (started by an MCP server, by an agent's shell), whose XDG_* are that
 * backend's own. The user's then stand in RRM_USER_ENV.
 */
static cJSON *outer_env(void)
{
	const char *home = getenv("RRM_HOME"), *id = getenv("RRM_REPO_ID");
	const char *data = getenv("XDG_DATA_HOME"), *user = getenv("RRM_USER_ENV");
	char own[PATH_MAX];
	cJSON *j = NULL;
	if (!home || !id || !data || !user)
		return NULL;
	snprintf(own, sizeof(own), "%s/repos/%s/data", home, id);
	if (strcmp(own, data) != 0 || json_parse(user, strlen(user), &j, NULL) < 0)
		return NULL;
	return j;
}

/* As OpenCode finds it: HOME, else what the system has of this user. Borrowed. */
static const char *user_home(void)
{
	const char *home = getenv("HOME");
	if (home && *home)
		return home;
	const struct passwd *pw = getpwuid(geteuid());
	return pw && pw->pw_dir && pw->pw_dir[0] == '/' ? pw->pw_dir : "/";
}

/* What name is for the user outside of all backends; *out owned, "" where it is not set. */
static int user_value(const struct isolated *v, char **out)
{
	CLEANUP(json_deletep) cJSON *outer = outer_env();
	const char *value = outer ? json_str(outer, v->name, "") : getenv(v->name);
	if (value && *value)
		*out = strdup(value);
	else if (v->home)
		*out = path_join(user_home(), v->home);
	else
		*out = strdup(v->fallback ? v->fallback : "");
	return *out ? 0 : -ENOMEM;
}

/* "<user's directory for variable i>/opencode"; owned. */
static char *user_dir(int i)
{
	CLEANUP(freep) char *base = NULL;
	return user_value(&isolated[i], &base) < 0 ? NULL : path_join(base, "opencode");
}

/* The user's OPENCODE_CONFIG_DIR; owned. A relative one means another directory in each repository, so
 * there is nothing to isolate: *out is NULL, as when it is not set. */
static int extra_config_dir(char **out)
{
	CLEANUP(freep) char *value = NULL;
	int rc = user_value(&isolated[EXTRA_CONFIG_DIR], &value);
	*out = rc == 0 && value[0] == '/' ? steal(&value) : NULL;
	return rc;
}

/* Makes dirfd/name a symlink to target; what is no link there is kept beside it. */
static int link_to(int dirfd, const char *name, const char *target)
{
	char now[PATH_MAX], aside[NAME_MAX + 16], temp[NAME_MAX + 16];
	ssize_t n = readlinkat(dirfd, name, now, sizeof(now) - 1);
	if (n >= 0) {
		now[n] = '\0';
		if (strcmp(now, target) == 0)
			return 0;
	} else if (errno == EINVAL) {
		snprintf(aside, sizeof(aside), "%.*s.before-rrm", NAME_MAX - 11, name);
		int r = file_remove_tree(dirfd, aside);
		if (r < 0)
			return r;
		if (renameat(dirfd, name, dirfd, aside) < 0)
			return -errno;
	}
	snprintf(temp, sizeof(temp), ".%.*s.rrm", NAME_MAX - 5, name);
	if (unlinkat(dirfd, temp, 0) < 0 && errno != ENOENT)
		return -errno;
	if (symlinkat(target, dirfd, temp) < 0 || renameat(dirfd, temp, dirfd, name) < 0)
		return -errno;
	return 0;
}

static bool own_config_entry(const char *name)
{
	return strcmp(name, "node_modules") == 0 || strncmp(name, "package", 7) == 0 ||
	       strcmp(name, ".gitignore") == 0 || strcmp(name, "bun.lock") == 0 ||
	       strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Links each entry of from in dirfd, but those that stay OpenCode's own and skip (may be NULL). A
 * missing from is no entry. */
static int link_entries(int dirfd, const char *from, const char *skip)
{
	CLEANUP(closedirp) DIR *d = opendir(from);
	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	const struct dirent *de;
	while (errno = 0, (de = readdir(d))) {
		if (own_config_entry(de->d_name) || (skip && strcmp(de->d_name, skip) == 0))
			continue;
		CLEANUP(freep) char *target = path_join(from, de->d_name);
		int r = target ? link_to(dirfd, de->d_name, target) : -ENOMEM;
		if (r < 0)
			return r;
	}
	return -errno;
}

/* Removes links below dirfd that lead into the user's directory from to what is no longer there. */
static int drop_dead_links(int dirfd, const char *from)
{
	CLEANUP(closep) int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d)
		return -errno;
	steal_fd(&fd);
	const struct dirent *de;
	while ((de = readdir(d))) {
		char target[PATH_MAX];
		struct stat st;
		ssize_t n = readlinkat(dirfd, de->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (path_below(from, target, NULL) && lstat(target, &st) < 0 &&
		    (errno == ENOENT || errno == ENOTDIR))
			unlinkat(dirfd, de->d_name, 0);
	}
	return 0;
}

static bool has_entry(const char *dir, const char *name)
{
	CLEANUP(freep) char *path = path_join(dir, name);
	struct stat st;
	return path && stat(path, &st) == 0;
}

/* path as a directory fd, made with mode 0700 where it is missing. */
static int make_dir(const char *base, const char *below, char **path)
{
	CLEANUP(freep) char *p = path_join(base, below);
	if (!p)
		return -ENOMEM;
	int r = file_mkdirs(p, 0700);
	if (r < 0)
		return r;
	int fd = open(p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (path)
		*path = steal(&p);
	return fd;
}

/* An own, real directory name below dirfd, even where an earlier start made a link of it. */
static int own_subdir(int dirfd, const char *name)
{
	char target[PATH_MAX];
	if (readlinkat(dirfd, name, target, sizeof(target)) >= 0 && unlinkat(dirfd, name, 0) < 0)
		return -errno;
	if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int install_plugin(int config_fd, const char *name, const char *user_config, bool also_users,
			  struct err *e)
{
	CLEANUP(freep) char *source = NULL, *text = NULL;
	size_t len;
	int r = program_data("rrm.js", &source, e);
	if (r < 0)
		return r;
	r = file_read(AT_FDCWD, source, PLUGIN_MAX, &text, &len);
	if (r < 0)
		return err_errno(e, r, "reading the plugin %s", source);
	CLEANUP(closep) int dir = own_subdir(config_fd, name);
	r = dir < 0 ? dir : 0;
	if (r == 0 && also_users) {
		CLEANUP(freep) char *theirs = path_join(user_config, name);
		r = !theirs ? -ENOMEM : drop_dead_links(dir, theirs);
		if (r == 0)
			r = link_entries(dir, theirs, "rrm.js");
	}
	if (r == 0)
		r = file_replace(dir, "rrm.js", text, len, 0600);
	return r < 0 ? err_errno(e, r, "installing the plugin rrm.js in %s/", name) : 0;
}

/* The name that holds our plugin must be a directory of ours, the other one a link if anything. */
static int link_config(int fd, const char *user_config, struct err *e)
{
	bool uses_plugins = has_entry(user_config, "plugins");
	bool uses_both = uses_plugins && has_entry(user_config, "plugin");
	const char *ours = uses_plugins ? "plugin" : "plugins";
	const char *other = uses_plugins ? "plugins" : "plugin";
	char target[PATH_MAX];
	int r = 0;
	/* A directory that an earlier start made for the plugin holds nothing but that and links. */
	if (readlinkat(fd, other, target, sizeof(target)) < 0 && errno == EINVAL)
		r = file_remove_tree(fd, other);
	if (r == 0)
		r = drop_dead_links(fd, user_config);
	if (r == 0)
		r = link_entries(fd, user_config, ours);
	if (r < 0)
		return err_errno(e, r, "linking the configuration in %s", user_config);
	return install_plugin(fd, ours, user_config, uses_both, e);
}

static int link_login(const struct repo *r, struct err *e)
{
	static const char *const names[] = {"auth.json", "mcp-auth.json"};
	CLEANUP(freep) char *theirs = user_dir(DATA_DIR);
	CLEANUP(closep) int fd = make_dir(r->state_dir, "data/opencode", NULL);
	if (fd < 0)
		return err_errno(e, fd, "making %s/data/opencode", r->state_dir);
	if (!theirs)
		return -ENOMEM;
	/* The links may dangle until the first login, but their directory must be there to write into. */
	int rc = file_mkdirs(theirs, 0700);
	if (rc < 0)
		return err_errno(
			e, rc,
			"making %s, where your login is kept (set HOME or XDG_DATA_HOME to a "
			"directory that you may write)",
			theirs);
	for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
		CLEANUP(freep) char *target = path_join(theirs, names[i]);
		rc = target ? link_to(fd, names[i], target) : -ENOMEM;
	}
	return rc < 0 ? err_errno(e, rc, "linking the login in %s", theirs) : 0;
}

static int seed_file(int dirfd, const char *name, const char *text)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0
		       ? 0
		       : file_replace(dirfd, name, text, strlen(text), 0644);
}

/*
 * OpenCode compares only the names of the dependencies in package.json and package-lock.json with what it
 * wants, and installs when node_modules is missing. A directory with a package.json is somebody's: then
 * nothing is touched.
 */
static int seed(int dirfd)
{
	if (faccessat(dirfd, "package.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (mkdirat(dirfd, "node_modules", 0755) < 0 && errno != EEXIST)
		return -errno;
	int r = seed_file(dirfd, ".gitignore",
			  "node_modules\npackage.json\npackage-lock.json\nbun.lock\n.gitignore");
	if (r == 0)
		r = seed_file(dirfd, "package-lock.json",
			      "{\"lockfileVersion\":3,\"requires\":true,\"packages\":{\"\":{"
			      "\"dependencies\":{\"@opencode-ai/plugin\":\"*\"}}}}\n");
	/* Last: it says that the rest is there. */
	if (r == 0)
		r = seed_file(dirfd, "package.json",
			      "{\"dependencies\":{\"@opencode-ai/plugin\":\"*\"}}\n");
	return r;
}

/* Modules that may import what npm would bring. */
static bool has_code(const char *dir)
{
	static const char *const names[] = {"plugin", "plugins", "tool", "tools"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (has_entry(dir, names[i]))
			return true;
	return false;
}

/*
 * ~/.opencode is a configuration directory to every OpenCode of the user, whatever XDG_CONFIG_HOME is, and
 * our state base or OpenCode's own installer makes it exist. Not to be had in an isolated form.
 */
static int prepare_home(struct err *e)
{
	CLEANUP(freep) char *dir = path_join(user_home(), ".opencode");
	CLEANUP(closep) int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (fd < 0 || faccessat(fd, ".", W_OK, AT_EACCESS) < 0)
		return dir ? 0 : -ENOMEM; /* then OpenCode leaves it alone too */
	opencode_config_complete_dir(dir);
	int rc = has_code(dir) ? 0 : seed(fd);
	return rc < 0 ? err_errno(e, rc, "seeding the configuration directory %s", dir) : 0;
}

/* Our plugin goes into XDG_CONFIG_HOME's, so all of this one are links. */
static int prepare_extra_config(const struct repo *r, const char *theirs, struct err *e)
{
	CLEANUP(closep) int fd = make_dir(r->state_dir, isolated[EXTRA_CONFIG_DIR].state, NULL);
	int rc = fd < 0 ? fd : drop_dead_links(fd, theirs);
	if (rc == 0)
		rc = link_entries(fd, theirs, NULL);
	if (rc == 0)
		rc = seed(fd);
	opencode_config_complete_dir(theirs);
	return rc < 0 ? err_errno(e, rc, "linking the configuration in %s", theirs) : 0;
}

static int prepare_config(const struct repo *r, struct err *e)
{
	CLEANUP(freep) char *dir = NULL, *theirs = user_dir(CONFIG_DIR);
	CLEANUP(closep) int fd = make_dir(r->state_dir, "config/opencode", &dir);
	if (fd < 0 || !theirs)
		return err_errno(e, fd < 0 ? fd : -ENOMEM, "making %s/config/opencode",
				 r->state_dir);
	int rc = link_config(fd, theirs, e);
	if (rc < 0)
		return rc;
	opencode_config_complete_dir(theirs);
	rc = seed(fd);
	return rc < 0 ? err_errno(e, rc, "seeding the configuration directory %s", dir) : 0;
}

int opencode_prepare(const struct config *c, const struct repo *r, struct err *e)
{
	CLEANUP(freep) char *extra = NULL;
	for (int i = 0; i < EXTRA_CONFIG_DIR; i++) {
		CLEANUP(closep) int fd = make_dir(r->state_dir, isolated[i].state, NULL);
		if (fd < 0)
			return err_errno(e, fd, "making %s/%s", r->state_dir, isolated[i].state);
	}
	int rc = link_login(r, e);
	if (rc == 0)
		rc = prepare_config(r, e);
	if (rc == 0)
		rc = prepare_home(e);
	if (rc == 0)
		rc = extra_config_dir(&extra);
	if (rc == 0 && extra)
		rc = prepare_extra_config(r, extra, e);
	const char *file = getenv("OPENCODE_CONFIG");
	if (rc == 0 && file && file[0] == '/')
		opencode_config_complete(file);
	return rc;
}

/* {"XDG_DATA_HOME": "/home/u/.local/share", ...}: what the plugin gives back to the children of tools. */
static int user_env_json(char **out)
{
	CLEANUP(json_deletep) cJSON *j = cJSON_CreateObject();
	int rc = j ? 0 : -ENOMEM;
	for (int i = 0; rc == 0 && i < N_ISOLATED; i++) {
		CLEANUP(freep) char *value = NULL;
		rc = user_value(&isolated[i], &value);
		if (rc == 0 && *value)
			rc = json_add_str(j, isolated[i].name, value);
	}
	for (int i = 0; rc == 0 && i < N_NPM_SETTINGS; i++) {
		const char *value = getenv(npm_settings[i].name);
		rc = json_add_str(j, npm_settings[i].name,
				  value && *value ? value : npm_settings[i].fallback);
	}
	*out = rc == 0 ? json_text(j) : NULL;
	return *out ? 0 : -ENOMEM;
}

int opencode_env(const struct config *c, const struct repo *r, const char *password,
		 struct spawn_env *env, struct err *e)
{
	CLEANUP(freep) char *gateway = NULL, *rrm = NULL, *plugin = NULL;
	CLEANUP(freep) char *user = NULL, *extra = NULL;
	CLEANUP(freep) char *place = NULL;
	char timeout[16];
	snprintf(timeout, sizeof(timeout), "%u", c->lock_timeout_ms);
	mountstate_place(c, r->name, &place);
	int rc = program_find("rrm-backend", &gateway, e);
	if (rc == 0)
		rc = program_find("rrm", &rrm, e);
	if (rc == 0)
		rc = program_data("rrm.js", &plugin, e);
	if (rc < 0)
		return rc;
	rc = place ? user_env_json(&user) : -ENOMEM;
	if (rc == 0)
		rc = extra_config_dir(&extra);
	for (int i = 0; rc == 0 && i < (extra ? N_ISOLATED : EXTRA_CONFIG_DIR); i++) {
		CLEANUP(freep) char *dir = path_join(r->state_dir, isolated[i].state);
		rc = dir ? spawn_env_set(env, isolated[i].name, dir) : -ENOMEM;
	}
	const struct {
		const char *name, *value;
	} vars[] = {
		{"OPENCODE_SERVER_USERNAME", "opencode"},
		{"OPENCODE_SERVER_PASSWORD", password},
		{"OPENCODE_DISABLE_AUTOUPDATE", "1"},
		/* One database or one file of plugins for two backends, no plugin, another backend's
		 * marks: */
		{"OPENCODE_DB", NULL},
		{"OPENCODE_PLUGIN_META_FILE", NULL},
		{"OPENCODE_PURE", NULL},
		{"OPENCODE_PID", NULL},
		{"OPENCODE", NULL},
		/* For the plugin: */
		{"RRM_GATEWAY_PROGRAM", gateway},
		{"RRM_PROGRAM", rrm},
		{"RRM_PLUGIN", plugin},
		{"RRM_ROOT", r->root},
		{"RRM_STATE", r->state_dir},
		{"RRM_DIRECTORY", place},
		{"RRM_USER_ENV", user},
		{"RRM_LOCK_TIMEOUT_MS", timeout},
	};
	for (size_t i = 0; rc == 0 && i < sizeof(vars) / sizeof(vars[0]); i++)
		rc = spawn_env_set(env, vars[i].name, vars[i].value);
	for (int i = 0; rc == 0 && i < N_NPM_SETTINGS; i++)
		rc = spawn_env_set(env, npm_settings[i].name, npm_settings[i].value);
	if (rc == 0)
		rc = shimconfig_env(r, env);
	return rc < 0 ? err_errno(e, rc, "the environment of OpenCode") : 0;
}

int opencode_leave(struct spawn_env *env)
{
	static const char *const marks[] = {"OPENCODE_PID",        "OPENCODE",   "RRM_BACKEND_OF",
					    "RRM_GATEWAY_PROGRAM", "RRM_STATE",  "RRM_DIRECTORY",
					    "RRM_USER_ENV",        "RRM_REPO_ID"};
	CLEANUP(json_deletep) cJSON *outer = outer_env();
	int rc = 0;
	for (int i = 0; rc == 0 && outer && i < N_ISOLATED; i++) {
		const char *value = json_str(outer, isolated[i].name, "");
		rc = spawn_env_set(env, isolated[i].name, *value ? value : NULL);
	}
	for (size_t i = 0; rc == 0 && i < sizeof(marks) / sizeof(marks[0]); i++)
		rc = spawn_env_set(env, marks[i], NULL);
	return rc;
}

int opencode_boot(int port, const char *password, const char *dir, int timeout_ms)
{
	char path[64 + 3 * PATH_MAX];
	size_t n = (size_t)snprintf(path, sizeof(path), "/path?directory=");
	for (const unsigned char *p = (const unsigned char *)dir; *p && n + 4 < sizeof(path); p++) {
		if (isalnum(*p) || strchr("/-._~", *p))
			path[n++] = (char)*p;
		else
			n += (size_t)snprintf(path + n, 4, "%%%02X", *p);
	}
	path[n] = '\0';
	struct probe p = {.port = port,
			  .path = path,
			  .username = "opencode",
			  .password = password,
			  .timeout_ms = timeout_ms};
	char body[1024];
	int status;
	int r = probe_get(&p, &status, body, sizeof(body));
	return r == 0 && status == 200 ? 0 : -EAGAIN;
}

void opencode_dispose(int port, const char *password, int timeout_ms)
{
	char url[64];
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/global/dispose", port);
	struct http_request rq = {.method = "POST",
				  .url = url,
				  .username = "opencode",
				  .password = password,
				  .timeout_ms = timeout_ms};
	struct http_response rs = {0};
	if (http_request(&rq, &rs, NULL) == 0)
		http_response_deinit(&rs);
}
