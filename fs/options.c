#include "fs/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fuse_lowlevel.h>

#include "manager/base/cleanup.h"
#include "manager/base/path.h"
#include "manager/suggest.h"

static const char usage[] =
	"Usage: rrm-mount [-f] [-o OPT[,OPT...]] [MOUNTPOINT]\n"
	"       rrm-mount -u | --reexec [MOUNTPOINT]\n"
	"\n"
	"Shows every registered repository under MOUNTPOINT (default: mountpoint of the\n"
	"configuration, else ~/rrm) and goes to the background once it serves. A dead mount left\n"
	"there is cleared first; already mounted is success.\n"
	"\n"
	"  -f, --foreground   stay in the foreground, log to standard error\n"
	"  -o OPT             mount options: allow_other (other users too; as root, or with\n"
	"                     user_allow_other in /etc/fuse.conf), ro, debug, ...\n"
	"  -u, --unmount      unmount\n"
	"      --reexec       have the running mount go on with the program that is installed\n"
	"                     now; programs that use it notice nothing\n"
	"      --help         this text\n"
	"      --version      version of rrm-mount and of libfuse\n";

int options_absolute(const char *path, char **out, struct err *e)
{
	char cwd[PATH_MAX];
	CLEANUP(freep) char *full = NULL;
	if (path[0] == '/') {
		full = strdup(path);
	} else {
		if (!getcwd(cwd, sizeof(cwd)))
			return err_errno(e, -errno, "finding the working directory");
		full = path_join(cwd, path);
	}
	if (!full)
		return -ENOMEM;
	for (size_t len = strlen(full); len > 1 && full[len - 1] == '/'; len--)
		full[len - 1] = '\0';
	char *slash = strrchr(full, '/');
	if (!slash[1] || strcmp(slash + 1, ".") == 0 || strcmp(slash + 1, "..") == 0)
		return err_set(e, -EINVAL,
			       "%s is no place for a mount: name a directory of its own", path);
	CLEANUP(freep)
	char *parent = slash == full ? strdup("/") : strndup(full, (size_t)(slash - full));
	CLEANUP(freep) char *real = parent ? realpath(parent, NULL) : NULL;
	if (!parent)
		return -ENOMEM;
	*out = real ? path_join(real, slash + 1) : steal(&full);
	return *out ? 0 : -ENOMEM;
}

static int add_fuse(struct options *o, const char *text)
{
	char *joined = NULL;
	if (asprintf(&joined, "%s%s%s", o->fuse, o->fuse[0] ? "," : "", text) < 0)
		return -ENOMEM;
	free(o->fuse);
	o->fuse = joined;
	return 0;
}

/* What getopt did not take: word is what it looked at last, optopt the letter, if it was one. */
static int unknown(const char *word, const struct option *longs, struct err *e)
{
	const char *near = suggest_option(word, longs);
	if (optopt && strncmp(word, "--", 2) == 0)
		return err_set(e, -EINVAL, "option %s takes no value; see rrm-mount --help", word);
	if (optopt)
		return err_set(e, -EINVAL, "unknown option -%c; see rrm-mount --help", optopt);
	if (near)
		return err_set(e, -EINVAL,
			       "unknown option %s; did you mean --%s? See rrm-mount --help", word,
			       near);
	return err_set(e, -EINVAL, "unknown option %s; see rrm-mount --help", word);
}

static int parse_flags(struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option longs[] = {
		{"foreground", no_argument, NULL, 'f'}, {"unmount", no_argument, NULL, 'u'},
		{"reexec", no_argument, NULL, 'x'},     {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},    {NULL, 0, NULL, 0},
	};
	int opt;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":fuo:hV", longs, NULL)) != -1) {
		switch (opt) {
		case 'f':
			o->foreground = true;
			break;
		case 'u':
			o->action = OPTIONS_UNMOUNT;
			break;
		case 'x':
			o->action = OPTIONS_REEXEC;
			break;
		case 'o':
			if (add_fuse(o, optarg) < 0)
				return -ENOMEM;
			break;
		case 'h':
			fputs(usage, stdout);
			o->action = OPTIONS_DONE;
			return 0;
		case 'V':
			printf("rrm-mount %s, libfuse %s\n", RRM_VERSION, fuse_pkgversion());
			o->action = OPTIONS_DONE;
			return 0;
		case ':':
			return err_set(e, -EINVAL, "option %s needs a value; see rrm-mount --help",
				       argv[optind - 1]);
		default:
			return unknown(argv[optind - 1], longs, e);
		}
	}
	if (argc - optind > 1)
		return err_set(e, -EINVAL, "one mountpoint at most, not %d; see rrm-mount --help",
			       argc - optind);
	return 0;
}

int options_parse(struct options *out, int argc, char **argv, struct err *e)
{
	*out = (struct options){.fuse = strdup("")};
	if (!out->fuse)
		return -ENOMEM;
	int rc = parse_flags(out, argc, argv, e);
	if (rc < 0 || out->action == OPTIONS_DONE || optind >= argc)
		return rc;
	return options_absolute(argv[optind], &out->mountpoint, e);
}

int options_complete(struct options *o, const struct config *c, struct err *e)
{
	return o->mountpoint ? 0 : options_absolute(c->mountpoint, &o->mountpoint, e);
}

void options_deinit(struct options *o)
{
	free(o->fuse);
	free(o->mountpoint);
}
