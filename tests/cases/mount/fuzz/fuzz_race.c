/* Processes at once, and what must come of it in whatever order they were. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

enum { RACERS = 4, RECORDS = 60, LONGEST = 300, TRIES = 20 };

struct record {
	uint32_t length, racer, number, sum;
};

static void append_record(int fd, uint32_t racer, uint32_t number, uint32_t r)
{
	char buf[sizeof(struct record) + LONGEST];
	struct record rec = {.length = r % LONGEST, .racer = racer, .number = number};
	memset(buf, 'A' + (int)racer, sizeof(buf));
	rec.sum = (uint32_t)fuzz_hash(number, buf + sizeof(rec), rec.length);
	memcpy(buf, &rec, sizeof(rec));
	ssize_t n = (ssize_t)(sizeof(rec) + rec.length);
	if (write(fd, buf, (size_t)n) != n)
		err(1, "append");
}

/* Each racer makes, links, moves and removes under names that all want. */
static int race(uint32_t racer, uint64_t seed)
{
	char name[32], own[32];
	int log = open("log", O_WRONLY | O_APPEND), won = 0;
	if (log < 0)
		err(1, "log");
	snprintf(own, sizeof(own), "own%u", racer);
	for (uint32_t i = 0; i < RECORDS; i++) {
		uint32_t r = (uint32_t)fuzz_hash(seed + racer, &i, sizeof(i));
		append_record(log, racer, i, r);
		snprintf(name, sizeof(name), "excl%u", i % TRIES);
		int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
		won += fd >= 0;
		close(fd);
		snprintf(name, sizeof(name), "dir%u", i % TRIES);
		won += mkdir(name, 0755) == 0 ? 100 : 0;
		fd = open(own, O_CREAT | O_TRUNC | O_WRONLY, 0644);
		if (fd < 0 || write(fd, own, strlen(own)) < 0)
			err(1, "%s", own);
		close(fd);
		snprintf(name, sizeof(name), "link%u", i % TRIES);
		won += link(own, name) == 0 ? 10000 : 0;
		/* All of them replace one name: there is always one, and it is whole. */
		if (rename(own, "last") < 0)
			err(1, "rename of %s", own);
		int last = open("last", O_RDONLY);
		char buf[32] = "";
		if (last < 0)
			err(1, "opening the file of all");
		ssize_t got = read(last, buf, sizeof(buf) - 1);
		if (got < 0)
			err(1, "reading the file of all");
		if (got != 4)
			errx(1, "the file of all holds '%s'", buf);
		close(last);
	}

	int fd = open("won", O_WRONLY | O_APPEND);
	if (fd < 0 || write(fd, &won, sizeof(won)) != sizeof(won))
		err(1, "won");
	return 0;
}

static void check_log(FILE *out)
{
	struct record rec;
	char buf[LONGEST];
	uint32_t next[RACERS] = {0};
	int fd = open("log", O_RDONLY);
	unsigned n = 0, bad = 0;
	while (read(fd, &rec, sizeof(rec)) == (ssize_t)sizeof(rec)) {
		if (rec.length >= LONGEST || rec.racer >= RACERS ||
		    read(fd, buf, rec.length) != (ssize_t)rec.length ||
		    rec.sum != (uint32_t)fuzz_hash(rec.number, buf, rec.length) ||
		    rec.number != next[rec.racer]++) {
			bad++;
			break;
		}
		n++;
	}
	close(fd);
	fprintf(out, "records %u, wrong %u\n", n, bad);
}

static void check_won(FILE *out)
{
	int won, sum = 0, fd = open("won", O_RDONLY);
	while (read(fd, &won, sizeof(won)) == (ssize_t)sizeof(won))
		sum += won;
	close(fd);
	fprintf(out, "made %d times\n", sum);
}

static void put_names(FILE *out)
{
	struct stat st;
	char name[32];
	static const char *const kinds[] = {"excl", "dir", "link"};
	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < TRIES; i++) {
			snprintf(name, sizeof(name), "%s%u", kinds[k], i);
			fprintf(out, "%s %o\n", name, lstat(name, &st) == 0 ? st.st_mode : 0);
		}
}

char *race_text(const char *dir, uint64_t seed)
{
	char *text = NULL;
	size_t len = 0;
	pid_t pids[RACERS];
	FILE *out = open_memstream(&text, &len);
	int home = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ws;
	if (!out || home < 0 || chdir(dir) < 0)
		err(1, "%s", dir);
	close(open("log", O_CREAT | O_WRONLY, 0644));
	close(open("won", O_CREAT | O_WRONLY, 0644));
	for (uint32_t i = 0; i < RACERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(race(i, seed));
	}
	for (unsigned i = 0; i < RACERS; i++)
		if (waitpid(pids[i], &ws, 0) < 0 || ws)
			fprintf(out, "racer %u ended with %x\n", i, ws);
	check_log(out);
	check_won(out);
	put_names(out);
	fclose(out);
	if (fchdir(home) < 0)
		err(1, "fchdir");
	close(home);
	return text;
}
