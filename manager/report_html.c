#include <string.h>

#include "manager/base/clock.h"
#include "manager/report.h"
#include "manager/words.h"

enum { SUMS_MAX = 100 };

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
	"'unsafe-inline'\">\n"
	"<title>rrm report</title>\n<style>\n"
	"body{font:15px/1.5 system-ui,sans-serif;color:#1f2933;background:#f6f7f9;margin:0}\n"
	"main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}\n"
	"h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:0 0 12px}\n"
	"p{margin:0 0 12px}.muted,.none{color:#697586}\n"
	".cards{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}\n"
	".card{background:#fff;border:1px solid #e3e8ef;border-radius:10px;padding:12px "
	"18px;flex:1 "
	"1 100px}\n"
	".card b{display:block;font-size:24px;line-height:1.25}\n"
	"section{background:#fff;border:1px solid #e3e8ef;border-radius:10px;padding:20px;margin:0 "
	"0 18px;overflow-x:auto}\n"
	"svg{display:block;max-width:100%;height:auto}svg.matrix{max-width:none}\n"
	"svg.spark{width:120px;height:20px}\n"
	".line{fill:none;stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\n"
	".line.other{stroke-width:1}.spark .line{stroke-width:1.2;vector-effect:non-scaling-"
	"stroke}\n"
	".grid{stroke:#e9edf2}.tick{stroke:#9aa5b1}.cell{fill:#f1f4f8}\n"
	".axis,.legend,.count{font:12px "
	"system-ui,sans-serif}.axis,.legend{fill:#52606d}.count{font-size:11px}\n"
	"table{border-collapse:collapse;width:100%;font-size:14px}\n"
	"th{text-align:left;font-weight:600;color:#52606d;border-bottom:2px solid #e3e8ef}\n"
	"th,td{padding:5px 10px 5px 0;white-space:nowrap}td{border-bottom:1px solid #eef1f5}\n"
	"td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.w{white-space:normal;min-"
	"width:130px;"
	"overflow-wrap:anywhere}\n"
	".state{border-radius:9px;padding:1px 8px;font-size:12px;background:#eef1f5}\n"
	".ready{background:#d8f5e0;color:#14632b}.failed{background:#ffe0e0;color:#9b1c1c}"
	".starting{background:#fff3cd;color:#7a5b00}\n"
	".bad{color:#b42318;font-weight:600}\n"
	"</style>\n</head>\n<body>\n<main>\n";

static void card(FILE *f, const char *value, const char *what)
{
	fprintf(f, "<div class=\"card\"><b>%s</b>%s</div>\n", value, what);
}

static void put_number_card(FILE *f, uint64_t n, const char *what)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
	card(f, text, what);
}

static void put_cards(const struct report *rp, FILE *f)
{
	char memory[WORDS_MAX];
	uint64_t writes = 0, refused = 0, wait_max = 0, running = 0;
	int64_t kib = 0;

	for (size_t i = 0; i < rp->n; i++) {
		kib += rp->repos[i].kib_now;
		running += rp->repos[i].kib_now > 0;
	}
	for (size_t i = 0; i < rp->n_sums; i++) {
		const struct auditstat_sum *s = rp->sums[i];
		writes += s->writes;
		refused += s->refused;
		wait_max = s->wait_max_us > wait_max ? s->wait_max_us : wait_max;
	}
	fputs("<div class=\"cards\">\n", f);
	put_number_card(f, rp->n, "repositories");
	put_number_card(f, running, "backends running");
	card(f, words_memory(memory, kib), "memory now");
	put_number_card(f, writes, "foreign writes");
	put_number_card(f, wait_max / 1000, "ms, the longest wait");
	put_number_card(f, rp->n_failures, "writes that failed");
	put_number_card(f, refused, "of them refused");
	fputs("</div>\n", f);
}

static void put_repos(const struct report *rp, FILE *f)
{
	char now[WORDS_MAX], most[WORDS_MAX];

	fputs("<section><h2>Repositories</h2>\n<table><thead><tr><th>name</th><th>state</th>"
	      "<th class=\"n\">now</th><th class=\"n\">at most</th><th>memory over time</th>"
	      "<th>root</th></tr></thead><tbody>\n",
	      f);
	for (size_t i = 0; i < rp->n; i++) {
		const struct report_repo *r = &rp->repos[i];
		/* the last sample may be older than now */
		int64_t kib_max = r->kib_now > r->kib_max ? r->kib_now : r->kib_max;
		fputs("<tr><td><b>", f);
		report_text(f, r->repo->name);
		fprintf(f, "</b></td><td><span class=\"state %s\">%s</span></td>", r->state,
			r->state);
		fprintf(f, "<td class=\"n\">%s</td><td class=\"n\">%s</td><td>",
			r->kib_now ? words_memory(now, r->kib_now) : "",
			kib_max ? words_memory(most, kib_max) : "");
		report_sparkline(rp, r, f);
		fputs("</td><td class=\"w muted\">", f);
		report_text(f, r->repo->root);
		fputs("</td></tr>\n", f);
	}
	fputs("</tbody></table></section>\n", f);
}

/* A cell with a bar behind its number. */
static void put_bar(FILE *f, uint64_t n, uint64_t most, const char *unit, bool bad)
{
	unsigned percent = most ? (unsigned)(100 * n / most) : 0;

	fprintf(f,
		"<td class=\"n%s\" style=\"background:linear-gradient(270deg,%s %u%%,transparent "
		"%u%%)\">%llu%s</td>",
		bad && n ? " bad" : "", bad ? "#ffe3e0" : "#e1ebfb", percent, percent,
		(unsigned long long)n, unit);
}

