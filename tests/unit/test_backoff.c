#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/backoff.h"

static void the_first_quick_death_costs_no_time(void **state)
{
	assert_int_equal(backoff_ms(0), 0);
	assert_int_equal(backoff_ms(1), 0);
}

static void the_delay_doubles_and_loses_up_to_a_half(void **state)
{
	unsigned int full_ms = BACKOFF_FIRST_MS;

	for (unsigned int deaths = 2; full_ms < BACKOFF_LIMIT_MS; deaths++, full_ms *= 2)
		for (int i = 0; i < 100; i++)
			assert_in_range(backoff_ms(deaths), full_ms / 2, full_ms);
}

static void the_delay_has_a_limit(void **state)
{
	assert_in_range(backoff_ms(1000), BACKOFF_LIMIT_MS / 2, BACKOFF_LIMIT_MS);
	assert_in_range(backoff_ms(UINT32_MAX), BACKOFF_LIMIT_MS / 2, BACKOFF_LIMIT_MS);
}

static void workers_that_died_together_come_back_apart(void **state)
{
	unsigned int first = backoff_ms(8), different = 0;

	for (int i = 0; i < 100; i++)
		different += backoff_ms(8) != first;
	assert_true(different > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_quick_death_costs_no_time),
		cmocka_unit_test(the_delay_doubles_and_loses_up_to_a_half),
		cmocka_unit_test(the_delay_has_a_limit),
		cmocka_unit_test(workers_that_died_together_come_back_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
