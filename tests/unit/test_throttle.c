/* What is told no more often than every 10 seconds. */
#include "common/throttle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define DAY_S 86400

/* wrap: clock_gettime */
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);

static int64_t monotonic_ms, wall_s;

int __wrap_clock_gettime(clockid_t id, struct timespec *ret)
{
	*ret = (struct timespec){.tv_sec = wall_s};
	if (id == CLOCK_MONOTONIC) {
		ret->tv_sec = monotonic_ms / 1000;
		ret->tv_nsec = monotonic_ms % 1000 * 1000000;
	}
	return 0;
}

static int setup(void **state)
{
	static struct throttle throttle;

	throttle = (struct throttle){0};
	monotonic_ms = 0;
	wall_s = DAY_S * 20000;
	*state = &throttle;
	return 0;
}

/* Also when the machine has only just started. */
static void the_first_time_is_told_at_once(void **state)
{
	assert_true(throttle_lets(*state));
}

static void then_nothing_is_told_for_ten_seconds(void **state)
{
	assert_true(throttle_lets(*state));
	assert_false(throttle_lets(*state));
	monotonic_ms += THROTTLE_MS - 1;
	assert_false(throttle_lets(*state));
	monotonic_ms++;
	assert_true(throttle_lets(*state));
}

/* From what was told, not from what was not. */
static void what_goes_on_is_told_every_ten_seconds(void **state)
{
	int told = 0;

	for (int i = 0; i < 100; i++, monotonic_ms += THROTTLE_MS / 10)
		told += throttle_lets(*state);
	assert_int_equal(told, 10);
}

static void a_clock_that_is_set_changes_nothing(void **state)
{
	assert_true(throttle_lets(*state));
	wall_s += DAY_S;
	assert_false(throttle_lets(*state));
	wall_s -= 2 * DAY_S;
	assert_false(throttle_lets(*state));
	monotonic_ms += THROTTLE_MS;
	assert_true(throttle_lets(*state));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(the_first_time_is_told_at_once),
		TEST(then_nothing_is_told_for_ten_seconds),
		TEST(what_goes_on_is_told_every_ten_seconds),
		TEST(a_clock_that_is_set_changes_nothing),
	};

	return cmocka_run_group_tests_name("throttle", tests, NULL, NULL);
}
