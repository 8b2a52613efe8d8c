/* What a server leaves to its successor. */
#include "tests/unit/unit.h"

#include <pthread.h>

#include "fs/estate.h"
#include "fs/news.h"

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

static unsigned count_left(struct estate *es, struct estate_news *last)
{
	unsigned n = 0;
	for (int at = 0; news_left(es, &at, last); news_done(es, at))
		n++;
	return n;
}

static void news_that_was_not_done_is_done_again(void **state)
{
	struct estate *es = new_estate();
	struct estate_news w;

	int done = news_look(es, 7, "done");
	news_look(es, 8, "name");
	news_done(es, done);
	news_tell(es, 3, 9, "", true, false);
	estate_begin(es);
	int fresh = news_look(es, 10, "of the new server");
	int at = 0;
	assert_true(news_left(es, &at, &w));
	assert_int_equal(w.kind, NEWS_TELL); /* the lowest place was free again */
	assert_int_equal(w.node, 9);
	assert_int_equal(w.repo, 3);
	assert_true(w.data);
	estate_begin(es); /* killed before it came to it */
	assert_int_equal(count_left(es, &w), 3);
	assert_int_equal(fresh, 2);
	assert_int_equal(w.node, 10);
	assert_string_equal(w.name, "of the new server");
	assert_false(es->news_all);
	estate_begin(es);
	assert_int_equal(count_left(es, &w), 0);
}

static void more_news_than_there_is_room_for_means_all(void **state)
{
	struct estate *es = new_estate();
	struct estate_news w;

	for (int i = 0; i < ESTATE_NEWS; i++)
		assert_int_equal(news_look(es, 1, ""), i);
	int none = news_look(es, 1, "");
	assert_true(none < 0);
	news_done(es, none);
	estate_begin(es);
	assert_false(es->news_all);
	assert_true(news_tell(es, 1, 1, "", false, false) < 0);
	estate_begin(es);
	assert_true(es->news_all);
	assert_int_equal(count_left(es, &w), ESTATE_NEWS);
	assert_int_equal(news_look(es, 1, ""), 0);
	estate_begin(es);
	assert_true(es->news_all); /* until somebody has looked at all */
}

static void *note_all(void *estate)
{
	for (uint32_t i = 1; i < ESTATE_SESSIONS; i++)
		estate_note_session(estate, i, "r-home", "ses_1");
	return NULL;
}

/* Its first changes may be in hand at the same time (ThreadSanitizer says so where that is one too many). */
static void a_session_is_noted_by_one(void **state)
{
	struct estate *es = new_estate();
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, note_all, es), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(es->sessions[0].state, SESSION_FREE);
	for (uint32_t i = 1; i < ESTATE_SESSIONS; i++) {
		assert_int_equal(es->sessions[i].state, SESSION_NOTED);
		assert_string_equal(es->sessions[i].home, "r-home");
		assert_string_equal(es->sessions[i].session, "ses_1");
	}
	estate_note_session(es, 1, "r-other", "");
	assert_string_equal(es->sessions[1].home, "r-home");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_outlives_servers_that_did_not_come_to_it),
		cmocka_unit_test(a_change_that_nobody_asked_for_again_is_forgotten),
		cmocka_unit_test(news_that_was_not_done_is_done_again),
		cmocka_unit_test(more_news_than_there_is_room_for_means_all),
		cmocka_unit_test(a_session_is_noted_by_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
