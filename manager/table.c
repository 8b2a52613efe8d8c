#include "manager/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"

struct cell {
	char *text; /* owned; NULL: empty */
	enum term_colour colour;
};

struct table {
	const struct table_column *columns; /* borrowed */
	size_t n;
	struct cell *cells; /* owned; rows * n */
	size_t rows, room;
	int width[TABLE_COLUMNS_MAX]; /* after the layout; 0: left out */
};

struct table *table_new(const struct table_column *columns, size_t n)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t || n > TABLE_COLUMNS_MAX) {
		free(t);
		return NULL;
	}
	t->columns = columns;
	t->n = n;
	table_layout(t, 0);
	return t;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < t->rows * t->n; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
	return NULL;
}

int table_add(struct table *t)
{
	if (t->rows == t->room) {
		size_t room = t->room ? t->room * 2 : 16;
		void *more = reallocarray(t->cells, room * t->n, sizeof(*t->cells));
		if (!more)
			return -ENOMEM;
		t->cells = more;
		t->room = room;
	}
	memset(&t->cells[t->rows * t->n], 0, t->n * sizeof(*t->cells));
	return (int)t->rows++;
}

size_t table_rows(const struct table *t)
{
	return t->rows;
}

int table_set(struct table *t, size_t column, const char *text, enum term_colour colour)
{
	struct cell *c = &t->cells[(t->rows - 1) * t->n + column];
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(c->text);
	c->text = copy;
	c->colour = colour;
	return 0;
}

static const char *text_of(const struct table *t, int row, size_t column)
{
	if (row < 0)
		return t->columns[column].title;
	const char *text = t->cells[(size_t)row * t->n + column].text;
	return text ? text : "";
}

static int total(const struct table *t)
{
	int sum = 0;

	for (size_t i = 0; i < t->n; i++)
		sum += t->width[i] ? t->width[i] + (sum ? TABLE_GAP : 0) : 0;
	return sum;
}

/* The column that may give most cells, or -1. */
static int most_to_give(const struct table *t)
{
	int best = -1, most = 0;

	for (size_t i = 0; i < t->n; i++) {
		int least = t->columns[i].least;
		int gives = least ? t->width[i] - least : 0;
		if (gives > most) {
			most = gives;
			best = (int)i;
		}
	}
	return best;
}

/* The least important column that is still there, or -1. */
static int to_leave_out(const struct table *t)
{
	int best = -1;

	for (size_t i = 0; i < t->n; i++) {
		int importance = t->columns[i].importance;
		if (t->width[i] && importance &&
		    (best < 0 || importance < t->columns[best].importance))
			best = (int)i;
	}
	return best;
}

void table_layout(struct table *t, int width)
{
	for (size_t i = 0; i < t->n; i++) {
		t->width[i] = term_cells(t->columns[i].title);
		for (int row = 0; row < (int)t->rows; row++) {
			int cells = term_cells(text_of(t, row, i));
			t->width[i] = cells > t->width[i] ? cells : t->width[i];
		}
		t->width[i] = t->width[i] ? t->width[i] : 1;
	}
	while (width > 0 && total(t) > width) {
		int give = most_to_give(t);
		int out = give < 0 ? to_leave_out(t) : -1;
		if (give >= 0)
			t->width[give]--;
		else if (out >= 0)
			t->width[out] = 0;
		else
			break;
	}
	/* room again, since a column went: the texts may have some back */
	for (size_t i = 0; width > 0 && i < t->n; i++) {
		int want = 0, room = width - total(t);
		for (int row = -1; t->width[i] && row < (int)t->rows; row++) {
			int cells = term_cells(text_of(t, row, i));
			want = cells > want ? cells : want;
		}
		if (want > t->width[i] && room > 0)
			t->width[i] += want - t->width[i] < room ? want - t->width[i] : room;
	}
}

int table_column_width(const struct table *t, size_t column, int *at)
{
	int x = 0;

	for (size_t i = 0; i < column; i++)
		x += t->width[i] ? t->width[i] + TABLE_GAP : 0;
	if (at)
		*at = x;
	return t->width[column];
}

/* Behind *spaces that are still owed to the cells before it, so that none stand at the end of a line. */
static void put_cell(const struct table *t, const struct term *term, FILE *f, int row, size_t i,
		     int *spaces)
{
	const char *text = text_of(t, row, i);
	int cells = term_cells(text), width = t->width[i];
	int rest = cells < width ? width - cells : 0;
	enum term_colour colour = row < 0 ? TERM_DIM : t->cells[(size_t)row * t->n + i].colour;
	bool coloured = term && term->colour && colour != TERM_PLAIN;

	if (!cells) {
		*spaces += width + TABLE_GAP;
		return;
	}
	*spaces += t->columns[i].right ? rest : 0;
	fprintf(f, "%*s%s", *spaces, "", coloured ? term_escape(term, colour) : "");
	term_put(f, text, width, false);
	if (coloured)
		fputs(term_escape(term, TERM_PLAIN), f);
	*spaces = (t->columns[i].right ? 0 : rest) + TABLE_GAP;
}

static void put_row(const struct table *t, const struct term *term, FILE *f, int row)
{
	int spaces = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->width[i])
			put_cell(t, term, f, row, i, &spaces);
}

char *table_line(const struct table *t, int row)
{
	char *line = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&line, &len);

	if (!f)
		return NULL;
	put_row(t, NULL, f, row);
	if (fclose(f)) {
		free(line);
		return NULL;
	}
	return line;
}

void table_print(const struct table *t, const struct term *term, FILE *f, int row)
{
	put_row(t, term, f, row);
	putc('\n', f);
}
