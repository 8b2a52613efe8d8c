/*
 * A JSON text written front to back into one growing buffer: for what is written a thousand times a
 * second (requests, answers, audit records), where building a cJSON tree costs more than the work
 * itself. Integers are exact: beyond 2^53, where readers with doubles would round, they become
 * decimal strings, and jsonw_get_u64() and jsonw_get_i64() take both.
 *
 * Out of memory is remembered and told once, by jsonw_steal() returning NULL.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <cjson/cJSON.h>

struct jsonw {
	char *text; /* owned until jsonw_steal() */
	size_t len, size;
	bool ascii;  /* every byte outside 0x20-0x7e becomes a \u escape */
	bool comma;  /* private: the next member needs one */
	bool failed; /* out of memory at some point */
};

void jsonw_open(struct jsonw *w, const char *key); /* "{"; key NULL outside an object */
void jsonw_close(struct jsonw *w);                 /* "}" */
void jsonw_null(struct jsonw *w, const char *key);
void jsonw_bool(struct jsonw *w, const char *key, bool value);
void jsonw_i64(struct jsonw *w, const char *key, int64_t value);
void jsonw_u64(struct jsonw *w, const char *key, uint64_t value);
void jsonw_time(struct jsonw *w, const char *key, const struct timespec *t); /* [s, ns] */

/* Text; bytes that are no UTF-8 become U+FFFD. value NULL writes null. */
void jsonw_str(struct jsonw *w, const char *key, const char *value);

/* A file name: as jsonw_str(), and with `<key>_hex` when the bytes are no UTF-8 (json_add_bytes()). */
void jsonw_bytes(struct jsonw *w, const char *key, const char *value);

/* `<key>_hex` alone. */
void jsonw_hex(struct jsonw *w, const char *key, const char *value);

/* The text, owned by the caller; NULL when out of memory. w is empty afterwards. */
char *jsonw_steal(struct jsonw *w);
void jsonw_deinit(struct jsonw *w);

/* Length of value as a JSON text without its quotes. */
size_t jsonw_escaped_len(const char *value, bool ascii);

/* An integer member, as number or decimal string. 0; -ENOENT when missing (*out stays); -EINVAL when
 * it is something else, no integer, or out of range. */
int jsonw_get_u64(const cJSON *obj, const char *key, uint64_t *out);
int jsonw_get_i64(const cJSON *obj, const char *key, int64_t *out);
int jsonw_item_i64(const cJSON *item, int64_t *out); /* item NULL: -ENOENT */