static void put_cell_text(FILE *f, const char *class, const char *text)
{
	fprintf(f, "<td class=\"%s\">", class);
	report_text(f, text ? text : "");
	fputs("</td>", f);
}

/* "2026-11-22 17:40" of a time. */
static void put_minute(FILE *f, const char *ts)
{
	char text[32];

	snprintf(text, sizeof(text), "%.10s %.5s", ts, strlen(ts) > 16 ? ts + 11 : "");
	put_cell_text(f, "muted", text);
}

struct most {
	uint64_t writes, mean, longest, failed;
};

static uint64_t mean_ms(const struct auditstat_sum *s)
{
	return s->writes ? s->wait_us / s->writes / 1000 : 0;
}

static struct most most_of(const struct report *rp)
{
	struct most m = {0, 0, 0, 0};

	for (size_t i = 0; i < rp->n_sums; i++) {
		const struct auditstat_sum *s = rp->sums[i];
		m.writes = s->writes > m.writes ? s->writes : m.writes;
		m.mean = mean_ms(s) > m.mean ? mean_ms(s) : m.mean;
		m.longest = s->wait_max_us > m.longest ? s->wait_max_us : m.longest;
		m.failed = s->failed > m.failed ? s->failed : m.failed;
	}
	return m;
}

static void put_waits(const struct report *rp, FILE *f)
{
	struct most m = most_of(rp);

	fputs("<section><h2>Writers, waits and refusals</h2>\n", f);
	if (!rp->n_sums)
		fputs("<p class=\"none\">Nobody wrote into another's repository.</p>\n", f);
	else
		fputs("<table><thead><tr><th>into</th><th>from</th><th>program</th><th "
		      "class=\"n\">writes</th><th class=\"n\">mean wait</th><th "
		      "class=\"n\">longest "
		      "wait</th><th class=\"n\">failed</th><th "
		      "class=\"n\">refused</th><th>last</th>"
		      "</tr></thead><tbody>\n",
		      f);
	for (size_t i = 0; i < rp->n_sums && i < SUMS_MAX; i++) {
		const struct auditstat_sum *s = rp->sums[i];
		fputs("<tr><td><b>", f);
		report_text(f, s->repo->name);
		fputs("</b></td><td>", f);
		report_text(f, report_name(rp, s->home));
		fputs("</td><td>", f);
		report_text(f, s->comm);
		fputs("</td>", f);
		put_bar(f, s->writes, m.writes, "", false);
		put_bar(f, mean_ms(s), m.mean, " ms", false);
		put_bar(f, s->wait_max_us / 1000, m.longest / 1000, " ms", false);
		put_bar(f, s->failed, m.failed, "", true);
		put_bar(f, s->refused, m.failed, "", true);
		put_minute(f, s->last);
		fputs("</tr>\n", f);
	}
	if (rp->n_sums)
		fputs("</tbody></table>\n", f);
	if (rp->n_sums > SUMS_MAX)
		fprintf(f, "<p class=\"muted\">%zu more writers: rrm log --stat.</p>\n",
			rp->n_sums - SUMS_MAX);
	fputs("</section>\n", f);
}

static void put_failures(const struct report *rp, FILE *f)
{
	uint64_t shown = rp->n_failures < REPORT_FAILURES ? rp->n_failures : REPORT_FAILURES;

	fputs("<section><h2>Writes that failed</h2>\n", f);
	if (!shown) {
		fputs("<p class=\"none\">None.</p></section>\n", f);
		return;
	}
	if (rp->n_failures > shown)
		fprintf(f, "<p class=\"muted\">The last %llu of %llu.</p>\n",
			(unsigned long long)shown, (unsigned long long)rp->n_failures);
	fputs("<table><thead><tr><th>when</th><th>repository</th><th>path</th><th>who</"
	      "th><th>result"
	      "</th><th>why</th></tr></thead><tbody>\n",
	      f);
	for (uint64_t i = 1; i <= shown; i++) {
		const struct report_failure *x =
			&rp->failures[(rp->n_failures - i) % REPORT_FAILURES];
		fputs("<tr>", f);
		put_minute(f, x->ts);
		put_cell_text(f, "", x->repo->name);
		put_cell_text(f, "w", x->path);
		put_cell_text(f, "w", x->who);
		put_cell_text(f, "bad", x->result);
		put_cell_text(f, "w", x->message);
		fputs("</tr>\n", f);
	}
	fputs("</tbody></table></section>\n", f);
}

void report_html(const struct report *rp, FILE *f)
{
	char from[CLOCK_ISO_LEN], to[CLOCK_ISO_LEN];

	fputs(head, f);
	fprintf(f,
		"<h1>rrm report</h1>\n<p class=\"muted\">%s to %s, made by rrm " RRM_VERSION
		"</p>\n",
		clock_iso(from, rp->since_ms), clock_iso(to, rp->until_ms));
	put_cards(rp, f);
	fputs("<section><h2>Memory of each backend over time</h2>\n", f);
	report_memory_plot(rp, f);
	fputs("</section>\n", f);
	put_repos(rp, f);
	fputs("<section><h2>Writes between repositories</h2>\n", f);
	report_matrix(rp, f);
	fputs("</section>\n", f);
	put_failures(rp, f);
	put_waits(rp, f);
	fputs("</main>\n</body>\n</html>\n", f);
}
