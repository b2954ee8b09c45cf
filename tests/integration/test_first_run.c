/* usherd with its configuration in front of it and clients behind: every kind of listener that it
 * opens itself, every handler, and who of the workers accepts. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 240

static void expect_echo_over_tcp(const char *host, int port)
{
	AUTO_CLOSE int fd = connect_tcp(host, port);

	client_expect_echo(fd);
}

/* SL-5 */
static void without_a_host_both_families_are_served(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 2\n"
			   "listeners:\n"
			   "  - {name: any, port: 0, handler: echo}\n");
	usher_start(u);

	int port = ask_port(u, "any");
	assert_non_null(strstr(ask_address(u, "any"), "[::]:"));
	expect_echo_over_tcp("127.0.0.1", port);
	expect_echo_over_tcp("::1", port);
}

/* One listener each: two of different families may be given the same port. */
static void an_ipv4_host_is_the_only_address_that_is_served(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: four, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);

	int port = ask_port(u, "four");
	assert_non_null(strstr(ask_address(u, "four"), "127.0.0.1:"));
	expect_echo_over_tcp("127.0.0.1", port);
	expect_tcp_refused("::1", port);
}

static void an_ipv6_host_is_the_only_address_that_is_served(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: six, host: '::1', port: 0, handler: echo}\n");
	usher_start(u);

	int port = ask_port(u, "six");
	assert_non_null(strstr(ask_address(u, "six"), "[::1]:"));
	expect_echo_over_tcp("::1", port);
	expect_tcp_refused("127.0.0.1", port);
}

/* SL-14 */
static void ipv6_only_leaves_ipv4_alone(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: six, port: 0, ipv6_only: true, handler: echo}\n");
	usher_start(u);

	int port = ask_port(u, "six");
	expect_echo_over_tcp("::1", port);
	expect_tcp_refused("127.0.0.1", port);
}

static void a_given_port_is_the_one_that_is_served(void **state)
{
	struct usher *u = *state;
	int port = free_tcp_port();

	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: fixed, host: localhost, port: %d, handler: echo}\n",
			port);
	usher_start(u);

	assert_int_equal(ask_port(u, "fixed"), port);
}

static void hosts_of_both_families_share_a_port(void **state)
{
	struct usher *u = *state;
	int port = free_tcp_port();

	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: four, host: 127.0.0.1, port: %d, handler: echo}\n"
			"  - {name: six, host: '::1', port: %d, handler: {reply: six}}\n",
			port, port);
	usher_start(u);

	expect_echo_over_tcp("127.0.0.1", port);
	AUTO_CLOSE int fd = connect_tcp("::1", port);
	client_expect(fd, "six");
}

/* The log names a command to try for the listener, with that host. */
static void expect_hint(struct usher *u, const char *listener, const char *host)
{
	char text[256];

	snprintf(text, sizeof(text), "listens on %s; try: printf hi | nc -N %s %d\n",
		 ask_address(u, listener), host, ask_port(u, listener));
	assert_true(usher_logs(u, text));
}

static void what_is_to_be_tried_reaches_the_listener(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: other, host: 127.0.0.2, port: 0, handler: echo}\n"
			   "  - {name: mapped, host: '::ffff:127.0.0.3', port: 0, handler: echo}\n"
			   "  - {name: four, host: 127.0.0.1, port: 0, handler: echo}\n"
			   "  - {name: six, host: '::1', port: 0, handler: echo}\n");
	usher_start(u);

	expect_hint(u, "other", "127.0.0.2");
	expect_echo_over_tcp("127.0.0.2", ask_port(u, "other"));
	expect_hint(u, "mapped", "127.0.0.3");
	expect_echo_over_tcp("127.0.0.3", ask_port(u, "mapped"));
	expect_hint(u, "four", "127.0.0.1");
	expect_hint(u, "six", "::1");
}

static void what_is_to_be_tried_reaches_a_listener_on_every_address(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: any, port: 0, handler: echo}\n"
			   "  - {name: four, host: 0.0.0.0, port: 0, handler: echo}\n"
			   "  - {name: mapped, host: '::ffff:0.0.0.0', port: 0, handler: echo}\n");
	usher_start(u);

	expect_hint(u, "any", "localhost");
	expect_hint(u, "four", "127.0.0.1");
	expect_hint(u, "mapped", "127.0.0.1");
	expect_echo_over_tcp("127.0.0.1", ask_port(u, "mapped"));
}

