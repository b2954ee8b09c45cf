/* Connections that usherd accepts and hands off: each reaches a worker that serves it, whatever
 * happens to the others. Every test runs once for each way to distribute. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sysexits.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

/* More than two workers take without an answer. */
#define MANY 700

/* One takes so many. */
#define AT_ONCE 250

static const char *const modes[] = {"round-robin", "least-connections", "source-hash"};

/* For sixty clients, a third of whom would be the stopped worker's. */
#define PASSED_BY_MS 10000

/* The one under test. */
static const char *mode;

static int start(struct usher *u, unsigned int workers)
{
	usher_configure(u,
			"workers: %u\n"
			"%s"
			"drain_timeout: 60s\n"
			"listeners:\n"
			"  - {name: it, host: 127.0.0.1, port: 0, backlog: 2000, distribute: %s,\n"
			"     handler: echo}\n",
			workers, geteuid() == 0 ? "user: root\n" : "", mode);
	usher_start(u);
	return ask_port(u, "it");
}

/* Says who its workers are as well. */
static int start_known(struct usher *u, unsigned int workers, pid_t pids[USHER_WORKERS_MAX])
{
	int port = start(u, workers);

	ask_ready(u, workers, pids);
	return port;
}

static void stop_both(const pid_t *pids)
{
	for (int i = 0; i < 2; i++)
		kernel_stop(pids[i]);
}

static void resume_both(const pid_t *pids)
{
	for (int i = 0; i < 2; i++)
		kernel_resume(pids[i]);
}

/* Each has an address of its own, so that source-hash spreads them as well. */
static void connect_many(struct usher *u, int port, size_t count)
{
	clients_connect_apart(&u->clients, port, count);
}

/* The numbers of connections of the workers that run. */
static size_t shares(const struct usher *u, long counts[USHER_WORKERS_MAX])
{
	json_t *answer = ask_connections(u);
	size_t i, n = 0;
	json_t *row;

	json_array_foreach (json_object_get(answer, "workers"), i, row) {
		assert_true(n < USHER_WORKERS_MAX);
		counts[n++] = (long)json_integer_value(json_object_get(row, "connections"));
	}
	json_decref(answer);
	return n;
}

static void ipv6_and_both_families_are_served(void **state)
{
	struct usher *u = *state;

	usher_configure(u,
			"workers: 3\n"
			"listeners:\n"
			"  - {name: six, host: \"::1\", port: 0, distribute: %s, handler: echo}\n"
			"  - {name: both, port: 0, distribute: %s, handler: echo}\n",
			mode, mode);
	usher_start(u);
	for (int i = 0; i < 6; i++) {
		AUTO_CLOSE int six = connect_tcp("::1", ask_port(u, "six"));
		AUTO_CLOSE int both_six = connect_tcp("::1", ask_port(u, "both"));
		AUTO_CLOSE int both_four = connect_tcp("127.0.0.1", ask_port(u, "both"));

		client_expect_echo(six);
		client_expect_echo(both_six);
		client_expect_echo(both_four);
	}
}

/* LS-14 */
static void every_worker_gets_some_and_all_are_counted(void **state)
{
	struct usher *u = *state;
	long counts[USHER_WORKERS_MAX];
	int port = start(u, 4);

	connect_many(u, port, 100);
	ask_expect_served(u, port);
	assert_int_equal(shares(u, counts), 4);
	for (int i = 0; i < 4; i++)
		assert_true(counts[i] > 0);

	clients_close(&u->clients, 60);
	ask_expect_served(u, port);
}

/* DF-1: what was handed to a worker that dies before it takes it is served by another. */
static void what_a_dead_worker_has_not_taken_goes_to_others(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 4, pids);

	kernel_stop(pids[0]);
	kernel_stop(pids[2]);
	connect_many(u, port, 80);
	kernel_kill(pids[0]);
	kernel_kill(pids[2]);
	ask_expect_served(u, port);
	assert_true(ask_until_workers(u, "ready", 4));
}

/* What it has taken dies with it, and only that: nobody is served twice. */
static void what_a_dead_worker_has_taken_ends(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	long counts[USHER_WORKERS_MAX];
	int port = start(u, 4);

	connect_many(u, port, 100);
	ask_expect_served(u, port);
	ask_ready(u, 4, pids);
	assert_int_equal(shares(u, counts), 4);
	kernel_kill(pids[1]);
	assert_true(ask_until_replaced(u, pids[1], 4));
	ask_expect_connections(u, port, 100 - counts[1]);
	clients_await_ends(&u->clients, (size_t)counts[1]);
}

static bool all_are_served(void *ctx)
{
	const struct clients *c = ctx;

	for (size_t i = 0; i < c->count; i++)
		if (!wait_readable(c->fds[i], 0))
			return false;
	return true;
}

