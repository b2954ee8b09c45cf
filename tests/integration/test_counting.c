/* usherctl connections against the kernel's own count: 10,000 clients over 4 workers, while half
 * of them leave, a worker is killed, and the workers become fewer. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280
#define CLIENTS          10000
#define SPARE_FDS        200

static const char config[] = "workers: 4\n"
			     "drain_timeout: 1s\n"
			     "listeners:\n"
			     "  - {name: idle, host: 127.0.0.1, port: 0, handler: echo}\n"
			     "  - {name: other, host: 127.0.0.1, port: 0, handler: echo}\n";

/* Whether usherctl, the kernel and the clients that are still connected agree. */
struct left_question {
	struct usher *usher;
	int port;
	long counted;
};

static bool clients_and_kernel_agree(void *ctx)
{
	struct left_question *q = ctx;
	const struct clients *c = &q->usher->clients;

	q->counted = ask_total(q->usher);
	return q->counted == (long)(c->count - clients_ended(c)) &&
	       q->counted == kernel_tcp_connections(q->port);
}

/* Adds a client that this worker serves, or with others one that another does. */
static void connect_with(struct usher *u, int port, const pid_t pids[4], size_t worker, bool others)
{
	for (size_t i = 0; i < 4; i++)
		if ((i == worker) == others)
			kernel_stop(pids[i]);
	clients_connect(&u->clients, port, 1);
	client_expect_echo(u->clients.fds[u->clients.count - 1]);
	for (size_t i = 0; i < 4; i++)
		if ((i == worker) == others)
			kernel_resume(pids[i]);
}

/* GC-2, GC-6 */
static void ten_thousand_connections_are_counted_exactly(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	if (!allow_fds(CLIENTS + SPARE_FDS))
		skip();
	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "idle");
	struct left_question left = {u, port, -1};

	/* Whoever accepts most: the one that is killed has one, and so has another. */
	ask_ready(u, 4, pids);
	connect_with(u, port, pids, 1, false);
	connect_with(u, port, pids, 1, true);
	clients_connect(&u->clients, port, CLIENTS - 2);
	ask_expect_connections(u, port, CLIENTS);

	clients_close(&u->clients, CLIENTS / 2);
	ask_expect_connections(u, port, CLIENTS / 2);

	/* GC-3: the dead worker's clients see their end, all others stay. */
	kernel_kill(pids[1]);
	assert_true(ask_until_replaced(u, pids[1], 4));
	assert_true(poll_until(clients_and_kernel_agree, &left, WAIT_MS));
	assert_in_range(left.counted, 1, CLIENTS / 2 - 1);

	/* Those that drain are counted until they have ended. */
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "2", NULL), 0);
	usher_holds_other_fds(u);
	assert_true(poll_until(clients_and_kernel_agree, &left, WAIT_MS));
	assert_true(ask_until_workers(u, "ready", 2));
	assert_true(ask_until_workers(u, "draining", 0));
	assert_true(poll_until(clients_and_kernel_agree, &left, WAIT_MS));

	clients_close(&u->clients, u->clients.count);
	ask_expect_connections(u, port, 0);
}

static void each_listener_is_counted_by_itself(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL;

	usher_configure(u, "%s", config);
	usher_start(u);
	clients_connect(&u->clients, ask_port(u, "idle"), 3);
	clients_connect(&u->clients, ask_port(u, "other"), 5);
	clients_expect_echo(&u->clients);

	ask_expect_total(u, 8);
	assert_int_equal(ask_ctl(u, &out, NULL, "--json", "connections", "other", NULL), 0);
	json_t *answer = json_loads(out, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(answer, "connections")), 5);
	assert_int_equal(json_array_size(json_object_get(answer, "listeners")), 1);
	json_decref(answer);
}

/* GC-5, DF-6: a worker that does not answer delays the answer no longer than the deadline, and its
 * last known figure is marked. */
static void a_stopped_worker_does_not_hold_up_the_answer(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "idle");
	clients_connect(&u->clients, port, 100);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 100);

	ask_ready(u, 4, pids);
	kernel_stop(pids[2]);
	json_t *answer = ask_answered(u, pids[2]);
	assert_int_equal(json_integer_value(json_object_get(answer, "connections")), 100);
	json_decref(answer);

	/* GC-3: it dies mid-query; the answer comes without an error. */
	assert_int_equal(kill(pids[2], SIGKILL), 0);
	json_decref(ask_connections(u));
	assert_true(ask_until_replaced(u, pids[2], 4));
}

/* Many ask at once while workers die; nobody is refused, and at rest the sum is right. */
static void many_may_ask_while_workers_die(void **state)
{
	enum { ASKERS = 8, ROUNDS = 3 };
	struct usher *u = *state;
	struct process askers[ASKERS] = {0};
	pid_t pids[USHER_WORKERS_MAX];
	char program[PATH_MAX];
	const char *const argv[] = {built("usherctl", program), "-s", u->control, "connections",
				    NULL};

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "idle");
	clients_connect(&u->clients, port, 50);

	for (int round = 0; round < ROUNDS; round++) {
		assert_true(ask_until_workers(u, "ready", 4));
		ask_ready(u, 4, pids);
		for (int i = 0; i < ASKERS; i++)
			process_start(&askers[i], &(struct process_options){.argv = argv});
		assert_int_equal(kill(pids[round], SIGKILL), 0);
		for (int i = 0; i < ASKERS; i++) {
			assert_int_equal(process_wait(&askers[i], WAIT_MS), 0);
			process_done(&askers[i]);
		}
	}
	assert_true(ask_until_replaced(u, pids[ROUNDS - 1], 4));
	struct left_question left = {u, port, -1};
	assert_true(poll_until(clients_and_kernel_agree, &left, WAIT_MS));
}

static void scaling_up_adds_workers_that_serve(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: idle, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	usher_holds_other_fds(u);
	ask_ready(u, 1, pids);
	pid_t first = pids[0];
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "3", NULL), 0);
	assert_true(ask_until_workers(u, "ready", 3));

	kernel_stop(first);
	clients_connect(&u->clients, ask_port(u, "idle"), 1);
	clients_expect_echo(&u->clients);
	kernel_resume(first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(each_listener_is_counted_by_itself),
		USHER_TEST(a_stopped_worker_does_not_hold_up_the_answer),
		USHER_TEST(many_may_ask_while_workers_die),
		USHER_TEST(scaling_up_adds_workers_that_serve),
		USHER_TEST(ten_thousand_connections_are_counted_exactly),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
