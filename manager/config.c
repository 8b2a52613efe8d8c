/*
 * cJSON does not keep positions, so the line of a bad key is found by walking the text again: the
 * n-th key of the object, and for `policy` the m-th key inside it. The order is that of the text.
 */
#include "manager/config.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "manager/base/path.h"
#include "manager/repo.h"
#include "manager/suggest.h"

enum { CONFIG_MAX_BYTES = 1 << 20 };

enum field_type {
	FIELD_PATH,
	FIELD_PATHS,
	FIELD_TEXT,
	FIELD_NUMBER,
	FIELD_BACKEND,
	FIELD_TRANSPORT,
	FIELD_POLICY
};

struct field {
	const char *name;
	enum field_type type;
	size_t offset; /* in struct config; unused for FIELD_POLICY */
};

static const struct field fields[] = {
	{"mountpoint", FIELD_PATH, offsetof(struct config, mountpoint)},
	{"roots", FIELD_PATHS, offsetof(struct config, roots)},
	{"backend", FIELD_BACKEND, offsetof(struct config, backend)},
	{"transport", FIELD_TRANSPORT, offsetof(struct config, transport)},
	{"awake_ms", FIELD_NUMBER, offsetof(struct config, awake_ms)},
	{"opencode_command", FIELD_TEXT, offsetof(struct config, opencode_command)},
	{"lock_timeout_ms", FIELD_NUMBER, offsetof(struct config, lock_timeout_ms)},
	{"linger_ms", FIELD_NUMBER, offsetof(struct config, linger_ms)},
	{"max_turn_ms", FIELD_NUMBER, offsetof(struct config, max_turn_ms)},
	{"start_timeout_ms", FIELD_NUMBER, offsetof(struct config, start_timeout_ms)},
	{"idle_stop_s", FIELD_NUMBER, offsetof(struct config, idle_stop_s)},
	{"undo_keep_mib", FIELD_NUMBER, offsetof(struct config, undo_keep_mib)},
	{"undo_keep_days", FIELD_NUMBER, offsetof(struct config, undo_keep_days)},
	{"audit_file_mib", FIELD_NUMBER, offsetof(struct config, audit_file_mib)},
	{"audit_keep_mib", FIELD_NUMBER, offsetof(struct config, audit_keep_mib)},
	{"audit_keep_days", FIELD_NUMBER, offsetof(struct config, audit_keep_days)},
	{"max_memory_mib", FIELD_NUMBER, offsetof(struct config, max_memory_mib)},
	{"max_backends", FIELD_NUMBER, offsetof(struct config, max_backends)},
	{"memory_every_s", FIELD_NUMBER, offsetof(struct config, memory_every_s)},
	{"policy", FIELD_POLICY, 0},
};
enum { N_FIELDS = sizeof(fields) / sizeof(fields[0]) };

/* Where the parser is, for the sentence. */
struct place {
	const char *path, *text;
	int key, subkey; /* index of the key at the top and inside it; -1: none */
};

/* Past the string that begins at p (a quote). The text is known to be valid JSON. */
static const char *skip_string(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		if (*p == '\\' && p[1])
			p++;
	return *p ? p + 1 : p;
}

static bool is_key(const char *after)
{
	after += strspn(after, " \t\r\n");
	return *after == ':';
}

static unsigned line_of(const struct place *at)
{
	int depth = 0, key = -1, subkey = -1;
	unsigned line = 1;

	for (const char *p = at->text; *p;) {
		if (*p == '"') {
			const char *next = skip_string(p);
			if (is_key(next)) {
				key += depth == 1;
				subkey += depth == 2 && key == at->key;
				if (key == at->key && subkey == at->subkey)
					return line;
			}
			p = next;
			continue;
		}
		line += *p == '\n';
		depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
		p++;
	}
	return line;
}

#define bad(at, e, fmt, ...)                                                                       \
	err_set(e, -EINVAL, "%s line %u: " fmt, (at)->path, line_of(at), __VA_ARGS__)

/*
 * "~/x" below HOME, anything else absolute; "//" and "/./" collapsed, no trailing slash. ".." is
 * refused: what it means depends on symlinks, and the mountpoint is compared as text.
 */