/* LS-11 */
static void a_stopped_worker_is_passed_by_until_it_goes_on(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 3, pids);

	kernel_stop(pids[1]);
	connect_many(u, port, 60);
	for (size_t i = 0; i < u->clients.count; i++)
		client_send(u->clients.fds[i], "x");
	assert_true(poll_until(all_are_served, &u->clients, WAIT_MS));
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect(u->clients.fds[i], "x");
	assert_true(usher_logs(u, "does not take its connections"));

	/* Now it costs nobody any time: to be found late once more would be a second, for each. */
	int64_t began = now_ms();
	for (int i = 0; i < 60; i++) {
		connect_many(u, port, 1);
		client_expect_echo(u->clients.fds[u->clients.count - 1]);
	}
	assert_in_range(now_ms() - began, 0, PASSED_BY_MS);

	/* It finds all of them too late, and takes none of them a second time. */
	kernel_resume(pids[1]);
	assert_true(usher_logs(u, "takes its connections again"));
	ask_expect_served(u, port);
	connect_many(u, port, 60);
	ask_expect_served(u, port);
}

/* DF-6: the answer comes in time, and counts what is on its way to the stopped worker. */
static void counting_does_not_wait_for_a_stopped_worker(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 2, pids);

	kernel_stop(pids[0]);
	connect_many(u, port, 40);
	ask_expect_served(u, port);
	kernel_resume(pids[0]);
	ask_expect_served(u, port);
}

/* LS-13 */
static void with_no_worker_able_connections_wait(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 2, pids);

	stop_both(pids);
	connect_many(u, port, MANY);
	/* usherd has taken what it may hand off, and leaves the others to the kernel. */
	assert_true(usher_logs(u, "does not take its connections"));
	assert_true(kernel_fd_count(u->process.pid) < u->daemon_fds + 2 * 256 + 8);
	for (int i = 0; i < 2; i++)
		kernel_kill(pids[i]);
	ask_expect_served(u, port);
}

static void all_workers_may_stop_and_go_on(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 2, pids);

	stop_both(pids);
	connect_many(u, port, MANY);
	/* Long enough for each to be found late. */
	assert_true(usher_logs(u, "does not take its connections"));
	resume_both(pids);
	ask_expect_served(u, port);
}

static rlim_t lowest_free_fd(pid_t pid)
{
	struct stat st;
	char path[64];
	rlim_t fd = 0;

	do
		snprintf(path, sizeof(path), "/proc/%d/fd/%lu", (int)pid, (unsigned long)fd++);
	while (lstat(path, &st) == 0);
	return fd - 1;
}

static bool has_a_hundred(void *ctx)
{
	const struct usher *u = ctx;

	return kernel_fd_count(u->process.pid) >= u->daemon_fds + 100;
}

/* KF-1: closing a watched descriptor that lives on elsewhere leaves it in the set. */
static void what_is_handed_off_is_never_watched(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 2, pids);
	size_t before = kernel_watched_fds(u->process.pid);

	assert_true(before > 0);
	stop_both(pids);
	connect_many(u, port, 100);
	assert_true(usher_logs(u, "does not take its connections"));
	assert_true(poll_until(has_a_hundred, u, WAIT_MS));
	assert_true(kernel_watched_fds(u->process.pid) <= before + 2); /* and usherctl's */
	resume_both(pids);
	ask_expect_served(u, port);
	assert_true(kernel_watched_fds(u->process.pid) <= before + 2);
}

/* None: it can open no more than it has. */
static void limit_fds(pid_t pid, bool none)
{
	struct rlimit limit;

	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, NULL, &limit), 0);
	limit.rlim_cur = none ? lowest_free_fd(pid) : limit.rlim_max;
	assert_int_equal(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

static bool sleeps(void *ctx)
{
	return kernel_process_state(*(pid_t *)ctx) == 'S';
}

/* IP-4: descriptors that the kernel could not give to the worker come back. */
static void a_worker_without_descriptors_refuses_and_another_serves(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 3, pids);

	limit_fds(pids[0], true);
	connect_many(u, port, 90);
	ask_expect_served(u, port);
	assert_true(usher_logs(u, "Too many open files"));
	assert_true(poll_until(sleeps, &pids[0], WAIT_MS));
}

/* DF-3: what nobody can take does not go round in circles. */
static void workers_without_descriptors_keep_nobody_busy(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 2, pids);

	for (int i = 0; i < 2; i++)
		limit_fds(pids[i], true);
	connect_many(u, port, 20);
	assert_true(usher_logs(u, "Too many open files"));
	usher_expect_idle(u, 1000);
	assert_false(wait_readable(u->clients.fds[0], 0));
	for (int i = 0; i < 2; i++)
		limit_fds(pids[i], false);
	ask_expect_served(u, port);
}

