#include "manager/shimargs.h"

#include <stddef.h>
#include <string.h>

/* OpenCode's verbs (1.18); a first word that is none of them is a project directory. */
static const char *const other_verbs[] = {
	"completion", "acp",     "mcp",       "attach",  "debug",  "providers", "auth",
	"agent",      "upgrade", "uninstall", "web",     "models", "stats",     "export",
	"import",     "github",  "pr",        "session", "plugin", "plug",      "db",
};

enum { TUI = 1, RUN = 2, SERVE = 4 };

/* Options that have a value, or that one of our verbs takes. */
static const struct option {
	const char *name;
	char letter;
	bool value;
	unsigned taken; /* by which of our verbs, when it goes to a backend that runs */
} options[] = {
	{"print-logs", 0, false, TUI | RUN | SERVE},
	{"log-level", 0, true, TUI | RUN | SERVE},
	{"pure", 0, false, TUI | RUN},
	{"continue", 'c', false, TUI | RUN},
	{"session", 's', true, TUI | RUN},
	{"fork", 0, false, TUI | RUN},
	{"mini", 0, false, TUI},
	{"no-replay", 0, false, TUI},
	{"replay-limit", 0, true, TUI},
	{"project", 0, true, TUI},
	{"model", 'm', true, RUN},
	{"agent", 0, true, RUN},
	{"prompt", 0, true, 0},
	{"auto", 0, false, RUN},
	{"port", 0, true, SERVE},
	{"hostname", 0, true, SERVE},
	{"mdns", 0, false, 0},
	{"mdns-domain", 0, true, 0},
	{"cors", 0, true, 0},
	{"command", 0, true, RUN},
	{"format", 0, true, RUN},
	{"file", 'f', true, RUN},
	{"title", 0, true, RUN},
	{"attach", 0, true, RUN},
	{"password", 'p', true, RUN},
	{"username", 'u', true, RUN},
	{"dir", 0, true, RUN},
	{"variant", 0, true, RUN},
	{"share", 0, false, RUN},
	{"thinking", 0, false, RUN},
	{"interactive", 'i', false, RUN},
};

static bool is_option(const char *arg)
{
	return arg[0] == '-' && arg[1] && strcmp(arg, "--") != 0;
}

/* The entry for "--port", "--port=1", "-c"; NULL for what we do not know. */
static const struct option *find(const char *arg, const char **value)
{
	const char *name = arg + strspn(arg, "-");
	size_t len = strcspn(name, "=");
	*value = name[len] ? name + len + 1 : NULL;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		const struct option *o = &options[i];
		bool is_long =
			arg[1] == '-' && strlen(o->name) == len && strncmp(o->name, name, len) == 0;
		if (is_long || (arg[1] != '-' && len == 1 && o->letter == name[0]))
			return o;
	}
	return NULL;
}

static bool asks_for_help(const char *arg)
{
	return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0 ||
	       strcmp(arg, "--version") == 0 || strcmp(arg, "-v") == 0;
}

static enum shimargs_verb verb_of(const char *word)
{
	if (strcmp(word, "serve") == 0)
		return SHIMARGS_SERVE;
	if (strcmp(word, "run") == 0)
		return SHIMARGS_RUN;
	for (size_t i = 0; i < sizeof(other_verbs) / sizeof(other_verbs[0]); i++)
		if (strcmp(word, other_verbs[i]) == 0)
			return SHIMARGS_OTHER;
	return SHIMARGS_TUI;
}

static void note_dir(struct shimargs *out, const char *dir, int at, int words)
{
	out->dir = dir;
	out->dir_at = at;
	out->dir_words = words;
}

/* The verb is the first word that is neither an option nor the value of one. */
static void find_verb(int argc, const char *const *argv, struct shimargs *out)
{
	const char *value;
	for (int i = 0; i < argc; i++) {
		if (!is_option(argv[i])) {
			out->verb = verb_of(argv[i]);
			out->verb_at = out->verb == SHIMARGS_TUI ? -1 : i;
			if (out->verb == SHIMARGS_TUI)
				note_dir(out, argv[i], i, 1);
			return;
		}
		const struct option *o = find(argv[i], &value);
		if (o && o->value && !value)
			i++;
	}
}

/* Option o with its value in argv[at], of so many words. */
static void note(struct shimargs *out, const struct option *o, const char *value, int at, int words)
{
	if (strcmp(o->name, "port") == 0)
		out->port = value;
	else if (strcmp(o->name, "hostname") == 0)
		out->hostname = value;
	else if (strcmp(o->name, "dir") == 0 || strcmp(o->name, "project") == 0)
		note_dir(out, value, at, words);
	else if (strcmp(o->name, "attach") == 0)
		out->verb = SHIMARGS_OTHER; /* to a server of the user's choice */
}

void shimargs_parse(int argc, const char *const *argv, struct shimargs *out)
{
	*out = (struct shimargs){.verb = SHIMARGS_TUI, .verb_at = -1};
	find_verb(argc, argv, out);
	if (out->verb == SHIMARGS_OTHER)
		return;
	unsigned bit = out->verb == SHIMARGS_TUI ? TUI : out->verb == SHIMARGS_RUN ? RUN : SERVE;
	for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *value;
		if (!is_option(argv[i]))
			continue;
		if (asks_for_help(argv[i])) {
			out->verb = SHIMARGS_OTHER;
			return;
		}
		int at = i;
		const struct option *o = find(argv[at], &value);
		if (o && o->value && !value)
			value = i + 1 < argc ? argv[++i] : "";
		/* run goes through OpenCode's own parser, which names what it does not know. */
		if ((!o || !(o->taken & bit)) && bit != RUN && !out->refused)
			out->refused = argv[at];
		else if (o && o->value)
			note(out, o, value, at, i - at + 1);
	}
}
