#include "manager/policy.h"

int policy_delay_ms(const int64_t *deaths_ms, size_t n, int64_t now_ms)
{
	int recent = 0, remembered = 0;
	for (size_t i = 0; i < n; i++) {
		recent += now_ms - deaths_ms[i] < POLICY_WINDOW_MS;
		remembered += now_ms - deaths_ms[i] < POLICY_FORGET_MS;
	}
	if (recent >= POLICY_LIMIT)
		return -1;
	int delay_ms = 0;
	for (int i = 1; i < remembered && delay_ms < POLICY_DELAY_MAX_MS; i++)
		delay_ms = delay_ms ? delay_ms * 2 : 1000;
	return delay_ms;
}

/* A retry that lies further ahead than any delay was noted by another clock. */
static bool retry_is_due(const struct policy_facts *f)
{
	return f->retry_at_ms &&
	       (f->now_ms >= f->retry_at_ms || f->retry_at_ms - f->now_ms > POLICY_DELAY_MAX_MS);
}

static bool died(const struct policy_facts *f)
{
	return f->watched && !f->alive &&
	       (f->state == POLICY_READY || f->state == POLICY_STARTING ||
		(f->state == POLICY_FAILED && retry_is_due(f)));
}

enum policy_action policy_decide(const struct policy_facts *f)
{
	if (f->state == POLICY_ABSENT)
		return POLICY_NOTHING;
	if (f->alive && f->root_gone)
		return POLICY_STOP_GONE;
	if (died(f))
		return f->root_gone ? POLICY_NOTHING : POLICY_RECOVER;
	if (!f->alive || f->state != POLICY_READY)
		return POLICY_NOTHING;
	if (f->root_replaced)
		return POLICY_REPLACE;
	if (f->idle_stop_ms && f->now_ms - f->used_ms >= (int64_t)f->idle_stop_ms)
		return POLICY_STOP_IDLE;
	if (f->limit_kib && f->memory_kib > f->limit_kib &&
	    f->now_ms - f->restarted_ms >= POLICY_MEMORY_AGAIN_MS)
		return POLICY_RESTART_MEMORY;
	return POLICY_NOTHING;
}

int policy_victim(const struct policy_candidate *all, size_t n, int64_t now_ms)
{
	int best = -1;
	for (size_t i = 0; i < n; i++)
		if (!all[i].refused && now_ms - all[i].used_ms >= POLICY_FRESH_MS &&
		    (best < 0 || all[i].used_ms < all[best].used_ms))
			best = (int)i;
	return best;
}
