/*
 * cJSON with our conventions. Getters never fail on a wrong type: they give the fallback.
 *
 * File names are bytes, JSON strings are UTF-8: json_add_bytes() writes `key` as text, and when the
 * bytes are not valid UTF-8 also `key_hex` with the exact bytes in hexadecimal (`key` then shows
 * U+FFFD for each bad byte). json_get_bytes() prefers `key_hex`.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cjson/cJSON.h>

#include "manager/base/err.h"

/* Parses len bytes; *out is owned by the caller. -EINVAL with line and column in e. Trailing white
 * space is allowed; other trailing bytes, NUL bytes, \u0000, bytes that are no UTF-8 and nesting beyond
 * 32 are not. */
int json_parse(const char *data, size_t len, cJSON **out, struct err *e);

/* Reads and parses a file of at most max_bytes. -ENOENT as is; -EINVAL when it is not JSON. */
int json_read_file(int dirfd, const char *name, size_t max_bytes, cJSON **out, struct err *e);

/* file_replace() with the compact text and a newline. */
int json_replace_file(int dirfd, const char *name, const cJSON *j, mode_t mode);

const char *json_str(const cJSON *obj, const char *key,
		     const char *fallback); /* borrowed from obj */
/* Integers beyond 2^53 are not exact in JSON numbers; ids and inodes fit or are strings. */
int64_t json_int(const cJSON *obj, const char *key, int64_t fallback);
bool json_bool(const cJSON *obj, const char *key, bool fallback);

/* 0 or -ENOMEM. */
int json_add_str(cJSON *obj, const char *key, const char *value); /* value NULL adds null */
/* All 64 bits are written, as digits; cJSON_AddNumberToObject() would round beyond 15 of them. Large
 * ones are cJSON_Raw until the text was parsed again: read them with json_int(). */
int json_add_int(cJSON *obj, const char *key, int64_t value);
int json_add_bool(cJSON *obj, const char *key, bool value);
int json_add_bytes(cJSON *obj, const char *key, const char *bytes); /* NUL-terminated file name */
/* *out owned; NULL when the key is missing; -EINVAL for bad hex or an embedded NUL. */
int json_get_bytes(const cJSON *obj, const char *key, char **out);

/* Compact text, owned by the caller; NULL when out of memory. */
char *json_text(const cJSON *j);
/* Pretty text with a final newline to stdout. 0 or negative errno. */
int json_print(const cJSON *j);

bool json_utf8_valid(const char *bytes, size_t len);
