#include "router/branch.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "manager/base/cleanup.h"
#include "manager/repo.h"

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* number: of the look that found it. One that began before the last one that is remembered comes too late. */
static void remember(struct branch *b, uint64_t number, const struct stat *st, const char *name)
{
	LOCK_SCOPE(&b->lock);
	if (number < b->remembered)
		return;
	b->remembered = number;
	b->head_seen = st != NULL;
	if (st)
		b->head = *st;
	if (strcmp(b->name, name) != 0) {
		memcpy(b->name, name, BRANCH_MAX);
		atomic_fetch_add(&b->version, 1);
	}
}

/* True when HEAD is the file that was read last. */
static bool unchanged(struct branch *b, const struct stat *st)
{
	LOCK_SCOPE(&b->lock);
	return st ? b->head_seen && same_file(&b->head, st) : !b->head_seen && !b->name[0];
}

static char *head_path(struct branch *b)
{
	LOCK_SCOPE(&b->lock);
	return b->head_path ? strdup(b->head_path) : NULL;
}

static void forget_path(struct branch *b)
{
	LOCK_SCOPE(&b->lock);
	free(b->head_path);
	b->head_path = NULL;
}

static void look(struct branch *b)
{
	CLEANUP(freep) char *path = head_path(b);
	uint64_t number = atomic_fetch_add(&b->looks, 1);
	char name[BRANCH_MAX] = "";
	struct stat st;
	bool there;

	if (!path && repo_head_path(b->root, &path) == 0) {
		LOCK_SCOPE(&b->lock);
		free(b->head_path);
		b->head_path = strdup(path);
	}
	there = path && stat(path, &st) == 0;
	if (!there)
		forget_path(b); /* the git directory may have moved */
	if (unchanged(b, there ? &st : NULL))
		return;
	if (repo_branch(b->root, name, sizeof(name)) < 0)
		name[0] = '\0';
	remember(b, number, there ? &st : NULL, name);
}

int branch_init(struct branch *b, const char *root)
{
	memset(b, 0, sizeof(*b));
	b->root = strdup(root);
	if (!b->root)
		return -ENOMEM;
	pthread_mutex_init(&b->lock, NULL);
	look(b);
	return 0;
}

void branch_deinit(struct branch *b)
{
	if (!b->root)
		return;
	pthread_mutex_destroy(&b->lock);
	free(b->root);
	free(b->head_path);
	memset(b, 0, sizeof(*b));
}

uint64_t branch_poll(struct branch *b, uint64_t now_ms)
{
	uint64_t last = atomic_load_explicit(&b->looked_ms, memory_order_relaxed);

	/* One of those who come at the same time looks; the others take what is known. */
	if (now_ms - last >= BRANCH_LOOK_MS &&
	    atomic_compare_exchange_strong(&b->looked_ms, &last, now_ms))
		look(b);
	return atomic_load_explicit(&b->version, memory_order_relaxed);
}

uint64_t branch_name(struct branch *b, char name[BRANCH_MAX])
{
	LOCK_SCOPE(&b->lock);
	memcpy(name, b->name, BRANCH_MAX);
	return atomic_load(&b->version);
}
