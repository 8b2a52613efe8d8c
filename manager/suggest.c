#include "manager/suggest.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 63, OPTIONS_MAX = 32 };

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;
	return m < c ? m : c;
}

/* Optimal string alignment distance. */
static unsigned distance(const char *a, size_t n, const char *b, size_t m)
{
	unsigned d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= n; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= m; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++)
		for (size_t j = 1; j <= m; j++) {
			unsigned cost = a[i - 1] != b[j - 1];
			d[i][j] = least(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	return d[n][m];
}

const char *suggest(const char *word, const char *const *words)
{
	const char *best = NULL;
	unsigned best_distance = 0;
	size_t n = strlen(word);

	if (n > WORD_MAX)
		return NULL;
	for (; *words; words++) {
		size_t m = strlen(*words);
		if (m > WORD_MAX)
			continue;
		unsigned far = distance(word, n, *words, m);
		if (far > (m < 6 ? 1 : m / 3) || (best && far >= best_distance))
			continue;
		best = *words;
		best_distance = far;
	}
	return best;
}

const char *suggest_option(const char *word, const struct option *longs)
{
	const char *names[OPTIONS_MAX + 1] = {NULL};
	char typed[WORD_MAX + 1];

	if (strncmp(word, "--", 2) != 0)
		return NULL;
	snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(word + 2, "="), word + 2);
	for (int i = 0; i < OPTIONS_MAX && longs[i].name; i++)
		names[i] = longs[i].name;
	return suggest(typed, names);
}
