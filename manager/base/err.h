/*
 * The sentence a person reads, built from inside out: the function that knows the fact writes it
 * (err_set), each caller that knows the user's words puts them in front (err_prefix), the outermost
 * one shows it once. "starting backend for web: port 4101 is taken by pid 312 (node); stop it".
 * Every function takes a NULL err and then only passes the code through.
 */
#pragma once
#include <stdarg.h>

struct err {
	char text[2048]; /* UTF-8, no newline, always terminated; "" when nothing is set */
};

#define ERR_INIT                                                                                   \
	{                                                                                          \
		.text = ""                                                                         \
	}

/* Replaces the text; returns code. Newlines and control bytes of the arguments become spaces. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and strerror(-code) appended. code is a negative errno. */
int err_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "<prefix>: " in front of what is there; returns code. */
int err_prefix(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__
/* The analyser sees one file at a time: told that code comes back, it does not follow an error as if it
 * were a success. */
#define err_set(e, code, ...) (err_set(e, code, __VA_ARGS__), (code))
#define err_errno(e, code, ...) (err_errno(e, code, __VA_ARGS__), (code))
#define err_prefix(e, code, ...) (err_prefix(e, code, __VA_ARGS__), (code))
#endif

/* "ENOENT" for ENOENT (positive errno); "E<number>" for an unknown one; static storage. */
const char *err_name(int errnum);
