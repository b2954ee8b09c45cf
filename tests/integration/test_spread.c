/* How evenly connections that last are spread over eight workers, in each way to distribute; the
 * kernel says who has which. What a way promises is a bound, what it does not is printed.
 *
 * USHER_SPREAD is the number of connections, 10,000 if not given; the test holds the clients' ends
 * and so needs as many descriptors. They leave by reset: ports that wait for late packets would not
 * be there for the next. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/owners.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280
#define CLIENTS_DEFAULT  10000
#define SPARE_FDS        200
#define WORKERS          8

/* From each address of source-hash come so many. */
#define OF_EACH 2

/* In the other ways. */
#define PER_ADDRESS 1000

/* Of those that usherd hands off. */
#define AT_A_TIME 100

/* 127.1.0.1 and those behind it. */
#define FIRST_ADDRESS 0x7f010001u

static size_t clients_wanted(void)
{
	const char *text = getenv("USHER_SPREAD");
	long count = text ? strtol(text, NULL, 10) : CLIENTS_DEFAULT;

	assert_in_range(count, 100 * WORKERS, 1000000);
	return (size_t)count;
}

static int start(struct usher *u, const char *mode, const char *more)
{
	if (!allow_fds(clients_wanted() + SPARE_FDS))
		skip();
	usher_configure(
		u,
		"workers: %d\n"
		"drain_timeout: 0s\n"
		"listeners:\n"
		"  - {name: it, host: 127.0.0.1, port: 0, backlog: 4096, distribute: %s,%s\n"
		"     handler: echo}\n",
		WORKERS, mode, more);
	usher_start(u);
	return ask_port(u, "it");
}

/* From each address so few that it has ports for them, whoever else needs some. */
static void connect_more(struct usher *u, int port, size_t count)
{
	struct clients *c = &u->clients;

	c->fds = realloc(c->fds, (c->count + count) * sizeof(*c->fds));
	assert_non_null(c->fds);
	for (size_t i = 0; i < count; i++) {
		int fd = connect_tcp_from(FIRST_ADDRESS + (uint32_t)(c->count / PER_ADDRESS), port);

		c->fds[c->count++] = fd;
	}
}

/* No worker has a queue of its own, for which it would be passed by: so many at a time are served
 * before the next come. */
static void connect_and_serve(struct usher *u, int port, size_t count)
{
	struct clients *c = &u->clients;

	while (count > 0) {
		size_t n = count < AT_A_TIME ? count : AT_A_TIME;

		connect_more(u, port, n);
		clients_expect_echo(&(struct clients){c->fds + c->count - n, n});
		count -= n;
	}
}

/* Who has which; usherctl and the kernel agree on how many there are, and nobody has none. */
static void read_owners(struct usher *u, int port, size_t workers, struct owners *ret)
{
	pid_t pids[USHER_WORKERS_MAX];

	ask_expect_connections(u, port, (long)u->clients.count);
	ask_ready(u, workers, pids);
	owners_await(ret, port, pids, workers, u->clients.count);
	for (size_t i = 0; i < workers; i++)
		assert_true(owners_count(ret, (int)i) > 0);
}

struct spread {
	size_t most;
	size_t fewest;
};

static struct spread spread_of(const struct owners *o, size_t clients)
{
	struct spread s = {0, SIZE_MAX};
	size_t sum = 0;

	for (int i = 0; i < WORKERS; i++) {
		size_t count = owners_count(o, i);

		sum += count;
		s.most = count > s.most ? count : s.most;
		s.fewest = count < s.fewest ? count : s.fewest;
	}
	/* None is on its way, in a queue, or with usherd. */
	assert_int_equal(sum, clients);
	return s;
}

static struct spread measure(struct usher *u, int port, const char *what)
{
	struct owners owners;

	read_owners(u, port, WORKERS, &owners);
	struct spread s = spread_of(&owners, u->clients.count);
	print_message("%-32s %zu over %d workers: most %zu, fewest %zu, %.3f\n", what,
		      u->clients.count, WORKERS, s.most, s.fewest,
		      (double)s.most / (double)s.fewest);
	owners_done(&owners);
	return s;
}

static void expect_at_most(struct spread s, size_t percent)
{
	if (s.most * 100 > s.fewest * percent)
		fail_msg("%zu are more than %zu %% of %zu", s.most, percent, s.fewest);
}

