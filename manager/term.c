#include "manager/term.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "manager/base/utf8.h"

enum { WIDTH_MIN = 20, WIDTH_DEFAULT = 80, WIDTH_MAX = 10000, TEXT_MAX = 4 * WIDTH_MAX };

static const char ellipsis[] = "…";

static int width_of(int fd)
{
	struct winsize w = {.ws_col = 0};
	const char *columns = getenv("COLUMNS");
	long n = 0;

	if (!ioctl(fd, TIOCGWINSZ, &w))
		n = w.ws_col;
	if (n <= 0 && columns)
		n = strtol(columns, NULL, 10);
	if (n <= 0)
		n = WIDTH_DEFAULT;
	return n < WIDTH_MIN ? WIDTH_MIN : n > WIDTH_MAX ? WIDTH_MAX : (int)n;
}

struct term term_of(int fd)
{
	struct term t = {.tty = isatty(fd)};
	const char *term = getenv("TERM"), *no = getenv("NO_COLOR");

	t.smart = t.tty && term && *term && strcmp(term, "dumb") != 0;
	t.colour = t.smart && !(no && *no);
	t.width = t.tty ? width_of(fd) : 0;
	return t;
}

const char *term_escape(const struct term *t, enum term_colour c)
{
	static const char *const codes[] = {"\033[m",   "\033[1m",  "\033[2m", "\033[31m",
					    "\033[32m", "\033[33m", "\033[36m"};

	return t->colour ? codes[c] : "";
}

struct range {
	uint32_t first, last;
};

static bool in_ranges(uint32_t c, const struct range *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (c >= r[i].first && c <= r[i].last)
			return true;
	return false;
}

/* Of our own, because wcwidth(3) knows nothing in the C locale, in which servers often run. */
static int cells_of(uint32_t c)
{
	static const struct range none[] = {
		{0x300, 0x36f},   {0x483, 0x489},     {0x591, 0x5bd},     {0x610, 0x61a},
		{0x64b, 0x65f},   {0x6d6, 0x6dc},     {0x93c, 0x93c},     {0x941, 0x948},
		{0xe31, 0xe31},   {0xe34, 0xe3a},     {0xe47, 0xe4e},     {0x1ab0, 0x1aff},
		{0x1dc0, 0x1dff}, {0x200b, 0x200d},   {0x20d0, 0x20ff},   {0xfe00, 0xfe0f},
		{0xfe20, 0xfe2f}, {0x1f3fb, 0x1f3ff}, {0xe0100, 0xe01ef},
	};
	static const struct range wide[] = {
		{0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23ec},   {0x25fd, 0x25fe},
		{0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},   {0x26bd, 0x26be},
		{0x2705, 0x2705},   {0x2728, 0x2728},   {0x274c, 0x274c},   {0x2753, 0x2755},
		{0x2795, 0x2797},   {0x2b50, 0x2b50},   {0x2e80, 0x303e},   {0x3041, 0x4dbf},
		{0x4e00, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
		{0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
		{0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
	};

	if (in_ranges(c, none, sizeof(none) / sizeof(none[0])))
		return 0;
	return in_ranges(c, wide, sizeof(wide) / sizeof(wide[0])) ? 2 : 1;
}

/* Controls, also those of 0x80-0x9f, line separators, and what turns the direction of writing. */
static bool drives(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* The next thing to show of text: its bytes in piece (at most 4 and a NUL), its cells; moves *text on. */
static int next_piece(const char **text, char piece[5])
{
	uint32_t c;
	size_t n = utf8_decode(*text, &c);

	if (n && !drives(c)) {
		memcpy(piece, *text, n);
		piece[n] = '\0';
		*text += n;
		return cells_of(c);
	}
	unsigned char b = (unsigned char)*(*text)++;
	piece[0] = '\\';
	piece[1] = (char)('0' + (b >> 6));
	piece[2] = (char)('0' + (b >> 3 & 7));
	piece[3] = (char)('0' + (b & 7));
	piece[4] = '\0';
	return 4;
}

int term_cells(const char *text)
{
	char piece[5];
	int n = 0;

	while (*text && n < WIDTH_MAX)
		n += next_piece(&text, piece);
	return n;
}

int term_fit(char *out, size_t size, const char *text, int cells)
{
	char piece[5];
	size_t at = 0, cut_at = 0; /* cut_at: where "…" would still fit */
	int used = 0, cut_used = 0;

	out[0] = '\0';
	while (*text) {
		int wide = next_piece(&text, piece);
		size_t len = strlen(piece);
		if (used + wide > cells || at + len + sizeof(ellipsis) > size) {
			if (cells < 1 || size < sizeof(ellipsis))
				return 0;
			strcpy(out + cut_at, ellipsis);
			return cut_used + 1;
		}
		memcpy(out + at, piece, len + 1);
		at += len;
		used += wide;
		if (used < cells) {
			cut_at = at;
			cut_used = used;
		}
	}
	return used;
}

void term_put(FILE *f, const char *text, int cells, bool pad)
{
	char buf[TEXT_MAX];
	int used = term_fit(buf, sizeof(buf), text, cells > 0 ? cells : WIDTH_MAX);

	fputs(buf, f);
	if (pad && used < cells)
		fprintf(f, "%*s", cells - used, "");
}
