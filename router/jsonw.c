#include "router/jsonw.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"

static const uint64_t EXACT_MAX = UINT64_C(1) << 53; /* every integer up to here is a double */

static char *room(struct jsonw *w, size_t n)
{
	if (w->failed)
		return NULL;
	if (w->size - w->len < n + 1) {
		size_t size = w->size ? w->size * 2 : 1024;
		while (size - w->len < n + 1)
			size *= 2;
		char *p = realloc(w->text, size);
		if (!p) {
			w->failed = true;
			return NULL;
		}
		w->text = p;
		w->size = size;
	}
	return w->text + w->len;
}

static void put(struct jsonw *w, const char *s, size_t n)
{
	char *p = room(w, n);
	if (!p)
		return;
	memcpy(p, s, n);
	w->len += n;
}

static void put_key(struct jsonw *w, const char *key, const char *suffix)
{
	if (w->comma)
		put(w, ",", 1);
	w->comma = true;
	if (!key)
		return;
	put(w, "\"", 1);
	put(w, key, strlen(key));
	put(w, suffix, strlen(suffix));
	put(w, "\":", 2);
}

/* One code point of at most n bytes; its length, or 0 when the bytes are no UTF-8. */
static size_t decode_point(const unsigned char *s, size_t n, uint32_t *cp)
{
	size_t len = s[0] < 0x80 ? 1 : (s[0] & 0xe0) == 0xc0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	if (len == 1) {
		*cp = s[0];
		return 1;
	}
	if (s[0] < 0xc2 || s[0] > 0xf4 || len > n)
		return 0;
	uint32_t c = s[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*cp = c;
	return len;
}

/* The JSON form of one code point, at most 12 bytes. */
static size_t escape_point(uint32_t cp, const unsigned char *raw, size_t raw_len, bool ascii,
			   char out[16])
{
	if (cp == '"' || cp == '\\') {
		out[0] = '\\';
		out[1] = (char)cp;
		return 2;
	}
	if (cp >= 0x10000 && ascii)
		return (size_t)snprintf(out, 16, "\\u%04x\\u%04x", 0xd800 + ((cp - 0x10000) >> 10),
					0xdc00 + ((cp - 0x10000) & 0x3ff));
	if (cp < 0x20 || (cp >= 0x7f && ascii))
		return (size_t)snprintf(out, 16, "\\u%04x", cp);
	memcpy(out, raw, raw_len);
	return raw_len;
}

/* Walks value; counts when w is NULL. */
static size_t escape(struct jsonw *w, const char *value, bool ascii)
{
	const unsigned char *s = (const unsigned char *)value;
	size_t n = strlen(value), total = 0;
	static const unsigned char replacement[] = {0xef, 0xbf, 0xbd};

	for (size_t i = 0, run; i < n; i += run) {
		for (run = 0; i + run < n && s[i + run] >= 0x20 && s[i + run] < 0x7f &&
			      s[i + run] != '"' && s[i + run] != '\\';)
			run++;
		if (run) {
			if (w)
				put(w, value + i, run);
			total += run;
			continue;
		}
		uint32_t cp = 0;
		char out[16];
		run = decode_point(s + i, n - i, &cp);
		size_t len = run ? escape_point(cp, s + i, run, ascii, out)
				 : escape_point(0xfffd, replacement, 3, ascii, out);
		if (!run)
			run = 1;
		if (w)
			put(w, out, len);
		total += len;
	}
	return total;
}

size_t jsonw_escaped_len(const char *value, bool ascii)
{
	return escape(NULL, value, ascii);
}

void jsonw_open(struct jsonw *w, const char *key)
{
	put_key(w, key, "");
	put(w, "{", 1);
	w->comma = false;
}

void jsonw_close(struct jsonw *w)
{
	put(w, "}", 1);
	w->comma = true;
}

void jsonw_null(struct jsonw *w, const char *key)
{
	put_key(w, key, "");
	put(w, "null", 4);
}

void jsonw_bool(struct jsonw *w, const char *key, bool value)
{
	put_key(w, key, "");
	put(w, value ? "true" : "false", value ? 4 : 5);
}

static void put_number(struct jsonw *w, uint64_t value, bool negative)
{
	char digits[24], *end = digits + sizeof(digits), *p = end;
	bool quoted = value > EXACT_MAX;
	if (quoted)
		*--p = '"';
	do
		*--p = (char)('0' + value % 10);
	while (value /= 10);
	if (negative)
		*--p = '-';
	if (quoted)
		*--p = '"';
	put(w, p, (size_t)(end - p));
}

void jsonw_u64(struct jsonw *w, const char *key, uint64_t value)
{
	put_key(w, key, "");
	put_number(w, value, false);
}

void jsonw_i64(struct jsonw *w, const char *key, int64_t value)
{
	put_key(w, key, "");
	put_number(w, value < 0 ? -(uint64_t)value : (uint64_t)value, value < 0);
}

void jsonw_time(struct jsonw *w, const char *key, const struct timespec *t)
{
	put_key(w, key, "");
	put(w, "[", 1);
	w->comma = false;
	jsonw_i64(w, NULL, t->tv_sec);
	jsonw_i64(w, NULL, t->tv_nsec);
	put(w, "]", 1);
	w->comma = true;
}

void jsonw_str(struct jsonw *w, const char *key, const char *value)
{
	if (!value) {
		jsonw_null(w, key);
		return;
	}
	put_key(w, key, "");
	put(w, "\"", 1);
	escape(w, value, w->ascii);
	put(w, "\"", 1);
}

void jsonw_hex(struct jsonw *w, const char *key, const char *value)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = strlen(value);
	put_key(w, key, "_hex");
	put(w, "\"", 1);
	char *p = room(w, 2 * n);
	if (!p)
		return;
	for (size_t i = 0; i < n; i++) {
		*p++ = digits[(unsigned char)value[i] >> 4];
		*p++ = digits[(unsigned char)value[i] & 15];
	}
	w->len += 2 * n;
	put(w, "\"", 1);
}

