/* Workers leave while others stay, or while all are told to end: what they had in common lives on,
 * and nobody is waited for who has gone. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/owners.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 180
#define AT_ONCE_MS       15000 /* where drain_timeout would be a minute */

static int start(struct usher *u, unsigned int workers, const char *distribute)
{
	usher_configure(u,
			"workers: %u\n"
			"drain_timeout: 60s\n"
			"listeners:\n"
			"  - {name: it, host: 127.0.0.1, port: 0, distribute: %s, handler: echo}\n",
			workers, distribute);
	usher_start(u);
	return ask_port(u, "it");
}

static void scale(struct usher *u, const char *workers)
{
	usher_holds_other_fds(u);
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", workers, NULL), 0);
}

/* LS-8: its copy of the handle is closed, and the queue is everybody's. */
static void the_handle_of_the_others_works_when_one_closes_its_own(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start(u, 2, "shared");

	/* It stays, and waits: nobody accepts what comes while the other one closes. */
	ask_ready(u, 2, pids);
	kernel_stop(pids[0]);
	scale(u, "1");
	assert_true(ask_until_workers(u, "ready", 1));
	clients_connect(&u->clients, port, 50);
	assert_int_equal(kernel_tcp_listeners(port), 1);
	kernel_resume(pids[0]);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 50);
}

/* LS-8: what waits in the queue is not the dead worker's. */
static void the_queue_of_a_shared_handle_is_served_by_those_who_live(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	struct owners owners;
	int port = start(u, 2, "shared");

	ask_ready(u, 2, pids);
	for (int i = 0; i < 2; i++)
		kernel_stop(pids[i]);
	clients_connect(&u->clients, port, 50);
	kernel_kill(pids[0]);
	kernel_resume(pids[1]);
	clients_expect_echo(&u->clients);
	assert_true(ask_until_replaced(u, pids[0], 2));

	ask_ready(u, 2, pids);
	owners_await(&owners, port, pids, 2, 50);
	owners_done(&owners);
}

/* LS-6: the supervisor's own, it is there as long as that. */
static void the_file_of_a_path_outlives_every_worker(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	struct stat before, after;
	const char *path;

	usher_configure(u,
			"workers: 2\n"
			"listeners: [{name: it, path: %s, handler: echo}]\n",
			usher_path(u, "file"));
	usher_start(u);
	path = usher_path(u, "file");
	assert_int_equal(stat(path, &before), 0);
	ask_ready(u, 2, pids);
	for (int i = 0; i < 2; i++)
		kernel_kill(pids[i]);
	AUTO_CLOSE int client = connect_unix(path);
	client_expect_echo(client);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_ino, before.st_ino);

	close_fd(take_fd(&client));
	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	assert_int_equal(stat(usher_path(u, "file"), &after), -1);
	assert_int_equal(errno, ENOENT);
}

/* GC-4: of two that have connections one dies, and that answers for it. */
static void a_stop_does_not_wait_for_a_worker_that_dies(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start(u, 2, "round-robin");

	clients_connect(&u->clients, port, 10);
	clients_expect_echo(&u->clients);
	ask_ready(u, 2, pids);
	usher_signal(u, SIGTERM);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	kernel_kill(pids[0]);

	/* The other one's are waited for, */
	clients_await_ends(&u->clients, 5);
	clients_forget_ended(&u->clients);
	clients_expect_echo(&u->clients);
	/* and then nobody's. */
	int64_t since = now_ms();
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
	assert_in_range(now_ms() - since, 0, AT_ONCE_MS);
}

/* WK-9: who was told before is not told again, and is waited for like the others. */
static void a_stop_waits_for_those_that_drain_already(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start(u, 2, "round-robin");

	clients_connect(&u->clients, port, 10);
	clients_expect_echo(&u->clients);
	scale(u, "1");
	assert_true(ask_until_workers(u, "draining", 1));
	assert_int_equal(ask_workers(u, "draining", pids), 1);
	usher_signal(u, SIGTERM);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	clients_expect_echo(&u->clients);
	assert_int_not_equal(kernel_process_state(pids[0]), 0);

	int64_t since = now_ms();
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
	assert_in_range(now_ms() - since, 0, AT_ONCE_MS);
}

/* WK-9: of no worker at all. */
static void a_stop_without_a_worker_ends_at_once(void **state)
{
	struct usher *u = *state;

	start(u, 1, "round-robin");
	assert_true(ask_until_backing_off(u));
	int64_t since = now_ms();
	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	assert_in_range(now_ms() - since, 0, AT_ONCE_MS);
}

static bool ids_are_new(const struct usher *u, json_int_t least, json_int_t *ret_greatest)
{
	json_t *status = ask_status(u);
	json_t *row;
	size_t i;

	*ret_greatest = 0;
	json_array_foreach (json_object_get(status, "workers"), i, row) {
		json_int_t id = json_integer_value(json_object_get(row, "worker"));

		if (id < least)
			break;
		*ret_greatest = id > *ret_greatest ? id : *ret_greatest;
	}
	bool all = i == json_array_size(json_object_get(status, "workers"));
	json_decref(status);
	return all;
}

/* WK-1: whoever leaves in whatever way takes the number along. */
static void the_number_of_a_worker_is_never_used_again(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	json_int_t greatest;

	start(u, 3, "round-robin");
	assert_true(ids_are_new(u, 1, &greatest));
	assert_int_equal(greatest, 3);
	for (int round = 0; round < 3; round++) {
		json_int_t before = greatest;

		ask_ready(u, 3, pids);
		kernel_kill(pids[0]);
		assert_int_equal(kill(pids[1], SIGTERM), 0);
		assert_int_equal(kill(pids[2], SIGABRT), 0);
		for (int i = 0; i < 3; i++)
			assert_true(ask_until_replaced(u, pids[i], 3));
		assert_true(ask_until_workers(u, "draining", 0));
		assert_true(ids_are_new(u, before + 1, &greatest));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(the_handle_of_the_others_works_when_one_closes_its_own),
		USHER_TEST(the_queue_of_a_shared_handle_is_served_by_those_who_live),
		USHER_TEST(the_file_of_a_path_outlives_every_worker),
		USHER_TEST(a_stop_does_not_wait_for_a_worker_that_dies),
		USHER_TEST(a_stop_waits_for_those_that_drain_already),
		USHER_TEST(a_stop_without_a_worker_ends_at_once),
		USHER_TEST(the_number_of_a_worker_is_never_used_again),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
