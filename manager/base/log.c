#include "manager/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *program = "rrm";

void log_program(const char *name)
{
	program = name;
}

/* One write(2) a line, so that lines of several threads and processes do not mix. */
__attribute__((format(printf, 2, 0))) static void line(const char *level, const char *fmt,
						       va_list ap)
{
	int saved = errno;
	char buf[2560];
	int head = snprintf(buf, sizeof(buf), "%s: level=%s ", program, level);
	if (head < 0 || (size_t)head >= sizeof(buf) / 2)
		head = 0;
	size_t room = sizeof(buf) - (size_t)head - 1; /* one byte for the newline */
	errno = saved;                                /* for %m */
	int n = vsnprintf(buf + head, room, fmt, ap);
	size_t len = (size_t)head;
	if (n > 0)
		len += (size_t)n < room ? (size_t)n : room - 1;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)buf[i];
		if (c < 0x20 || c == 0x7f)
			buf[i] = ' ';
	}
	buf[len++] = '\n';
	/* Nobody to tell when stderr is gone. */
	ssize_t done = write(STDERR_FILENO, buf, len);
	(void)done;
	errno = saved;
}

void log_info(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	line("info", fmt, ap);
	va_end(ap);
}

void log_warn(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	line("warn", fmt, ap);
	va_end(ap);
}

void log_error(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	line("error", fmt, ap);
	va_end(ap);
}
