/* A master of <usher/cluster.h> that accepts for its workers, in each way to choose one. */
#include "tests/helpers/cluster_world.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

/* --- what workers do ------------------------------------------------------------------------- */

static struct cluster_worker *self;

/* "close": the next connection is the last. */
static bool closes;

static void answer(struct cluster_worker *worker, const struct cluster_message *message, void *ctx)
{
	closes = message->size == 5 && memcmp(message->data, "close", 5) == 0;
	cluster_worker_send(worker, "pong", 4, NULL, NULL, NULL);
}

static void serve(struct ev_loop *loop, const struct net_server_ops *server_ops)
{
	static const struct cluster_worker_ops ops = {.on_message = answer};
	struct net_server *server = NULL;

	if (cluster_worker_open(loop, &ops, NULL, &self) < 0 ||
	    net_create_server(loop, NULL, server_ops, self, &server) < 0 ||
	    net_server_listen_port(server, 0, NULL, 0, NULL, NULL) < 0)
		exit(EXIT_FAILURE);
	ev_run(loop, 0);
	net_server_free(server);
}

static void serve_port(struct ev_loop *loop)
{
	static const struct net_server_ops ops = {.on_connection = cluster_greet};

	serve(loop, &ops);
}

static void greet_and_close(struct net_server *server, struct net_socket *socket, void *ctx)
{
	cluster_greet(server, socket, ctx);
	if (closes)
		net_server_close(server, NULL, NULL);
}

static void serve_until_told(struct ev_loop *loop)
{
	static const struct net_server_ops ops = {.on_connection = greet_and_close};

	serve(loop, &ops);
}

static const struct cluster_role roles[] = {
	{"serve_port", serve_port},
	{"serve_until_told", serve_until_told},
};

/* --- policies -------------------------------------------------------------------------------- */

static struct cluster_settings with_policy(enum cluster_scheduling_policy policy)
{
	return (struct cluster_settings){.scheduling_policy = policy};
}

static int start_three_of(struct cluster_world *w, const char *role,
			  enum cluster_scheduling_policy policy)
{
	const struct cluster_settings settings = with_policy(policy);

	cluster_world_start(w, role, &settings);
	for (int i = 0; i < 3; i++)
		cluster_world_fork(w);
	CLUSTER_RUN_UNTIL(w, cluster_world_told(w, "listening 1") &&
				     cluster_world_told(w, "listening 2") &&
				     cluster_world_told(w, "listening 3"));
	return w->listening.port;
}

static int start_three(struct cluster_world *w, enum cluster_scheduling_policy policy)
{
	return start_three_of(w, "serve_port", policy);
}

/* The worker that a client is with; the master accepts, so its loop runs meanwhile. */
static unsigned greeter(struct cluster_world *w, int client)
{
	char text[32] = "";
	unsigned worker = 0;

	cluster_run_until_readable(w, client);
	assert_true(recv(client, text, sizeof(text) - 1, 0) > 0);
	assert_int_equal(sscanf(text, "worker %u\n", &worker), 1);
	return worker;
}

static unsigned connect_and_run(struct cluster_world *w, int port, int *ret_client)
{
	*ret_client = connect_tcp("127.0.0.1", port);
	return greeter(w, *ret_client);
}

/* LS-10 */
static void round_robin_goes_around_the_workers(void **state)
{
	struct cluster_world *w = *state;
	int clients[9], port = start_three(w, CLUSTER_SCHED_RR);
	unsigned first = connect_and_run(w, port, &clients[0]);

	for (unsigned i = 1; i < 9; i++)
		assert_int_equal(connect_and_run(w, port, &clients[i]), (first - 1 + i) % 3 + 1);
	for (size_t i = 0; i < 9; i++)
		close(clients[i]);
}

/* It answers. */
static void ask(struct cluster_world *w, struct cluster_worker *worker, const char *text)
{
	size_t before = w->message_bytes;

	cluster_worker_send(worker, text, strlen(text), NULL, NULL, NULL);
	CLUSTER_RUN_UNTIL(w, w->message_bytes > before);
}

