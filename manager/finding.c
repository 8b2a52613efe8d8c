#include "manager/finding.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/base/proc.h"
#include "manager/cmdutil.h"

int findings_init(struct findings *f)
{
	*f = (struct findings){.list = cJSON_CreateArray()};
	return f->list ? 0 : -ENOMEM;
}

void findings_deinit(struct findings *f)
{
	cJSON_Delete(f->list);
	f->list = NULL;
}

/* value is owned by j after it, or gone. */
static void put(struct findings *f, cJSON *j, const char *key, cJSON *value)
{
	if (value && cJSON_AddItemToObject(j, key, value))
		return;
	cJSON_Delete(value);
	f->error = -ENOMEM;
}

/* Formatted as err_set() does it: no newline, no control byte. */
static void put_text(struct findings *f, cJSON *j, const char *key, const char *fmt, va_list ap)
{
	char text[2048];
	struct err e = ERR_INIT;
	vsnprintf(text, sizeof(text), fmt, ap);
	err_set(&e, 0, "%s", text);
	if (json_add_bytes(j, key, e.text))
		f->error = -ENOMEM;
}

cJSON *finding_add(struct findings *f, enum finding_level level, const char *kind, const char *why,
		   const char *fmt, ...)
{
	cJSON *j = cJSON_CreateObject(), *where = cJSON_CreateObject();
	va_list ap;
	if (!j || !where || !cJSON_AddItemToArray(f->list, j)) {
		cJSON_Delete(j);
		cJSON_Delete(where);
		f->error = -ENOMEM;
		return NULL;
	}
	f->problems += level == FINDING_PROBLEM;
	put(f, j, "kind", cJSON_CreateString(kind));
	put(f, j, "level", cJSON_CreateString(level == FINDING_PROBLEM ? "problem" : "note"));
	va_start(ap, fmt);
	put_text(f, j, "what", fmt, ap);
	va_end(ap);
	put(f, where, "pids", cJSON_CreateArray());
	put(f, where, "paths", cJSON_CreateArray());
	put(f, j, "where", where);
	put(f, j, "why", cJSON_CreateString(why));
	return j;
}

void finding_fix(struct findings *f, cJSON *finding, const char *fmt, ...)
{
	va_list ap;
	if (!finding)
		return;
	va_start(ap, fmt);
	put_text(f, finding, "fix", fmt, ap);
	va_end(ap);
}

static cJSON *where_of(const cJSON *finding, const char *key)
{
	return cJSON_GetObjectItem(cJSON_GetObjectItem(finding, "where"), key);
}

void finding_pid(struct findings *f, cJSON *finding, pid_t pid)
{
	cJSON *list = where_of(finding, "pids");
	char command[512] = "", cwd[PATH_MAX] = "";
	struct proc_stat st = {0};
	const cJSON *known;
	if (!list)
		return;
	cJSON_ArrayForEach (known, list)
		if (json_int(known, "pid", 0) == pid)
			return;
	cJSON *j = cJSON_CreateObject();
	if (!j || !cJSON_AddItemToArray(list, j)) {
		cJSON_Delete(j);
		f->error = -ENOMEM;
		return;
	}
	proc_stat(pid, &st);
	if (proc_cmdline(pid, command, sizeof(command)) < 0)
		command[0] = '\0';
	if (proc_cwd(pid, cwd, sizeof(cwd)) < 0)
		cwd[0] = '\0';
	if (json_add_int(j, "pid", pid) || json_add_bytes(j, "comm", st.comm) ||
	    json_add_bytes(j, "command", command) || json_add_bytes(j, "cwd", cwd))
		f->error = -ENOMEM;
}

void finding_path(struct findings *f, cJSON *finding, const char *path)
{
	cJSON *list = where_of(finding, "paths"), *j = NULL;
	if (!list)
		return;
	/* The exact bytes of a name that is not UTF-8 are not worth a second key here. */
	CLEANUP(json_deletep) cJSON *holder = cJSON_CreateObject();
	if (holder && json_add_bytes(holder, "p", path) == 0)
		j = cJSON_DetachItemFromObject(holder, "p");
	if (!j || !cJSON_AddItemToArray(list, j)) {
		cJSON_Delete(j);
		f->error = -ENOMEM;
	}
}

static void print_text(const char *head, const char *text)
{
	printf("  %-6s", head);
	cmd_print_bytes(stdout, text);
	putchar('\n');
}

static void print_one(const cJSON *j)
{
	const char *head = "where:";
	const cJSON *w;
	printf("%s: ", json_str(j, "level", ""));
	cmd_print_bytes(stdout, json_str(j, "what", ""));
	putchar('\n');
	cJSON_ArrayForEach (w, where_of(j, "pids")) {
		char text[6144];
		const char *command = json_str(w, "command", "");
		snprintf(text, sizeof(text), " pid %d (%s) in %s", (int)json_int(w, "pid", 0),
			 *command ? command : json_str(w, "comm", "?"), json_str(w, "cwd", "?"));
		print_text(head, text);
		head = "";
	}
	cJSON_ArrayForEach (w, where_of(j, "paths")) {
		char text[PATH_MAX + 2];
		snprintf(text, sizeof(text), " %s", cJSON_GetStringValue(w));
		print_text(head, text);
		head = "";
	}
	printf("  why:   %s\n", json_str(j, "why", ""));
	if (*json_str(j, "fix", ""))
		printf("  do:    %s\n", json_str(j, "fix", ""));
}

void findings_print(const struct findings *f)
{
	static const char *const levels[] = {"problem", "note"};
	for (size_t i = 0; i < 2; i++) {
		const cJSON *j;
		if (i == 1 && f->problems == 0)
			puts("nothing found");
		cJSON_ArrayForEach (j, f->list)
			if (strcmp(json_str(j, "level", ""), levels[i]) == 0)
				print_one(j);
	}
	if (f->problems)
		printf("%u problem%s found\n", f->problems, f->problems == 1 ? "" : "s");
}