static void a_path_is_served_with_its_mode(void **state)
{
	struct usher *u = *state;
	struct stat st;

	usher_configure(u,
			"workers: 2\n"
			"listeners:\n"
			"  - {name: file, path: %s/echo.sock, mode: '0640', handler: echo}\n",
			u->folder);
	usher_start(u);

	assert_int_equal(stat(usher_path(u, "echo.sock"), &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0640);
	AUTO_CLOSE int fd = connect_unix(usher_path(u, "echo.sock"));
	client_expect_echo(fd);
	ask_expect_total(u, 1);
	assert_int_equal(kernel_unix_connections(usher_path(u, "echo.sock")), 1);
}

static void a_path_belongs_to_its_owner(void **state)
{
	struct usher *u = *state;
	struct stat st;

	if (geteuid() != 0)
		skip(); /* only root gives files away */
	usher_configure(u,
			"workers: 1\n"
			"listeners:\n"
			"  - {name: file, path: %s/echo.sock, owner: nobody, handler: echo}\n",
			u->folder);
	usher_start(u);

	assert_int_equal(stat(usher_path(u, "echo.sock"), &st), 0);
	assert_int_equal(st.st_uid, 65534);
}

static void an_abstract_name_is_served(void **state)
{
	struct usher *u = *state;
	char name[64];

	snprintf(name, sizeof(name), "@usher-test-%d", (int)getpid());
	usher_configure(u,
			"workers: 2\n"
			"listeners:\n"
			"  - {name: hidden, path: '%s', handler: echo}\n",
			name);
	usher_start(u);

	assert_string_equal(ask_address(u, "hidden"), name);
	AUTO_CLOSE int fd = connect_unix(name);
	client_expect_echo(fd);
	ask_expect_total(u, 1);
	assert_int_equal(kernel_unix_connections(name), 1);
}

static void echo_gives_back_a_megabyte_unchanged(void **state)
{
	enum { SIZE = 1 << 20, PIECE = 1 << 15 };
	struct usher *u = *state;
	static unsigned char sent[PIECE], got[PIECE];

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);

	AUTO_CLOSE int fd = connect_tcp("127.0.0.1", ask_port(u, "echo"));
	for (size_t done = 0; done < SIZE; done += PIECE) {
		for (size_t i = 0; i < PIECE; i++)
			sent[i] = (unsigned char)((done + i) * 2654435761u >> 13);
		assert_int_equal(send(fd, sent, PIECE, MSG_NOSIGNAL), PIECE);
		assert_int_equal(recv(fd, got, PIECE, MSG_WAITALL), PIECE);
		assert_memory_equal(got, sent, PIECE);
	}
}

/* EN-2 */
static void echo_answers_what_came_before_the_end(void **state)
{
	struct usher *u = *state;

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);

	AUTO_CLOSE int fd = connect_tcp("127.0.0.1", ask_port(u, "echo"));
	client_send(fd, "hi");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	client_expect(fd, "hi");
	client_expect_end(fd);
}

static void discard_reads_and_says_nothing(void **state)
{
	struct usher *u = *state;
	static const char text[4096];

	usher_configure(u, "workers: 1\n"
			   "listeners:\n"
			   "  - {name: sink, host: 127.0.0.1, port: 0, handler: discard}\n");
	usher_start(u);

	/* More than socket buffers hold: it has to be read. */
	AUTO_CLOSE int fd = connect_tcp("127.0.0.1", ask_port(u, "sink"));
	for (int i = 0; i < 8192; i++)
		assert_int_equal(send(fd, text, sizeof(text), MSG_NOSIGNAL), sizeof(text));
	client_leave(fd);
}

