#include "manager/backendlog.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/json.h"
#include "manager/base/path.h"

enum { LOG_MAX = 4 << 20, TAIL_BYTES = 4096, TAIL_LINES = 12, TAIL_TEXT = 1024 };

int backendlog_open(const struct repo *r, int *fd, off_t *end, struct err *e)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "backend.log");
	CLEANUP(freep) char *old = path_join(r->state_dir, "backend.log.1");
	if (!path || !old)
		return -ENOMEM;
	struct stat st;
	if (stat(path, &st) == 0 && st.st_size > LOG_MAX && rename(path, old) < 0)
		return err_errno(e, -errno, "moving %s to %s", path, old);
	/* Read back for the tail, so O_RDWR. */
	*fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (*fd < 0)
		return err_errno(e, -errno, "opening %s", path);
	*end = lseek(*fd, 0, SEEK_END);
	return 0;
}

void backendlog_copy(char *out, size_t size, const char *text)
{
	size_t n = strnlen(text, size - 1);
	memcpy(out, text, n);
	for (int cut = 0; cut < 3 && n > 0 && !json_utf8_valid(out, n); cut++)
		n--;
	out[n] = '\0';
	for (size_t i = 0; !json_utf8_valid(out, n) && i < n; i++)
		if ((unsigned char)out[i] >= 0x80)
			out[i] = '?';
}

/* Terminal control sequences and control bytes out, lines joined by " | ". */
static void one_line(const char *text, size_t len, char *out, size_t size)
{
	size_t n = 0;
	for (size_t i = 0; i < len && n + 4 < size; i++) {
		unsigned char ch = (unsigned char)text[i];
		if (ch == 0x1b && i + 1 < len && text[i + 1] == '[') {
			for (i += 2; i < len && !isalpha((unsigned char)text[i]); i++)
				;
		} else if (ch == '\n') {
			if (n > 0 && i + 1 < len)
				n += (size_t)snprintf(out + n, size - n, " | ");
		} else if (ch >= 0x20 && ch != 0x7f) {
			out[n++] = text[i];
		}
	}
	out[n] = '\0';
}

/* Drops lines off the front until text fits in size, all but the last one: the end says why. */
static void keep_end(char *text, size_t size)
{
	char *begin = text, *next;
	while (strlen(begin) >= size && (next = strstr(begin, " | ")))
		begin = next + 3;
	memmove(text, begin, strlen(begin) + 1);
}

void backendlog_tail(int fd, off_t from, char *out, size_t size)
{
	char buf[TAIL_BYTES], raw[TAIL_TEXT + 64];
	off_t end = lseek(fd, 0, SEEK_END);
	if (end - from > TAIL_BYTES)
		from = end - TAIL_BYTES;
	ssize_t n = end > from ? pread(fd, buf, sizeof(buf), from) : 0;
	while (n > 0 && isspace((unsigned char)buf[n - 1]))
		n--;
	ssize_t begin = n;
	for (int lines = 0; begin > 0 && n - begin < TAIL_TEXT; begin--)
		if (buf[begin - 1] == '\n' && ++lines == TAIL_LINES)
			break;
	if (n <= 0) {
		snprintf(out, size, "it printed nothing");
		return;
	}
	int k = snprintf(raw, sizeof(raw), "it printed: ");
	one_line(buf + begin, (size_t)(n - begin), raw + k, sizeof(raw) - (size_t)k);
	keep_end(raw + k, size > (size_t)k ? size - (size_t)k : 0);
	backendlog_copy(out, size, raw);
}

void backendlog_last(const struct repo *r, char *out, size_t size)
{
	CLEANUP(freep) char *path = path_join(r->state_dir, "backend.log");
	CLEANUP(closep) int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	backendlog_tail(fd, 0, out, size);
}
