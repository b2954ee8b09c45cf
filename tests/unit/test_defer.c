#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/defer.h"
#include "tests/helpers/wait.h"

struct world {
	struct ev_loop *loop;
	struct defer_queue queue;
	char order[64];
	unsigned polls; /* how often the loop has been about to poll */
	ev_check check;
};

struct call {
	struct defer defer;
	struct world *world;
	char name;
	struct call *then; /* made from inside */
	bool runs_the_loop;
	unsigned again; /* how often it makes itself */
};

static void on_poll(struct ev_loop *loop, ev_check *check, int events)
{
	CONTAINER_OF(check, struct world, check)->polls++;
}

static int begin(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	watchdog(60);
	if (!world)
		return -1;
	world->loop = ev_loop_new(EVFLAG_AUTO);
	defer_init(&world->queue, world->loop);
	ev_check_init(&world->check, on_poll);
	*state = world;
	return world->loop ? 0 : -1;
}

static int end(void **state)
{
	struct world *world = *state;

	defer_done(&world->queue);
	ev_loop_destroy(world->loop);
	free(world);
	return 0;
}

static void run(struct defer *defer)
{
	struct call *call = CONTAINER_OF(defer, struct call, defer);
	struct world *world = call->world;
	size_t length = strlen(world->order);

	if (length < sizeof(world->order) - 1)
		world->order[length] = call->name;
	if (call->then)
		defer_call(&world->queue, &call->then->defer, run);
	if (call->runs_the_loop)
		ev_run(world->loop, EVRUN_NOWAIT);
	if (call->again > 0) {
		call->again--;
		defer_call(&world->queue, &call->defer, run);
	}
}

static struct call make(struct world *world, char name)
{
	return (struct call){.world = world, .name = name};
}

/* CB-1, CB-2 */
static void calls_run_in_order_and_not_inside_the_call(void **state)
{
	struct world *world = *state;
	struct call a = make(world, 'a'), b = make(world, 'b'), c = make(world, 'c');

	a.then = &c;
	defer_call(&world->queue, &a.defer, run);
	defer_call(&world->queue, &b.defer, run);
	assert_true(defer_waits(&a.defer));
	assert_string_equal(world->order, "");
	ev_run(world->loop, 0);
	assert_string_equal(world->order, "abc");
	assert_false(defer_waits(&a.defer));
}

/* CB-1: before the loop polls again. */
static void what_is_deferred_runs_before_the_next_poll(void **state)
{
	struct world *world = *state;
	struct call a = make(world, 'a'), b = make(world, 'b');

	ev_check_start(world->loop, &world->check);
	a.then = &b;
	defer_call(&world->queue, &a.defer, run);
	ev_run(world->loop, EVRUN_NOWAIT);
	assert_string_equal(world->order, "ab");
	assert_int_equal(world->polls, 1);
	ev_check_stop(world->loop, &world->check);
}

static void a_call_that_runs_the_loop_does_not_hold_the_others_back(void **state)
{
	struct world *world = *state;
	struct call a = make(world, 'a'), b = make(world, 'b'), c = make(world, 'c');

	a.runs_the_loop = true;
	a.then = &c;
	defer_call(&world->queue, &a.defer, run);
	defer_call(&world->queue, &b.defer, run);
	ev_run(world->loop, 0);
	assert_string_equal(world->order, "abc");
}

/* Work per wake-up is bounded. */
static void calls_without_end_let_the_loop_poll(void **state)
{
	struct world *world = *state;
	struct call a = make(world, 'a');

	ev_check_start(world->loop, &world->check);
	a.again = 3 * DEFER_MAX_RUN;
	defer_call(&world->queue, &a.defer, run);
	ev_run(world->loop, EVRUN_NOWAIT);
	assert_in_range(a.again, 1, 3 * DEFER_MAX_RUN - 1);
	while (defer_waits(&a.defer))
		ev_run(world->loop, EVRUN_ONCE);
	assert_int_equal(a.again, 0);
	assert_in_range(world->polls, 3, 4);
	ev_check_stop(world->loop, &world->check);
}

int main(void)
{
#define in_world(test) cmocka_unit_test_setup_teardown(test, begin, end)
	const struct CMUnitTest tests[] = {
		in_world(calls_run_in_order_and_not_inside_the_call),
		in_world(what_is_deferred_runs_before_the_next_poll),
		in_world(a_call_that_runs_the_loop_does_not_hold_the_others_back),
		in_world(calls_without_end_let_the_loop_poll),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
