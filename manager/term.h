/*
 * What a person's terminal can show, and text cut to its cells. Names are bytes: what is no UTF-8, control
 * characters and the marks that turn the direction of writing are shown as \ooo, so that a name can
 * neither drive the terminal nor pretend to be another.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct term {
	bool tty;    /* output goes to a terminal */
	bool smart;  /* it can move the cursor: TERM is set and not "dumb" */
	bool colour; /* smart, and NO_COLOR is not set */
	int width;   /* in cells, at least 20; 0: not a terminal, nothing is cut */
};

/* fd: where the output goes. The width is the terminal's own, else COLUMNS, else 80. */
struct term term_of(int fd);

enum term_colour {
	TERM_PLAIN,
	TERM_BOLD,
	TERM_DIM,
	TERM_RED,
	TERM_GREEN,
	TERM_YELLOW,
	TERM_CYAN,
};
/* The escape sequence that begins c, or that ends all (TERM_PLAIN); "" without colours. */
const char *term_escape(const struct term *t, enum term_colour c);

/* Cells that text takes as term_fit() writes it without a limit. Pure. */
int term_cells(const char *text);

/*
 * Writes text to out (size bytes, always terminated, never cut inside a character) in at most cells cells;
 * what does not fit ends with "…". Returns the cells used. Pure.
 */
int term_fit(char *out, size_t size, const char *text, int cells);

/* text in at most cells cells, and spaces up to that when pad is set. cells <= 0: all of it. */
void term_put(FILE *f, const char *text, int cells, bool pad);
