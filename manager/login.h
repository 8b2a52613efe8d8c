/*
 * rrm-mount at each login: by the systemd of the user, whose unit rrm-mount.service is installed with rrm, or, where
 * the user has none that answers, by a line in the shell's profile (LOGIN_MARK at its end).
 *
 * A unit sees none of the shell's environment. So beside it goes a drop-in, rrm-mount.service.d/60-rrm.conf in the
 * user's configuration, with PATH as it is now (where opencode, node and git are), RRM_* and XDG_* that are set, and
 * SSH_AUTH_SOCK when it is a socket in XDG_RUNTIME_DIR, where it is found again after the next login.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>

#include "manager/base/err.h"

#define LOGIN_MARK "# rrm login enable"

/* Whether a systemd of this user answers. */
bool login_has_systemd(void);

/* Enabling what is enabled is success, and brings the drop-in up to date. out: what was done is said there. */
int login_enable_systemd(FILE *out, struct err *e);
int login_disable_systemd(FILE *out, struct err *e);
int login_enable_profile(FILE *out, struct err *e);
int login_disable_profile(FILE *out, struct err *e);

/* What is enabled now. */
bool login_systemd_enabled(void);
/* path: owned; the profile of this user's shell, whether it has the line or not. */
int login_profile(char **path, bool *has_line, struct err *e);

/* Pure: the text of a drop-in line Environment="NAME=VALUE" with what systemd would expand taken literally; owned. */
char *login_environment_line(const char *name, const char *value);
