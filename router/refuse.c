/* What is refused before any gateway is asked: by policy, or because its turn never came. */
#include <errno.h>
#include <string.h>

#include "manager/base/clock.h"
#include "router/inner.h"

bool refuse_note(struct router_repo *rr, const struct router_pass *pass,
		 const struct router_note *what, const char *sentence)
{
	char branch[BRANCH_MAX];
	const struct refusedlog_line line = {
		.branch = branch,
		.op = what->op,
		.path = what->path,
		.path2 = what->path2,
		.error = what->error,
		.message = sentence,
		.wait_us = clock_mono_us() - pass->begun_us,
		.actor = &pass->actor,
	};

	branch_name(&rr->branch, branch);
	refusals_add(rr->router->refusals, &pass->actor, mutation_op_name(what->op), rr->info.name,
		     what->path, what->error, sentence);
	return refusedlog_add(rr->refused, &line, clock_wall_ms());
}

void router_refused(struct router *r, const struct router_pass *pass,
		    const struct router_note *what)
{
	struct router_repo *rr = pass->repo;
	struct router_note note = *what;
	struct err e = ERR_INIT;

	note.error = EROFS;
	err_set(&e, -EROFS,
		"%s takes no writes from other repositories (policy readonly in config.json); "
		"make this change from an agent at home there",
		rr->info.name);
	if (!refuse_note(rr, pass, &note, e.text))
		return;
	pthread_mutex_lock(&rr->lock);
	keeper_start_locked(rr);
	thread_wake_locked(&rr->keeper, refusedlog_due(rr->refused));
	pthread_mutex_unlock(&rr->lock);
}

void router_refused_by_mount(struct router *r, pid_t tid, const struct router_note *what,
			     const char *sentence)
{
	struct actor a = {.pid = 0};
	struct identity who;

	identity_of(r->ids, tid, clock_mono_ms(), &who);
	a.pid = who.pid;
	memcpy(a.comm, who.comm, sizeof(a.comm));
	refusals_add(r->refusals, &a, mutation_op_name(what->op), "", what->path, what->error,
		     sentence);
}
