/* Which worker gets a connection, over workers that are not there. */
#include "common/cluster/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cluster/source.h"
#include "common/macros.h"

#define WORKERS 8

struct fixture {
	struct source source;
	struct taker_list list;
	struct taker takers[WORKERS]; /* of ranks 1 to 8, all able */
	struct channel channels[WORKERS];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->source.id = 5;
	TAILQ_INIT(&f->list);
	/* The order of the list is not that of the ranks. */
	for (unsigned int i = 0; i < WORKERS; i++) {
		struct taker *t = &f->takers[i];
		AUTO_CLOSE int page = -1;

		taker_init(t, i + 1, &f->channels[i]);
		t->ready = true;
		assert_int_equal(handoff_open(&t->handoff, &page), 0);
		assert_int_equal(taker_join(t, f->source.id), 0);
		if (i % 2)
			TAILQ_INSERT_HEAD(&f->list, t, link);
		else
			TAILQ_INSERT_TAIL(&f->list, t, link);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < WORKERS; i++)
		taker_done(&f->takers[i]);
	free(f);
	return 0;
}

static void set_connections(struct fixture *f, size_t taker, uint32_t connections)
{
	taker_set_connections(&f->takers[taker], f->source.id, connections);
}

static void address(uint32_t number, uint16_t port, struct addr *ret)
{
	*ret = (struct addr){.len = sizeof(ret->in)};
	ret->in.sin_family = AF_INET;
	ret->in.sin_addr.s_addr = htonl(number);
	ret->in.sin_port = htons(port);
}

/* The rank that is chosen; 0: none. */
static unsigned int choose(struct fixture *f, uint32_t number, uint16_t port)
{
	struct addr peer;
	const struct taker *t;

	address(number, port, &peer);
	t = policy_choose(&f->source, &f->list, &peer);
	return t ? t->rank : 0;
}

static void expect_none(struct fixture *f)
{
	for (int policy = POLICY_NONE + 1; policy < POLICY_END; policy++) {
		f->source.policy = policy;
		assert_int_equal(choose(f, 1, 1), 0);
	}
}

static void nobody_is_chosen_who_is_not_able(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 5; i < WORKERS; i++)
		f->takers[i].ready = false;
	f->takers[0].handoff.late = true;
	f->takers[1].handoff.full = EMFILE;
	f->takers[2].handoff.last = IPC_IN_FLIGHT_MAX;
	f->channels[3].fd = -1;
	taker_leave(&f->takers[4], f->source.id);
	assert_int_equal(taker_join(&f->takers[4], f->source.id + 1), 0);
	expect_none(f);

	f->takers[2].handoff.taken = 1;
	f->source.policy = POLICY_ROUND_ROBIN;
	assert_int_equal(choose(f, 1, 1), 3);
}

/* LS-10 */
static void round_robin_goes_by_ranks_and_around(void **state)
{
	struct fixture *f = *state;

	f->source.policy = POLICY_ROUND_ROBIN;
	for (unsigned int i = 0; i < 3 * WORKERS; i++)
		assert_int_equal(choose(f, 1, 1), i % WORKERS + 1);
}

static void round_robin_passes_by_who_is_not_able(void **state)
{
	struct fixture *f = *state;

	f->source.policy = POLICY_ROUND_ROBIN;
	f->takers[0].handoff.full = f->takers[7].handoff.full = true;
	f->takers[3].ready = false;
	for (int i = 0; i < 2; i++) {
		const unsigned int expected[] = {2, 3, 5, 6, 7};

		for (size_t j = 0; j < ARRAY_LEN(expected); j++)
			assert_int_equal(choose(f, 1, 1), expected[j]);
	}
}

static void least_connections_prefers_who_has_fewest(void **state)
{
	struct fixture *f = *state;

	f->source.policy = POLICY_LEAST_CONNECTIONS;
	for (uint32_t i = 0; i < WORKERS; i++)
		set_connections(f, i, 10 + i);
	set_connections(f, 5, 3);
	assert_int_equal(choose(f, 1, 1), 6);
	assert_int_equal(choose(f, 1, 1), 6);

	/* What is on its way counts as well. */
	f->takers[5].handoff.last = 8;
	assert_int_equal(choose(f, 1, 1), 1);
	f->takers[0].handoff.full = true;
	assert_int_equal(choose(f, 1, 1), 2);
}

static void least_connections_goes_in_turn_among_equals(void **state)
{
	struct fixture *f = *state;

	f->source.policy = POLICY_LEAST_CONNECTIONS;
	set_connections(f, 2, 1);
	for (int i = 0; i < 2; i++)
		for (unsigned int rank = 1; rank <= WORKERS; rank++)
			if (rank != 3)
				assert_int_equal(choose(f, 1, 1), rank);
}

static void least_connections_sees_by_the_tally_what_has_ended(void **state)
{
	struct fixture *f = *state;

	f->source.policy = POLICY_LEAST_CONNECTIONS;
	for (size_t i = 0; i < WORKERS; i++) {
		assert_int_equal(taker_use_tally(&f->takers[i], f->source.id), 1);
		taker_gave(&f->takers[i], f->source.id);
		taker_gave(&f->takers[i], f->source.id);
	}
	claims_count_end(&f->takers[4].handoff.claims, 1);
	assert_int_equal(choose(f, 1, 1), 5);
	taker_gave(&f->takers[4], f->source.id);
	taker_got_back(&f->takers[6], f->source.id);
	assert_int_equal(choose(f, 1, 1), 7);
}

