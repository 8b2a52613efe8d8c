/* Which audit records `rrm log` shows, and how a person sees one. Pure but for the FILE. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "manager/base/json.h"
#include "manager/repo.h"

struct auditview {
	bool has_since, has_until;
	int64_t since_ms, until_ms; /* wall clock; records before, and those after, are left out */
	const char *path; /* fnmatch(3) pattern for path or path2, '*' matches '/'; or NULL */
	const char *from; /* actor.home: a repo_id, "" for none; NULL: any */
	const char *
		result; /* "ok", "failed" for all that is not ok, "refused", or as recorded: EACCES;
			 * NULL: any */
	bool colour;
	const struct repo_list *repos; /* to show names for repo_ids; borrowed */
};

/* Nothing was changed by order of rrm: by its gateway, or, without a seq, before one was asked. */
bool auditview_refused(const cJSON *record);

bool auditview_wants(const struct auditview *v, const cJSON *record);

/* The name of the repo with that repo_id, else the repo_id. Borrowed. */
const char *auditview_name(const struct auditview *v, const char *repo_id);

/* One line: time, repo (NULL: left out), seq or "refused", op, path, bytes, by whom, how it ended. */
void auditview_print(const struct auditview *v, FILE *f, const char *repo, const cJSON *record);

/* "90s", "10m", "2h", "3d" before now_ms, "2026-11-22", or RFC 3339. -EINVAL when it is none. */
int auditview_since(const char *text, int64_t now_ms, int64_t *wall_ms);
