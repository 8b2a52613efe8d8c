#include "manager/base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"

enum { MAX_DEPTH = 32 };

/* cJSON prints 15 significant digits and takes what differs by less than its epsilon for the same. */
#define EXACT INT64_C(1000000000000000)

/* Length of the valid UTF-8 sequence at s (n > 0 bytes left), 0 when there is none. */
static size_t utf8_sequence(const unsigned char *s, size_t n)
{
	if (s[0] < 0x80)
		return 1;
	size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	if (s[0] < 0xc2 || s[0] > 0xf4 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return len;
}

bool json_utf8_valid(const char *bytes, size_t len)
{
	const unsigned char *s = (const unsigned char *)bytes;
	while (len > 0) {
		size_t n = utf8_sequence(s, len);
		if (n == 0)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

static int error_at(struct err *e, const char *data, size_t pos, const char *what)
{
	size_t line = 1;
	size_t column = 1;
	for (size_t i = 0; i < pos; i++) {
		column++;
		if (data[i] == '\n') {
			line++;
			column = 1;
		}
	}
	return err_set(e, -EINVAL, "line %zu, column %zu: %s", line, column, what);
}

/*
 * What cJSON lets through and we do not: depth (it recurses), NUL bytes and \u0000 (its strings would
 * end there), bytes that are no UTF-8. *what is NULL when the text is fine so far as seen here.
 */
static size_t prescan(const char *data, size_t len, const char **what)
{
	bool in_string = false;
	int depth = 0;
	size_t i = 0;
	for (size_t n; i < len; i += n) {
		char c = data[i];
		n = utf8_sequence((const unsigned char *)data + i, len - i);
		*what = n == 0 ? "a byte that is not UTF-8" : c == '\0' ? "a NUL byte" : NULL;
		if (*what)
			return i;
		if (in_string && c == '\\') {
			*what = "\\u0000 is not allowed";
			if (len - i >= 6 && memcmp(data + i + 1, "u0000", 5) == 0)
				return i;
			/* The escaped byte is skipped unless it starts a longer sequence. */
			n = len - i >= 2 && (unsigned char)data[i + 1] < 0x80 ? 2 : 1;
		} else if (c == '"') {
			in_string = !in_string;
		} else if (!in_string && (c == '{' || c == '[')) {
			*what = "nested too deeply";
			if (++depth > MAX_DEPTH)
				return i;
		} else if (!in_string && (c == '}' || c == ']')) {
			depth--;
		}
	}
	*what = NULL;
	return i;
}

int json_parse(const char *data, size_t len, cJSON **out, struct err *e)
{
	*out = NULL;
	const char *what;
	size_t bad = prescan(data, len, &what);
	if (what)
		return error_at(e, data, bad, what);
	if (len == 0)
		return err_set(e, -EINVAL, "line 1, column 1: it is empty");
	const char *end = NULL;
	CLEANUP(json_deletep) cJSON *j = cJSON_ParseWithLengthOpts(data, len, &end, false);
	size_t pos = end ? (size_t)(end - data) : 0;
	if (!j)
		return error_at(e, data, pos, "this is not valid JSON");
	while (pos < len && strchr(" \t\r\n", data[pos]))
		pos++;
	if (pos < len)
		return error_at(e, data, pos, "more text after the end of the JSON value");
	*out = steal(&j);
	return 0;
}

int json_read_file(int dirfd, const char *name, size_t max_bytes, cJSON **out, struct err *e)
{
	*out = NULL;
	CLEANUP(freep) char *data = NULL;
	size_t len;
	int r = file_read(dirfd, name, max_bytes, &data, &len);
	if (r == -EFBIG)
		return err_set(e, r, "%s is larger than %zu bytes", name, max_bytes);
	if (r < 0)
		return err_errno(e, r, "%s", name);
	r = json_parse(data, len, out, e);
	return r < 0 ? err_prefix(e, r, "%s", name) : 0;
}

int json_replace_file(int dirfd, const char *name, const cJSON *j, mode_t mode)
{
	CLEANUP(freep) char *text = json_text(j);
	if (!text)
		return -ENOMEM;
	size_t len = strlen(text);
	text[len] = '\n'; /* in the place of the NUL: the length goes with it */
	return file_replace(dirfd, name, text, len + 1, mode);
}

const char *json_str(const cJSON *obj, const char *key, const char *fallback)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);
	return cJSON_IsString(v) && v->valuestring ? v->valuestring : fallback;
}

int64_t json_int(const cJSON *obj, const char *key, int64_t fallback)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);
	if (cJSON_IsRaw(v)) /* from json_add_int */
		return strtoll(v->valuestring, NULL, 10);
	if (!cJSON_IsNumber(v))
		return fallback;
	double d = v->valuedouble;
	/* Written so that NaN fails too; both bounds are exact as doubles. */
	if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0))
		return fallback;
	int64_t i = (int64_t)d;
	return (double)i == d ? i : fallback;
}

