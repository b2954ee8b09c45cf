/* Processes that die: a worker costs its own connections only and is replaced; quick deaths are
 * answered slower and slower; without the supervisor the workers drain and end. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 240

static const char config[] = "workers: 2\n"
			     "listeners:\n"
			     "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n";

/* An integer of the row of status that has this pid; -1: no such row. */
static json_int_t of_worker(const struct usher *u, pid_t pid, const char *key)
{
	json_t *status = ask_status(u);
	json_int_t value = -1;
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "workers"), i, row)
		if (json_integer_value(json_object_get(row, "pid")) == pid)
			value = json_integer_value(json_object_get(row, key));
	json_decref(status);
	return value;
}

/* Five clients of each: while one is stopped the other accepts. */
static void connect_to_both(struct usher *u, int port, const pid_t pids[])
{
	for (int i = 0; i < 2; i++) {
		kernel_stop(pids[!i]);
		clients_connect(&u->clients, port, 5);
		for (size_t n = u->clients.count - 5; n < u->clients.count; n++)
			client_expect_echo(u->clients.fds[n]);
		kernel_resume(pids[!i]);
	}
}

static void a_killed_worker_costs_its_own_connections_only(void **state)
{
	struct usher *u = *state;
	pid_t before[USHER_WORKERS_MAX], after[USHER_WORKERS_MAX];

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "echo");
	ask_ready(u, 2, before);

	connect_to_both(u, port, before);
	ask_expect_connections(u, port, 10);

	kernel_kill(before[1]);
	for (size_t n = 5; n < 10; n++)
		client_expect_end(u->clients.fds[n]);
	for (size_t n = 0; n < 5; n++)
		client_expect_echo(u->clients.fds[n]);
	assert_true(ask_until_replaced(u, before[1], 2));
	ask_expect_connections(u, port, 5);

	ask_ready(u, 2, after);
	pid_t replacement = after[0] == before[0] ? after[1] : after[0];
	assert_true(after[0] == before[0] || after[1] == before[0]);
	assert_true(replacement != before[1]);
	assert_int_equal(of_worker(u, replacement, "restarts"), 1);
	assert_int_equal(of_worker(u, before[0], "restarts"), 0);
	/* WK-1: the id is a new one. */
	assert_true(of_worker(u, replacement, "worker") > 2);
}

/* Of two workers one is sent the signal, logged with it, and replaced. Returns its pid. */
static pid_t end_one_and_expect_log(struct usher *u, int number, const char *text)
{
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "%s", config);
	usher_start(u);
	ask_ready(u, 2, pids);
	assert_int_equal(kill(pids[0], number), 0);
	assert_true(usher_logs(u, text));
	assert_true(ask_until_replaced(u, pids[0], 2));
	return pids[0];
}

/* WK-8: a signal to a worker is that signal. */
static void the_log_names_worker_pid_and_signal(void **state)
{
	struct usher *u = *state;
	char text[32];

	snprintf(text, sizeof(text), "pid %d)", (int)end_one_and_expect_log(u, SIGABRT, "SIGABRT"));
	assert_true(usher_logs(u, text));
}

static void a_signal_without_a_name_is_logged_by_its_number(void **state)
{
	char text[32];

	snprintf(text, sizeof(text), "died of signal %d", SIGRTMIN + 3);
	end_one_and_expect_log(*state, SIGRTMIN + 3, text);
}

/* LS-13 */
static void connections_wait_while_no_worker_lives(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "%s", config);
	usher_start(u);
	int port = ask_port(u, "echo");
	ask_ready(u, 2, pids);
	for (int i = 0; i < 2; i++)
		kernel_stop(pids[i]);
	clients_connect(&u->clients, port, 100);
	for (int i = 0; i < 2; i++)
		kernel_kill(pids[i]);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 100);
}

/* What usherd said to wait before each next start, up to max of them; returns how many. */
static size_t read_delays(const struct usher *u, int *delays_ms, size_t max)
{
	static const char words[] = "next start in ";
	AUTO_FREE char *log = usher_log(u);
	size_t n = 0;

	for (const char *at = log; n < max && (at = strstr(at, words)); n++) {
		at += sizeof(words) - 1;
		delays_ms[n] = (int)strtol(at, NULL, 10);
	}
	return n;
}

/* WK-10: kills the only worker again and again; from the second time on the wait for the next
 * grows. */
static void quick_deaths_back_off(void **state)
{
	enum { DEATHS = 5 };
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int delays_ms[DEATHS];

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	for (size_t i = 0; i < DEATHS; i++) {
		ask_ready(u, 1, pids);
		int64_t killed = now_ms();
		kernel_kill(pids[0]);
		assert_true(ask_until_replaced(u, pids[0], 1));
		/* The first is replaced without a word. Both clocks were cut to milliseconds. */
		assert_int_equal(read_delays(u, delays_ms, DEATHS), i);
		if (i > 0)
			assert_true(now_ms() - killed >= delays_ms[i - 1] - 2);
	}
	/* Jitter may halve a step; two doublings outweigh that. */
	assert_true(delays_ms[2] > delays_ms[0]);
	assert_true(delays_ms[3] > delays_ms[1]);
	assert_true(ask_until_backing_off(u));

	/* Meanwhile nothing else waits: usherctl answered all along, and clients are served again.
	 */
	clients_connect(&u->clients, ask_port(u, "echo"), 1);
	clients_expect_echo(&u->clients);
}

