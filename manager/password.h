/*
 * <state>/password: 32 random hex digits and a newline, mode 0600; the Basic auth password of the
 * repo's backend (user name PASSWORD_USER). It stays the same from one start to the next, so attached
 * clients reconnect.
 */
#pragma once
#include "manager/base/err.h"
#include "manager/repo.h"

#define PASSWORD_USER "opencode"
enum { PASSWORD_MAX = 64 };

/* The first line. -ENOENT, -EINVAL (empty, too long), -EACCES (others may read it), ... */
int password_read(const struct repo *r, char out[PASSWORD_MAX]);

/* As above; where there is none that can be used, a new one is written. */
int password_make(const struct repo *r, char out[PASSWORD_MAX], struct err *e);