/* What happened in a worker before is known here. The answer may be of the turn in which it did;
 * that to a second question is of a later one. */
static void hear_from_all(struct cluster_world *w)
{
	struct cluster_worker *worker = NULL;

	while ((worker = cluster_next_worker(w->cluster, worker)))
		for (int i = 0; i < 2; i++)
			ask(w, worker, "ping");
}

static void least_connections_go_where_one_ended(void **state)
{
	struct cluster_world *w = *state;
	int clients[3], another, port = start_three(w, CLUSTER_SCHED_LEAST_CONNECTIONS);
	unsigned where[3];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 3; i++)
			where[i] = connect_and_run(w, port, &clients[i]);
		assert_int_equal(where[0] + where[1] + where[2], 6);
		/* One goes and comes again: its worker has the fewest. */
		client_leave(clients[round]);
		hear_from_all(w);
		assert_int_equal(connect_and_run(w, port, &another), where[round]);
		client_leave(another);
		close(another);
		for (size_t i = 0; i < 3; i++) {
			if ((int)i != round)
				client_leave(clients[i]);
			close(clients[i]);
		}
		hear_from_all(w);
	}
}

static void source_hash_keeps_a_client_with_its_worker(void **state)
{
	struct cluster_world *w = *state;
	int client, port = start_three(w, CLUSTER_SCHED_SOURCE_HASH);
	unsigned worker = connect_and_run(w, port, &client);

	close(client);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(connect_and_run(w, port, &client), worker);
		close(client);
	}
}

/* DF-1, WK-5 */
static void who_was_handed_off_to_a_dead_worker_gets_another(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *first;
	int clients[6], port = start_three(w, CLUSTER_SCHED_RR);

	first = cluster_next_worker(w->cluster, NULL);
	kernel_stop(cluster_worker_pid(first));
	for (size_t i = 0; i < 6; i++)
		clients[i] = connect_tcp("127.0.0.1", port);
	cluster_worker_kill(first, SIGKILL);
	for (size_t i = 0; i < 6; i++) {
		assert_int_not_equal(greeter(w, clients[i]), 1);
		close(clients[i]);
	}
}

/* --- a close among those that came together ----------------------------------------------------
 */

static void add_client(struct clients *c, uint32_t address, int port)
{
	c->fds = reallocarray(c->fds, c->count + 1, sizeof(*c->fds));
	assert_non_null(c->fds);
	c->fds[c->count++] = connect_tcp_from(address, port);
}

/* Connects until one is with the first worker and one with another: by a client's address that may
 * decide, one goes to the first worker again, the other does not. */
static void find_addresses(struct cluster_world *w, struct clients *c, int port,
			   uint32_t *ret_first, uint32_t *ret_other)
{
	*ret_first = *ret_other = 0;
	for (uint32_t address = 0x7f000002; *ret_first == 0 || *ret_other == 0; address++) {
		add_client(c, address, port);
		*(greeter(w, c->fds[c->count - 1]) == 1 ? ret_first : ret_other) = address;
	}
}

struct greeting {
	struct cluster_world *world;
	const struct clients *clients;
};

/* All of the last 9 but those of one worker. */
static bool are_greeted(void *ctx)
{
	const struct greeting *greeting = ctx;
	const struct clients *c = greeting->clients;
	size_t greeted = 0;

	ev_run(greeting->world->loop, EVRUN_NOWAIT);
	for (size_t i = c->count - 9; i < c->count; i++)
		greeted += wait_readable(c->fds[i], 0);
	return greeted >= 6;
}

