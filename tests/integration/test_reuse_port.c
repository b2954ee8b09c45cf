/* distribute: reuse-port gives each worker a socket of its own; usherd keeps them all, so that a
 * queue outlives its worker. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 180
#define QUEUED           100

static const char config[] =
	"workers: 4\n"
	"drain_timeout: 10s\n"
	"listeners:\n"
	"  - {name: own, host: 127.0.0.1, port: 0, distribute: reuse-port, handler: echo}\n";

/* How many workers have a connection. */
static size_t serving_workers(const struct usher *u)
{
	json_t *answer = ask_connections(u);
	size_t i, count = 0;
	json_t *row;

	json_array_foreach (json_object_get(answer, "workers"), i, row)
		count += json_integer_value(json_object_get(row, "connections")) > 0;
	json_decref(answer);
	return count;
}

/* LS-4 */
static void every_worker_has_a_socket_of_the_same_port(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "own");
	assert_int_equal(kernel_tcp_listeners(port), 4);
	clients_connect(&u->clients, port, QUEUED);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, QUEUED);
	assert_int_equal(serving_workers(u), 4);
}

static void it_works_on_ipv6_and_on_both_families(void **state)
{
	struct usher *u = *state;

	usher_configure(
		u,
		"workers: 3\n"
		"listeners:\n"
		"  - {name: six, host: \"::1\", port: 0, distribute: reuse-port, handler: echo}\n"
		"  - {name: both, port: 0, distribute: reuse-port, handler: echo}\n");
	usher_start(u);
	int ports[] = {ask_port(u, "six"), ask_port(u, "both")};
	for (size_t i = 0; i < ARRAY_LEN(ports); i++)
		assert_int_equal(kernel_tcp_listeners(ports[i]), 3);

	AUTO_CLOSE int six = connect_tcp("::1", ports[0]);
	client_expect_echo(six);
	AUTO_CLOSE int both_six = connect_tcp("::1", ports[1]);
	client_expect_echo(both_six);
	AUTO_CLOSE int both_four = connect_tcp("127.0.0.1", ports[1]);
	client_expect_echo(both_four);
}

/* By itself: a listener of the other family may be given the same port. */
static void it_works_on_a_name(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 3\n"
			   "listeners:\n"
			   "  - {name: name, host: localhost, port: 0, distribute: reuse-port,\n"
			   "     handler: echo}\n");
	usher_start(u);
	assert_int_equal(kernel_tcp_listeners(ask_port(u, "name")), 3);
}

/* DF-7: what waits on the dead worker's socket is served by another, which stands in. */
static void the_queue_of_a_dead_worker_is_served_by_another(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "own");
	ask_ready(u, 4, pids);
	for (size_t i = 0; i < 4; i++)
		kernel_stop(pids[i]);
	clients_connect(&u->clients, port, QUEUED);
	kernel_kill(pids[0]);
	kernel_kill(pids[2]);
	for (size_t i = 1; i < 4; i += 2)
		kernel_resume(pids[i]);

	clients_expect_echo(&u->clients);
	assert_true(ask_until_workers(u, "ready", 4));
	ask_expect_connections(u, port, QUEUED);
}

/* The worker's socket goes to one that stands in and back, as often as the worker dies. */
static void a_stand_in_may_stand_in_again(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "workers: 2\n"
			   "listeners:\n"
			   "  - {name: own, host: 127.0.0.1, port: 0, distribute: reuse-port,\n"
			   "     handler: echo}\n");
	usher_start(u);
	int port = ask_port(u, "own");
	ask_ready(u, 2, pids);
	pid_t stays = pids[0];
	for (int i = 0; i < 3; i++) {
		size_t n = ask_workers(u, "ready", pids);

		assert_int_equal(n, 2);
		kernel_kill(pids[0] == stays ? pids[1] : pids[0]);
		/* More than its own socket gets: some stay with the stand-in. */
		clients_connect(&u->clients, port, 20);
		for (size_t j = u->clients.count - 20; j < u->clients.count; j++)
			client_expect_echo(u->clients.fds[j]);
		assert_true(ask_until_workers(u, "ready", 2));
	}
	ask_ready(u, 2, pids);
	assert_true(pids[0] == stays || pids[1] == stays);
	ask_forget_ended(u, port);
}

/* KF-1: who stood in has closed the socket, which lives on: it must not be woken in the place of
 * the owner, for nobody would come until the next connection. */