#define CLIENTS 20000

static void source_hash_keeps_a_client_with_its_worker(void **state)
{
	struct fixture *f = *state;

	f->source.policy = POLICY_SOURCE_HASH;
	for (uint32_t i = 0; i < 100; i++) {
		unsigned int rank = choose(f, i, 1);

		for (uint16_t port = 2; port < 20; port++)
			assert_int_equal(choose(f, i, port), rank);
	}
}

static void source_hash_spreads_clients(void **state)
{
	struct fixture *f = *state;
	unsigned int counts[WORKERS + 1] = {0};

	f->source.policy = POLICY_SOURCE_HASH;
	for (uint32_t i = 0; i < CLIENTS; i++)
		counts[choose(f, 0x0a000000 + i, 1)]++;
	assert_int_equal(counts[0], 0);
	for (size_t rank = 1; rank <= WORKERS; rank++)
		assert_in_range(counts[rank], CLIENTS / WORKERS * 9 / 10,
				CLIENTS / WORKERS * 11 / 10);
}

/* From eight workers to seven an eighth of the clients move, and no others. */
static void source_hash_moves_only_the_clients_of_a_worker_that_goes(void **state)
{
	static unsigned int before[CLIENTS];
	struct fixture *f = *state;
	unsigned int moved = 0;

	f->source.policy = POLICY_SOURCE_HASH;
	for (uint32_t i = 0; i < CLIENTS; i++)
		before[i] = choose(f, i, 1);
	f->takers[7].ready = false;
	for (uint32_t i = 0; i < CLIENTS; i++) {
		unsigned int after = choose(f, i, 1);

		assert_int_not_equal(after, 8);
		if (before[i] != 8)
			assert_int_equal(after, before[i]);
		moved += after != before[i];
	}
	assert_in_range(moved, CLIENTS / WORKERS * 9 / 10, CLIENTS / WORKERS * 11 / 10);

	f->takers[7].ready = true;
	for (uint32_t i = 0; i < CLIENTS; i++)
		assert_int_equal(choose(f, i, 1), before[i]);
}

static void source_hash_of_the_port_spreads_one_client(void **state)
{
	struct fixture *f = *state;
	unsigned int counts[WORKERS + 1] = {0};

	f->source.policy = POLICY_SOURCE_HASH;
	f->source.hash_port = true;
	for (uint16_t port = 1; port <= 8000; port++)
		counts[choose(f, 0x7f000001, port)]++;
	for (size_t rank = 1; rank <= WORKERS; rank++)
		assert_in_range(counts[rank], 850, 1150);
}

static void source_hash_sees_a_mapped_address_as_ipv4(void **state)
{
	struct fixture *f = *state;
	struct addr peer = {.len = sizeof(peer.in6)};
	size_t others = 0;

	f->source.policy = POLICY_SOURCE_HASH;
	peer.in6.sin6_family = AF_INET6;
	for (uint32_t i = 0; i < 100; i++) {
		uint32_t four = htonl(0xc0a80000 + i);

		memset(&peer.in6.sin6_addr, 0, sizeof(peer.in6.sin6_addr));
		memset(&peer.in6.sin6_addr.s6_addr[10], 0xff, 2);
		memcpy(&peer.in6.sin6_addr.s6_addr[12], &four, 4);
		assert_int_equal(policy_choose(&f->source, &f->list, &peer)->rank,
				 choose(f, 0xc0a80000 + i, 1));

		/* A real IPv6 address with the same end is somebody else. */
		peer.in6.sin6_addr.s6_addr[0] = 0x20;
		others += policy_choose(&f->source, &f->list, &peer)->rank !=
			  choose(f, 0xc0a80000 + i, 1);
	}
	assert_true(others > 50);
}

static size_t asked; /* how many takers, whether they are able */

static bool has_room(const struct source *source, const struct taker *taker)
{
	asked++;
	return true;
}

/* With many workers that would be most of what choosing costs. */
static void only_who_is_preferred_is_asked_whether_it_is_able(void **state)
{
	static const struct source_meter meter = {.has_room = has_room};
	const size_t clients = 100;
	struct fixture *f = *state;

	TAILQ_INIT(&f->list);
	for (size_t i = 0; i < WORKERS; i++)
		TAILQ_INSERT_TAIL(&f->list, &f->takers[i], link);
	f->source.meter = &meter;
	for (int policy = POLICY_NONE + 1; policy < POLICY_END; policy++) {
		f->source.policy = policy;
		asked = 0;
		for (uint32_t i = 0; i < clients; i++)
			assert_int_not_equal(choose(f, i, 1), 0);
		assert_in_range(asked, clients, 3 * clients);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(nobody_is_chosen_who_is_not_able),
		TEST(round_robin_goes_by_ranks_and_around),
		TEST(round_robin_passes_by_who_is_not_able),
		TEST(least_connections_prefers_who_has_fewest),
		TEST(least_connections_goes_in_turn_among_equals),
		TEST(least_connections_sees_by_the_tally_what_has_ended),
		TEST(source_hash_keeps_a_client_with_its_worker),
		TEST(source_hash_spreads_clients),
		TEST(source_hash_moves_only_the_clients_of_a_worker_that_goes),
		TEST(source_hash_of_the_port_spreads_one_client),
		TEST(source_hash_sees_a_mapped_address_as_ipv4),
		TEST(only_who_is_preferred_is_asked_whether_it_is_able),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
