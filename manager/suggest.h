/* "did you mean": the nearest known word. Pure. */
#pragma once
#include <getopt.h>

/* The entry of words (NULL-terminated) that differs from word by the fewest insertions, deletions,
 * replacements and swaps of neighbours, when those are at most a third of its length (at least 1);
 * else NULL. Borrowed from words. Words longer than 63 bytes are never near. */
const char *suggest(const char *word, const char *const *words);

/* The same for a word as "--verfy" or "--snce=1h" among the long options; NULL for one that begins otherwise. */
const char *suggest_option(const char *word, const struct option *longs);