static bool workers_have_gone(void *ctx)
{
	(void)ctx;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return kernel_children(0, NULL, 0) == 0;
}

/* WK-7 */
static void workers_without_a_supervisor_drain_and_end(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "%s", config);
	usher_start(u);
	clients_connect(&u->clients, ask_port(u, "echo"), 10);
	clients_expect_echo(&u->clients);

	usher_signal(u, SIGKILL);
	assert_int_equal(usher_ended(u), 128 + SIGKILL);
	/* Who is connected is still served, */
	clients_expect_echo(&u->clients);
	/* and ends the drain by leaving. */
	clients_close(&u->clients, u->clients.count);
	assert_true(poll_until(workers_have_gone, NULL, WAIT_MS));
}

/* Of workers whose clients stay, though drain_timeout is over later. */
static void kill_usherd_and_expect_end(struct usher *u)
{
	usher_signal(u, SIGKILL);
	assert_int_equal(usher_ended(u), 128 + SIGKILL);
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect_end(u->clients.fds[i]);
	assert_true(poll_until(workers_have_gone, NULL, WAIT_MS));
}

/* WK-7 */
static void idle_clients_of_orphans_are_ended_at_the_deadline(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "drain_timeout: 1h\n%s", config);
	usher_start(u);
	clients_connect(&u->clients, ask_port(u, "echo"), 10);
	clients_expect_echo(&u->clients);
	kill_usherd_and_expect_end(u);
}

/* WK-7: one was scaled away, the other was told by somebody else. */
static void orphans_that_drained_before_are_ended_at_the_deadline_too(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "drain_timeout: 1h\n%s", config);
	usher_start(u);
	ask_ready(u, 2, pids);
	connect_to_both(u, ask_port(u, "echo"), pids);
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", "1", NULL), 0);
	assert_true(ask_until_workers(u, "draining", 1));
	ask_ready(u, 1, pids);
	assert_int_equal(kill(pids[0], SIGTERM), 0);
	assert_true(ask_until_workers(u, "draining", 2));
	clients_expect_echo(&u->clients);
	kill_usherd_and_expect_end(u);
}

/* WK-7: one that is stopped listens until it goes on. */
static void a_restart_waits_until_the_old_workers_have_left_its_addresses(void **state)
{
	static const char again[] = "workers: 2\n"
				    "listeners:\n"
				    "  - {name: echo, host: 127.0.0.1, port: %d, handler: echo}\n"
				    "  - {name: path, path: %s, handler: echo}\n";
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port;

	usher_configure(u, again, 0, usher_path(u, "s"));
	usher_start(u);
	port = ask_port(u, "echo");
	ask_ready(u, 2, pids);
	kernel_stop(pids[0]);
	usher_signal(u, SIGKILL);
	assert_int_equal(usher_ended(u), 128 + SIGKILL);

	usher_configure(u, again, port, usher_path(u, "s"));
	usher_launch(u);
	assert_true(usher_logs(u, "is in use; trying again"));
	/* Its time does not pass while the worker finds its own. */
	kernel_stop(u->process.pid);
	kernel_resume(pids[0]);
	kernel_await_no_listener(port);
	kernel_resume(u->process.pid);
	assert_true(usher_was_told(u, "READY=1", WAIT_MS));
	clients_connect(&u->clients, port, 10);
	clients_expect_echo(&u->clients);
}

static void a_hundred_kills_leave_it_serving(void **state)
{
	enum { KILLS = 100 };
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "workers: 50\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	int port = ask_port(u, "echo");
	for (int i = 0; i < KILLS; i++) {
		size_t n;

		/* Those that are killed more than once come back more slowly. */
		while ((n = ask_workers(u, "ready", pids)) == 0)
			;
		/* usherd may not yet have noticed that this one was killed before. */
		assert_true(kill(pids[i % n], SIGKILL) == 0 || errno == ESRCH);
		if (i % 10 == 0) {
			clients_connect(&u->clients, port, 1);
			clients_close(&u->clients, 1);
		}
	}
	assert_true(ask_until_workers(u, "ready", 50));
	clients_connect(&u->clients, port, 20);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, port, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(a_killed_worker_costs_its_own_connections_only),
		USHER_TEST(the_log_names_worker_pid_and_signal),
		USHER_TEST(a_signal_without_a_name_is_logged_by_its_number),
		USHER_TEST(connections_wait_while_no_worker_lives),
		USHER_TEST(quick_deaths_back_off),
		USHER_TEST(workers_without_a_supervisor_drain_and_end),
		USHER_TEST(idle_clients_of_orphans_are_ended_at_the_deadline),
		USHER_TEST(orphans_that_drained_before_are_ended_at_the_deadline_too),
		USHER_TEST(a_restart_waits_until_the_old_workers_have_left_its_addresses),
		USHER_TEST(a_hundred_kills_leave_it_serving),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