void jsonw_bytes(struct jsonw *w, const char *key, const char *value)
{
	jsonw_str(w, key, value);
	if (value && !json_utf8_valid(value, strlen(value)))
		jsonw_hex(w, key, value);
}

char *jsonw_steal(struct jsonw *w)
{
	char *p = room(w, 0);
	if (p)
		*p = '\0';
	CLEANUP(freep) char *text = w->text;
	bool failed = w->failed;
	*w = (struct jsonw){.ascii = w->ascii};
	return failed ? NULL : steal(&text);
}

void jsonw_deinit(struct jsonw *w)
{
	free(w->text);
	*w = (struct jsonw){0};
}

/* Sign and magnitude, so that both 64-bit types come from one reader. */
static int get_number(const cJSON *j, bool *negative, uint64_t *magnitude)
{
	if (!j)
		return -ENOENT;
	if (cJSON_IsNumber(j)) {
		double d = j->valuedouble;
		*negative = d < 0;
		d = d < 0 ? -d : d;
		if (!(d <= (double)EXACT_MAX) || d != (double)(uint64_t)d)
			return -EINVAL;
		*magnitude = (uint64_t)d;
		return 0;
	}
	if (!cJSON_IsString(j))
		return -EINVAL;
	const char *s = j->valuestring;
	*negative = *s == '-';
	s += *negative;
	if (!*s || strspn(s, "0123456789") != strlen(s))
		return -EINVAL;
	errno = 0;
	unsigned long long v = strtoull(s, NULL, 10);
	if (errno)
		return -EINVAL;
	*magnitude = v;
	return 0;
}

int jsonw_get_u64(const cJSON *obj, const char *key, uint64_t *out)
{
	bool negative = false;
	uint64_t v = 0;
	int r = get_number(cJSON_GetObjectItemCaseSensitive(obj, key), &negative, &v);
	if (r < 0)
		return r;
	if (negative && v)
		return -EINVAL;
	*out = v;
	return 0;
}

int jsonw_get_i64(const cJSON *obj, const char *key, int64_t *out)
{
	return jsonw_item_i64(cJSON_GetObjectItemCaseSensitive(obj, key), out);
}

int jsonw_item_i64(const cJSON *item, int64_t *out)
{
	bool negative = false;
	uint64_t v = 0;
	int r = get_number(item, &negative, &v);
	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + negative)
		return -EINVAL;
	*out = negative ? (int64_t)-v : (int64_t)v;
	return 0;
}
