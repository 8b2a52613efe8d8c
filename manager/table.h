/*
 * A table for people: columns as wide as what is in them, and where the terminal is narrower than that,
 * the long texts shorter and the less important columns left out. Pure but for the FILE.
 *
 * Calling sequence: table_new(); table_add() a row, table_set() its cells; table_layout() for a width;
 * table_line() or table_print(); table_free().
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "manager/term.h"

enum { TABLE_COLUMNS_MAX = 16, TABLE_GAP = 2 };

struct table_column {
	const char *title; /* borrowed */
	bool right;        /* numbers stand at the right */
	int least;         /* cells that it may shrink to; 0: never cut */
	int importance;    /* the column with the lowest is left out first; 0: never */
};

struct table;

/* columns is borrowed. NULL when out of memory. */
struct table *table_new(const struct table_column *columns, size_t n);
struct table *table_free(struct table *t);

/* A new row, all cells empty; its index, or -ENOMEM. */
int table_add(struct table *t);
size_t table_rows(const struct table *t);
/* text is copied. 0 or -ENOMEM. */
int table_set(struct table *t, size_t column, const char *text, enum term_colour colour);

/* Decides widths for lines of at most width cells (0: no limit). */
void table_layout(struct table *t, int width);
/* Cells of a column after the layout; 0: left out. *at (may be NULL): where it begins. */
int table_column_width(const struct table *t, size_t column, int *at);

/* The line of a row (-1: the titles) as text of at most the width; owned; NULL when out of memory. */
char *table_line(const struct table *t, int row);
/* The same with colours and a newline. */
void table_print(const struct table *t, const struct term *term, FILE *f, int row);