bool json_bool(const cJSON *obj, const char *key, bool fallback)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(obj, key);
	return cJSON_IsBool(v) ? cJSON_IsTrue(v) : fallback;
}

int json_add_str(cJSON *obj, const char *key, const char *value)
{
	cJSON *v =
		value ? cJSON_AddStringToObject(obj, key, value) : cJSON_AddNullToObject(obj, key);
	return v ? 0 : -ENOMEM;
}

int json_add_int(cJSON *obj, const char *key, int64_t value)
{
	if (value > -EXACT && value < EXACT)
		return cJSON_AddNumberToObject(obj, key, (double)value) ? 0 : -ENOMEM;
	char digits[32];
	snprintf(digits, sizeof(digits), "%" PRId64, value);
	return cJSON_AddRawToObject(obj, key, digits) ? 0 : -ENOMEM;
}

int json_add_bool(cJSON *obj, const char *key, bool value)
{
	return cJSON_AddBoolToObject(obj, key, value) ? 0 : -ENOMEM;
}

/* The bytes with U+FFFD in the place of each bad one; owned. */
static char *replace_bad(const char *bytes, size_t len)
{
	const unsigned char *s = (const unsigned char *)bytes;
	char *text = malloc(len * 3 + 1);
	if (!text)
		return NULL;
	char *p = text;
	while (len > 0) {
		size_t n = utf8_sequence(s, len);
		memcpy(p, n ? (const char *)s : "\xef\xbf\xbd", n ? n : 3);
		p += n ? n : 3;
		s += n ? n : 1;
		len -= n ? n : 1;
	}
	*p = '\0';
	return text;
}

static char *to_hex(const char *bytes, size_t len)
{
	static const char digit[] = "0123456789abcdef";
	char *hex = malloc(len * 2 + 1);
	if (!hex)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		hex[2 * i] = digit[(unsigned char)bytes[i] >> 4];
		hex[2 * i + 1] = digit[(unsigned char)bytes[i] & 15];
	}
	hex[2 * len] = '\0';
	return hex;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int from_hex(const char *hex, char **out)
{
	size_t len = strlen(hex);
	if (len % 2)
		return -EINVAL;
	CLEANUP(freep) char *bytes = malloc(len / 2 + 1);
	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < len / 2; i++) {
		int hi = hex_digit(hex[2 * i]);
		int lo = hex_digit(hex[2 * i + 1]);
		if (hi < 0 || lo < 0 || (hi == 0 && lo == 0))
			return -EINVAL;
		bytes[i] = (char)(hi << 4 | lo);
	}
	bytes[len / 2] = '\0';
	*out = steal(&bytes);
	return 0;
}

static char *hex_key(const char *key)
{
	char *k = NULL;
	return asprintf(&k, "%s_hex", key) < 0 ? NULL : k;
}

int json_add_bytes(cJSON *obj, const char *key, const char *bytes)
{
	size_t len = strlen(bytes);
	if (json_utf8_valid(bytes, len))
		return json_add_str(obj, key, bytes);
	CLEANUP(freep) char *text = replace_bad(bytes, len);
	CLEANUP(freep) char *hex = to_hex(bytes, len);
	CLEANUP(freep) char *key_hex = hex_key(key);
	if (!text || !hex || !key_hex)
		return -ENOMEM;
	int r = json_add_str(obj, key, text);
	return r < 0 ? r : json_add_str(obj, key_hex, hex);
}

int json_get_bytes(const cJSON *obj, const char *key, char **out)
{
	*out = NULL;
	CLEANUP(freep) char *key_hex = hex_key(key);
	if (!key_hex)
		return -ENOMEM;
	const char *hex = json_str(obj, key_hex, NULL);
	if (hex)
		return from_hex(hex, out);
	const char *text = json_str(obj, key, NULL);
	if (!text)
		return 0;
	*out = strdup(text);
	return *out ? 0 : -ENOMEM;
}

char *json_text(const cJSON *j)
{
	return cJSON_PrintUnformatted(j);
}

int json_print(const cJSON *j)
{
	CLEANUP(freep) char *text = cJSON_Print(j);
	if (!text)
		return -ENOMEM;
	if (puts(text) < 0 || fflush(stdout) != 0)
		return errno ? -errno : -EIO;
	return 0;
}
