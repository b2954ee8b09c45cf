/* What wears a service out: workers that die and are moved about while clients come and go,
 * descriptors that run out, clients that do not read, a worker that never stops talking. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 240

static uint32_t next_random(void)
{
	static uint32_t seed = 2463534242;

	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static void scale(struct usher *u, unsigned int workers)
{
	char number[16];

	snprintf(number, sizeof(number), "%u", workers);
	assert_int_equal(ask_ctl(u, NULL, NULL, "scale", number, NULL), 0);
}

/* GC-6. The order of events is always the same. */
static void the_count_is_right_after_any_order_of_events(void **state)
{
	enum { STEPS = 300, KILLS = 12 };
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int kills = 0;

	usher_configure(
		u, "workers: 3\n"
		   "drain_timeout: 500ms\n"
		   "listeners:\n"
		   "  - {name: a, host: 127.0.0.1, port: 0, handler: echo}\n"
		   "  - {name: b, host: 127.0.0.1, port: 0, exclusive: true, handler: echo}\n");
	usher_start(u);
	usher_holds_other_fds(u);
	int port = ask_port(u, "a");
	int exclusive = ask_port(u, "b");

	for (int step = 0; step < STEPS; step++) {
		uint32_t dice = next_random() % 16;
		size_t n;

		if (dice < 8) {
			clients_connect(&u->clients, port, 1 + next_random() % 20);
		} else if (dice < 10) {
			clients_forget_ended(&u->clients);
			clients_close(&u->clients, next_random() % (u->clients.count + 1));
		} else if (dice < 12) {
			scale(u, 1 + next_random() % 6);
		} else if (dice < 13 && kills < KILLS) {
			n = ask_workers(u, "ready", pids);
			if (n > 0 && kill(pids[next_random() % n], SIGKILL) == 0)
				kills++;
		} else if (dice < 14) {
			AUTO_CLOSE int passing = connect_tcp("127.0.0.1", exclusive);
			client_send(passing, "x");
		} else {
			ask_total(u);
		}
	}
	assert_true(kills > 0);

	scale(u, 2);
	assert_true(ask_until_workers(u, "ready", 2));
	assert_true(ask_until_workers(u, "draining", 0));
	ask_forget_ended(u, port);
	clients_expect_echo(&u->clients);
	AUTO_CLOSE int last = connect_tcp("127.0.0.1", exclusive);
	client_expect_echo(last);
}

/* AC-7 */
static void without_descriptors_connections_wait_and_nothing_spins(void **state)
{
	enum { ROOM = 5, CLIENTS = 20 };
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	struct rlimit limit;

	/* prlimit(2) wants a worker of the test's own user. */
	usher_configure(u, "workers: 1\n"
			   "user: root\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	int port = ask_port(u, "echo");
	ask_ready(u, 1, pids);
	ask_total(u); /* who answers is past all that it was told at its start */
	limit.rlim_cur = limit.rlim_max = (rlim_t)kernel_fd_count(pids[0]) + ROOM;
	assert_int_equal(prlimit(pids[0], RLIMIT_NOFILE, &limit, NULL), 0);

	clients_connect(&u->clients, port, CLIENTS);
	for (int i = 0; i < CLIENTS; i++)
		client_send(u->clients.fds[i], "x");
	for (int i = 0; i < ROOM - 1; i++)
		client_expect(u->clients.fds[i], "x");
	usher_expect_idle(u, 1000);
	assert_false(wait_readable(u->clients.fds[CLIENTS - 1], 0));

	/* Who leaves makes room for who waits. */
	for (int i = 0; i < CLIENTS; i++) {
		if (i >= ROOM - 1)
			client_expect(u->clients.fds[i], "x");
		client_leave(u->clients.fds[i]);
	}
	clients_done(&u->clients);
	ask_expect_connections(u, port, 0);
}

/* The worker stops reading from who does not read; what was taken comes back whole. */
static void a_client_that_does_not_read_is_not_read(void **state)
{
	enum { PIECE = 1 << 16, MOST = 1 << 26, STUCK_MS = 500 };
	struct usher *u = *state;
	static char sent[PIECE], got[PIECE];
	size_t total = 0;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	AUTO_CLOSE int fd = connect_tcp("127.0.0.1", ask_port(u, "echo"));
	struct pollfd entry = {.fd = fd, .events = POLLOUT};

	memset(sent, 'x', sizeof(sent));
	while (poll(&entry, 1, STUCK_MS) == 1 && total < MOST) {
		ssize_t n = send(fd, sent, sizeof(sent), MSG_NOSIGNAL | MSG_DONTWAIT);

		assert_true(n > 0);
		total += (size_t)n;
	}
	assert_in_range(total, 1, MOST - 1);

	/* Others are served meanwhile. */
	AUTO_CLOSE int other = connect_tcp("127.0.0.1", ask_port(u, "echo"));
	client_expect_echo(other);

	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (size_t back = 0; back < total;) {
		ssize_t n = recv(fd, got, sizeof(got), 0);

		assert_true(n > 0);
		assert_memory_equal(got, sent, (size_t)n);
		back += (size_t)n;
	}
	client_expect_end(fd);
}

static void a_worker_that_never_stops_talking_does_not_hold_up_others(void **state)
{
	struct usher *u = *state;
	char program[PATH_MAX], variable[128];

	snprintf(variable, sizeof(variable), "FAKE_WORKER=%s", usher_path(u, "flood"));
	u->env = (const char *const[]){variable, NULL};
	u->args = (const char *const[]){"--worker", built("tests/helpers/fake_worker", program),
					NULL};
	usher_configure(u, "workers: 2\n"
			   "user: root\n"
			   "drain_timeout: 500ms\n"
			   "stop_timeout: 500ms\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);
	assert_int_equal(access(usher_path(u, "flood.pid"), F_OK), 0);
	clients_connect(&u->clients, ask_port(u, "echo"), 10);
	clients_expect_echo(&u->clients);
	int64_t asked = now_ms();
	json_decref(ask_status(u));
	assert_in_range(now_ms() - asked, 0, WAIT_MS / 2);
	clients_close(&u->clients, u->clients.count);
	usher_signal(u, SIGTERM);
	usher_ended(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(the_count_is_right_after_any_order_of_events),
		USHER_TEST(without_descriptors_connections_wait_and_nothing_spins),
		USHER_TEST(a_client_that_does_not_read_is_not_read),
		USHER_TEST(a_worker_that_never_stops_talking_does_not_hold_up_others),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
