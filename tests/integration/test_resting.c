/* usherctl worker N drain and undrain: a worker that rests gets nothing new and keeps what it has,
 * and nobody is lost on the way. Most tests run once for each way to distribute. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280
#define WORKERS          3

static const char *const modes[] = {
	"distribute: shared",      "distribute: reuse-port",        "exclusive: true",
	"distribute: round-robin", "distribute: least-connections", "distribute: source-hash",
};

/* The one under test. */
static const char *mode;

static bool is_exclusive(void)
{
	return strcmp(mode, "exclusive: true") == 0;
}

static int start_workers(struct usher *u, unsigned int workers)
{
	usher_configure(
		u,
		"workers: %u\n"
		"drain_timeout: 60s\n"
		"listeners:\n"
		"  - {name: it, host: 127.0.0.1, port: 0, backlog: 2000, %s, handler: echo}\n",
		workers, mode);
	usher_start(u);
	return ask_port(u, "it");
}

static int start(struct usher *u)
{
	return start_workers(u, WORKERS);
}

static int order(const struct usher *u, unsigned int worker, const char *action)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", worker);
	return ask_ctl(u, NULL, NULL, "worker", number, action, NULL);
}

static void rest(const struct usher *u, unsigned int worker)
{
	assert_int_equal(order(u, worker, "drain"), 0);
}

static void resume(const struct usher *u, unsigned int worker)
{
	assert_int_equal(order(u, worker, "undrain"), 0);
}

static void rest_all(const struct usher *u)
{
	for (unsigned int worker = 1; worker <= WORKERS; worker++)
		rest(u, worker);
}

static void each_other(const struct usher *u, unsigned int worker,
		       void (*tell)(const struct usher *u, unsigned int worker))
{
	for (unsigned int other = 1; other <= WORKERS; other++)
		if (other != worker)
			tell(u, other);
}

/* A field of a worker's row in status or connections. */
static json_int_t field_of(json_t *answer, unsigned int worker, const char *field)
{
	json_int_t found = -1;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(answer, "workers"), i, row) {
		if (json_integer_value(json_object_get(row, "worker")) == worker)
			found = json_integer_value(json_object_get(row, field));
	}
	json_decref(answer);
	if (found < 0)
		fail_msg("there is no worker %u", worker);
	return found;
}

static long load_of(const struct usher *u, unsigned int worker)
{
	return (long)field_of(ask_answered(u, 0), worker, "connections");
}

/* Who answers has read what it was told before; usherd waits for one that is to rest a second. */
static void await_rest(const struct usher *u)
{
	json_decref(ask_answered(u, 0));
}

static pid_t pid_of(const struct usher *u, unsigned int worker)
{
	return (pid_t)field_of(ask_status(u), worker, "pid");
}

/* The worker that owns the exclusive listener; 0: nobody does. */
static unsigned int owner(const struct usher *u)
{
	json_t *status = ask_status(u);
	json_t *row = json_array_get(json_object_get(status, "listeners"), 0);
	unsigned int worker = (unsigned int)json_integer_value(json_object_get(row, "owner"));

	json_decref(status);
	return worker;
}

/* One that gets connections, as far as it is up to the mode. */
static unsigned int chosen(const struct usher *u)
{
	return is_exclusive() ? owner(u) : 2;
}

static void expect_state(const struct usher *u, const char *expected)
{
	json_t *status = ask_status(u);

	assert_string_equal(
		json_string_value(json_object_get(json_object_get(status, "supervisor"), "state")),
		expected);
	json_decref(status);
}

/* --- rest and serve again ------------------------------------------------------------------- */

static void a_resting_worker_keeps_what_it_has_and_gets_nothing_new(void **state)
{
	struct usher *u = *state;
	int port = start(u);
	unsigned int worker = chosen(u);
	pid_t pids[USHER_WORKERS_MAX];

	each_other(u, worker, rest);
	await_rest(u);
	clients_connect_apart(&u->clients, port, 20);
	ask_expect_served(u, port);
	each_other(u, worker, resume);
	clients_connect_apart(&u->clients, port, 60);
	ask_expect_served(u, port);

	rest(u, worker);
	long load = load_of(u, worker);
	assert_true(load >= 20);
	assert_int_equal(ask_workers(u, "resting", pids), 1);
	assert_int_equal(pids[0], pid_of(u, worker));
	expect_state(u, "degraded");
	clients_connect_apart(&u->clients, port, 60);
	ask_expect_served(u, port);
	assert_int_equal(load_of(u, worker), load);

	/* Twice is fine. */
	rest(u, worker);
	assert_int_equal(load_of(u, worker), load);
	resume(u, worker);
	resume(u, worker);
	assert_true(ask_until_workers(u, "ready", WORKERS));
	expect_state(u, "running");
	ask_expect_served(u, port);
}

