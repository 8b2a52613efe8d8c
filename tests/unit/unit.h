/*
 * What the unit tests share: cmocka with what it needs, and a private directory for each test.
 * A test that uses it passes tmp_setup and tmp_teardown; its state is then a struct tmp.
 */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manager/base/file.h"

struct tmp {
	char path[32]; /* "/tmp/rrm-u-XXXXXX" */
	int dir;
};

static inline int tmp_setup(void **state)
{
	struct tmp *t = calloc(1, sizeof(*t));
	assert_non_null(t);
	strcpy(t->path, "/tmp/rrm-u-XXXXXX");
	assert_non_null(mkdtemp(t->path));
	t->dir = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(t->dir >= 0);
	*state = t;
	return 0;
}

static inline int tmp_teardown(void **state)
{
	struct tmp *t = *state;
	close(t->dir);
	int r = file_remove_tree(AT_FDCWD, t->path);
	free(t);
	return r;
}

#define tmp_test(fn) cmocka_unit_test_setup_teardown(fn, tmp_setup, tmp_teardown)
