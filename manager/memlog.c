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

int memory_measure_in(const struct proc_table *t, pid_t pid, struct memory_usage *out)
{
	CLEANUP(freep) pid_t *pids = NULL;
	size_t n = 0;
	long hz = sysconf(_SC_CLK_TCK);

	memset(out, 0, sizeof(*out));
	int r = t ? proc_table_tree(t, pid, &pids, &n) : proc_tree(pid, &pids, &n);
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

int memory_measure(pid_t pid, struct memory_usage *out)
{
	return memory_measure_in(NULL, pid, out);
}

int memory_append(const struct repo *r, pid_t pid, const struct memory_usage *u)
{
	char now[CLOCK_ISO_LEN], line[256];
	int n = snprintf(line, sizeof(line),
			 "{\"ts\":\"%s\",\"pid\":%d,\"processes\":%u,\"rss_kib\":%llu,"
			 "\"pss_kib\":%llu,\"swap_kib\":%llu}\n",
			 clock_iso(now, clock_wall_ms()), (int)pid, u->processes,
			 (unsigned long long)u->rss_kib, (unsigned long long)u->pss_kib,
			 (unsigned long long)u->swap_kib);
	return file_append_bounded(r->state_dir, "memory.jsonl", "memory.1.jsonl", MEMLOG_MAX, line,
				   (size_t)n);
}

int memory_sample(const struct repo *r, const struct endpoint *ep, struct memory_usage *out)
{
	int rc = memory_measure(ep->pid, out);
	return rc ? rc : memory_append(r, ep->pid, out);
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