/* LS-12, DF-7: of three that came in one wake-up the first is served; he was the last. */
static void expect_others_elsewhere(struct cluster_world *w, enum cluster_scheduling_policy policy)
{
	int port = start_three_of(w, "serve_until_told", policy);
	struct cluster_worker *first = cluster_next_worker(w->cluster, NULL);
	pid_t pid = cluster_worker_pid(first);
	struct clients clients = {0};
	struct greeting greeting = {w, &clients};
	uint32_t to_first, to_other;
	size_t by_first = 0;

	find_addresses(w, &clients, port, &to_first, &to_other);
	ask(w, first, "close");
	kernel_stop(pid);
	for (int i = 0; i < 9; i++)
		add_client(&clients, i < 3 ? to_first : to_other, port);
	/* They were accepted in their order, so that the others wait for the first worker. */
	assert_true(poll_until(are_greeted, &greeting, WAIT_MS));
	kernel_resume(pid);
	for (size_t i = clients.count - 9; i < clients.count; i++)
		by_first += greeter(w, clients.fds[i]) == 1;
	assert_in_range(by_first, 0, 1);
	clients_done(&clients);
}

static void a_close_among_those_that_came_loses_nobody_of_round_robin(void **state)
{
	expect_others_elsewhere(*state, CLUSTER_SCHED_RR);
}

static void a_close_among_those_that_came_loses_nobody_of_least_connections(void **state)
{
	expect_others_elsewhere(*state, CLUSTER_SCHED_LEAST_CONNECTIONS);
}

static void a_close_among_those_that_came_loses_nobody_of_source_hash(void **state)
{
	expect_others_elsewhere(*state, CLUSTER_SCHED_SOURCE_HASH);
}

/* WK-5: what came before is served to its end. */
static void a_disconnected_worker_finishes_what_was_handed_off(void **state)
{
	const struct cluster_settings settings = with_policy(CLUSTER_SCHED_RR);
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	int client, port;

	worker = cluster_world_serve(w, "serve_port", &settings);
	port = w->listening.port;
	connect_and_run(w, port, &client);
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	cluster_run_until_refused(w, port);
	client_expect_echo(client);
	client_leave(client);
	close(client);
	ev_run(w->loop, 0);
	assert_true(cluster_world_told(w, "exit 1 0 0 voluntary"));
}

/* WK-5: even if it does not hear of it. */
static void what_a_disconnected_worker_shared_is_released_at_once(void **state)
{
	const struct cluster_settings settings = with_policy(CLUSTER_SCHED_RR);
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	worker = cluster_world_serve(w, "serve_port", &settings);
	kernel_stop(cluster_worker_pid(worker));
	assert_false(tcp_is_refused(w->listening.port));
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	assert_true(tcp_is_refused(w->listening.port));
	assert_int_equal(cluster_worker_kill(worker, SIGKILL), 0);
	ev_run(w->loop, 0);
}

/* WK-11 */
static void the_policy_stays_that_of_the_first_fork(void **state)
{
	static const char *const args[] = {"serve_port", NULL};
	const struct cluster_settings none = {.args = args};
	struct cluster_settings rr = with_policy(CLUSTER_SCHED_RR);
	struct cluster_world *w = *state;

	rr.args = args;
	cluster_world_start(w, "serve_port", &none);
	assert_int_equal(cluster_set_settings(w->cluster, &rr), 0);
	cluster_world_fork(w);
	assert_int_equal(cluster_set_settings(w->cluster, &none), -EBUSY);
	assert_int_equal(cluster_set_settings(w->cluster, &rr), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(test) \
	cmocka_unit_test_setup_teardown(test, cluster_world_setup, cluster_world_teardown)
		TEST(round_robin_goes_around_the_workers),
		TEST(least_connections_go_where_one_ended),
		TEST(source_hash_keeps_a_client_with_its_worker),
		TEST(who_was_handed_off_to_a_dead_worker_gets_another),
		TEST(a_close_among_those_that_came_loses_nobody_of_round_robin),
		TEST(a_close_among_those_that_came_loses_nobody_of_least_connections),
		TEST(a_close_among_those_that_came_loses_nobody_of_source_hash),
		TEST(a_disconnected_worker_finishes_what_was_handed_off),
		TEST(what_a_disconnected_worker_shared_is_released_at_once),
		TEST(the_policy_stays_that_of_the_first_fork),
#undef TEST
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	watchdog(120);
	return cmocka_run_group_tests_name("cluster policy", tests, NULL, NULL);
}
