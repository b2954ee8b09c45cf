/* How long something lasts is not told by the wall clock, which people and machines set. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/clocks.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 180
#define DAY_S            86400

static void start(struct usher *u, struct clocks *clocks)
{
	clocks_open(clocks, u);
	usher_configure(u, "workers: 1\n"
			   "drain_timeout: 60s\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
}

static void expect_seconds(const json_t *row, const char *key)
{
	double seconds = json_real_value(json_object_get(row, key));

	if (seconds < 0 || seconds > 3600)
		fail_msg("%s is %g", key, seconds);
}

static void expect_ages_of_a_test(const struct usher *u)
{
	json_t *status = ask_status(u);
	json_t *row;
	size_t i;

	expect_seconds(json_object_get(status, "supervisor"), "uptime_s");
	json_array_foreach (json_object_get(status, "workers"), i, row) {
		expect_seconds(row, "age_s");
	}
	assert_int_equal(i, 1);
	json_decref(status);
}

static void ages_do_not_jump_with_the_wall_clock(void **state)
{
	struct usher *u = *state;
	struct clocks clocks;

	start(u, &clocks);
	expect_ages_of_a_test(u);
	clocks_step(&clocks, DAY_S, 0);
	expect_ages_of_a_test(u);
	clocks_step(&clocks, -2 * DAY_S, 0);
	expect_ages_of_a_test(u);
	clocks_done(&clocks);
}

/* WK-10: between its start and its death the clock is set. libev asks for the wall clock when a
 * while has passed since it did so last. */
static void a_quick_death_is_one_whatever_the_wall_clock_says(void **state)
{
	struct usher *u = *state;
	struct clocks clocks;
	pid_t pids[USHER_WORKERS_MAX];

	start(u, &clocks);
	for (int i = 0; i < 2; i++) {
		ask_ready(u, 1, pids);
		clocks_step(&clocks, DAY_S, 1);
		kernel_kill(pids[0]);
		assert_true(ask_until_replaced(u, pids[0], 1));
	}
	assert_true(usher_logs(u, "the 2. quick death in a row"));
	clocks_done(&clocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(ages_do_not_jump_with_the_wall_clock),
		USHER_TEST(a_quick_death_is_one_whatever_the_wall_clock_says),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
