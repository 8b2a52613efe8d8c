#include "manager/cmdutil.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/suggest.h"

int cmd_context_init(struct cmd_context *x, struct err *e)
{
	memset(x, 0, sizeof(*x));
	int r = config_load(&x->config, e);
	if (!r)
		r = repo_list_load(x->config, &x->repos, e);
	if (r)
		cmd_context_deinit(x);
	return r;
}

void cmd_context_deinit(struct cmd_context *x)
{
	repo_list_deinit(&x->repos);
	x->config = config_free(x->config);
}

int cmd_find(const struct cmd_context *x, const char *what, const struct repo **out, struct err *e)
{
	int r = repo_find(x->config, &x->repos, what ? what : ".", out, NULL, e);

	if (r == -ENOENT && !what)
		err_set(e, r,
			"the working directory is in no registered repository; name one (rrm "
			"list shows them)");
	return r;
}

int cmd_usage(const char *name, struct err *e, const char *why)
{
	bool question = *why && why[strlen(why) - 1] == '?';

	err_set(e, 0, question ? "%s See rrm %s --help" : "%s; see rrm %s --help", why, name);
	return CMD_USAGE;
}

/* "; did you mean --verify?" behind what is there, when a long option is near to word. */
static void add_suggestion(char *why, size_t size, const char *word, const struct option *longs)
{
	size_t n = strlen(why);
	const char *near = suggest_option(word, longs);

	if (near)
		snprintf(why + n, size - n, "; did you mean --%s?", near);
}

int cmd_option(int argc, char **argv, const char *shorts, const struct option *longs, struct err *e)
{
	char why[256];

	opterr = 0;
	int at = optind ? optind : 1;
	int opt = getopt_long(argc, argv, shorts, longs, NULL);
	if (opt != '?' && opt != ':')
		return opt;
	/* optopt: a short option, the val of a long one that lacks or must not have a value, or 0 */
	const char *word = at < argc ? argv[at] : "";
	for (int i = at; i < argc && i < optind; i++)
		if (argv[i][0] == '-' && argv[i][1])
			word = argv[i];
	if (opt == ':')
		snprintf(why, sizeof(why), "option %s needs a value", word);
	else if (optopt && word[0] == '-' && word[1] == '-')
		snprintf(why, sizeof(why), "option %s takes no value", word);
	else if (optopt)
		snprintf(why, sizeof(why), "unknown option -%c", optopt);
	else
		snprintf(why, sizeof(why), "unknown option %.120s", word);
	if (!optopt)
		add_suggestion(why, sizeof(why), word, longs);
	cmd_usage(argv[0], e, why);
	return '?';
}

bool cmd_number(const char *text, long long min, long long max, long long *out)
{
	char *end;

	errno = 0;
	long long v = strtoll(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max)
		return false;
	*out = v;
	return true;
}

int cmd_exit(int r)
{
	return !r ? CMD_OK : r == -ETIMEDOUT ? CMD_TIMED_OUT : CMD_FAILED;
}

int cmd_flush(struct err *e)
{
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	return err_errno(e, errno ? -errno : -EIO, "writing the output");
}

void cmd_print_bytes(FILE *f, const char *bytes)
{
	for (; *bytes; bytes++)
		if ((unsigned char)*bytes < 0x20 || *bytes == 0x7f)
			fprintf(f, "\\%03o", (unsigned char)*bytes);
		else
			putc(*bytes, f);
}

int cmd_with_path(int argc, char **argv, const char *command,
		  int (*fn)(const struct cmd_context *x, const char *what, struct err *e),
		  struct err *e)
{
	static const struct option longs[] = {{NULL, 0, NULL, 0}};
	struct cmd_context x;
	int rc;

	optind = 0;
	if (cmd_option(argc, argv, ":", longs, e) != -1)
		return CMD_USAGE;
	if (argc - optind != 1)
		return cmd_usage(command, e, "give one REPO/PATH");
	rc = cmd_context_init(&x, e);
	if (rc == 0)
		rc = fn(&x, argv[optind], e);
	cmd_context_deinit(&x);
	return cmd_exit(rc);
}