/* DF-7 */
static void a_worker_that_drains_leaves_nobody_behind(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 3, pids);

	kernel_stop(pids[0]);
	connect_many(u, port, 60);
	/* It finds the signal before or after the connections. */
	assert_int_equal(kill(pids[0], SIGTERM), 0);
	kernel_resume(pids[0]);
	connect_many(u, port, 60);
	clients_expect_echo(&u->clients);
}

static void scaling_loses_nobody(void **state)
{
	struct usher *u = *state;
	int port = start(u, 4);

	usher_holds_other_fds(u);
	for (int i = 0; i < 5; i++) {
		connect_many(u, port, 10);
		assert_int_equal(ask_ctl(u, NULL, NULL, "scale", i % 2 ? "4" : "1", NULL), 0);
		connect_many(u, port, 10);
		/* Those that drain end what they have in time, so all answer now. */
		for (size_t n = u->clients.count - 20; n < u->clients.count; n++)
			client_expect_echo(u->clients.fds[n]);
	}
}

static void what_waits_at_the_stop_is_served(void **state)
{
	struct usher *u = *state;
	int port = start(u, 1);

	/* All are handed off at once: for more there would be no more than a second. */
	kernel_stop(u->process.pid);
	connect_many(u, port, AT_ONCE);
	for (size_t i = 0; i < u->clients.count; i++)
		client_send(u->clients.fds[i], "last");
	usher_signal(u, SIGTERM);
	usher_signal(u, SIGCONT);
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect(u->clients.fds[i], "last");
	clients_close(&u->clients, u->clients.count);
	assert_int_equal(usher_ended(u), 0);
}

/* KF-2: usherd may still have a copy of the connection, and be in no state to close it. */
static void an_end_reaches_the_client_whatever_usherd_does(void **state)
{
	struct usher *u = *state;
	int port = start(u, 2);

	for (size_t i = 0; i < 10; i++) {
		connect_many(u, port, 1);
		client_expect_echo(u->clients.fds[i]);
		kernel_stop(u->process.pid);
		client_leave(u->clients.fds[i]);
		usher_signal(u, SIGCONT);
	}
	ask_expect_connections(u, port, 0);
}

/* Nobody will take what waits, and the end does not wait for it. */
static void a_stop_without_a_worker_that_takes_anything_ends(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port = start_known(u, 1, pids);

	kernel_stop(pids[0]);
	connect_many(u, port, MANY);
	usher_signal(u, SIGTERM);
	assert_true(usher_logs(u, "stopping"));
	usher_signal(u, SIGTERM);
	assert_int_equal(usher_ended(u), 0);
	for (size_t i = 0; i < u->clients.count; i++)
		client_expect_end(u->clients.fds[i]);
}

static void workers_outlive_a_killed_usherd_with_what_they_have(void **state)
{
	struct usher *u = *state;
	int port = start(u, 2);

	connect_many(u, port, 40);
	ask_expect_served(u, port);
	usher_signal(u, SIGKILL);
	assert_int_equal(usher_ended(u), 128 + SIGKILL);
	clients_expect_echo(&u->clients);
	clients_close(&u->clients, u->clients.count);
}

/* --- what only one of them promises ----------------------------------------------------------- */

static void unix_sockets_are_served(void **state)
{
	struct usher *u = *state;

	usher_configure(u,
			"workers: 3\n"
			"listeners:\n"
			"  - {name: file, path: %s, distribute: round-robin, handler: echo}\n"
			"  - {name: none, path: \"@%s\", distribute: least-connections,\n"
			"     handler: {reply: hi}}\n",
			usher_path(u, "file"), usher_path(u, "none"));
	usher_start(u);
	for (int i = 0; i < 6; i++) {
		AUTO_CLOSE int file = connect_unix(usher_path(u, "file"));
		AUTO_CLOSE int none = connect_unix(ask_address(u, "none"));

		client_expect_echo(file);
		client_expect(none, "hi");
		client_expect_end(none);
	}
}

