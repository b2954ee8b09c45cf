/* A limit whose sockets cannot be watched. What it does else is seen in tests/integration. */
#include "daemon/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/listener.h"
#include "tests/helpers/watches.h"

#define TURNS 100

/* One that may have one connection, has it, and drops what comes. */
struct fixture {
	struct ev_loop *loop;
	struct config_listener config;
	struct handle handle;
	struct listener listener;
	int client;
};

static int setup(void **state)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct fixture *f = calloc(1, sizeof(*f));
	static char name[] = "l";
	const char *which;

	assert_non_null(f);
	alarm(60);
	f->loop = ev_loop_new(EVBACKEND_EPOLL);
	assert_non_null(f->loop);
	ev_run(f->loop, EVRUN_NOWAIT);
	assert_int_equal(bind_open(&options, &f->handle.bound, &which), 0);
	f->config = (struct config_listener){.name = name,
					     .distribute = DISTRIBUTE_ROUND_ROBIN,
					     .max_connections = 1,
					     .overflow = OVERFLOW_DROP};
	f->listener = (struct listener){
		.config = &f->config, .handles = &f->handle, .n_handles = 1};
	assert_int_equal(limit_new(f->loop, &f->listener, 1, &f->listener.limit), 0);
	f->listener.source.meter->accepted(&f->listener.source);
	f->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(f->client, &f->handle.bound.addr.sa, f->handle.bound.addr.len), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	watches_refused = false;
	limit_free(f->listener.limit);
	bound_close(&f->handle.bound);
	close(f->client);
	ev_loop_destroy(f->loop);
	free(f);
	alarm(0);
	return 0;
}

static void be_refused(struct fixture *f)
{
	watches_refused = true;
	watches_asked = 0;
	limit_update(f->listener.limit);
	for (int i = 0; i < TURNS; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
	assert_true(watches_asked > 0);
}

static void what_cannot_be_watched_is_watched_later(void **state)
{
	struct fixture *f = *state;

	be_refused(f);
	watches_refused = false;
	while (f->listener.limit->turned_away == 0)
		ev_run(f->loop, EVRUN_ONCE);
}

static void it_is_not_tried_in_every_turn(void **state)
{
	struct fixture *f = *state;

	be_refused(f);
	assert_in_range(watches_asked, 1, TURNS / 2);
	assert_int_equal(f->listener.limit->turned_away, 0);
}

static void one_that_is_stopped_meanwhile_tries_no_more(void **state)
{
	struct fixture *f = *state;

	be_refused(f);
	limit_stop(f->listener.limit);
	watches_refused = false;
	assert_false(ev_run(f->loop, 0));
	assert_int_equal(f->listener.limit->turned_away, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_cannot_be_watched_is_watched_later),
		TEST(it_is_not_tried_in_every_turn),
		TEST(one_that_is_stopped_meanwhile_tries_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
