/* How usherd is told to stop, and what it lets its clients do meanwhile. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 180
#define AT_ONCE_MS       15000 /* where drain_timeout is a minute */

static void start(struct usher *u, const char *drain_timeout)
{
	usher_configure(u,
			"workers: 2\n"
			"drain_timeout: %s\n"
			"stop_timeout: 500ms\n"
			"listeners:\n"
			"  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n",
			drain_timeout);
	usher_start(u);
	clients_connect(&u->clients, ask_port(u, "echo"), 10);
	clients_expect_echo(&u->clients);
}

static void expect_graceful_stop(struct usher *u, int signal)
{
	start(u, "60s");
	usher_signal(u, signal);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	clients_expect_echo(&u->clients);

	int64_t left = now_ms();
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
	assert_in_range(now_ms() - left, 0, AT_ONCE_MS);
}

static void term_waits_until_the_clients_have_left(void **state)
{
	expect_graceful_stop(*state, SIGTERM);
}

static void int_waits_until_the_clients_have_left(void **state)
{
	expect_graceful_stop(*state, SIGINT);
}

/* WK-5 */
static void the_deadline_ends_clients_that_stay(void **state)
{
	struct usher *u = *state;

	start(u, "1s");
	int64_t asked = now_ms();
	usher_signal(u, SIGTERM);
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect_end(u->clients.fds[i]);
	assert_int_equal(usher_ended(u), 0);
	assert_in_range(now_ms() - asked, 900, 1000 + AT_ONCE_MS);
}

/* WK-5: a worker that does not even run cannot hold up the end. */
static void the_deadline_ends_a_stopped_worker(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	start(u, "1s");
	ask_ready(u, 2, pids);
	kernel_stop(pids[0]);
	usher_signal(u, SIGTERM);
	usher_ended(u);
	assert_int_equal(kernel_process_state(pids[0]), 0);
}

static void expect_second_signal_ends_at_once(struct usher *u, int first, int second)
{
	start(u, "60s");
	usher_signal(u, first);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	clients_expect_echo(&u->clients);

	int64_t asked = now_ms();
	usher_signal(u, second);
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect_end(u->clients.fds[i]);
	assert_int_equal(usher_ended(u), 0);
	assert_in_range(now_ms() - asked, 0, AT_ONCE_MS);
}

static void a_second_term_ends_at_once(void **state)
{
	expect_second_signal_ends_at_once(*state, SIGTERM, SIGTERM);
}

static void int_after_term_ends_at_once(void **state)
{
	expect_second_signal_ends_at_once(*state, SIGTERM, SIGINT);
}

static void a_second_int_ends_at_once(void **state)
{
	expect_second_signal_ends_at_once(*state, SIGINT, SIGINT);
}

/* The address that it waits for is a socket's of ours. */
static void what_comes_before_it_listens_stops_it_then(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(address);
	struct usher *u = *state;

	assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	usher_configure(u,
			"listeners:\n"
			"  - {name: late, host: 127.0.0.1, port: %d, handler: echo}\n",
			ntohs(address.sin_port));
	usher_launch(u);
	assert_true(usher_logs(u, "is in use; trying again"));
	kernel_stop(u->process.pid);
	usher_signal(u, SIGTERM);
	close_fd(take_fd(&fd));
	kernel_resume(u->process.pid);
	assert_int_equal(usher_ended(u), 0);
	assert_true(usher_logs(u, "stopped"));
}

static void expect_no_harm(struct usher *u, int signal, const char *logged)
{
	pid_t before[USHER_WORKERS_MAX], after[USHER_WORKERS_MAX];

	start(u, "60s");
	ask_ready(u, 2, before);
	usher_signal(u, signal);
	assert_true(usher_logs(u, logged));
	ask_ready(u, 2, after);
	assert_memory_equal(before, after, 2 * sizeof(before[0]));
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, ask_port(u, "echo"), 10);
}

/* Reloading is for later; nothing is lost by asking for it. */
static void hup_does_not_kill(void **state)
{
	expect_no_harm(*state, SIGHUP, "received SIGHUP");
}

static void usr1_does_not_kill(void **state)
{
	expect_no_harm(*state, SIGUSR1, "received SIGUSR1");
}

static void usr2_does_not_kill(void **state)
{
	expect_no_harm(*state, SIGUSR2, "received SIGUSR2");
}

/* A terminal that is closed, and systemctl kill --signal=HUP, tell the workers too. */
static void what_means_nothing_does_not_kill_workers(void **state)
{
	static const int signals[] = {SIGHUP, SIGUSR1, SIGUSR2};
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	start(u, "60s");
	ask_ready(u, 2, pids);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		for (int j = 0; j < 2; j++)
			assert_int_equal(kill(pids[j], signals[i]), 0);
	clients_expect_echo(&u->clients);
	ask_expect_connections(u, ask_port(u, "echo"), 10);
}

/* The workers are told before usherd, so that none of them has ended already. */
static void expect_graceful_stop_of_all(struct usher *u, int signal)
{
	pid_t pids[USHER_WORKERS_MAX];

	start(u, "60s");
	ask_ready(u, 2, pids);
	for (int i = 0; i < 2; i++)
		assert_int_equal(kill(pids[i], signal), 0);
	usher_signal(u, signal);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	clients_expect_echo(&u->clients);
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
}

