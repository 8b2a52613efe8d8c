#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "manager/auditview.h"
#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/cmdutil.h"
#include "manager/report.h"

enum { SINCE_DAYS = 7, DAY_MS = 86400000 };

/* All of it in memory first, so that a FILE is replaced in one step or not at all. */
static int write_report(const struct report *rp, const char *file, struct err *e)
{
	CLEANUP(freep) char *html = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&html, &len);

	if (!f)
		return err_errno(e, -errno, "making the report");
	report_html(rp, f);
	if (fclose(f))
		return err_errno(e, -ENOMEM, "making the report");
	if (!file) {
		fwrite(html, 1, len, stdout);
		return cmd_flush(e);
	}
	int r = file_replace(AT_FDCWD, file, html, len, 0600);
	return r ? err_errno(e, r, "writing %s", file) : 0;
}

static int run(const char *file, int64_t since_ms, int64_t now_ms, struct err *e)
{
	struct config *c = NULL;
	struct report rp = {.n = 0};

	int r = config_load(&c, e);
	if (!r)
		r = report_collect(&rp, c, since_ms, now_ms, e);
	if (!r)
		r = write_report(&rp, file, e);
	report_deinit(&rp);
	config_free(c);
	return r;
}

int cmd_report(int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {{"output", required_argument, NULL, 'o'},
					      {"since", required_argument, NULL, 's'},
					      {NULL, 0, NULL, 0}};
	int64_t now_ms = clock_wall_ms(), since_ms = now_ms - (int64_t)SINCE_DAYS * DAY_MS;
	const char *file = NULL;

	optind = 0;
	for (int opt; (opt = cmd_option(argc, argv, ":o:", longs, e)) != -1;) {
		if (opt == '?')
			return CMD_USAGE;
		if (opt == 'o')
			file = optarg;
		else if (auditview_since(optarg, now_ms, &since_ms) || since_ms > now_ms)
			return cmd_usage(
				"report", e,
				"--since must be a time that is past, as 2026-11-22 or 3d");
	}
	if (optind != argc)
		return cmd_usage("report", e, "report takes no REPO");
	if (!file && isatty(STDOUT_FILENO))
		return cmd_usage("report", e,
				 "a page of HTML is nothing for a terminal: give -o FILE");
	return cmd_exit(run(file, since_ms, now_ms, e));
}
