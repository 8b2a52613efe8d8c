#include "manager/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One sentence on one line, whatever a file name or a foreign program's output put into it. */
static void flatten(char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if (c < 0x20 || c == 0x7f)
			*s = ' ';
	}
}

/* A text cut in the middle of a UTF-8 sequence loses the rest of that sequence. */
static void trim_cut_utf8(char *s, size_t len)
{
	size_t start = len;
	while (start > 0 && len - start < 4) {
		unsigned char c = (unsigned char)s[--start];
		if (c < 0x80)
			return;
		if (c < 0xc0)
			continue;
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
		if (len - start < need)
			s[start] = '\0';
		return;
	}
}

__attribute__((format(printf, 2, 0))) static void format(struct err *e, const char *fmt, va_list ap)
{
	int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
	if (n < 0)
		e->text[0] = '\0';
	else if ((size_t)n >= sizeof(e->text))
		trim_cut_utf8(e->text, sizeof(e->text) - 1);
	flatten(e->text);
}

/* Appends what fits. */
static void append(struct err *e, const char *text)
{
	size_t have = strlen(e->text);
	size_t room = sizeof(e->text) - 1 - have;
	size_t want = strlen(text);
	size_t n = want < room ? want : room;
	memcpy(e->text + have, text, n);
	e->text[have + n] = '\0';
	if (n < want)
		trim_cut_utf8(e->text, have + n);
}

/* What the header defines for the analyser. */
#undef err_set
#undef err_errno
#undef err_prefix

int err_set(struct err *e, int code, const char *fmt, ...)
{
	if (!e)
		return code;
	va_list ap;
	va_start(ap, fmt);
	/* An argument may be e->text itself. */
	struct err fresh;
	format(&fresh, fmt, ap);
	va_end(ap);
	memcpy(e->text, fresh.text, strlen(fresh.text) + 1);
	return code;
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
	if (!e)
		return code;
	va_list ap;
	va_start(ap, fmt);
	struct err fresh;
	format(&fresh, fmt, ap);
	va_end(ap);
	char reason[128];
	append(&fresh, ": ");
	append(&fresh, strerror_r(-code, reason, sizeof(reason)));
	memcpy(e->text, fresh.text, strlen(fresh.text) + 1);
	return code;
}

int err_prefix(struct err *e, int code, const char *fmt, ...)
{
	if (!e)
		return code;
	va_list ap;
	va_start(ap, fmt);
	struct err fresh;
	format(&fresh, fmt, ap);
	va_end(ap);
	if (e->text[0]) {
		append(&fresh, ": ");
		append(&fresh, e->text);
	}
	memcpy(e->text, fresh.text, strlen(fresh.text) + 1);
	return code;
}

const char *err_name(int errnum)
{
	const char *name = strerrorname_np(errnum);
	if (name)
		return name;
	/* Static storage for each number: the kernel returns at most 4095. */
	static _Thread_local char other[16];
	snprintf(other, sizeof(other), "E%d", errnum);
	return other;
}
