#include "manager/memlog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager/base/cleanup.h"
#include "manager/base/clock.h"
#include "manager/base/file.h"
#include "manager/base/proc.h"

enum { MEMLOG_MAX = 4 << 20 };

int memory_measure(pid_t pid, struct memory_usage *out)
{
	CLEANUP(freep) pid_t *pids = NULL;
	size_t n = 0;
	long hz = sysconf(_SC_CLK_TCK);

	memset(out, 0, sizeof(*out));
	int r = proc_tree(pid, &pids, &n);
	if (r)
		return r;
	for (size_t i = 0; i < n; i++) {
		struct proc_memory m;
		struct proc_stat st;
		if (proc_memory(pids[i], &m))
			continue;
		out->rss_kib += m.rss_kib;
		out->pss_kib += m.pss_kib;
		out->swap_kib += m.swap_kib;
		out->processes++;
		if (hz > 0 && !proc_stat(pids[i], &st))
			out->cpu_ms += st.cpu_ticks * 1000 / (uint64_t)hz;
	}
	return out->processes ? 0 : -ESRCH;
}

static void rotate(int dirfd)
{
	struct stat st;

	if (!fstatat(dirfd, "memory.jsonl", &st, 0) && st.st_size >= MEMLOG_MAX)
		renameat(dirfd, "memory.jsonl", dirfd, "memory.1.jsonl");
}

int memory_sample(const struct repo *r, const struct endpoint *ep, struct memory_usage *out)
{
	char now[CLOCK_ISO_LEN], line[256];
	CLEANUP(closep) int dirfd = -1;

	int rc = memory_measure(ep->pid, out);
	if (rc)
		return rc;
	dirfd = open(r->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	rotate(dirfd);
	int n = snprintf(line, sizeof(line),
			 "{\"ts\":\"%s\",\"pid\":%d,\"processes\":%u,\"rss_kib\":%llu,"
			 "\"pss_kib\":%llu,\"swap_kib\":%llu}\n",
			 clock_iso(now, clock_wall_ms()), (int)ep->pid, out->processes,
			 (unsigned long long)out->rss_kib, (unsigned long long)out->pss_kib,
			 (unsigned long long)out->swap_kib);
	return file_append(dirfd, "memory.jsonl", line, (size_t)n, 0600);
}

cJSON *memory_json(const struct memory_usage *u)
{
	cJSON *j = cJSON_CreateObject();

	if (j && !json_add_int(j, "rss_kib", (int64_t)u->rss_kib) &&
	    !json_add_int(j, "pss_kib", (int64_t)u->pss_kib) &&
	    !json_add_int(j, "swap_kib", (int64_t)u->swap_kib) &&
	    !json_add_int(j, "processes", u->processes))
		return j;
	cJSON_Delete(j);
	return NULL;
}