/* A terminal's Ctrl-C. */
static void int_to_all_is_as_graceful_as_to_one(void **state)
{
	expect_graceful_stop_of_all(*state, SIGINT);
}

/* KillMode=control-group, systemd's default. */
static void term_to_all_is_as_graceful_as_to_one(void **state)
{
	expect_graceful_stop_of_all(*state, SIGTERM);
}

static void what_is_queued_at_term_is_still_served(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "workers: 2\n"
			   "drain_timeout: 60s\n"
			   "listeners:\n"
			   "  - {name: hi, host: 127.0.0.1, port: 0, handler: {reply: \"hi\"}}\n");
	usher_start(u);
	int port = ask_port(u, "hi");
	ask_ready(u, 2, pids);
	for (int i = 0; i < 2; i++)
		kernel_stop(pids[i]);
	clients_connect(&u->clients, port, 100);
	usher_signal(u, SIGTERM);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	for (int i = 0; i < 2; i++)
		kernel_resume(pids[i]);

	for (size_t i = 0; i < u->clients.count; i++) {
		client_expect(u->clients.fds[i], "hi");
		client_expect_end(u->clients.fds[i]);
	}
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
}

static void nobody_is_served_after_a_stop(void **state)
{
	struct usher *u = *state;

	start(u, "60s");
	int port = ask_port(u, "echo");
	clients_close(&u->clients, u->clients.count);
	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	expect_tcp_refused("127.0.0.1", port);
	assert_int_equal(try_connect_unix(u->control), -ENOENT);
}

static void usherctl_stop_is_like_term(void **state)
{
	struct usher *u = *state;

	start(u, "60s");
	assert_int_equal(ask_ctl(u, NULL, NULL, "stop", NULL), 0);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	clients_expect_echo(&u->clients);
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
}

/* Who got no answer in time asks again. */
static void usherctl_stop_may_be_repeated(void **state)
{
	struct usher *u = *state;

	start(u, "60s");
	for (int i = 0; i < 3; i++) {
		AUTO_FREE char *out = NULL;

		assert_int_equal(ask_ctl(u, &out, NULL, "--json", "stop", NULL), 0);
		assert_non_null(strstr(out, "\"stopping\""));
		clients_expect_echo(&u->clients);
	}
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
}

static void usherctl_stop_after_term_changes_nothing(void **state)
{
	struct usher *u = *state;

	start(u, "60s");
	usher_signal(u, SIGTERM);
	assert_true(usher_was_told(u, "STOPPING=1", WAIT_MS));
	assert_int_equal(ask_ctl(u, NULL, NULL, "stop", NULL), 0);
	clients_expect_echo(&u->clients);
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
}

static void a_term_after_usherctl_stop_ends_at_once(void **state)
{
	struct usher *u = *state;

	start(u, "60s");
	assert_int_equal(ask_ctl(u, NULL, NULL, "stop", NULL), 0);
	clients_expect_echo(&u->clients);
	usher_signal(u, SIGTERM);
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect_end(u->clients.fds[i]);
	assert_int_equal(usher_ended(u), 0);
}

static void a_client_that_leaves_early_or_resets_does_no_harm(void **state)
{
	struct usher *u = *state;
	const struct linger reset = {.l_onoff = 1};

	start(u, "60s");
	int port = ask_port(u, "echo");
	for (int i = 0; i < 200; i++) {
		AUTO_CLOSE int fd = connect_tcp("127.0.0.1", port);
		client_send(fd, "unread\n");
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	}
	ask_expect_connections(u, port, 10);
	clients_expect_echo(&u->clients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(term_waits_until_the_clients_have_left),
		USHER_TEST(int_waits_until_the_clients_have_left),
		USHER_TEST(the_deadline_ends_clients_that_stay),
		USHER_TEST(the_deadline_ends_a_stopped_worker),
		USHER_TEST(a_second_term_ends_at_once),
		USHER_TEST(int_after_term_ends_at_once),
		USHER_TEST(a_second_int_ends_at_once),
		USHER_TEST(what_comes_before_it_listens_stops_it_then),
		USHER_TEST(hup_does_not_kill),
		USHER_TEST(usr1_does_not_kill),
		USHER_TEST(usr2_does_not_kill),
		USHER_TEST(what_means_nothing_does_not_kill_workers),
		USHER_TEST(int_to_all_is_as_graceful_as_to_one),
		USHER_TEST(term_to_all_is_as_graceful_as_to_one),
		USHER_TEST(what_is_queued_at_term_is_still_served),
		USHER_TEST(nobody_is_served_after_a_stop),
		USHER_TEST(usherctl_stop_is_like_term),
		USHER_TEST(usherctl_stop_may_be_repeated),
		USHER_TEST(usherctl_stop_after_term_changes_nothing),
		USHER_TEST(a_term_after_usherctl_stop_ends_at_once),
		USHER_TEST(a_client_that_leaves_early_or_resets_does_no_harm),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
