#include "manager/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct timespec now(clockid_t id)
{
	struct timespec ts = {0};
	clock_gettime(id, &ts);
	return ts;
}

uint64_t clock_mono_us(void)
{
	struct timespec ts = now(CLOCK_MONOTONIC);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_mono_ms(void)
{
	return clock_mono_us() / 1000;
}

uint64_t clock_coarse_ms(void)
{
	struct timespec ts = now(CLOCK_MONOTONIC_COARSE);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
	struct timespec ts = now(CLOCK_REALTIME);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const char *clock_iso(char buf[CLOCK_ISO_LEN], int64_t wall_ms)
{
	int64_t ms = wall_ms % 1000;
	time_t sec = (time_t)(wall_ms / 1000);
	if (ms < 0) {
		ms += 1000;
		sec--;
	}
	struct tm tm;
	/* Four digits of year are all that RFC 3339 has. */
	if (!gmtime_r(&sec, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
		memset(&tm, 0, sizeof(tm));
	/* Not strftime(): its %Y does not pad the year to four digits. */
	snprintf(buf, CLOCK_ISO_LEN, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
		 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
		 (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
		 (unsigned)tm.tm_sec % 100, (unsigned)ms % 1000);
	return buf;
}

/* Reads exactly n digits; -1 when there are fewer. Moves *s behind them. */
static int digits(const char **s, int n)
{
	int v = 0;
	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return -1;
		v = v * 10 + (**s - '0');
	}
	return v;
}

static int take(const char **s, char c)
{
	if (**s != c)
		return 0;
	(*s)++;
	return 1;
}

/* ".123456": milliseconds, further digits dropped. -1 when no digit follows the point. */
static int fraction_ms(const char **s)
{
	if (!take(s, '.'))
		return 0;
	if (**s < '0' || **s > '9')
		return -1;
	int ms = 0;
	int scale = 100;
	for (; **s >= '0' && **s <= '9'; (*s)++, scale /= 10)
		ms += (**s - '0') * scale;
	return ms;
}

/* "Z" or "+hh:mm"; seconds east of UTC in *offset. */
static int zone(const char **s, int *offset)
{
	*offset = 0;
	if (take(s, 'Z') || take(s, 'z'))
		return 0;
	int sign = **s == '-' ? -1 : 1;
	if (!take(s, '+') && !take(s, '-'))
		return -EINVAL;
	int h = digits(s, 2);
	if (h < 0 || h > 23 || !take(s, ':'))
		return -EINVAL;
	int m = digits(s, 2);
	if (m < 0 || m > 59)
		return -EINVAL;
	*offset = sign * (h * 3600 + m * 60);
	return 0;
}

static int date_time(const char **s, struct tm *tm)
{
	int v;
	if ((v = digits(s, 4)) < 0 || !take(s, '-'))
		return -EINVAL;
	tm->tm_year = v - 1900;
	if ((v = digits(s, 2)) < 1 || v > 12 || !take(s, '-'))
		return -EINVAL;
	tm->tm_mon = v - 1;
	if ((v = digits(s, 2)) < 1 || v > 31 || (!take(s, 'T') && !take(s, 't') && !take(s, ' ')))
		return -EINVAL;
	tm->tm_mday = v;
	if ((v = digits(s, 2)) < 0 || v > 23 || !take(s, ':'))
		return -EINVAL;
	tm->tm_hour = v;
	if ((v = digits(s, 2)) < 0 || v > 59 || !take(s, ':'))
		return -EINVAL;
	tm->tm_min = v;
	if ((v = digits(s, 2)) < 0 || v > 60)
		return -EINVAL;
	tm->tm_sec = v;
	return 0;
}

int clock_parse_iso(const char *text, int64_t *wall_ms)
{
	struct tm tm = {0};
	const char *s = text;
	if (date_time(&s, &tm) < 0)
		return -EINVAL;
	int ms = fraction_ms(&s);
	int offset;
	if (ms < 0 || zone(&s, &offset) < 0 || *s)
		return -EINVAL;
	int day = tm.tm_mday;
	int sec = tm.tm_sec;
	tm.tm_sec = 0; /* a leap second must not look like a day that does not exist */
	time_t t = timegm(&tm);
	/* timegm() turns 30 February into 2 March. */
	if (tm.tm_mday != day)
		return -EINVAL;
	*wall_ms = ((int64_t)t + sec - offset) * 1000 + ms;
	return 0;
}
