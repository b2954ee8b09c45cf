/* Which sources a taker has joined, and what is kept of each. */
#include "common/cluster/taker.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/macros.h"

static int setup(void **state)
{
	static struct channel channel;
	static struct taker taker;

	taker_init(&taker, 1, &channel);
	*state = &taker;
	return 0;
}

static int teardown(void **state)
{
	taker_done(*state);
	return 0;
}

static void figures_are_kept_by_id(void **state)
{
	const uint32_t ids[] = {7, 3, UINT32_MAX, 0, 5, 4};
	struct taker *t = *state;

	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(taker_join(t, ids[i]), 0);
		taker_set_connections(t, ids[i], 100 + i);
	}
	for (uint32_t i = 0; i < 6; i++)
		assert_int_equal(taker_connections(t, ids[i]), 100 + i);
	assert_false(taker_has_joined(t, 6));
	assert_int_equal(taker_connections(t, 6), 0);
}

static void joining_twice_keeps_the_figure(void **state)
{
	struct taker *t = *state;

	assert_int_equal(taker_join(t, 3), 0);
	taker_set_connections(t, 3, 9);
	assert_int_equal(taker_join(t, 3), 0);
	assert_int_equal(taker_connections(t, 3), 9);
}

/* Sources come and go without end, and their ids grow. */
static void nothing_is_kept_of_what_it_has_left(void **state)
{
	struct taker *t = *state;

	assert_int_equal(taker_join(t, 0), 0);
	for (uint32_t id = 1; id < 10000; id++) {
		assert_int_equal(taker_join(t, id), 0);
		taker_set_connections(t, id, id);
		taker_leave(t, id - 1);
		assert_int_equal(taker_connections(t, id - 1), 0);
		assert_int_equal(taker_connections(t, id), id);
	}
	assert_int_equal(t->n_rows, 1);
	taker_leave(t, 5);
	taker_set_connections(t, 5, 1);
	assert_int_equal(taker_connections(t, 5), 0);
	taker_leave_all(t);
	assert_false(taker_has_joined(t, 9999));
}

/* Neither a message nor a look is needed, and what comes back was never there. */
static void with_a_tally_the_load_is_what_was_given_and_has_not_ended(void **state)
{
	struct taker *t = *state;
	struct claims theirs;
	AUTO_CLOSE int page = -1;

	assert_int_equal(handoff_open(&t->handoff, &page), 0);
	assert_int_equal(claims_open(&theirs, page), 0);
	assert_int_equal(taker_join(t, 3), 0);
	assert_int_equal(taker_join(t, 4), 0);
	assert_int_equal(taker_use_tally(t, 9), 0);
	assert_int_equal(taker_use_tally(t, 3), 1);
	assert_int_equal(taker_use_tally(t, 3), 1);
	assert_int_equal(taker_use_tally(t, 4), 2);

	for (int i = 0; i < 5; i++)
		taker_gave(t, 3);
	taker_gave(t, 4);
	taker_got_back(t, 3);
	t->handoff.last = 100;
	assert_int_equal(taker_load(t, 3), 4);
	assert_int_equal(taker_load(t, 4), 1);
	claims_count_end(&theirs, 1);
	assert_int_equal(taker_load(t, 3), 3);

	/* Without a tally it is what the worker said. */
	uint32_t counts[6];
	assert_int_equal(taker_join(t, 5), 0);
	taker_set_connections(t, 5, 7);
	taker_set_connections(t, 3, 99);
	taker_count(t, counts, ARRAY_LEN(counts));
	assert_int_equal(counts[3], 3);
	assert_int_equal(counts[4], 1);
	assert_int_equal(counts[5], 7);
	assert_int_equal(counts[0], 0);

	/* Whatever it says, it has no less than none. */
	for (int i = 0; i < 10; i++)
		claims_count_end(&theirs, 1);
	assert_int_equal(taker_load(t, 3), 0);
	claims_close(&theirs);
}

static void a_tally_is_not_used_for_another_source(void **state)
{
	struct taker *t = *state;

	for (uint32_t id = 1; id <= CLAIMS_TALLIES; id++) {
		assert_int_equal(taker_join(t, id), 0);
		assert_int_equal(taker_use_tally(t, id), id);
		taker_leave(t, id);
	}
	assert_int_equal(taker_join(t, 1), 0);
	assert_int_equal(taker_use_tally(t, 1), 0);

	/* But of another process. */
	taker_leave_all(t);
	assert_int_equal(taker_join(t, 1), 0);
	assert_int_equal(taker_use_tally(t, 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(figures_are_kept_by_id),
		TEST(joining_twice_keeps_the_figure),
		TEST(nothing_is_kept_of_what_it_has_left),
		TEST(with_a_tally_the_load_is_what_was_given_and_has_not_ended),
		TEST(a_tally_is_not_used_for_another_source),
#undef TEST
	};

	return cmocka_run_group_tests_name("taker", tests, NULL, NULL);
}
