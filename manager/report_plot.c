/* The figures of the report as SVG: no script, no font and no style from elsewhere. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "manager/base/cleanup.h"
#include "manager/report.h"
#include "manager/term.h"
#include "manager/words.h"

enum {
	WIDTH = 960,
	HEIGHT = 340,
	LEFT = 64,
	RIGHT = 170, /* names of the lines stand there */
	TOP = 16,
	BOTTOM = 36,
	COLOURED = 10, /* so many lines have a colour and a name */
	GAP_STEPS = 3, /* a line is broken where so many steps have no sample */
};

static const char *const colours[COLOURED] = {"#3366cc", "#dc6a1f", "#2f9e44", "#c2255c",
					      "#7048e8", "#0c8599", "#b58900", "#9c36b5",
					      "#5c7c34", "#495057"};

struct axes {
	int64_t kib_top; /* at the top of the plot */
	const struct report *rp;
};

static double x_of(int step)
{
	return LEFT + (step + 0.5) * (WIDTH - LEFT - RIGHT) / REPORT_STEPS;
}

static double y_of(const struct axes *a, int64_t kib)
{
	double part = a->kib_top ? (double)kib / (double)a->kib_top : 0;
	return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, in MiB, so that there are at most six of them. */
static int64_t nice_step(int64_t kib_max)
{
	static const int factors[] = {1, 2, 5};

	for (int64_t ten = 1024;; ten *= 10)
		for (int i = 0; i < 3; i++)
			if (kib_max <= 6 * ten * factors[i])
				return ten * factors[i];
}

static void put_y_axis(struct axes *a, int64_t kib_max, FILE *f)
{
	int64_t step = nice_step(kib_max);
	char label[WORDS_MAX];

	a->kib_top = (kib_max / step + 1) * step;
	for (int64_t kib = 0; kib <= a->kib_top; kib += step)
		fprintf(f,
			"<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>"
			"<text class=\"axis\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
			LEFT, WIDTH - RIGHT, y_of(a, kib), y_of(a, kib), LEFT - 8, y_of(a, kib) + 4,
			kib ? words_memory(label, kib) : "0");
	fprintf(f,
		"<text class=\"axis\" x=\"16\" y=\"%d\" text-anchor=\"middle\" "
		"transform=\"rotate(-90 16 %d)\">memory (PSS)</text>\n",
		(HEIGHT - BOTTOM + TOP) / 2, (HEIGHT - BOTTOM + TOP) / 2);
}

static void put_x_axis(const struct report *rp, FILE *f)
{
	static const int steps_s[] = {10,    30,    60,    300,   900,    1800,   3600,
				      10800, 21600, 43200, 86400, 172800, 604800, 2592000};
	int64_t range_s = (rp->until_ms - rp->since_ms) / 1000 + 1, step = 2592000 * 12;

	for (size_t i = 0; i < sizeof(steps_s) / sizeof(steps_s[0]); i++)
		if (range_s / steps_s[i] <= 8) {
			step = steps_s[i];
			break;
		}
	for (int64_t s = (rp->since_ms / 1000 / step + 1) * step; s * 1000 <= rp->until_ms;
	     s += step) {
		double x = LEFT + (double)(s * 1000 - rp->since_ms) * (WIDTH - LEFT - RIGHT) /
					  (double)(rp->until_ms - rp->since_ms + 1);
		time_t t = (time_t)s;
		struct tm tm;
		char label[32] = "";
		if (gmtime_r(&t, &tm))
			strftime(label, sizeof(label),
				 step < 60      ? "%H:%M:%S"
				 : step < 86400 ? "%H:%M"
						: "%b %d",
				 &tm);
		fprintf(f,
			"<line class=\"tick\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>"
			"<text class=\"axis\" x=\"%.1f\" y=\"%d\" "
			"text-anchor=\"middle\">%s</text>\n",
			x, x, HEIGHT - BOTTOM, HEIGHT - BOTTOM + 5, x, HEIGHT - BOTTOM + 20, label);
	}
	fprintf(f, "<text class=\"axis\" x=\"%d\" y=\"%d\" text-anchor=\"end\">time (UTC)</text>\n",
		WIDTH - RIGHT, HEIGHT - 2);
}

/* The line of a repository as the commands of a path; broken where it did not run. */
static void put_path(const struct axes *a, const struct report_repo *r, FILE *f)
{
	int last = -GAP_STEPS - 1;

	for (int i = 0; i < REPORT_STEPS; i++) {
		if (r->kib[i] < 0)
			continue;
		bool on = i - last <= GAP_STEPS;
		fprintf(f, "%c%.1f %.1f", on ? 'L' : 'M', x_of(i), y_of(a, r->kib[i]));
		if (!on) /* so that one sample alone is seen, too */
			fprintf(f, "l0.1 0");
		last = i;
	}
}

static int by_most(const void *a, const void *b)
{
	const struct report_repo *x = *(const struct report_repo *const *)a;
	const struct report_repo *y = *(const struct report_repo *const *)b;

	if (x->kib_max != y->kib_max)
		return x->kib_max < y->kib_max ? 1 : -1;
	return strcmp(x->repo->name, y->repo->name);
}

static void put_line(const struct axes *a, const struct report_repo *r, int rank, FILE *f)
{
	char most[WORDS_MAX], name[128];
	bool coloured = rank < COLOURED;

	fprintf(f, "<path class=\"%s\" stroke=\"%s\" d=\"", coloured ? "line" : "line other",
		coloured ? colours[rank] : "#ced4da");
	put_path(a, r, f);
	fputs("\"><title>", f);
	report_text(f, r->repo->name);
	fprintf(f, ", at most %s</title></path>\n", words_memory(most, r->kib_max));
	if (!coloured)
		return;
	term_fit(name, sizeof(name), r->repo->name, 17);
	fprintf(f,
		"<rect x=\"%d\" y=\"%d\" width=\"10\" height=\"10\" rx=\"2\" fill=\"%s\"/>"
		"<text class=\"legend\" x=\"%d\" y=\"%d\">",
		WIDTH - RIGHT + 18, TOP + rank * 26, colours[rank], WIDTH - RIGHT + 34,
		TOP + 9 + rank * 26);
	report_text(f, name);
	fputs("</text>\n", f);
}

void report_memory_plot(const struct report *rp, FILE *f)
{
	CLEANUP(freep) const struct report_repo **order = calloc(rp->n + 1, sizeof(const void *));
	struct axes a = {.rp = rp};
	size_t n = 0;

	for (size_t i = 0; order && i < rp->n; i++)
		if (rp->repos[i].kib_max > 0)
			order[n++] = &rp->repos[i];
	if (!n) {
		fputs("<p class=\"none\">No sample of memory in this time. A mount takes one every "
		      "<code>memory_every_s</code> seconds, and so does each "
		      "<code>rrm status</code>.</p>\n",
		      f);
		return;
	}
	qsort(order, n, sizeof(const void *), by_most);
	fprintf(f,
		"<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"Memory of each backend over "
		"time\">\n",
		WIDTH, HEIGHT);
	put_y_axis(&a, order[0]->kib_max, f);
	put_x_axis(rp, f);
	for (size_t i = n; i-- > 0;)
		put_line(&a, order[i], (int)i, f);
	if (n > COLOURED)
		fprintf(f,
			"<text class=\"legend muted\" x=\"%d\" y=\"%d\">%zu more in grey</text>\n",
			WIDTH - RIGHT + 18, TOP + 9 + COLOURED * 26, n - COLOURED);
	fputs("</svg>\n", f);
}

void report_sparkline(const struct report *rp, const struct report_repo *r, FILE *f)
{
	int last = -GAP_STEPS - 1;

	if (r->kib_max <= 0)
		return;
	fprintf(f,
		"<svg class=\"spark\" viewBox=\"0 0 %d 20\" preserveAspectRatio=\"none\">"
		"<path class=\"line\" stroke=\"#3366cc\" d=\"",
		REPORT_STEPS);
	for (int i = 0; i < REPORT_STEPS; i++) {
		if (r->kib[i] < 0)
			continue;
		double y = 18 - 16.0 * (double)r->kib[i] / (double)r->kib_max;
		fprintf(f, "%c%d %.1f", i - last <= GAP_STEPS ? 'L' : 'M', i, y);
		if (i - last > GAP_STEPS)
			fputs("l1 0", f);
		last = i;
	}
	fputs("\"/></svg>", f);
}

/* --- who wrote where ----------------------------------------------------------------------------- */

/* The different homes, or repos, of the sums, as repo_ids. */
struct axis {
	const char **ids; /* owned array */
	size_t n;
};

static void add_id(struct axis *x, const char *id)
{
	for (size_t i = 0; i < x->n; i++)
		if (!strcmp(x->ids[i], id))
			return;
	x->ids[x->n++] = id;
}

static int by_name(const void *a, const void *b, void *rp)
{
	return strcmp(report_name(rp, *(const char *const *)a),
		      report_name(rp, *(const char *const *)b));
}

static void sort_axis(const struct report *rp, struct axis *x)
{
	struct report *names = (struct report *)(uintptr_t)rp; /* only read */
	if (x->n)
		qsort_r(x->ids, x->n, sizeof(*x->ids), by_name, names);
}

static uint64_t writes_between(const struct report *rp, const char *from, const char *to)
{
	uint64_t n = 0;

	for (size_t i = 0; i < rp->n_sums; i++)
		if (!strcmp(rp->sums[i]->home, from) && !strcmp(rp->sums[i]->repo->id, to))
			n += rp->sums[i]->writes;
	return n;
}

enum { CELL_LARGE = 44, CELL_SMALL = 18, MANY = 16, LABEL = 150, LABEL_CELLS = 20 };

static void put_label(const struct report *rp, const char *id, double x, double y, bool up, FILE *f)
{
	char name[128];

	term_fit(name, sizeof(name), report_name(rp, id), LABEL_CELLS);
	if (up)
		fprintf(f,
			"<text class=\"legend\" x=\"%.1f\" y=\"%.1f\" transform=\"rotate(-45 %.1f "
			"%.1f)\">",
			x, y, x, y);
	else
		fprintf(f, "<text class=\"legend\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", x,
			y);
	report_text(f, name);
	fputs("</text>\n", f);
}

/* The square root makes few writes visible beside many. */
static void put_cell(const struct report *rp, const char *from, const char *to, uint64_t n,
		     uint64_t most, int x, int y, int cell, FILE *f)
{
	double part = most ? (double)n / (double)most : 0, low = 0.02, root = part;

	for (int i = 0; part > 0 && i < 20; i++)
		root = (root + part / root) / 2;
	if (!n) {
		fprintf(f, "<rect class=\"cell\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
			x, y, cell - 2, cell - 2);
		return;
	}
	fprintf(f,
		"<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"2\" fill=\"#3366cc\" "
		"fill-opacity=\"%.2f\"><title>",
		x, y, cell - 2, cell - 2, low + 0.1 + 0.85 * root);
	report_text(f, report_name(rp, from));
	fputs(" → ", f);
	report_text(f, report_name(rp, to));
	fprintf(f, ": %llu writes</title></rect>", (unsigned long long)n);
	if (cell == CELL_LARGE && n < 100000)
		fprintf(f,
			"<text class=\"count\" x=\"%d\" y=\"%d\" text-anchor=\"middle\" "
			"fill=\"%s\">%llu</text>",
			x + cell / 2 - 1, y + cell / 2 + 3, root > 0.45 ? "#fff" : "#1f2933",
			(unsigned long long)n);
	putc('\n', f);
}

static void put_matrix(const struct report *rp, const struct axis *from, const struct axis *to,
		       FILE *f)
{
	int cell = from->n > MANY || to->n > MANY ? CELL_SMALL : CELL_LARGE;
	int width = LABEL + (int)to->n * cell + LABEL, height = LABEL + (int)from->n * cell + 30;
	uint64_t most = 0;

	for (size_t i = 0; i < from->n; i++)
		for (size_t k = 0; k < to->n; k++) {
			uint64_t n = writes_between(rp, from->ids[i], to->ids[k]);
			most = n > most ? n : most;
		}
	fprintf(f,
		"<svg class=\"matrix\" viewBox=\"0 0 %d %d\" style=\"width:%dpx\" role=\"img\" "
		"aria-label=\"Writes from each repository into each\">\n",
		width, height, width);
	for (size_t k = 0; k < to->n; k++)
		put_label(rp, to->ids[k], LABEL + ((double)k + 0.6) * cell, LABEL - 8, true, f);
	for (size_t i = 0; i < from->n; i++) {
		put_label(rp, from->ids[i], LABEL - 8, LABEL + ((double)i + 0.5) * cell + 3, false,
			  f);
		for (size_t k = 0; k < to->n; k++)
			put_cell(rp, from->ids[i], to->ids[k],
				 writes_between(rp, from->ids[i], to->ids[k]), most,
				 LABEL + (int)k * cell, LABEL + (int)i * cell, cell, f);
	}
	fprintf(f,
		"<text class=\"axis\" x=\"%d\" y=\"%d\">rows: where the writer is at home · "
		"columns: "
		"what it wrote into</text>\n</svg>\n",
		8, height - 8);
}

void report_matrix(const struct report *rp, FILE *f)
{
	struct axis from = {calloc(rp->n_sums + 1, sizeof(char *)), 0};
	struct axis to = {calloc(rp->n_sums + 1, sizeof(char *)), 0};

	for (size_t i = 0; from.ids && to.ids && i < rp->n_sums; i++) {
		add_id(&from, rp->sums[i]->home);
		add_id(&to, rp->sums[i]->repo->id);
	}
	sort_axis(rp, &from);
	sort_axis(rp, &to);
	if (from.n)
		put_matrix(rp, &from, &to, f);
	else
		fputs("<p class=\"none\">No repository's session wrote into another repository in "
		      "this time.</p>\n",
		      f);
	free(from.ids);
	free(to.ids);
}
