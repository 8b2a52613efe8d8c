/*
 * What `rrm doctor` found: a list of {kind, level, what, where: {pids, paths}, why, fix}. kind is a fixed
 * word for programs, level "problem" (exit 3) or "note"; what, why and fix are sentences, fix with the command to
 * run; pids is an array of {pid, comm, command, cwd}, paths one of file names.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include <cjson/cJSON.h>

enum finding_level { FINDING_PROBLEM, FINDING_NOTE };

struct findings {
	cJSON *list; /* owned */
	unsigned problems;
	int error; /* -ENOMEM when something is missing from the list, else 0 */
};

/* 0 or -ENOMEM. */
int findings_init(struct findings *f);
void findings_deinit(struct findings *f);

/* Adds one; what is the text of fmt, why is copied. Returned is the finding, borrowed, for the functions
 * below, which take NULL (out of memory: f->error says so). */
cJSON *finding_add(struct findings *f, enum finding_level level, const char *kind, const char *why,
		   const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void finding_fix(struct findings *f, cJSON *finding, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* A process, with what /proc says of it now; twice the same is once. */
void finding_pid(struct findings *f, cJSON *finding, pid_t pid);
void finding_path(struct findings *f, cJSON *finding, const char *path);

/* For people, problems first; "nothing found" when there is no problem. */
void findings_print(const struct findings *f);