/* --- what is promised ------------------------------------------------------------------------ */

/* LS-10 */
static void round_robin_gives_everybody_as_many(void **state)
{
	struct usher *u = *state;
	int port = start(u, "round-robin", "");

	connect_and_serve(u, port, clients_wanted());
	expect_at_most(measure(u, port, "round-robin"), 101);
	clients_reset(&u->clients);
}

static uint32_t next_random(void)
{
	static uint32_t seed = 2463534242;

	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

/* About half of them, whoever has them. */
static void reset_some(struct clients *c)
{
	struct clients leaving = {calloc(c->count, sizeof(int)), 0};
	size_t kept = 0;

	assert_non_null(leaving.fds);
	for (size_t i = 0; i < c->count; i++)
		if (next_random() % 2)
			leaving.fds[leaving.count++] = c->fds[i];
		else
			c->fds[kept++] = c->fds[i];
	c->count = kept;
	clients_reset(&leaving);
	clients_done(&leaving);
}

/* Half of the workers begin anew, with none. */
static void kill_every_second(struct usher *u, int port)
{
	pid_t pids[USHER_WORKERS_MAX];

	ask_ready(u, WORKERS, pids);
	for (size_t i = 1; i < WORKERS; i += 2)
		assert_int_equal(kill(pids[i], SIGKILL), 0);
	for (size_t i = 1; i < WORKERS; i += 2)
		assert_true(ask_until_replaced(u, pids[i], WORKERS));
	ask_forget_ended(u, port);
}

static void least_connections_is_even_whoever_has_left(void **state)
{
	struct usher *u = *state;
	int port = start(u, "least-connections", "");
	size_t wanted = clients_wanted();

	connect_and_serve(u, port, wanted);
	expect_at_most(measure(u, port, "least-connections"), 120);

	reset_some(&u->clients);
	ask_expect_connections(u, port, (long)u->clients.count);
	connect_and_serve(u, port, wanted - u->clients.count);
	expect_at_most(measure(u, port, "  after every other client left"), 120);

	kill_every_second(u, port);
	assert_in_range(u->clients.count, wanted / 4, wanted * 3 / 4);
	connect_and_serve(u, port, wanted - u->clients.count);
	expect_at_most(measure(u, port, "  after four workers died"), 120);
	clients_reset(&u->clients);
}

/* --- by client ------------------------------------------------------------------------------- */

/* Each is served before the next comes: a worker that has a queue of its own, as in a storm of
 * connections, is passed by, and its clients meet another one. */
static void connect_from_each(struct usher *u, int port, size_t addresses)
{
	struct clients *c = &u->clients;

	c->fds = realloc(c->fds, (c->count + OF_EACH * addresses) * sizeof(*c->fds));
	assert_non_null(c->fds);
	for (size_t i = 0; i < OF_EACH * addresses; i++) {
		int fd = connect_tcp_from(FIRST_ADDRESS + (uint32_t)(i % addresses), port);

		c->fds[c->count++] = fd;
		client_expect_echo(fd);
	}
}

/* The worker that has all connections of an address, for each address, as a pid. */
static pid_t *workers_by_address(struct usher *u, int port, size_t addresses, size_t workers)
{
	pid_t *found = calloc(addresses, sizeof(*found));
	pid_t pids[USHER_WORKERS_MAX];
	struct owners owners;

	assert_non_null(found);
	read_owners(u, port, workers, &owners);
	ask_ready(u, workers, pids);
	for (size_t i = 0; i < owners.count; i++) {
		const struct owner *row = &owners.rows[i];
		size_t index = row->address - FIRST_ADDRESS;

		if (row->process == -1)
			continue;
		assert_true(index < addresses);
		if (found[index])
			assert_int_equal(found[index], pids[row->process]);
		found[index] = pids[row->process];
	}
	for (size_t i = 0; i < addresses; i++)
		assert_int_not_equal(found[i], 0);
	owners_done(&owners);
	return found;
}

static void leave_and_come_again(struct usher *u, int port, size_t addresses)
{
	clients_reset(&u->clients);
	ask_expect_connections(u, port, 0);
	connect_from_each(u, port, addresses);
}

static void scale(struct usher *u, const char *workers)
{
	usher_holds_other_fds(u);
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", workers, NULL), 0);
	assert_true(ask_until_workers(u, "ready", (size_t)strtol(workers, NULL, 10)));
	assert_true(ask_until_workers(u, "draining", 0));
}

static bool runs(struct usher *u, pid_t pid)
{
	pid_t pids[USHER_WORKERS_MAX];
	size_t n = ask_workers(u, "ready", pids);

	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* Those that moved; each had met the worker that does not run. */
static size_t moved(struct usher *u, const pid_t *before, const pid_t *after, size_t addresses,
		    pid_t without)
{
	size_t count = 0;

	assert_false(runs(u, without));
	for (size_t i = 0; i < addresses; i++) {
		if (before[i] != after[i])
			assert_int_equal(before[i], without);
		count += before[i] != after[i];
	}
	return count;
}

static pid_t first_that_has_gone(struct usher *u, const pid_t *before, size_t addresses)
{
	for (size_t i = 0; i < addresses; i++)
		if (!runs(u, before[i]))
			return before[i];
	fail_msg("no address had the worker that has gone");
	return 0;
}

/* Whether difference is at most six standard deviations of a count of n things that each are of a
 * kind with probability 1 in 8: variance n * 1/8 * 7/8. A fair hash fails once in 500 million. */
static bool is_about_an_eighth(size_t count, size_t n)
{
	double difference = (double)count - (double)n / WORKERS;

	return difference * difference <= 36.0 * (double)n * (WORKERS - 1) / (WORKERS * WORKERS);
}

static void source_hash_moves_an_eighth_of_the_clients(void **state)
{
	struct usher *u = *state;
	size_t addresses = clients_wanted() / OF_EACH;
	int port = start(u, "source-hash", "");
	struct owners owners;

	connect_from_each(u, port, addresses);
	measure(u, port, "source-hash");
	read_owners(u, port, WORKERS, &owners);
	for (int i = 0; i < WORKERS; i++)
		assert_true(is_about_an_eighth(owners_count(&owners, i) / OF_EACH, addresses));
	owners_done(&owners);

	AUTO_FREE pid_t *before = workers_by_address(u, port, addresses, WORKERS);
	scale(u, "7");
	clients_forget_ended(&u->clients);
	leave_and_come_again(u, port, addresses);
	AUTO_FREE pid_t *less = workers_by_address(u, port, addresses, WORKERS - 1);
	pid_t gone = first_that_has_gone(u, before, addresses);
	size_t count = moved(u, before, less, addresses, gone);
	print_message("%-32s %zu of %zu addresses moved\n", "  from 8 workers to 7", count,
		      addresses);
	assert_true(is_about_an_eighth(count, addresses));

	/* And back: who had not moved stays, who had meets the new one. */
	scale(u, "8");
	leave_and_come_again(u, port, addresses);
	AUTO_FREE pid_t *again = workers_by_address(u, port, addresses, WORKERS);
	for (size_t i = 0; i < addresses; i++)
		assert_int_equal(before[i] != gone, again[i] == before[i]);
	clients_reset(&u->clients);
}

/* --- what is not promised -------------------------------------------------------------------- */

/* LS-9: the kernel's choice among those that sleep; that nobody has more than half is only to see
 * that all of them take part. */
static void shared_is_the_kernels(void **state)
{
	struct usher *u = *state;
	int port = start(u, "shared", "");

	connect_more(u, port, clients_wanted());
	assert_in_range(measure(u, port, "shared").most, 0, clients_wanted() / 2);
	clients_reset(&u->clients);
}

static void reuse_port_is_the_kernels_hash(void **state)
{
	struct usher *u = *state;
	int port = start(u, "reuse-port", "");

	connect_more(u, port, clients_wanted());
	assert_in_range(measure(u, port, "reuse-port").most, 0, clients_wanted() / 2);
	clients_reset(&u->clients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(shared_is_the_kernels),
		USHER_TEST(round_robin_gives_everybody_as_many),
		USHER_TEST(least_connections_is_even_whoever_has_left),
		USHER_TEST(source_hash_moves_an_eighth_of_the_clients),
		USHER_TEST(reuse_port_is_the_kernels_hash),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
