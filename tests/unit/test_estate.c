/* What a server leaves to its successor. */
#include "tests/unit/unit.h"

#include "fs/estate.h"

static struct estate *new_estate(void)
{
	struct estate *es = NULL;
	struct err e = ERR_INIT;

	assert_int_equal(estate_new(&es, &e), 0);
	estate_begin(es);
	assert_int_equal(es->servers, 1);
	return es;
}

static void begin_change(struct intent *in, const struct estate *es)
{
	in->server = es->servers;
	in->state = INTENT_BEGUN;
}

static void a_change_outlives_servers_that_did_not_come_to_it(void **state)
{
	struct estate *es = new_estate();

	begin_change(&es->intents[7], es);
	for (int kills = 0; kills < 3; kills++) {
		estate_begin(es);
		assert_int_equal(es->intents[7].state, INTENT_BEGUN);
	}
}

static void a_change_that_nobody_asked_for_again_is_forgotten(void **state)
{
	struct estate *es = new_estate();

	begin_change(&es->intents[7], es);
	begin_change(&es->intents[8], es);
	es->drained = es->servers;
	estate_begin(es);
	assert_int_equal(es->intents[7].state, INTENT_BEGUN);
	es->intents[8].server = es->servers; /* found */
	es->drained = es->servers;
	estate_begin(es);
	assert_int_equal(es->intents[7].state, INTENT_FREE);
	assert_int_equal(es->intents[8].state, INTENT_BEGUN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_outlives_servers_that_did_not_come_to_it),
		cmocka_unit_test(a_change_that_nobody_asked_for_again_is_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
