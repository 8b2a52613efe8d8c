/*
 * The limits that many backends at once need, as files of the system: sysctl.d (inotify watches and instances),
 * limits.d (open files of login sessions) and drop-ins of systemd's system.conf and user.conf (open files of services);
 * and tmpfiles.d, by which idle processors of a virtual machine wait a moment before they halt, where Linux can do that.
 * Each begins with the line HARDEN_MARK, by which they are known; none ever lowers what the machine has now.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "manager/base/err.h"

#define HARDEN_MARK "# Made by rrm harden; rrm harden --undo removes it.\n"

#define HARDEN_HALT_POLL "/sys/module/haltpoll/parameters/guest_halt_poll_ns"

enum {
	HARDEN_NOFILE = 65535,
	HARDEN_WATCHES = 1048576,
	HARDEN_INSTANCES = 8192,
	HARDEN_HALT_POLL_NS = 200000, /* Linux's own default */
	HARDEN_FILES = 5,
};

#define HARDEN_NOT_KNOWN UINT64_MAX

/* What is there now; 0 (halt_poll_ns: HARDEN_NOT_KNOWN): not known. */
struct harden_now {
	uint64_t watches, instances, nofile_hard, nr_open, halt_poll_ns;
};
void harden_look(struct harden_now *now);

/* File i: its path below the root, and its text (owned). 0 or -ENOMEM. Pure. */
int harden_file(int i, const struct harden_now *now, const char **path, char **text);

/*
 * root: "" for this machine, else a directory in which the files are made (a package, an image), and nothing but
 * they. Applied to this machine, all but the limits of open files hold at once. -EEXIST with a sentence when a file is there that is
 * not ours; then nothing is changed. out: what was done is said there.
 */
int harden_apply(const char *root, FILE *out, struct err *e);

/* Removes our files; what held at once becomes again what it was at the first apply. */
int harden_undo(const char *root, FILE *out, struct err *e);