static int normalise(const char *in, char **out, const char **why)
{
	const char *home = "";

	if (in[0] == '~' && (in[1] == '/' || !in[1])) {
		home = getenv("HOME");
		if (!home || home[0] != '/') {
			*why = "begins with ~, but HOME is not set";
			return -EINVAL;
		}
		in++;
	} else if (in[0] != '/') {
		*why = "is not an absolute path (it may begin with ~/)";
		return -EINVAL;
	}
	size_t room = strlen(home) + strlen(in) + 2;
	CLEANUP(freep) char *joined = malloc(room), *path = malloc(room);
	if (!joined || !path)
		return -ENOMEM;
	stpcpy(stpcpy(joined, home), in);
	char *to = path, *save = NULL;
	*to = '\0';
	for (char *part = strtok_r(joined, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (!strcmp(part, "."))
			continue;
		if (!strcmp(part, "..")) {
			*why = "holds \"..\"; write the path without it";
			return -EINVAL;
		}
		to = stpcpy(stpcpy(to, "/"), part);
	}
	if (to == path)
		strcpy(path, "/");
	if (strlen(path) >= PATH_MAX) {
		*why = "is longer than a path can be";
		return -EINVAL;
	}
	*out = steal(&path);
	return 0;
}

static int parse_path(const cJSON *j, char **out, const struct place *at, struct err *e)
{
	const char *why = "";
	CLEANUP(freep) char *path = NULL;

	if (!cJSON_IsString(j))
		return bad(at, e, "\"%s\" must be a path in quotes", j->string);
	int r = normalise(j->valuestring, &path, &why);
	if (r == -EINVAL)
		return bad(at, e, "\"%s\" %s", j->valuestring, why);
	if (r)
		return err_errno(e, r, "reading %s", at->path);
	free(*out);
	*out = steal(&path);
	return 0;
}

static void free_strings(char **list)
{
	for (char **s = list; s && *s; s++)
		free(*s);
	free(list);
}

static int parse_paths(const cJSON *j, char ***out, const struct place *at, struct err *e)
{
	const cJSON *item;
	size_t n = 0;

	if (!cJSON_IsArray(j))
		return bad(at, e, "\"%s\" must be a list of paths: [\"~/src\"]", j->string);
	char **list = calloc((size_t)cJSON_GetArraySize(j) + 1, sizeof(*list));
	if (!list)
		return err_errno(e, -ENOMEM, "reading %s", at->path);
	cJSON_ArrayForEach (item, j) {
		int r = cJSON_IsString(item)
				? parse_path(item, &list[n++], at, e)
				: bad(at, e, "\"%s\" must hold only paths in quotes", j->string);
		if (r) {
			free_strings(list);
			return r;
		}
	}
	free_strings(*out);
	*out = list;
	return 0;
}

static int parse_number(const cJSON *j, uint32_t *out, const struct place *at, struct err *e)
{
	if (!cJSON_IsNumber(j))
		return bad(at, e, "\"%s\" must be a number without quotes", j->string);
	double v = j->valuedouble;
	if (!(v >= 0))
		return bad(at, e, "\"%s\" is negative; it must be 0 or more", j->string);
	if (v > UINT32_MAX)
		return bad(at, e, "\"%s\" is beyond %u", j->string, UINT32_MAX);
	if (v != (double)(uint32_t)v)
		return bad(at, e, "\"%s\" must be a whole number", j->string);
	*out = (uint32_t)v;
	return 0;
}

static int parse_text(const cJSON *j, char **out, const struct place *at, struct err *e)
{
	if (!cJSON_IsString(j) || !*j->valuestring)
		return bad(at, e, "\"%s\" must be a text in quotes, not empty", j->string);
	char *copy = strdup(j->valuestring);
	if (!copy)
		return err_errno(e, -ENOMEM, "reading %s", at->path);
	free(*out);
	*out = copy;
	return 0;
}

/* Index of word among three; -EINVAL. */
static int word_of(const char *word, const char *const words[3])
{
	for (int i = 0; i < 3; i++)
		if (!strcmp(word, words[i]))
			return i;
	return -EINVAL;
}

static int backend_of(const char *word, enum config_backend *out)
{
	static const char *const words[] = {"auto", "opencode", "embedded"};
	int i = word_of(word, words);

	if (i < 0)
		return i;
	*out = (enum config_backend)i;
	return 0;
}

static int transport_of(const char *word, enum config_transport *out)
{
	static const char *const words[] = {"dev", "auto", "uring"};
	int i = word_of(word, words);

	if (i < 0)
		return i;
	*out = (enum config_transport)i;
	return 0;
}

static int parse_transport(const cJSON *j, enum config_transport *out, const struct place *at,
			   struct err *e)
{
	if (!cJSON_IsString(j) || transport_of(j->valuestring, out))
		return bad(at, e, "\"%s\" must be \"auto\", \"dev\" or \"uring\"", j->string);
	return 0;
}

static int parse_backend(const cJSON *j, enum config_backend *out, const struct place *at,
			 struct err *e)
{
	if (!cJSON_IsString(j) || backend_of(j->valuestring, out))
		return bad(at, e, "\"%s\" must be \"auto\", \"opencode\" or \"embedded\"",
			   j->string);
	return 0;
}

static int add_policy(struct config *c, const cJSON *j, const struct place *at, struct err *e)
{
	enum config_policy policy;

	if (cJSON_IsString(j) && !strcmp(j->valuestring, "route"))
		policy = CONFIG_POLICY_ROUTE;
	else if (cJSON_IsString(j) && !strcmp(j->valuestring, "readonly"))
		policy = CONFIG_POLICY_READONLY;
	else
		return bad(at, e, "the policy of \"%s\" must be \"route\" or \"readonly\"",
			   j->string);

	void *more = reallocarray(c->policies, c->n_policies + 1, sizeof(*c->policies));
	if (!more)
		return err_errno(e, -ENOMEM, "reading %s", at->path);
	c->policies = more;
	const char *why;
	char *repo = NULL;
	int r = j->string[0] == '/' || j->string[0] == '~' ? normalise(j->string, &repo, &why) : 0;
	if (r == -EINVAL)
		return bad(at, e, "\"%s\" %s", j->string, why);
	if (!repo)
		repo = strdup(j->string);
	if (!repo)
		return err_errno(e, -ENOMEM, "reading %s", at->path);
	c->policies[c->n_policies].repo = repo;
	c->policies[c->n_policies++].policy = policy;
	return 0;
}

static int parse_policy(struct config *c, const cJSON *j, struct place at, struct err *e)
{
	const cJSON *item;

	if (!cJSON_IsObject(j))
		return bad(&at, e, "\"%s\" must be {\"REPO\": \"route\" or \"readonly\", ...}",
			   j->string);
	cJSON_ArrayForEach (item, j) {
		at.subkey++;
		int r = add_policy(c, item, &at, e);
		if (r)
			return r;
	}
	return 0;
}

static int unknown_key(const char *key, const struct place *at, struct err *e)
{
	const char *names[N_FIELDS + 1] = {NULL};

	for (unsigned i = 0; i < N_FIELDS; i++)
		names[i] = fields[i].name;
	const char *near = suggest(key, names);
	if (near)
		return bad(at, e, "unknown key \"%s\"; did you mean \"%s\"?", key, near);
	return bad(at, e, "unknown key \"%s\"", key);
}

static int parse_field(struct config *c, const struct field *f, const cJSON *j,
		       const struct place *at, struct err *e)
{
	void *to = (char *)c + f->offset;

	switch (f->type) {
	case FIELD_PATH:
		return parse_path(j, to, at, e);
	case FIELD_PATHS:
		return parse_paths(j, to, at, e);
	case FIELD_TEXT:
		return parse_text(j, to, at, e);
	case FIELD_NUMBER:
		return parse_number(j, to, at, e);
	case FIELD_BACKEND:
		return parse_backend(j, to, at, e);
	case FIELD_TRANSPORT:
		return parse_transport(j, to, at, e);
	case FIELD_POLICY:
		return parse_policy(c, j, *at, e);
	}
	return -EINVAL;
}

static int parse_member(struct config *c, const cJSON *j, const struct place *at, unsigned *seen,
			struct err *e)
{
	for (unsigned i = 0; i < N_FIELDS; i++) {
		if (strcmp(fields[i].name, j->string) != 0)
			continue;
		if (*seen & 1u << i)
			return bad(at, e, "\"%s\" stands here a second time", j->string);
		*seen |= 1u << i;
		return parse_field(c, &fields[i], j, at, e);
	}
	return unknown_key(j->string, at, e);
}

int config_parse(struct config *c, const char *text, const char *path, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	struct place at = {.path = path, .text = text, .key = -1, .subkey = -1};
	const cJSON *item;
	unsigned seen = 0;

	int r = json_parse(text, strlen(text), &j, e);
	if (r)
		return err_prefix(e, r, "%s", path);
	if (!cJSON_IsObject(j))
		return err_set(e, -EINVAL, "%s line 1: must hold one object {...}", path);
	cJSON_ArrayForEach (item, j) {
		at.key++;
		r = parse_member(c, item, &at, &seen, e);
		if (r)
			return r;
	}
	return 0;
}

/* An absolute path from an environment variable, against the working directory when relative. */
static int env_path(const char *name, const char *value, char **out, struct err *e)
{
	CLEANUP(freep) char *cwd = NULL, *joined = NULL, *path = NULL;
	const char *why = "";

	if (value[0] != '/' && value[0] != '~') {
		cwd = getcwd(NULL, 0);
		joined = cwd ? path_join(cwd, value) : NULL;
		if (!joined)
			return err_set(e, -errno,
				       "%s=%s is relative to a directory that is gone: %m", name,
				       value);
	}
	int r = normalise(joined ? joined : value, &path, &why);
	if (r == -EINVAL)
		return err_set(e, r, "%s=%s %s", name, value, why);
	if (r)
		return err_errno(e, r, "reading %s", name);
	free(*out);
	*out = steal(&path);
	return 0;
}

static const char *env_set(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

static int set_defaults(struct config *c, const char *home, struct err *e)
{
	const char *base = env_set("RRM_HOME");
	int r;

	c->lock_timeout_ms = 30000;
	c->linger_ms = 20;
	c->max_turn_ms = 2000;
	c->awake_ms = 5;
	c->start_timeout_ms = 30000;
	c->memory_every_s = 30;
	c->undo_keep_mib = 512;
	c->undo_keep_days = 14;
	c->audit_file_mib = 64;
	c->opencode_command = strdup("opencode");
	c->roots = calloc(1, sizeof(*c->roots));
	if (!c->opencode_command || !c->roots)
		return err_errno(e, -ENOMEM, "reading the configuration");
	if (!base && !home)
		return err_set(e, -ENOENT,
			       "neither HOME nor RRM_HOME is set; set one of them, so "
			       "that there is a place for the state");
	if (base)
		r = env_path("RRM_HOME", base, &c->base, e);
	else
		r = env_path("HOME", home, &c->base, e);
	if (r)
		return r;
	if (!base) {
		CLEANUP(freep) char *dir = steal(&c->base);
		c->base = path_join(dir, ".opencode");
		c->mountpoint = path_join(dir, "rrm");
		return c->base && c->mountpoint ? 0 : err_errno(e, -ENOMEM, "reading HOME");
	}
	if (home)
		return env_path("HOME", "~/rrm", &c->mountpoint, e);
	c->mountpoint = path_join(c->base, "mnt");
	return c->mountpoint ? 0 : err_errno(e, -ENOMEM, "reading RRM_HOME");
}

static int read_file(struct config *c, const char *home, struct err *e)
{
	CLEANUP(freep) char *path = NULL, *text = NULL;
	const char *xdg = env_set("XDG_CONFIG_HOME");
	size_t len;

	if (xdg && xdg[0] == '/') /* a relative one is to be ignored, says its specification */
		path = path_join(xdg, "rrm/config.json");
	else if (home)
		path = path_join(home, ".config/rrm/config.json");
	else
		return 0;
	if (!path)
		return err_errno(e, -ENOMEM, "reading the configuration");
	int r = file_read(AT_FDCWD, path, CONFIG_MAX_BYTES, &text, &len);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r == -EFBIG)
		return err_set(e, r,
			       "%s is larger than 1 MiB, so it is no configuration; move it away",
			       path);
	if (r)
		return err_errno(e, r, "reading %s", path);
	if (strlen(text) != len)
		return err_set(e, -EINVAL, "%s holds a NUL byte, so it is no JSON", path);
	return config_parse(c, text, path, e);
}

static int read_environment(struct config *c, struct err *e)
{
	const char *mountpoint = env_set("RRM_MOUNTPOINT"), *backend = env_set("RRM_BACKEND");
	const char *transport = env_set("RRM_TRANSPORT");

	if (backend && backend_of(backend, &c->backend))
		return err_set(e, -EINVAL, "RRM_BACKEND=%s must be auto, opencode or embedded",
			       backend);
	if (transport && transport_of(transport, &c->transport))
		return err_set(e, -EINVAL, "RRM_TRANSPORT=%s must be auto, dev or uring",
			       transport);
	return mountpoint ? env_path("RRM_MOUNTPOINT", mountpoint, &c->mountpoint, e) : 0;
}

int config_load(struct config **out, struct err *e)
{
	const char *home = env_set("HOME");
	struct config *c = calloc(1, sizeof(*c));

	if (!c)
		return err_errno(e, -ENOMEM, "reading the configuration");
	int r = set_defaults(c, home, e);
	if (!r)
		r = read_file(c, home, e);
	if (!r)
		r = read_environment(c, e);
	if (r) {
		config_free(c);
		return r;
	}
	*out = c;
	return 0;
}

struct config *config_free(struct config *c)
{
	if (!c)
		return NULL;
	free(c->base);
	free(c->mountpoint);
	free_strings(c->roots);
	free(c->opencode_command);
	for (unsigned i = 0; i < c->n_policies; i++)
		free(c->policies[i].repo);
	free(c->policies);
	free(c);
	return NULL;
}

enum config_policy config_policy_of(const struct config *c, const struct repo *r)
{
	for (unsigned i = 0; i < c->n_policies; i++) {
		const char *who = c->policies[i].repo;
		if (!strcmp(who, r->name) || !strcmp(who, r->id) || !strcmp(who, r->root))
			return c->policies[i].policy;
	}
	return CONFIG_POLICY_ROUTE;
}