static void a_worker_that_has_rested_gets_connections_again(void **state)
{
	struct usher *u = *state;
	int port = start(u);
	unsigned int worker = chosen(u);

	rest(u, worker);
	await_rest(u);
	clients_connect_apart(&u->clients, port, 30);
	ask_expect_served(u, port);
	assert_int_equal(load_of(u, worker), 0);

	/* Alone, so that it must take all of them. */
	resume(u, worker);
	each_other(u, worker, rest);
	await_rest(u);
	clients_connect_apart(&u->clients, port, 30);
	ask_expect_served(u, port);
	assert_int_equal(load_of(u, worker), 30);
}

static bool the_kernel_has_sixty(void *ctx)
{
	return kernel_tcp_connections(*(int *)ctx) == 60;
}

/* The queues are the kernel's, and wait for whoever comes. */
static void with_all_workers_resting_connections_wait(void **state)
{
	struct usher *u = *state;
	int port = start(u);

	clients_connect_apart(&u->clients, port, 20);
	ask_expect_served(u, port);
	rest_all(u);
	await_rest(u);
	expect_state(u, "degraded");

	clients_connect_apart(&u->clients, port, 40);
	assert_true(poll_until(the_kernel_has_sixty, &port, WAIT_MS));
	assert_int_equal(ask_total(u), 20);
	for (size_t i = 0; i < 20; i++)
		client_expect_echo(u->clients.fds[i]);
	assert_int_equal(ask_total(u), 20);

	resume(u, 3);
	ask_expect_served(u, port);
	assert_int_equal(clients_ended(&u->clients), 0);
}

/* Whatever waits in its socket, on its way to it or in its inbox is served by somebody. */
static void what_a_stopped_worker_has_queued_goes_to_others_when_it_is_to_rest(void **state)
{
	struct usher *u = *state;
	int port = start(u);
	unsigned int worker = chosen(u);
	pid_t pid = pid_of(u, worker);

	kernel_stop(pid);
	clients_connect_apart(&u->clients, port, 60);
	rest(u, worker);
	ask_expect_served(u, port);
	assert_int_equal(kernel_process_state(pid), 'T');

	/* It hears of it late, and takes nobody's connections. */
	kernel_resume(pid);
	ask_expect_served(u, port);
	assert_int_equal(load_of(u, worker), 0);
	resume(u, worker);
	clients_connect_apart(&u->clients, port, 30);
	ask_expect_served(u, port);
}

/* The orders follow each other faster than the worker can answer. */
static void nobody_is_lost_while_workers_rest_and_serve_again(void **state)
{
	enum { ROUNDS = 20 };
	struct usher *u = *state;
	int port = start(u);

	for (unsigned int i = 0; i < ROUNDS; i++) {
		unsigned int worker = i % WORKERS + 1;

		clients_connect_apart(&u->clients, port, 10);
		rest(u, worker);
		clients_connect_apart(&u->clients, port, 10);
		if (i % 2)
			resume(u, worker);
		if (i % 4 == 1)
			rest(u, worker);
		clients_connect_apart(&u->clients, port, 10);
		resume(u, worker);
	}
	ask_expect_served(u, port);
	assert_int_equal(clients_ended(&u->clients), 0);
	assert_true(ask_until_workers(u, "ready", WORKERS));
}

/* GC-6: of a listener that a worker serves no more nothing is remembered. */
static void connections_of_a_resting_worker_are_counted_until_they_end(void **state)
{
	struct usher *u = *state;
	int port = start(u);
	unsigned int worker = chosen(u);

	clients_connect_apart(&u->clients, port, 30);
	ask_expect_served(u, port);
	rest(u, worker);
	ask_expect_served(u, port);
	clients_close(&u->clients, 30);
	ask_expect_connections(u, port, 0);
}

/* --- what else happens to it ---------------------------------------------------------------- */

