#include "router/jsonr.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"

enum { DEPTH = 32 };

static const uint64_t EXACT_MAX = UINT64_C(1) << 53; /* every integer up to here is a double */

struct parser {
	const char *at, *end;
	struct jsonr_item *items;
	uint32_t n;
};

static void skip_space(struct parser *p)
{
	while (p->at < p->end &&
	       (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t'))
		p->at++;
}

static bool take(struct parser *p, char c)
{
	if (p->at == p->end || *p->at != c)
		return false;
	p->at++;
	return true;
}

static bool word(struct parser *p, const char *text)
{
	const size_t n = strlen(text);
	if ((size_t)(p->end - p->at) < n || memcmp(p->at, text, n) != 0)
		return false;
	p->at += n;
	return true;
}

static bool digits(struct parser *p)
{
	const char *begin = p->at;
	while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
		p->at++;
	return p->at > begin;
}

static bool number(struct parser *p)
{
	take(p, '-');
	if (!take(p, '0') && !digits(p))
		return false;
	if (take(p, '.') && !digits(p))
		return false;
	if (take(p, 'e') || take(p, 'E')) {
		if (!take(p, '+'))
			take(p, '-');
		return digits(p);
	}
	return true;
}

/* The four digits behind \u at s, -1: there are none. */
static int32_t code_at(const char *s, const char *end)
{
	int32_t v = 0;
	if (end - s < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const char *const hex = "0123456789abcdef";
		const char *d = s[i] ? strchr(hex, s[i] | (s[i] >= 'A' ? 0x20 : 0)) : NULL;
		if (!d)
			return -1;
		v = v << 4 | (int32_t)(d - hex);
	}
	return v;
}

/* An escape at s, up to 12 bytes: the character, and how long it is. -1: none. */
static int32_t escape_at(const char *s, const char *end, size_t *len)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	*len = 2;
	if (end - s < 2)
		return -1;
	if (s[1] != 'u') {
		const char *f = s[1] ? strchr(from, s[1]) : NULL;
		return f ? to[f - from] : -1;
	}
	int32_t high = code_at(s + 2, end);
	*len = 6;
	if (high <= 0 || (high >= 0xdc00 && high < 0xe000))
		return -1;
	if (high < 0xd800 || high >= 0xe000)
		return high;
	int32_t low = end - s >= 12 && s[6] == '\\' && s[7] == 'u' ? code_at(s + 8, end) : -1;
	*len = 12;
	return low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
					     : -1;
}

/* Behind the opening quote: what lies before the closing one. */
static bool string(struct parser *p, bool may_escape, const char **at, uint32_t *len)
{
	*at = p->at;
	while (p->at < p->end && *p->at != '"') {
		size_t n = 1;
		if (*p->at == '\\' && (!may_escape || escape_at(p->at, p->end, &n) < 0))
			return false;
		p->at += n;
	}
	*len = (uint32_t)(p->at - *at);
	return take(p, '"');
}

static struct jsonr_item *value(struct parser *p, int depth);

static bool members(struct parser *p, bool named, char closing, int depth)
{
	skip_space(p);
	if (take(p, closing))
		return true;
	do {
		const char *key = NULL;
		uint32_t key_len = 0;
		skip_space(p);
		if (named && (!take(p, '"') || !string(p, false, &key, &key_len)))
			return false;
		skip_space(p);
		if (named && !take(p, ':'))
			return false;
		struct jsonr_item *item = value(p, depth);
		if (!item)
			return false;
		item->key = key;
		item->key_len = key_len;
		skip_space(p);
	} while (take(p, ','));
	return take(p, closing);
}

static bool content(struct parser *p, struct jsonr_item *item, int depth)
{
	switch (item->type) {
	case '{':
	case '[':
		p->at++;
		return depth < DEPTH &&
		       members(p, item->type == '{', item->type == '{' ? '}' : ']', depth + 1);
	case '"':
		p->at++;
		return string(p, true, &item->at, &item->len);
	case 't':
		return word(p, "true");
	case 'f':
		return word(p, "false");
	case 'n':
		return word(p, "null");
	default:
		item->type = '0';
		return number(p);
	}
}

/* NULL: there is none here. */
static struct jsonr_item *value(struct parser *p, int depth)
{
	skip_space(p);
	if (p->n == JSONR_ITEMS || p->at == p->end)
		return NULL;
	struct jsonr_item *item = &p->items[p->n++];
	*item = (struct jsonr_item){.at = p->at, .type = *p->at};
	if (!content(p, item, depth))
		return NULL;
	if (item->type != '"')
		item->len = (uint32_t)(p->at - item->at);
	item->below = (uint32_t)(&p->items[p->n] - item) - 1;
	return item;
}

/* Says why, in json_parse()'s words where it refuses it as well. */
static int refuse(const char *text, size_t len, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	int r = json_parse(text, len, &j, e);
	return r < 0 ? r
		     : err_set(e, -EINVAL,
			       "more than %d values, a name with an escape, or another form of "
			       "JSON than RFC 8259 has",
			       JSONR_ITEMS);
}

int jsonr_parse(const char *text, size_t len, struct jsonr_item items[JSONR_ITEMS], struct err *e)
{
	struct parser p = {.at = text, .end = text + len, .items = items};
	if (len >= UINT32_MAX || memchr(text, '\0', len) || !json_utf8_valid(text, len) ||
	    !value(&p, 0))
		return refuse(text, len, e);
	skip_space(&p);
	return p.at == p.end ? 0 : refuse(text, len, e);
}

const struct jsonr_item *jsonr_find(const struct jsonr_item *obj, const char *key)
{
	const size_t len = strlen(key);
	if (!obj || obj->type != '{')
		return NULL;
	for (const struct jsonr_item *i = obj + 1; i <= obj + obj->below; i += 1 + i->below)
		if (i->key_len == len && memcmp(i->key, key, len) == 0)
			return i;
	return NULL;
}

const struct jsonr_item *jsonr_nth(const struct jsonr_item *array, unsigned n)
{
	if (!array || array->type != '[')
		return NULL;
	for (const struct jsonr_item *i = array + 1; i <= array + array->below; i += 1 + i->below)
		if (n-- == 0)
			return i;
	return NULL;
}

/* At most 20 digits. False: something else, or more than 64 bits. */
static bool all_digits(const char *s, uint32_t len, uint64_t *out)
{
	*out = 0;
	for (uint32_t i = 0; i < len; i++) {
		const uint64_t d = (uint64_t)(s[i] - '0');
		if (s[i] < '0' || s[i] > '9' || *out > (UINT64_MAX - d) / 10)
			return false;
		*out = *out * 10 + d;
	}
	return len > 0;
}

/* Like 1e3: rarely anybody's way to write an integer. */
static int from_double(const struct jsonr_item *item, uint64_t *magnitude)
{
	char text[64];
	if (item->len >= sizeof(text))
		return -EINVAL;
	memcpy(text, item->at, item->len);
	text[item->len] = '\0';
	double d = strtod(text, NULL);
	d = d < 0 ? -d : d;
	if (!(d <= (double)EXACT_MAX) || d != (double)(uint64_t)d)
		return -EINVAL;
	*magnitude = (uint64_t)d;
	return 0;
}

/* Sign and magnitude, so that both 64-bit types come from one reader. */
static int get_number(const struct jsonr_item *item, bool *negative, uint64_t *magnitude)
{
	if (!item)
		return -ENOENT;
	if (item->type != '0' && item->type != '"')
		return -EINVAL;
	*negative = item->len && *item->at == '-';
	const bool exact = all_digits(item->at + *negative, item->len - *negative, magnitude);
	if (item->type == '"')
		return exact ? 0 : -EINVAL;
	return exact ? 0 : from_double(item, magnitude);
}

int jsonr_u64(const struct jsonr_item *item, uint64_t *out)
{
	bool negative = false;
	uint64_t v = 0;
	int r = get_number(item, &negative, &v);
	if (r < 0)
		return r;
	if (negative && v)
		return -EINVAL;
	*out = v;
	return 0;
}

int jsonr_i64(const struct jsonr_item *item, int64_t *out)
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

static size_t put_utf8(char *out, int32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	const size_t more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	const int first[] = {0, 0xc0, 0xe0, 0xf0};
	out[0] = (char)(first[more] | c >> (6 * more));
	for (size_t i = 1; i <= more; i++)
		out[i] = (char)(0x80 | (c >> (6 * (more - i)) & 0x3f));
	return more + 1;
}

/* No escape is shorter than what it stands for. */
static int unescaped(const struct jsonr_item *item, char **out)
{
	char *to = *out = malloc(item->len + 1);
	if (!to)
		return -ENOMEM;
	for (const char *s = item->at, *end = s + item->len; s < end;) {
		size_t n = 1;
		if (*s == '\\')
			to += put_utf8(to, escape_at(s, end, &n));
		else
			*to++ = *s;
		s += n;
	}
	*to = '\0';
	return 0;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

static int from_hex(const struct jsonr_item *item, char **out)
{
	CLEANUP(freep) char *bytes = malloc(item->len / 2 + 1);
	if (!bytes)
		return -ENOMEM;
	if (item->len % 2)
		return -EINVAL;
	for (uint32_t i = 0; i < item->len / 2; i++) {
		int hi = hex_value(item->at[2 * i]), lo = hex_value(item->at[2 * i + 1]);
		if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
			return -EINVAL;
		bytes[i] = (char)(hi << 4 | lo);
	}
	bytes[item->len / 2] = '\0';
	*out = steal(&bytes);
	return 0;
}

int jsonr_bytes(const struct jsonr_item *obj, const char *key, char **out)
{
	char hex_key[32];
	*out = NULL;
	snprintf(hex_key, sizeof(hex_key), "%s_hex", key);
	const struct jsonr_item *hex = jsonr_find(obj, hex_key), *text = jsonr_find(obj, key);
	if (text && text->type != '"')
		return -EINVAL;
	if (hex && hex->type == '"')
		return from_hex(hex, out);
	return text ? unescaped(text, out) : 0;
}
