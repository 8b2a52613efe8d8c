/*
 * The differential test: one random sequence of operations is done in a plain directory, at home in the
 * mount and in a foreign repo of it, by several processes; each answer must be the same in all three.
 *
 * fuzz.c drives, shrinks and prints; fuzz_ops.c, fuzz_names.c, fuzz_data.c are what the processes do;
 * fuzz_tree.c says what a tree is; fuzz_race.c lets processes loose on each other.
 *
 * Operation i of a seed depends on (seed, i) alone, never on what came before: so any of them can be left
 * out, and a list of numbers is all that a replay needs.
 */
#pragma once
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { WORKERS = 4, SLOTS = 6, MAPS = 2, RANDOMS = 8, PLACES = 3, TEXT = 4096 };

struct op {
	unsigned index, worker, kind;
	uint32_t r[RANDOMS];
	/* What cannot be compared together is not done together: */
	bool falloc; /* fallocate() of blocks: SEEK_DATA then depends on what happens to be cached */
	bool loose;  /* mapped stores without msync: times then depend on the writeback */
};

/* A process at work, and the answer that it is writing. */
struct worker {
	int root;      /* the place */
	int fd[SLOTS]; /* -1: none */
	DIR *dir;
	char *map[MAPS];
	size_t map_len[MAPS];
	char path[2][PATH_MAX + 8];
	char text[TEXT];
	size_t len;
};

struct fuzz_kind {
	const char *name;
	unsigned weight;
	void (*fn)(struct worker *w, const struct op *op);
};

/* Each ends with a NULL name; op.kind counts through both. */
extern const struct fuzz_kind fuzz_name_kinds[], fuzz_data_kinds[];

void op_make(struct op *op, uint64_t seed, unsigned index);

/* Does op, and leaves what is to be compared in w->text. */
void op_do(struct worker *w, const struct op *op);
void worker_init(struct worker *w, int root);

/* Of the answer's text: more of it; " = RESULT" or " = EWHAT", which returns rc. */
void put(struct worker *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
long result(struct worker *w, long rc);
void put_stat(struct worker *w, const struct op *op, const struct stat *st);
/* The path that r names, kept in w->path[n] and shown in the text. */
const char *path_of(struct worker *w, unsigned n, uint32_t r);
const char *dir_of(struct worker *w, unsigned n, uint32_t r);
const char *show(const char *path); /* shortened */
mode_t mode_of(uint32_t r);
/* The descriptor of a slot, which is shown. */
int slot_of(struct worker *w, uint32_t r);
void slot_set(struct worker *w, uint32_t r, int fd);
bool chance(uint32_t r, unsigned percent);
uint64_t fuzz_hash(uint64_t h, const void *data, size_t len);

/* Everything below dir as text, owned by the caller. times: with the modification times that were set. */
char *tree_text(const char *dir, bool times);
void tree_wipe(const char *dir); /* all in it */
/* Times from here on are of the clock, earlier ones were set. */
#define SET_BEFORE 1400000000

/* Processes at once in dir; what must come of it whatever their order, as text owned by the caller. */
char *race_text(const char *dir, uint64_t seed);
