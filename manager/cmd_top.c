/* The live table is a program of its own, so that no other command loads a terminal library. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/cmdutil.h"
#include "manager/program.h"
#include "manager/topdata.h"

enum { TIMES_MAX = 1000000, DELAY_MAX_S = 3600, DELAY_S = 2 };

struct options {
	bool batch;
	long long times, delay_s; /* times 0: for ever */
	enum top_order order;
	bool reverse;
};

static int print_once(const struct top_sample *s, const struct term *t)
{
	char sum[256], now[CLOCK_ISO_LEN];
	struct table *table = top_table(s);

	if (!table)
		return -ENOMEM;
	top_sum(s, sum, sizeof(sum));
	if (t->width) {
		term_put(stdout, sum, t->width, false);
		putchar('\n');
	} else {
		printf("%s  %s\n", clock_iso(now, clock_wall_ms()), sum);
	}
	table_layout(table, t->width);
	for (int row = -1; row < (int)s->n; row++)
		table_print(table, t, stdout, row);
	table_free(table);
	return 0;
}

static int batch(const struct config *c, const struct options *o, struct err *e)
{
	struct top_sample now = {NULL, 0, 0}, before = {NULL, 0, 0};
	struct term t = term_of(STDOUT_FILENO);
	int r = 0;

	for (long long i = 0; !r && (!o->times || i < o->times); i++) {
		if (i) {
			putchar('\n');
			nanosleep(&(struct timespec){.tv_sec = (time_t)o->delay_s}, NULL);
		}
		r = top_take(c, i ? &before : NULL, &now, e);
		if (r)
			break;
		top_sort(&now, o->order, o->reverse);
		r = print_once(&now, &t);
		r = r ? err_errno(e, r, "showing the backends") : cmd_flush(e);
		top_sample_deinit(&before);
		before = now;
		now = (struct top_sample){NULL, 0, 0};
	}
	top_sample_deinit(&now);
	top_sample_deinit(&before);
	return r;
}

static int live(const struct options *o, struct err *e)
{
	CLEANUP(freep) char *program = NULL;
	char delay[32];

	int r = program_find("rrm-top", &program, e);
	if (r)
		return r;
	snprintf(delay, sizeof(delay), "%lld", o->delay_s);
	execl(program, "rrm-top", delay, top_order_word(o->order), o->reverse ? "reverse" : "",
	      (char *)NULL);
	return err_errno(e, -errno, "running %s; rrm top -b does without", program);
}

/* CMD_OK or CMD_USAGE. */
static int set_option(struct options *o, int opt, struct err *e)
{
	switch (opt) {
	case 'b':
		o->batch = true;
		return CMD_OK;
	case 'n':
		o->batch = true;
		if (!cmd_number(optarg, 1, TIMES_MAX, &o->times))
			return cmd_usage("top", e, "-n must be a number from 1 to 1000000");
		return CMD_OK;
	case 'd':
		if (!cmd_number(optarg, 1, DELAY_MAX_S, &o->delay_s))
			return cmd_usage("top", e, "-d must be a number of seconds from 1 to 3600");
		return CMD_OK;
	case 'r':
		o->reverse = true;
		return CMD_OK;
	case 'o': {
		int order = top_order_of(optarg);
		if (order < 0)
			return cmd_usage(
				"top", e,
				"--sort takes memory, cpu, name, uptime, sessions or writes");
		o->order = (enum top_order)order;
		return CMD_OK;
	}
	default:
		return CMD_USAGE;
	}
}

int cmd_top(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {
		{"batch", no_argument, NULL, 'b'},       {"times", required_argument, NULL, 'n'},
		{"delay", required_argument, NULL, 'd'}, {"sort", required_argument, NULL, 'o'},
		{"reverse", no_argument, NULL, 'r'},     {NULL, 0, NULL, 0}};
	struct options o = {.delay_s = DELAY_S};
	struct config *c = NULL;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":bn:d:o:r", longs, e)) != -1;)
		if (set_option(&o, opt, e))
			return CMD_USAGE;
	if (optind != argc)
		return cmd_usage("top", e, "top takes no REPO");
	int r = config_load(&c, e);
	if (r)
		return cmd_exit(r);
	if (!o.batch && term_of(STDOUT_FILENO).smart && isatty(STDIN_FILENO)) {
		r = live(&o, e);
	} else {
		o.times = o.times || o.batch ? o.times : 1;
		r = batch(c, &o, e);
	}
	config_free(c);
	return cmd_exit(r);
}
