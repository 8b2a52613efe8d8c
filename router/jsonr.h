/*
 * A small JSON text read in place, without memory of its own: for the request and the answer that each foreign
 * change has, where a cJSON tree costs more than the change itself. Counterpart of jsonw.h. What it takes for JSON
 * is what json_parse() does, and a refusal has that function's words.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "manager/base/err.h"

enum { JSONR_ITEMS = 128 };

/* A value; those within it follow it. All borrowed from the text. */
struct jsonr_item {
	const char *key; /* of a member, as it stands between its quotes; else NULL */
	const char *at;  /* what stands there: of a text, between its quotes */
	uint32_t key_len, len;
	uint32_t below; /* how many of the items behind it are within it */
	char type;      /* '{', '[', '"', '0' for a number, 't', 'f', 'n' */
};

/* Items of the text; the first is all of it. 0; -EINVAL when it is not JSON, or has more than JSONR_ITEMS values. */
int jsonr_parse(const char *text, size_t len, struct jsonr_item items[JSONR_ITEMS], struct err *e);

/* The first member of that name, or element n. NULL: there is none, or obj is NULL or none that has any. */
const struct jsonr_item *jsonr_find(const struct jsonr_item *obj, const char *key);
const struct jsonr_item *jsonr_nth(const struct jsonr_item *array, unsigned n);

/* An integer, as number or decimal string (jsonw.h). 0; -ENOENT: item is NULL; -EINVAL: something else, or out of range. */
int jsonr_u64(const struct jsonr_item *item, uint64_t *out);
int jsonr_i64(const struct jsonr_item *item, int64_t *out);

/* *out owned: the bytes of member key, or of `<key>_hex`; NULL when there is neither. -EINVAL: a value that is no
 * text, or bad hexadecimal. */
int jsonr_bytes(const struct jsonr_item *obj, const char *key, char **out);