static void a_socket_that_was_given_back_wakes_its_owner(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "own");
	for (int i = 0; i < 3; i++) {
		ask_ready(u, 4, pids);
		kernel_kill(pids[i]);
		assert_true(ask_until_replaced(u, pids[i], 4));
		/* One after the other: none comes to the help of the one before. */
		for (int j = 0; j < 20; j++) {
			AUTO_CLOSE int fd = connect_tcp("127.0.0.1", port);

			client_expect_echo(fd);
		}
	}
}

static void scaling_opens_sockets_and_leaves_none_unserved(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);
	usher_holds_other_fds(u);
	int port = ask_port(u, "own");

	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "6", NULL), 0);
	assert_true(ask_until_workers(u, "ready", 6));
	assert_int_equal(kernel_tcp_listeners(port), 6);
	clients_connect(&u->clients, port, QUEUED);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, QUEUED);
	assert_int_equal(serving_workers(u), 6);
	clients_close(&u->clients, QUEUED);

	/* Closing a socket would reset its queue: they stay, with the workers that stay. */
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "1", NULL), 0);
	clients_connect(&u->clients, port, QUEUED);
	clients_expect_echo(&u->clients);
	assert_true(ask_until_workers(u, "ready", 1));
	assert_true(ask_until_workers(u, "draining", 0));
	assert_int_equal(kernel_tcp_listeners(port), 6);
	clients_connect(&u->clients, port, QUEUED);
	for (size_t i = QUEUED; i < u->clients.count; i++)
		client_expect_echo(u->clients.fds[i]);
}

/* The kernel would let a second program share the port in silence. */
static void a_port_that_another_usherd_reuses_is_taken(void **state)
{
	struct usher *u = *state;
	struct process second = {0};
	char program[PATH_MAX];

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "own");

	usher_configure(u,
			"listeners:\n"
			"  - {name: own, host: 127.0.0.1, port: %d, distribute: reuse-port,\n"
			"     handler: echo}\n",
			port);
	const char *argv[] = {built("usherd", program), "-c", u->config, NULL};
	process_start(&second, &(struct process_options){.argv = argv});
	assert_int_equal(process_wait(&second, WAIT_MS), EX_UNAVAILABLE);
	AUTO_FREE char *log = process_text(second.err);
	assert_non_null(strstr(log, "another program listens there"));
	process_done(&second);
	assert_int_equal(kernel_tcp_listeners(port), 4);
}

/* AC-7: whose clients wait because of that, the log says. */
static void who_has_no_descriptors_says_so(void **state)
{
	struct usher *u = *state;
	struct rlimit limit;
	pid_t pids[USHER_WORKERS_MAX];

	/* Whose limits we may change. */
	usher_configure(u,
			"%sworkers: 1\nlisteners:\n"
			"  - {name: own, host: 127.0.0.1, port: 0, distribute: reuse-port,\n"
			"     handler: echo}\n",
			geteuid() == 0 ? "user: root\n" : "");
	usher_start(u);
	int port = ask_port(u, "own");
	ask_ready(u, 1, pids);
	/* Its socket has come as well when it answers. */
	assert_int_equal(ask_total(u), 0);
	assert_int_equal(prlimit(pids[0], RLIMIT_NOFILE, NULL, &limit), 0);
	assert_int_equal(prlimit(pids[0], RLIMIT_NOFILE, &(struct rlimit){0, limit.rlim_max}, NULL),
			 0);
	clients_connect(&u->clients, port, 1);
	assert_true(usher_logs(u, "cannot accept for now: Too many open files"));
	assert_int_equal(prlimit(pids[0], RLIMIT_NOFILE, &limit, NULL), 0);
	clients_expect_echo(&u->clients);
}

static void status_names_the_way(void **state)
{
	struct usher *u = *state;
	AUTO_FREE char *out = NULL;

	usher_configure(u, "%s", config);
	usher_start(u);
	assert_int_equal(ask_ctl(u, &out, NULL, "status", NULL), 0);
	assert_non_null(strstr(out, "DISTRIBUTE"));
	assert_non_null(strstr(out, "reuse-port"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(every_worker_has_a_socket_of_the_same_port),
		USHER_TEST(it_works_on_ipv6_and_on_both_families),
		USHER_TEST(it_works_on_a_name),
		USHER_TEST(the_queue_of_a_dead_worker_is_served_by_another),
		USHER_TEST(a_stand_in_may_stand_in_again),
		USHER_TEST(a_socket_that_was_given_back_wakes_its_owner),
		USHER_TEST(scaling_opens_sockets_and_leaves_none_unserved),
		USHER_TEST(a_port_that_another_usherd_reuses_is_taken),
		USHER_TEST(who_has_no_descriptors_says_so),
		USHER_TEST(status_names_the_way),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
