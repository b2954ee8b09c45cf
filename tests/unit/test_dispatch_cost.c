/* What a connection that is handed to a taker costs: the same, whatever else there is. */
#include "common/cluster/dispatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/dispatch_world.h"

static size_t asked; /* how often something was asked of the meter */

static bool is_open(const struct source *source)
{
	asked++;
	return true;
}

static bool has_room(const struct source *source, const struct taker *taker)
{
	asked++;
	return true;
}

static void on_source(struct source *source)
{
	asked++;
}

static void on_handoff(struct source *source, struct handoff *handoff)
{
	asked++;
}

static const struct source_meter meter = {
	.is_open = is_open,
	.has_room = has_room,
	.accepted = on_source,
	.closed = on_source,
	.reckoned = on_source,
	.taken = on_handoff,
	.late = on_handoff,
};

/* Gives one to worker 0, which takes it; and that is seen. */
static void serve_one(struct dispatch_world *world, size_t source)
{
	struct dispatch_worker *w = &world->workers[0];
	size_t handed = w->handed;

	dispatch_world_connect(world, source);
	DISPATCH_RUN_UNTIL(world, w->handed == handed + 1);
	claims_take(&w->claims, w->last);
	DISPATCH_RUN_UNTIL(world, !claims_is_held(&w->claims, w->last));
}

static void a_connection_costs_the_same_however_many_other_sources_there_are(void **state)
{
	struct dispatch_world *world = *state;

	dispatch_world_join(world, 0, 0);
	dispatch_world_join(world, 0, 1);
	world->sources[1].meter = &meter;
	asked = 0;
	for (int i = 0; i < 5; i++)
		serve_one(world, 0);
	assert_int_equal(asked, 0);
	serve_one(world, 1);
	assert_int_not_equal(asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISPATCH_TEST(a_connection_costs_the_same_however_many_other_sources_there_are),
	};

	alarm(120);
	return cmocka_run_group_tests_name("dispatch cost", tests, NULL, NULL);
}
