#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/wait.h"
#include "tests/load/clock.h"
#include "tests/load/pace.h"

#define CALLS 2000

struct caller {
	struct pace pace;
	struct ev_loop *loop;
	uint64_t calls;
	uint64_t last_due_ns;
	bool busy_once; /* it is held up in the tenth call */
};

static int make_loop(void **state)
{
	struct caller *c = calloc(1, sizeof(*c));

	c->loop = ev_loop_new(EVFLAG_AUTO);
	*state = c;
	return c->loop ? 0 : -1;
}

static int free_loop(void **state)
{
	struct caller *c = *state;

	pace_stop(&c->pace);
	ev_loop_destroy(c->loop);
	free(c);
	return 0;
}

static void on_due(uint64_t number, uint64_t due_ns, void *ctx)
{
	struct caller *c = ctx;
	uint64_t until = clock_ns() + 20000000;

	assert_int_equal(number, c->calls);
	assert_true(due_ns > c->last_due_ns);
	assert_true(due_ns <= clock_ns());
	c->last_due_ns = due_ns;
	while (c->busy_once && c->calls == 10 && clock_ns() < until)
		;
	if (++c->calls == CALLS)
		pace_stop(&c->pace);
}

/* 2000 calls at 10000 a second: 0.2 s, and never sooner. */
static void no_call_comes_before_it_is_due(void **state)
{
	struct caller *c = *state;
	uint64_t began = clock_ns();

	assert_int_equal(pace_start(&c->pace, c->loop, 10000, on_due, c), 0);
	ev_run(c->loop, 0);
	assert_int_equal(c->calls, CALLS);
	assert_true(clock_ns() - began >= UINT64_C(1999) * 100000);
}

static void calls_that_were_missed_are_made_up_for(void **state)
{
	struct caller *c = *state;
	uint64_t began;

	c->busy_once = true;
	assert_int_equal(pace_start(&c->pace, c->loop, 10000, on_due, c), 0);
	began = c->pace.start_ns;
	ev_run(c->loop, 0);
	assert_int_equal(c->calls, CALLS);
	/* The plan did not shift by the time that was lost. */
	assert_int_equal(c->last_due_ns - began, UINT64_C(1999) * 100000);
}

static void calls_that_nobody_made_in_time_are_counted(void **state)
{
	struct caller *c = *state;
	uint64_t began, least, most, missed;

	assert_int_equal(pace_start(&c->pace, c->loop, 1000, on_due, c), 0);
	began = c->pace.start_ns;
	stay_busy(5);
	least = (clock_ns() - began) / 1000000;
	missed = pace_missed(&c->pace);
	most = (clock_ns() - began) / 1000000 + 1;
	assert_in_range(missed, least, most);

	while (c->calls < least)
		ev_run(c->loop, EVRUN_ONCE);
	least = (clock_ns() - began) / 1000000;
	assert_true(pace_missed(&c->pace) + c->calls >= least);
	pace_stop(&c->pace);
	assert_int_equal(pace_missed(&c->pace), 0);
}

static void stopped_pace_keeps_no_descriptor(void **state)
{
	struct caller *c = *state;
	size_t before = open_fd_count();

	assert_int_equal(pace_start(&c->pace, c->loop, 10, on_due, c), 0);
	assert_int_equal(open_fd_count(), before + 1);
	pace_stop(&c->pace);
	pace_stop(&c->pace);
	assert_int_equal(open_fd_count(), before);
	ev_run(c->loop, 0); /* nothing is left to wait for */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_call_comes_before_it_is_due, make_loop,
						free_loop),
		cmocka_unit_test_setup_teardown(calls_that_were_missed_are_made_up_for, make_loop,
						free_loop),
		cmocka_unit_test_setup_teardown(calls_that_nobody_made_in_time_are_counted,
						make_loop, free_loop),
		cmocka_unit_test_setup_teardown(stopped_pace_keeps_no_descriptor, make_loop,
						free_loop),
	};

	watchdog(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