static void reply_says_its_text_and_ends(void **state)
{
	struct usher *u = *state;

	usher_configure(
		u,
		"workers: 2\n"
		"listeners:\n"
		"  - {name: hello, host: 127.0.0.1, port: 0, handler: {reply: \"hello\\n\"}}\n"
		"  - {name: bye, path: %s/bye.sock, handler: {reply: \"bye\\n\"}}\n",
		u->folder);
	usher_start(u);

	AUTO_CLOSE int hello = connect_tcp("127.0.0.1", ask_port(u, "hello"));
	AUTO_CLOSE int bye = connect_unix(usher_path(u, "bye.sock"));
	client_expect(bye, "bye\n");
	client_expect_end(bye);
	client_expect(hello, "hello\n");
	client_expect_end(hello);
}

/* LS-14: a stopped worker cannot accept, so who answers is the other. */
static void each_worker_accepts_on_a_shared_listener(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u,
			"workers: 2\n"
			"listeners:\n"
			"  - {name: tcp, host: 127.0.0.1, port: 0, handler: {reply: \"tcp\"}}\n"
			"  - {name: file, path: %s/s.sock, handler: {reply: \"file\"}}\n",
			u->folder);
	usher_start(u);

	int port = ask_port(u, "tcp");
	ask_ready(u, 2, pids);
	for (int stopped = 0; stopped < 2; stopped++) {
		kernel_stop(pids[stopped]);
		for (int i = 0; i < 5; i++) {
			AUTO_CLOSE int tcp = connect_tcp("127.0.0.1", port);
			AUTO_CLOSE int file = connect_unix(usher_path(u, "s.sock"));
			client_expect(tcp, "tcp");
			client_expect(file, "file");
		}
		kernel_resume(pids[stopped]);
	}
}

static void ready_means_that_every_worker_is(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];

	usher_configure(u, "workers: 8\n"
			   "listeners:\n"
			   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
	usher_start(u);

	ask_ready(u, 8, pids);
	assert_int_equal(kernel_children(u->process.pid, NULL, 0), 8);
}

/* Nothing of the supervisor's but the channel, the streams, and handles it was sent. */
static void workers_hold_no_stray_descriptors(void **state)
{
	struct usher *u = *state;
	pid_t pids[USHER_WORKERS_MAX];
	int counts[2];

	for (int i = 0; i < 2; i++) {
		int extra = i ? open("/dev/null", O_RDONLY | O_CLOEXEC) : -1;

		usher_configure(u, "workers: 4\n"
				   "listeners:\n"
				   "  - {name: echo, host: 127.0.0.1, port: 0, handler: echo}\n");
		u->fds = &extra;
		u->n_fds = i;
		usher_start(u);
		ask_ready(u, 4, pids);
		/* Who answers is past all that it was told at its start. */
		ask_total(u);
		counts[i] = kernel_fd_count(pids[3]);
		close_fd(extra);
		usher_signal(u, SIGTERM);
		assert_int_equal(usher_ended(u), 0);
	}
	/* 0, 1, 2, channel, listener, epoll, and a loop's own wake-up and signal descriptors. */
	assert_in_range(counts[0], 5, 10);
	assert_int_equal(counts[0], counts[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		USHER_TEST(without_a_host_both_families_are_served),
		USHER_TEST(an_ipv4_host_is_the_only_address_that_is_served),
		USHER_TEST(an_ipv6_host_is_the_only_address_that_is_served),
		USHER_TEST(ipv6_only_leaves_ipv4_alone),
		USHER_TEST(a_given_port_is_the_one_that_is_served),
		USHER_TEST(hosts_of_both_families_share_a_port),
		USHER_TEST(what_is_to_be_tried_reaches_the_listener),
		USHER_TEST(what_is_to_be_tried_reaches_a_listener_on_every_address),
		USHER_TEST(a_path_is_served_with_its_mode),
		USHER_TEST(a_path_belongs_to_its_owner),
		USHER_TEST(an_abstract_name_is_served),
		USHER_TEST(echo_gives_back_a_megabyte_unchanged),
		USHER_TEST(echo_answers_what_came_before_the_end),
		USHER_TEST(discard_reads_and_says_nothing),
		USHER_TEST(reply_says_its_text_and_ends),
		USHER_TEST(each_worker_accepts_on_a_shared_listener),
		USHER_TEST(ready_means_that_every_worker_is),
		USHER_TEST(workers_hold_no_stray_descriptors),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
