/* What the gateway's tests share: a root and a state directory of their own, and short mutations. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/file.h"
#include "manager/base/json.h"
#include "router/mutation.h"

struct place {
	char dir[32], root[64], state_path[64];
	int root_fd, state;
};

static inline int place_setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	umask(0);
	strcpy(p->dir, "/tmp/rrm-gw-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	snprintf(p->root, sizeof(p->root), "%s/root", p->dir);
	snprintf(p->state_path, sizeof(p->state_path), "%s/state", p->dir);
	assert_int_equal(mkdir(p->root, 0700), 0);
	assert_int_equal(mkdir(p->state_path, 0700), 0);
	p->root_fd = open(p->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->state = open(p->state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return 0;
}

static inline int place_teardown(void **state)
{
	struct place *p = *state;
	close(p->root_fd);
	close(p->state);
	file_remove_tree(AT_FDCWD, p->dir);
	free(p);
	return 0;
}

static inline void put_file(int dirfd, const char *name, const char *text)
{
	CLEANUP(closep)
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(file_write_all(fd, text, strlen(text)), 0);
}

static inline void assert_file(int dirfd, const char *name, const char *text)
{
	CLEANUP(freep) char *data = NULL;
	size_t len;
	assert_int_equal(file_read(dirfd, name, 1 << 20, &data, &len), 0);
	assert_string_equal(data, text);
}

static inline bool there_is(int dirfd, const char *name)
{
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* data NULL: no body. */
static inline struct mutation *change(enum mutation_op op, const char *path, const char *data)
{
	struct mutation *m = mutation_new(op);
	assert_non_null(m);
	mutation_new_id(m);
	m->epoch = 5;
	m->path = strdup(path);
	m->mode = op == MUTATION_CREATE || op == MUTATION_CHMOD ? 0644
		  : op == MUTATION_MKDIR                        ? 0755
								: 0;
	m->actor = (struct actor){.pid = 77, .uid = getuid(), .gid = getgid()};
	strcpy(m->actor.comm, "test");
	strcpy(m->actor.session, "s1");
	strcpy(m->branch, "main");
	if (data) {
		m->data = strdup(data);
		m->data_len = strlen(data);
	}
	return m;
}

static inline struct mutation *change2(enum mutation_op op, const char *path, const char *path2)
{
	struct mutation *m = change(op, path, NULL);
	m->path2 = strdup(path2);
	return m;
}
