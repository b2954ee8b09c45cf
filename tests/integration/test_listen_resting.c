/* Servers that programs in workers make, when those rest: who accepts, and whom a connection wakes.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/listen_world.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

/* --- workers that rest ----------------------------------------------------------------------- */

static json_int_t worker_of(struct usher *u, size_t mate)
{
	json_t *status = ask_status(u);
	json_int_t worker = 0;
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "workers"), i, row)
		if (json_integer_value(json_object_get(row, "pid")) == crew.mates[mate].pid)
			worker = json_integer_value(json_object_get(row, "worker"));
	json_decref(status);
	assert_true(worker > 0);
	return worker;
}

static void order(struct usher *u, size_t mate, const char *action)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", (int)worker_of(u, mate));
	assert_int_equal(ask_ctl(u, NULL, NULL, "worker", number, action, NULL), 0);
}

/* It has looked at everything that came before. */
static void expect_count(size_t mate, const char *name, int count)
{
	char beginning[64];

	snprintf(beginning, sizeof(beginning), "%s has ", name);
	crew_say(&crew, mate, "count %s", name);
	assert_int_equal(strtol(crew_hear(&crew, mate, beginning), NULL, 10), count);
}

static void a_resting_worker_accepts_nothing_for_its_programs(void **state)
{
	struct usher *u = *state;
	int fds[20], first[4];

	listen_start(u, 2, "");
	int port = listen_any(0, "a");
	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		first[i] = connect_tcp("127.0.0.1", port);
		assert_int_equal(listen_greeter(first[i]), crew.mates[0].pid);
	}
	assert_int_equal(listen_any(1, "a"), port);
	order(u, 0, "drain");
	order(u, 0, "drain");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_tcp("127.0.0.1", port);
		assert_int_equal(listen_greeter(fds[i]), crew.mates[1].pid);
	}
	expect_count(0, "a", ARRAY_LEN(first));
	ask_expect_connections(u, port, ARRAY_LEN(first) + ARRAY_LEN(fds));

	/* Both rest: who comes waits, and what is there stays. */
	order(u, 1, "drain");
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	expect_count(0, "a", ARRAY_LEN(first));
	expect_count(1, "a", ARRAY_LEN(fds));
	assert_false(wait_readable(client, 0));
	order(u, 0, "undrain");
	assert_int_equal(listen_greeter(client), crew.mates[0].pid);
	for (size_t i = 0; i < ARRAY_LEN(first); i++)
		close(first[i]);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	close(take_fd(&client));
	listen_close(0, "a");
	listen_close(1, "a");
}

/* On a path, closed and opened again, and by itself: each as it should be after the other. */
static void a_server_that_is_made_while_its_worker_rests_rests(void **state)
{
	struct usher *u = *state;
	char path[128];

	listen_start(u, 1, "");
	snprintf(path, sizeof(path), "%s/s", listen_room(u));
	order(u, 0, "drain");
	for (int i = 0; i < 2; i++) {
		crew_say(&crew, 0, "listen a path %s", path);
		crew_hear(&crew, 0, "a listening ");
		if (i == 0)
			listen_close(0, "a");
	}
	AUTO_CLOSE int client = connect_unix(path);
	expect_count(0, "a", 0);
	assert_false(wait_readable(client, 0));
	order(u, 0, "undrain");
	assert_int_equal(listen_greeter(client), crew.mates[0].pid);
	close(take_fd(&client));
	listen_close(0, "a");

	/* What is its own is not usherd's to stop. */
	order(u, 0, "drain");
	crew_say(&crew, 0, "listen a port 127.0.0.1 0 exclusive");
	listen_expect_greeting("127.0.0.1", listen_heard(0, "a"));
	listen_close(0, "a");
}

/* Closing the queue would reset who waits there. */
static void what_waits_for_a_resting_worker_is_served_at_the_stop(void **state)
{
	struct usher *u = *state;

	listen_start(u, 1, "");
	int port = listen_any(0, "a");
	order(u, 0, "drain");
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	expect_count(0, "a", 0);
	usher_signal(u, SIGTERM);
	assert_int_equal(listen_greeter(client), crew.mates[0].pid);
	close(take_fd(&client));
	assert_int_equal(usher_ended(u), 0);
}

/* --- whom a connection wakes ----------------------------------------------------------------- */

struct expected {
	pid_t pid;
	size_t count;
};

static bool watches(void *ctx)
{
	const struct expected *expected = ctx;

	return kernel_exclusive_fds(expected->pid) == expected->count;
}

static void expect_exclusive(size_t mate, size_t count)
{
	struct expected expected = {crew.mates[mate].pid, count};

	if (!poll_until(watches, &expected, WAIT_MS))
		fail_msg("%zu descriptors wake one alone, and not %zu",
			 kernel_exclusive_fds(expected.pid), count);
}

/* LS-9: not all of them. One of the descriptors is that of the configured listener. */
static void a_connection_wakes_one_worker(void **state)
{
	struct usher *u = *state;

	listen_start(u, 2, "");
	int port = listen_any(0, "a");
	assert_int_equal(listen_any(1, "a"), port);
	expect_exclusive(0, 2);
	expect_exclusive(1, 2);
	for (int i = 0; i < 20; i++)
		listen_expect_greeting("127.0.0.1", port);
	expect_exclusive(0, 2);
	expect_exclusive(1, 2);

	/* Who would not accept is not woken in the place of another. */
	order(u, 0, "drain");
	expect_exclusive(0, 0);
	for (int i = 0; i < 20; i++)
		listen_expect_greeting("127.0.0.1", port);
	order(u, 0, "undrain");
	expect_exclusive(0, 2);
	order(u, 1, "drain");
	listen_expect_greeting("127.0.0.1", port);
	listen_close(0, "a");
	expect_exclusive(0, 1);

	/* One of its own is watched as ever. */
	crew_say(&crew, 0, "listen a port 127.0.0.1 0 exclusive");
	listen_expect_greeting("127.0.0.1", listen_heard(0, "a"));
	expect_exclusive(0, 1);
	listen_close(0, "a");
	listen_close(1, "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTEN_TEST(a_resting_worker_accepts_nothing_for_its_programs),
		LISTEN_TEST(a_server_that_is_made_while_its_worker_rests_rests),
		LISTEN_TEST(what_waits_for_a_resting_worker_is_served_at_the_stop),
		LISTEN_TEST(a_connection_wakes_one_worker),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
