/* Which worker gets a connection, over workers that are not there. */
#include "daemon/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/listener.h"

#define WORKERS 8

struct fixture {
	struct config_listener config;
	struct listener listener;
	struct child_list list;
	struct child children[WORKERS]; /* in slots 1 to 8, all able */
	uint32_t connections[WORKERS];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->listener.config = &f->config;
	TAILQ_INIT(&f->list);
	/* The order of the list is not that of the slots. */
	for (unsigned int i = 0; i < WORKERS; i++) {
		struct child *c = &f->children[i];

		c->slot = i + 1;
		c->state = CHILD_READY;
		c->connections = &f->connections[i];
		handoff_init(&c->handoff);
		if (i % 2)
			TAILQ_INSERT_HEAD(&f->list, c, link);
		else
			TAILQ_INSERT_TAIL(&f->list, c, link);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void address(uint32_t number, uint16_t port, struct addr *ret)
{
	*ret = (struct addr){.len = sizeof(ret->in)};
	ret->in.sin_family = AF_INET;
	ret->in.sin_addr.s_addr = htonl(number);
	ret->in.sin_port = htons(port);
}

/* The slot that is chosen; 0: none. */
static unsigned int choose(struct fixture *f, uint32_t number, uint16_t port)
{
	struct addr peer;
	const struct child *c;

	address(number, port, &peer);
	c = policy_choose(&f->listener, &f->list, &peer);
	return c ? c->slot : 0;
}

static void expect_none(struct fixture *f)
{
	for (unsigned int way = 0; way < DISTRIBUTE_END; way++) {
		if (!distribute_hands_off(way))
			continue;
		f->config.distribute = way;
		assert_int_equal(choose(f, 1, 1), 0);
	}
}

static void nobody_is_chosen_who_is_not_able(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < WORKERS; i++)
		f->children[i].state = i % 2 ? CHILD_DRAINING : CHILD_STARTING;
	f->children[0].state = CHILD_READY;
	f->children[0].handoff.late = true;
	f->children[1].state = CHILD_READY;
	f->children[1].handoff.full = true;
	f->children[2].state = CHILD_READY;
	f->children[2].handoff.last = IPC_IN_FLIGHT_MAX;
	f->children[3].state = CHILD_READY;
	f->children[3].channel.fd = -1;
	expect_none(f);

	f->children[2].handoff.taken = 1;
	f->config.distribute = DISTRIBUTE_ROUND_ROBIN;
	assert_int_equal(choose(f, 1, 1), 3);
}

/* LS-10 */
static void round_robin_goes_by_slots_and_around(void **state)
{
	struct fixture *f = *state;

	f->config.distribute = DISTRIBUTE_ROUND_ROBIN;
	for (unsigned int i = 0; i < 3 * WORKERS; i++)
		assert_int_equal(choose(f, 1, 1), i % WORKERS + 1);
}

static void round_robin_passes_by_who_is_not_able(void **state)
{
	struct fixture *f = *state;

	f->config.distribute = DISTRIBUTE_ROUND_ROBIN;
	f->children[0].handoff.full = f->children[7].handoff.full = true;
	f->children[3].state = CHILD_BACKING_OFF;
	for (int i = 0; i < 2; i++) {
		const unsigned int expected[] = {2, 3, 5, 6, 7};

		for (size_t j = 0; j < ARRAY_LEN(expected); j++)
			assert_int_equal(choose(f, 1, 1), expected[j]);
	}
}

static void least_connections_prefers_who_has_fewest(void **state)
{
	struct fixture *f = *state;

	f->config.distribute = DISTRIBUTE_LEAST_CONNECTIONS;
	for (uint32_t i = 0; i < WORKERS; i++)
		f->connections[i] = 10 + i;
	f->connections[5] = 3;
	assert_int_equal(choose(f, 1, 1), 6);
	assert_int_equal(choose(f, 1, 1), 6);

	/* What is on its way counts as well. */
	f->children[5].handoff.last = 8;
	assert_int_equal(choose(f, 1, 1), 1);
	f->children[0].handoff.full = true;
	assert_int_equal(choose(f, 1, 1), 2);
}

static void least_connections_goes_in_turn_among_equals(void **state)
{
	struct fixture *f = *state;

	f->config.distribute = DISTRIBUTE_LEAST_CONNECTIONS;
	f->connections[2] = 1;
	for (int i = 0; i < 2; i++)
		for (unsigned int slot = 1; slot <= WORKERS; slot++)
			if (slot != 3)
				assert_int_equal(choose(f, 1, 1), slot);
}

#define CLIENTS 20000

static void source_hash_keeps_a_client_with_its_worker(void **state)
{
	struct fixture *f = *state;

	f->config.distribute = DISTRIBUTE_SOURCE_HASH;
	for (uint32_t i = 0; i < 100; i++) {
		unsigned int slot = choose(f, i, 1);

		for (uint16_t port = 2; port < 20; port++)
			assert_int_equal(choose(f, i, port), slot);
	}
}

static void source_hash_spreads_clients(void **state)
{
	struct fixture *f = *state;
	unsigned int counts[WORKERS + 1] = {0};

	f->config.distribute = DISTRIBUTE_SOURCE_HASH;
	for (uint32_t i = 0; i < CLIENTS; i++)
		counts[choose(f, 0x0a000000 + i, 1)]++;
	assert_int_equal(counts[0], 0);
	for (size_t slot = 1; slot <= WORKERS; slot++)
		assert_in_range(counts[slot], CLIENTS / WORKERS * 9 / 10,
				CLIENTS / WORKERS * 11 / 10);
}

/* From eight workers to seven an eighth of the clients move, and no others. */
static void source_hash_moves_only_the_clients_of_a_worker_that_goes(void **state)
{
	static unsigned int before[CLIENTS];
	struct fixture *f = *state;
	unsigned int moved = 0;

	f->config.distribute = DISTRIBUTE_SOURCE_HASH;
	for (uint32_t i = 0; i < CLIENTS; i++)
		before[i] = choose(f, i, 1);
	f->children[7].state = CHILD_DRAINING;
	for (uint32_t i = 0; i < CLIENTS; i++) {
		unsigned int after = choose(f, i, 1);

		assert_int_not_equal(after, 8);
		if (before[i] != 8)
			assert_int_equal(after, before[i]);
		moved += after != before[i];
	}
	assert_in_range(moved, CLIENTS / WORKERS * 9 / 10, CLIENTS / WORKERS * 11 / 10);

	f->children[7].state = CHILD_READY;
	for (uint32_t i = 0; i < CLIENTS; i++)
		assert_int_equal(choose(f, i, 1), before[i]);
}

static void source_hash_of_the_port_spreads_one_client(void **state)
{
	struct fixture *f = *state;
	unsigned int counts[WORKERS + 1] = {0};

	f->config.distribute = DISTRIBUTE_SOURCE_HASH;
	f->config.hash_port = true;
	for (uint16_t port = 1; port <= 8000; port++)
		counts[choose(f, 0x7f000001, port)]++;
	for (size_t slot = 1; slot <= WORKERS; slot++)
		assert_in_range(counts[slot], 850, 1150);
}

static void source_hash_sees_a_mapped_address_as_ipv4(void **state)
{
	struct fixture *f = *state;
	struct addr peer = {.len = sizeof(peer.in6)};
	size_t others = 0;

	f->config.distribute = DISTRIBUTE_SOURCE_HASH;
	peer.in6.sin6_family = AF_INET6;
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t four = htonl(0xc0a80000 + i);

		memset(&peer.in6.sin6_addr, 0, sizeof(peer.in6.sin6_addr));
		memset(&peer.in6.sin6_addr.s6_addr[10], 0xff, 2);
		memcpy(&peer.in6.sin6_addr.s6_addr[12], &four, 4);
		assert_int_equal(policy_choose(&f->listener, &f->list, &peer)->slot,
				 choose(f, 0xc0a80000 + i, 1));

		/* A real IPv6 address with the same end is somebody else. */
		peer.in6.sin6_addr.s6_addr[0] = 0x20;
		others += policy_choose(&f->listener, &f->list, &peer)->slot !=
			  choose(f, 0xc0a80000 + i, 1);
	}
	assert_true(others > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(nobody_is_chosen_who_is_not_able),
		TEST(round_robin_goes_by_slots_and_around),
		TEST(round_robin_passes_by_who_is_not_able),
		TEST(least_connections_prefers_who_has_fewest),
		TEST(least_connections_goes_in_turn_among_equals),
		TEST(source_hash_keeps_a_client_with_its_worker),
		TEST(source_hash_spreads_clients),
		TEST(source_hash_moves_only_the_clients_of_a_worker_that_goes),
		TEST(source_hash_of_the_port_spreads_one_client),
		TEST(source_hash_sees_a_mapped_address_as_ipv4),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