static void expect_even(struct usher *u, int port, long each)
{
	long counts[USHER_WORKERS_MAX];

	ask_expect_served(u, port);
	assert_int_equal(shares(u, counts), 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(counts[i], each);
}

static void deals_out_in_turn(void **state)
{
	struct usher *u = *state;
	int port;

	mode = "round-robin";
	port = start(u, 4);
	connect_many(u, port, 200);
	expect_even(u, port, 50);
}

/* Those of one worker end, and it alone gets the next ones. */
static void fills_up_who_has_fewest(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int port;

	mode = "least-connections";
	port = start(u, 4);
	connect_many(u, port, 200);
	expect_even(u, port, 50);
	ask_ready(u, 4, pids);
	kernel_kill(pids[2]);
	assert_true(ask_until_replaced(u, pids[2], 4));
	clients_await_ends(&u->clients, 50);
	clients_forget_ended(&u->clients);
	connect_many(u, port, 50);
	expect_even(u, port, 50);

	clients_close(&u->clients, 50);
	ask_expect_connections(u, port, 150);
	connect_many(u, port, 50);
	expect_even(u, port, 50);
}

static void keeps_a_client_with_its_worker(void **state)
{
	struct usher *u = *state;
	long counts[USHER_WORKERS_MAX];
	pid_t pids[USHER_WORKERS_MAX];
	size_t having = 0;
	int port;

	mode = "source-hash";
	port = start(u, 4);
	clients_connect(&u->clients, port, 60); /* all of one address */
	ask_expect_served(u, port);
	assert_int_equal(shares(u, counts), 4);
	for (int i = 0; i < 4; i++)
		having += counts[i] == 60;
	assert_int_equal(having, 1);

	/* Without it they go to one other, and with its successor back to its slot. */
	ask_ready(u, 4, pids);
	size_t mine = counts[0] ? 0 : counts[1] ? 1 : counts[2] ? 2 : 3;
	kernel_kill(pids[mine]);
	assert_true(ask_until_replaced(u, pids[mine], 4));
	clients_await_ends(&u->clients, 60);
	clients_forget_ended(&u->clients);
	clients_connect(&u->clients, port, 60);
	ask_expect_served(u, port);
	assert_int_equal(shares(u, counts), 4);
	assert_int_equal(counts[mine], 60);
}

static void may_hash_the_port_as_well(void **state)
{
	struct usher *u = *state;
	long counts[USHER_WORKERS_MAX];

	usher_configure(u, "workers: 4\n"
			   "listeners:\n"
			   "  - {name: it, host: 127.0.0.1, port: 0, distribute: source-hash,\n"
			   "     hash: address-port, handler: echo}\n");
	usher_start(u);
	int port = ask_port(u, "it");
	clients_connect(&u->clients, port, 200);
	ask_expect_served(u, port);
	assert_int_equal(shares(u, counts), 4);
	for (int i = 0; i < 4; i++)
		assert_in_range(counts[i], 10, 100);
}

static void needs_clients_that_have_an_address(void **state)
{
	struct usher *u = *state;
	const struct sockaddr_un address = {.sun_family = AF_UNIX};
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A name of the kernel's choice. */
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(listen(fd, 1), 0);
	usher_configure(u,
			"listeners: [{name: it, fd: 3, distribute: source-hash, handler: echo}]\n");
	u->fds = &fd;
	u->n_fds = 1;
	usher_launch(u);
	assert_int_equal(usher_ended(u), EX_OSERR);
	assert_true(usher_logs(u, "have no address for source-hash"));
}

int main(void)
{
	const struct CMUnitTest of_each[] = {
		USHER_TEST(ipv6_and_both_families_are_served),
		USHER_TEST(every_worker_gets_some_and_all_are_counted),
		USHER_TEST(what_a_dead_worker_has_not_taken_goes_to_others),
		USHER_TEST(what_a_dead_worker_has_taken_ends),
		USHER_TEST(a_stopped_worker_is_passed_by_until_it_goes_on),
		USHER_TEST(counting_does_not_wait_for_a_stopped_worker),
		USHER_TEST(with_no_worker_able_connections_wait),
		USHER_TEST(all_workers_may_stop_and_go_on),
		USHER_TEST(what_is_handed_off_is_never_watched),
		USHER_TEST(a_worker_without_descriptors_refuses_and_another_serves),
		USHER_TEST(workers_without_descriptors_keep_nobody_busy),
		USHER_TEST(a_worker_that_drains_leaves_nobody_behind),
		USHER_TEST(scaling_loses_nobody),
		USHER_TEST(what_waits_at_the_stop_is_served),
		USHER_TEST(an_end_reaches_the_client_whatever_usherd_does),
		USHER_TEST(a_stop_without_a_worker_that_takes_anything_ends),
		USHER_TEST(workers_outlive_a_killed_usherd_with_what_they_have),
	};
	const struct CMUnitTest of_one[] = {
		USHER_TEST(unix_sockets_are_served),
		USHER_TEST(deals_out_in_turn),
		USHER_TEST(fills_up_who_has_fewest),
		USHER_TEST(keeps_a_client_with_its_worker),
		USHER_TEST(may_hash_the_port_as_well),
		USHER_TEST(needs_clients_that_have_an_address),
	};
	int failed = 0;

	watchdog(WATCHDOG_SECONDS);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		mode = modes[i];
		failed += cmocka_run_group_tests_name(mode, of_each, NULL, NULL);
	}
	failed += cmocka_run_group_tests_name("promises", of_one, NULL, NULL);
	return failed;
}
