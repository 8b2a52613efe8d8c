#include "manager/words.h"

#include <string.h>

#include "manager/base/clock.h"
#include "manager/cmdutil.h"

const char *words_span(char buf[WORDS_MAX], int64_t seconds)
{
	long long s = seconds < 0 ? 0 : (long long)seconds;

	if (s < 60)
		snprintf(buf, WORDS_MAX, "%llds", s);
	else if (s < 3600)
		snprintf(buf, WORDS_MAX, "%lldm", s / 60);
	else if (s < 86400)
		snprintf(buf, WORDS_MAX, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else
		snprintf(buf, WORDS_MAX, "%lldd%02lldh", s / 86400, s / 3600 % 24);
	return buf;
}

const char *words_memory(char buf[WORDS_MAX], int64_t kib)
{
	long long k = kib < 0 ? 0 : (long long)kib;

	if (k < 1024)
		snprintf(buf, WORDS_MAX, "%lldK", k);
	else if (k < 1024 * 1024)
		snprintf(buf, WORDS_MAX, "%lldM", k / 1024);
	else
		snprintf(buf, WORDS_MAX, "%lld.%lldG", k >> 20, (k & 0xfffff) * 10 >> 20);
	return buf;
}

const char *words_ago(char buf[WORDS_MAX], const char *ts, int64_t now_ms)
{
	char span[WORDS_MAX];
	int64_t then;

	buf[0] = '\0';
	if (clock_parse_iso(ts, &then))
		return buf;
	if (then > now_ms + 1000)
		snprintf(buf, WORDS_MAX, "in %.20s", words_span(span, (then - now_ms) / 1000));
	else
		snprintf(buf, WORDS_MAX, "%.20s ago", words_span(span, (now_ms - then) / 1000));
	return buf;
}

void words_who(FILE *f, const cJSON *who)
{
	if (cJSON_IsString(who)) {
		cmd_print_bytes(f, who->valuestring);
		return;
	}
	const char *comm = json_str(who, "comm", "");
	cmd_print_bytes(f, comm[0] ? comm : "?");
	if (json_int(who, "pid", 0) > 0)
		fprintf(f, "(%lld)", (long long)json_int(who, "pid", 0));
	const char *home = json_str(who, "home", "");
	fputs(home[0] ? " of " : " of nobody", f);
	cmd_print_bytes(f, home);
	const char *session = json_str(who, "session", "");
	if (session[0]) {
		fputs(" session ", f);
		cmd_print_bytes(f, session);
	}
}

/* Bytes of a repo_id without its "-<16 hex>". */
static int slug_len(const char *repo_id)
{
	size_t n = strlen(repo_id);

	return (int)(n > 17 && repo_id[n - 17] == '-' ? n - 17 : n);
}

void words_who_short(char *buf, size_t size, const cJSON *who)
{
	const char *comm = json_str(who, "comm", ""), *home = json_str(who, "home", "");
	long long pid = (long long)json_int(who, "pid", 0);

	if (cJSON_IsString(who))
		snprintf(buf, size, "%s", who->valuestring);
	else
		snprintf(buf, size, "%s(%lld)%s%.*s", comm[0] ? comm : "?", pid,
			 home[0] ? " of " : "", slug_len(home), home);
}