/* Its successor is another worker, and serves. */
static void the_successor_of_a_resting_worker_serves(void **state)
{
	struct usher *u = *state;
	int port = start(u);
	unsigned int worker = chosen(u);
	pid_t pid = pid_of(u, worker);

	rest(u, worker);
	kernel_kill(pid);
	assert_true(ask_until_replaced(u, pid, WORKERS));
	assert_int_equal(order(u, worker, "undrain"), EX_USAGE);
	clients_connect_apart(&u->clients, port, 60);
	ask_expect_served(u, port);
}

static void a_resting_worker_may_be_scaled_away(void **state)
{
	struct usher *u = *state;
	int port = start(u);
	pid_t pids[USHER_WORKERS_MAX];

	usher_holds_other_fds(u);
	rest(u, 3);
	clients_connect_apart(&u->clients, port, 20);
	ask_expect_served(u, port);
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "2", NULL), 0);
	assert_true(ask_until_workers(u, "resting", 0));
	assert_true(ask_until_workers(u, "ready", 2));
	ask_expect_served(u, port);

	/* Others that come leave it as it is. */
	rest(u, 2);
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "4", NULL), 0);
	assert_true(ask_until_workers(u, "ready", 3));
	assert_int_equal(ask_workers(u, "resting", pids), 1);
	clients_connect_apart(&u->clients, port, 20);
	ask_expect_served(u, port);
}

/* Closing the queues would reset who waits there. */
static void what_waits_for_resting_workers_is_served_at_the_stop(void **state)
{
	struct usher *u = *state;
	int port = start(u);

	rest_all(u);
	clients_connect_apart(&u->clients, port, 40);
	for (size_t i = 0; i < u->clients.count; i++)
		client_send(u->clients.fds[i], "x");
	usher_signal(u, SIGTERM);
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect(u->clients.fds[i], "x");
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
}

/* --- what cannot be -------------------------------------------------------------------------- */

static void expect_refusal(const struct usher *u, const char *worker, int code, const char *why)
{
	AUTO_FREE char *err = NULL;

	assert_int_equal(ask_ctl(u, NULL, &err, "worker", worker, "drain", NULL), code);
	if (!strstr(err, why))
		fail_msg("\"%s\" is not in \"%s\"", why, err);
}

static void a_worker_that_there_is_not_is_refused(void **state)
{
	struct usher *u = *state;

	mode = modes[0];
	start(u);
	expect_refusal(u, "4", EX_USAGE, "there is no worker 4");

	/* The number is not the slot. */
	pid_t pid = pid_of(u, 1);
	kernel_kill(pid);
	assert_true(ask_until_replaced(u, pid, WORKERS));
	expect_refusal(u, "1", EX_USAGE, "there is no worker 1; in slot 1 there is worker 4");
	rest(u, 4);
}

static void a_worker_that_ends_is_refused(void **state)
{
	struct usher *u = *state;

	mode = modes[0];
	int port = start_workers(u, 1);
	clients_connect(&u->clients, port, 1);
	clients_expect_echo(&u->clients);
	assert_int_equal(kill(pid_of(u, 1), SIGTERM), 0);
	assert_true(ask_until_workers(u, "draining", 1));
	expect_refusal(u, "1", EX_UNAVAILABLE, "worker 1 is about to end");
	clients_close(&u->clients, 1);
}

int main(void)
{
	const struct CMUnitTest of_each[] = {
		USHER_TEST(a_resting_worker_keeps_what_it_has_and_gets_nothing_new),
		USHER_TEST(a_worker_that_has_rested_gets_connections_again),
		USHER_TEST(with_all_workers_resting_connections_wait),
		USHER_TEST(what_a_stopped_worker_has_queued_goes_to_others_when_it_is_to_rest),
		USHER_TEST(nobody_is_lost_while_workers_rest_and_serve_again),
		USHER_TEST(connections_of_a_resting_worker_are_counted_until_they_end),
		USHER_TEST(the_successor_of_a_resting_worker_serves),
		USHER_TEST(a_resting_worker_may_be_scaled_away),
		USHER_TEST(what_waits_for_resting_workers_is_served_at_the_stop),
	};
	const struct CMUnitTest of_one[] = {
		USHER_TEST(a_worker_that_there_is_not_is_refused),
		USHER_TEST(a_worker_that_ends_is_refused),
	};
	int failed = 0;

	watchdog(WATCHDOG_SECONDS);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		mode = modes[i];
		failed += cmocka_run_group_tests_name(mode, of_each, NULL, NULL);
	}
	failed += cmocka_run_group_tests_name("refusals", of_one, NULL, NULL);
	return failed;
}
