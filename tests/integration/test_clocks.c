/* How long something lasts is not told by the wall clock, which people and machines set; and what
 * happens to a worker that is not new any more. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/clocks.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 180
#define DAY_S            86400
#define QUICK_S          11 /* longer than that a worker has not died quickly, in usherd(8) */

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

/* The row of a worker in that state, which must be the only one. */
static json_int_t restarts_of(const struct usher *u, const char *state)
{
	json_t *status = ask_status(u);
	json_int_t restarts = -1;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "workers"), i, row) {
		if (strcmp(ask_text(row, "state"), state) != 0)
			continue;
		assert_int_equal(restarts, -1);
		assert_int_equal(json_integer_value(json_object_get(row, "slot")), 1);
		restarts = json_integer_value(json_object_get(row, "restarts"));
	}
	json_decref(status);
	return restarts;
}

/* One that is not new is replaced before its last connection has ended; the slot stays the same,
 * and so does what is known of it. */
static void a_slot_counts_its_restarts_whoever_ended_its_workers(void **state)
{
	struct usher *u = *state;
	struct clocks clocks;
	pid_t pids[USHER_WORKERS_MAX];

	start(u, &clocks);
	ask_ready(u, 1, pids);
	kernel_kill(pids[0]);
	assert_true(ask_until_replaced(u, pids[0], 1));
	assert_int_equal(restarts_of(u, "ready"), 1);

	clients_connect(&u->clients, ask_port(u, "echo"), 1);
	clients_expect_echo(&u->clients);
	ask_ready(u, 1, pids);
	clocks_step(&clocks, QUICK_S, QUICK_S);
	assert_int_equal(kill(pids[0], SIGTERM), 0);
	assert_true(ask_until_replaced(u, pids[0], 1));
	assert_int_equal(restarts_of(u, "draining"), 1);
	assert_int_equal(restarts_of(u, "ready"), 2);
	clients_expect_echo(&u->clients);

	clients_close(&u->clients, 1);
	assert_true(ask_until_workers(u, "draining", 0));
	assert_int_equal(restarts_of(u, "ready"), 2);

	/* One that has only just started is waited for. */
	ask_ready(u, 1, pids);
	assert_int_equal(kill(pids[0], SIGTERM), 0);
	assert_true(ask_until_replaced(u, pids[0], 1));
	assert_int_equal(restarts_of(u, "ready"), 3);
	clocks_done(&clocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(ages_do_not_jump_with_the_wall_clock),
		USHER_TEST(a_quick_death_is_one_whatever_the_wall_clock_says),
		USHER_TEST(a_slot_counts_its_restarts_whoever_ended_its_workers),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
