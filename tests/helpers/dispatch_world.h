/* A dispatcher with two sources and two takers, over real sockets and channels, on a loop under a
 * watchdog. Who joins which source, and what a worker does with what it gets, is up to the test.
 *
 * Owns:   the world has all that it opens, the clients included. The teardown fails when a
 *         descriptor was left open.
 * Errors: what does not come in time fails the test through cmocka. */
#ifndef USHER_TESTS_HELPERS_DISPATCH_WORLD_H
#define USHER_TESTS_HELPERS_DISPATCH_WORLD_H

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/cluster/dispatch.h"
#include "common/net/bind.h"

/* A taker, and the worker's end of its channel. */
struct dispatch_worker {
	struct dispatch_world *world;
	struct taker taker;
	struct channel ours;
	struct channel theirs;
	struct claims claims;
	size_t handed;     /* connections that have come */
	struct addr first; /* the client of the first one */
	uint32_t last;     /* number of the last one */
};

struct dispatch_world {
	struct ev_loop *loop;
	ev_timer watchdog;
	bool late;
	struct dispatcher dispatcher;
	struct bound bound[2];
	struct source sources[2];
	struct dispatch_worker workers[2];
	int clients[16];
	size_t n_clients;
	/* what the dispatcher has told */
	size_t dropped;
	size_t broken;
	size_t returned;
	size_t fds;
};

int dispatch_world_setup(void **state);
int dispatch_world_teardown(void **state);

#define DISPATCH_TEST(test) \
	cmocka_unit_test_setup_teardown(test, dispatch_world_setup, dispatch_world_teardown)

#define DISPATCH_RUN_UNTIL(world, condition)               \
	do {                                               \
		while (!(condition) && !(world)->late)     \
			ev_run((world)->loop, EVRUN_ONCE); \
		assert_false((world)->late);               \
	} while (0)

/* Whatever is ready, and what follows from it. */
void dispatch_world_run_ready(struct dispatch_world *world);

/* From now on the worker gets connections of the source. */
void dispatch_world_join(struct dispatch_world *world, size_t worker, size_t source);

/* A client of the source; it stays the world's. */
int dispatch_world_connect(struct dispatch_world *world, size_t source);

/* Worker 0 joins source 0, and a client, which is returned, is on its way to it. */
int dispatch_world_hand_first(struct dispatch_world *world);

#endif
