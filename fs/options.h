/* Command line of rrm-mount, completed by the configuration. */
#pragma once
#include <stdbool.h>

#include "manager/base/err.h"
#include "manager/config.h"

enum options_action { OPTIONS_MOUNT, OPTIONS_UNMOUNT, OPTIONS_REEXEC, OPTIONS_DONE };

struct options {
	enum options_action action; /* DONE: --help or --version was printed */
	bool foreground;
	char *fuse;       /* owned; the -o options, joined by commas; "" */
	char *mountpoint; /* owned; absolute, parents canonical; NULL when none is named */
};

/* 0; -EINVAL for wrong usage (exit 2), another negative errno otherwise, with a sentence. */
int options_parse(struct options *out, int argc, char **argv, struct err *e);

/* Where no mountpoint is named, the configured one. Errors as above. */
int options_complete(struct options *o, const struct config *c, struct err *e);
void options_deinit(struct options *o);

/* Absolute path with the parents resolved but the last component untouched (it may be a dead mount, and
 * nothing may stat it). Parents that do not exist yet stay as they are. *out owned. */
int options_absolute(const char *path, char **out, struct err *e);
