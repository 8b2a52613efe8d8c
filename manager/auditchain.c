#include "manager/auditchain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "manager/auditkeep.h"
#include "manager/base/cleanup.h"
#include "manager/base/sha256.h"

enum { TORN_TRIES = 20, TORN_WAIT_US = 5000 };

struct chain {
	char prev[SHA256_HEX_LEN]; /* what the next line must name */
	int64_t seq;               /* of the line before; -1 for the first */
	struct auditkeep_begin begin;
};

/* Does the first line of all come where the log begins? What the removal of old parts left half done may
 * stand before that. */
static const char *check_first(const struct chain *c, int64_t seq, const char *prev)
{
	if (!c->begin.seq)
		return strcmp(prev, c->prev) != 0
			       ? "it is not the first record ever: prev is not 64 zeros, so what "
				 "came before it is missing"
			       : NULL;
	if (seq > c->begin.seq)
		return "it is not the record with which audit.begin says that the log begins: "
		       "what came before it is missing";
	return NULL;
}

/* 0, or -EINVAL with what is wrong. */
static int check_line(struct chain *c, const struct auditlog_line *line, struct err *e)
{
	CLEANUP(json_deletep) cJSON *j = NULL;
	int r = auditlog_parse(line, &j, e);

	if (r)
		return r;
	int64_t seq = json_int(j, "seq", -1);
	if (c->seq >= 0 && seq != c->seq + 1)
		return err_set(e, -EINVAL, "seq is %lld, but %lld comes after the line before it",
			       (long long)seq, (long long)c->seq + 1);
	const char *prev = json_str(j, "prev", "");
	const char *why = c->seq < 0 ? check_first(c, seq, prev)
			  : strcmp(prev, c->prev) != 0
				  ? "prev is not the hash of the line before it: that line was "
				    "changed, or lines between them are missing"
				  : NULL;
	if (!why && seq == c->begin.seq && strcmp(prev, c->begin.prev) != 0)
		why = "prev is not what audit.begin says: the parts before it were others";
	if (why)
		return err_set(e, -EINVAL, "%s", why);
	c->seq = seq;
	return sha256_hex(line->text, line->len, c->prev);
}

static void note_bad(struct auditchain_check *out, const char *file, uint64_t number,
		     const char *why)
{
	out->bad = true;
	out->number = number;
	snprintf(out->file, sizeof(out->file), "%s", file);
	err_set(&out->problem, 0, "%s line %llu: %s", file, (unsigned long long)number, why);
}

/* 0 at the end, also behind a bad line. */
static int check_lines(struct auditlog *a, const char *state_dir, struct auditchain_check *out,
		       struct err *e)
{
	CLEANUP(closep) int dirfd = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct chain chain = {.seq = -1};
	struct auditlog_line line;
	struct err why = ERR_INIT;
	int r = 0;

	if (dirfd < 0)
		return err_errno(e, -errno, "reading the audit in %s", state_dir);
	memset(chain.prev, '0', sizeof(chain.prev) - 1);
	r = auditkeep_read(dirfd, &chain.begin, &why);
	if (r == -EINVAL || r == -EFBIG) {
		note_bad(out, "audit.begin", 1, why.text);
		return 0;
	}
	if (r)
		return err_errno(e, r, "reading audit.begin");
	out->begins = chain.begin.seq;
	for (unsigned tries = 0; (r = auditlog_next(a, &line, e)) >= 0;) {
		if (!r && auditlog_torn(a, NULL) && tries++ < TORN_TRIES) {
			usleep(TORN_WAIT_US); /* perhaps seen in the middle of the gateway's write */
			continue;
		}
		if (!r)
			break;
		int bad = check_line(&chain, &line, &why);
		if (bad == -EINVAL) {
			note_bad(out, line.file, line.number, why.text);
			return 0;
		}
		if (bad)
			return err_errno(e, bad, "checking %s line %llu", line.file,
					 (unsigned long long)line.number);
		out->records++;
	}
	if (!r && auditlog_torn(a, &line))
		note_bad(out, line.file, line.number, "it ends in the middle, without a newline");
	return r;
}

int auditchain_verify(const char *state_dir, struct auditchain_check *out, struct err *e)
{
	struct auditlog *a = NULL;

	memset(out, 0, sizeof(*out));
	int r = auditlog_open(&a, state_dir, e);
	if (!a)
		return r;
	r = check_lines(a, state_dir, out, e);
	auditlog_close(a);
	return r;
}
