#include "manager/usage.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || c == '-';
}

/* Copies the word at *s as long as ok says so, and moves *s behind it. */
static void take_word(const char **s, bool (*ok)(char), char out[USAGE_WORD_MAX])
{
	size_t n = 0;

	while (ok((*s)[n]))
		n++;
	snprintf(out, USAGE_WORD_MAX, "%.*s", (int)n, *s);
	*s += n;
}

static bool in_value(char c)
{
	return isupper((unsigned char)c) || c == '/' || c == '_';
}

/* "N", "=SECONDS", "[=SECONDS]" behind a name. */
static void take_value(const char **s, struct usage_option *o)
{
	const char *p = *s;

	o->attached = *p == '[' || *p == '=';
	p += strspn(p, o->attached ? "[=" : " ");
	if (p == *s || !isupper((unsigned char)*p))
		return;
	/* two blanks end the names: what follows is the text */
	if (!o->attached && p - *s > 1)
		return;
	take_word(&p, in_value, o->value);
	*s = *p == ']' && o->attached ? p + 1 : p;
}

/* "-n, --lines N" at s. Behind it, or NULL when there is no option. */
static const char *take_option(const char *s, struct usage_option *o)
{
	memset(o, 0, sizeof(*o));
	if (s[0] != '-' || !in_name(s[1]) || (s[1] == '-' && !in_name(s[2])))
		return NULL;
	if (s[1] != '-') {
		o->shorter[0] = '-';
		o->shorter[1] = s[1];
		s += 2;
		if (!strncmp(s, ", --", 4))
			s += 2;
	}
	if (s[0] == '-' && s[1] == '-')
		take_word(&s, in_name, o->name);
	take_value(&s, o);
	return s;
}

static bool known(const struct usage_option *all, size_t n, const struct usage_option *o)
{
	for (size_t i = 0; i < n; i++)
		if ((*o->name && !strcmp(all[i].name, o->name)) ||
		    (*o->shorter && !strcmp(all[i].shorter, o->shorter)))
			return true;
	return false;
}

static size_t add(struct usage_option *out, size_t n, const struct usage_option *o)
{
	if (n < USAGE_OPTIONS_MAX && !known(out, n, o))
		out[n++] = *o;
	return n;
}

/* The text of an option: the rest of its line, or the next line when that is empty. */
static void take_text(const char *s, struct usage_option *o)
{
	s += strspn(s, " ");
	if (*s == '\n')
		s += strspn(s, "\n ");
	snprintf(o->text, sizeof(o->text), "%.*s", (int)strcspn(s, "\n"), s);
}

static size_t from_help(const char *help, struct usage_option *out)
{
	struct usage_option o;
	size_t n = 0;

	for (const char *line = help; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		size_t blanks = strspn(line, " ");
		const char *rest = blanks ? take_option(line + blanks, &o) : NULL;
		if (!rest)
			continue;
		take_text(rest, &o);
		n = add(out, n, &o);
	}
	return n;
}

size_t usage_options(const struct command *cmd, struct usage_option *out)
{
	static const struct usage_option always[] = {
		{.shorter = "-h", .name = "--help", .text = "what this command does"},
		{.name = "--version", .text = "the version of rrm"}};
	struct usage_option o;
	size_t n = from_help(cmd->help, out);

	for (const char *s = cmd->usage; *s; s++) {
		/* what stands behind "--" belongs to another command */
		if (!strncmp(s, "-- ", 3))
			break;
		if ((s == cmd->usage || strchr(" [|", s[-1])) && take_option(s, &o))
			n = add(out, n, &o);
	}
	n = add(out, n, &always[0]);
	return add(out, n, &always[1]);
}

static bool in_argument(char c)
{
	return isalnum((unsigned char)c) || c == '/' || c == '_' || c == '-';
}

size_t usage_arguments(const struct command *cmd, char (*out)[USAGE_WORD_MAX])
{
	struct usage_option o;
	size_t n = 0;

	for (const char *s = cmd->usage; *s && *s != '<';) {
		const char *behind = take_option(s, &o);
		if (behind) {
			s = behind;
			continue;
		}
		if (!isalnum((unsigned char)*s)) {
			s++;
			continue;
		}
		char word[USAGE_WORD_MAX];
		take_word(&s, in_argument, word);
		size_t i = 0;
		while (i < n && strcmp(out[i], word) != 0)
			i++;
		if (i == n && n < USAGE_OPTIONS_MAX)
			strcpy(out[n++], word);
	}
	return n;
}
