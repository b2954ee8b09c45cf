/* Sockets that workers share, between a supervisor in this process and real workers: what depends
 * on when things happen, and both ways in which a worker gets its connections.
 *
 * wrap: getaddrinfo */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/clients.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/master.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 200

/* --- a resolver that waits ------------------------------------------------------------------- */

/* slow.test is known when the gate opens, lost.test is unknown then. */
static int gate = -1;

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		       struct addrinfo **res);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		       struct addrinfo **res);

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
		       struct addrinfo **res)
{
	bool is_slow = node && strcmp(node, "slow.test") == 0;
	uint64_t value;

	/* Whether it is an address is asked on the loop. */
	if ((hints && hints->ai_flags & AI_NUMERICHOST) ||
	    (!is_slow && !(node && strcmp(node, "lost.test") == 0)))
		return __real_getaddrinfo(node, service, hints, res);
	if (read(gate, &value, sizeof(value)) == -1)
		return EAI_SYSTEM;
	return is_slow ? __real_getaddrinfo("127.0.0.1", service, hints, res) : EAI_NONAME;
}

/* Lets that many lookups go on. */
static void open_gate(uint64_t count)
{
	assert_int_equal(write(gate, &count, sizeof(count)), sizeof(count));
}

/* --- the stage ------------------------------------------------------------------------------- */

static struct master master;

static void begin(enum policy policy, size_t workers)
{
	/* The default loop stays. */
	ev_default_loop(EVFLAG_AUTO);
	gate = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	master_open(&master, policy);
	for (size_t i = 0; i < workers; i++)
		master_fork(&master);
}

static size_t open_now(void)
{
	master_run(&master);
	return open_fd_count();
}

static int teardown(void **state)
{
	master_done(&master);
	close(gate);
	gate = -1;
	return 0;
}

static const char *hear(size_t mate, const char *words)
{
	return crew_hear(&master.crew, mate, words);
}

static void say_listen(size_t mate, const char *name, const char *where)
{
	crew_say(&master.crew, mate, "listen %s %s", name, where);
}

static int listen_on(size_t mate, const char *name, const char *where)
{
	char words[64];

	say_listen(mate, name, where);
	snprintf(words, sizeof(words), "%s listening ", name);
	const char *address = hear(mate, words);
	return strchr(address, ':') ? crew_port(address) : 0;
}

static void close_server(size_t mate, const char *name)
{
	crew_close_server(&master.crew, mate, name);
}

/* Who greets the client, by index; the loop runs meanwhile, for it may have to hand it off. */
static size_t greeter(int fd)
{
	char text[16];
	ssize_t n;

	MASTER_RUN_UNTIL(&master, wait_readable(fd, 0));
	n = recv(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	for (size_t i = 0; i < master.crew.count; i++)
		if (master.crew.mates[i].pid == (pid_t)strtol(text, NULL, 10))
			return i;
	fail_msg("an unknown worker answered: %s", text);
	return 0;
}

static void expect_refused(int port)
{
	MASTER_RUN_UNTIL(&master, tcp_is_refused(port));
}

/* --- descriptors of the supervisor's --------------------------------------------------------- */

/* A socket that the supervisor was started with, as from systemd. */
static int inherited(int *ret_port)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct bound bound;
	const char *which;

	assert_int_equal(bind_open(&options, &bound, &which), 0);
	*ret_port = addr_port(&bound.addr);
	/* A number that no worker has. */
	int fd = fcntl(bound.fd, F_DUPFD_CLOEXEC, 700);
	close(bound.fd);
	assert_true(fd >= 700);
	return fd;
}

static void expect_fd_shared(void)
{
	char where[32];
	int port, fd = inherited(&port);

	snprintf(where, sizeof(where), "fd %d", fd);
	assert_int_equal(listen_on(0, "a", where), port);
	assert_int_equal(listen_on(1, "a", where), port);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	greeter(client);
	close(take_fd(&client));

	/* Twice in one worker, and anew after it was closed. */
	say_listen(0, "b", where);
	hear(0, "b error EADDRINUSE");
	close_server(1, "a");
	assert_int_equal(listen_on(1, "b", where), port);
	close_server(1, "b");
	close_server(0, "a");
	assert_int_equal(listen_on(0, "a", where), port);
	close_server(0, "a");
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	close(fd);
	say_listen(0, "a", where);
	hear(0, "a error EBADF");
}

/* LS-6, DF-12 */
static void a_descriptor_is_the_supervisors_and_may_be_listened_on_twice(void **state)
{
	begin(POLICY_NONE, 2);
	expect_fd_shared();
}

/* DF-12: accepting on it here twice is no trouble either. */
static void a_descriptor_may_be_accepted_on_twice(void **state)
{
	begin(POLICY_ROUND_ROBIN, 2);
	expect_fd_shared();
}

/* SL-13 */
static void a_descriptor_that_is_no_stream_socket_is_an_error(void **state)
{
	char where[32];

	begin(POLICY_NONE, 1);
	snprintf(where, sizeof(where), "fd %d", gate);
	say_listen(0, "a", where);
	hear(0, "a error EINVAL");
}

/* --- names that take their time -------------------------------------------------------------- */

static void expect_death_while_binding(void)
{
	say_listen(0, "a", "port slow.test 0");
	MASTER_RUN_UNTIL(&master, !LIST_EMPTY(&master.shares.list));
	size_t waiting = open_now();

	crew_kill(&master.crew, 0);
	MASTER_RUN_UNTIL(&master, master.workers[0].exited);
	assert_true(LIST_EMPTY(&master.shares.list));
	open_gate(1);
	assert_true(open_now() <= waiting);

	/* The next one is not troubled by it. */
	say_listen(1, "a", "port slow.test 0");
	open_gate(1);
	hear(1, "a listening 127.0.0.1:");
	close_server(1, "a");
	MASTER_RUN_UNTIL(&master, LIST_EMPTY(&master.shares.list));
}

/* DF-11 */
static void a_worker_that_dies_while_its_address_is_looked_up_leaves_nothing(void **state)
{
	begin(POLICY_NONE, 2);
	expect_death_while_binding();
}

/* DF-11 */
static void so_it_does_where_the_supervisor_would_accept(void **state)
{
	begin(POLICY_ROUND_ROBIN, 2);
	expect_death_while_binding();
}

/* LS-5 */
static void everybody_who_waits_is_told_of_the_error(void **state)
{
	begin(POLICY_NONE, 3);
	for (size_t mate = 0; mate < 3; mate++)
		say_listen(mate, "a", "port lost.test 80");
	for (size_t mate = 0; mate < 3; mate++)
		MASTER_RUN_UNTIL(&master, master.workers[mate].holder.n_waiting == 1);
	open_gate(1);
	for (size_t mate = 0; mate < 3; mate++)
		hear(mate, "a error ENOTFOUND getaddrinfo ENOTFOUND lost.test");
	assert_true(LIST_EMPTY(&master.shares.list));

	/* And it is asked for anew. */
	say_listen(0, "a", "port lost.test 80");
	open_gate(1);
	hear(0, "a error ENOTFOUND");
}

/* LS-5: one that has gone meanwhile spoils nothing for the others. */
static void the_first_may_go_while_others_wait(void **state)
{
	begin(POLICY_NONE, 2);
	say_listen(0, "a", "port slow.test 0");
	say_listen(1, "a", "port slow.test 0");
	MASTER_RUN_UNTIL(&master, master.workers[1].holder.n_waiting == 1 &&
					  master.workers[0].holder.n_waiting == 1);
	crew_kill(&master.crew, 0);
	open_gate(1);
	hear(1, "a listening 127.0.0.1:");
	close_server(1, "a");
}

/* WK-6 */
static void who_waits_when_told_to_disconnect_gets_an_error(void **state)
{
	begin(POLICY_NONE, 2);
	say_listen(0, "a", "port slow.test 0");
	MASTER_RUN_UNTIL(&master, master.workers[0].holder.n_waiting == 1);
	shares_disconnect(&master.workers[0].holder);
	hear(0, "a error ESHUTDOWN");
	say_listen(0, "a", "port 127.0.0.1 0");
	hear(0, "a error ESHUTDOWN");
	assert_true(LIST_EMPTY(&master.shares.list));
	open_gate(1);
}

/* --- what was given up on its way ------------------------------------------------------------ */

/* The worker asks, closes and asks again before it reads an answer. */
static void expect_had_again(const char *where)
{
	begin(POLICY_NONE, 1);
	master.crew.meanwhile = NULL;
	crew_say(&master.crew, 0, "listen a %s\nclose a\nlisten b %s\nwhere b", where, where);
	hear(0, "b at nowhere");
	kernel_stop(master.crew.mates[0].pid);
	master.crew.meanwhile = master_meanwhile;
	MASTER_RUN_UNTIL(&master, master.workers[0].holder.last_request == 2);
	master_run(&master);
	kernel_resume(master.crew.mates[0].pid);
	hear(0, "b listening ");
	close_server(0, "b");
	MASTER_RUN_UNTIL(&master, LIST_EMPTY(&master.shares.list));
}

/* DF-2, LS-3: a port is in use as long as its socket is on its way to somebody. */
static void a_port_that_was_given_up_on_its_way_can_be_had_again(void **state)
{
	struct bound bound;
	const char *which;
	char where[64];

	assert_int_equal(bind_open(&(struct bind_options){.has_port = true, .host = "127.0.0.1"},
				   &bound, &which),
			 0);
	snprintf(where, sizeof(where), "port 127.0.0.1 %d", addr_port(&bound.addr));
	bound_close(&bound);
	expect_had_again(where);
}

/* DF-2, LS-6 */
static void so_can_an_abstract_name(void **state)
{
	char where[64];

	snprintf(where, sizeof(where), "path @test-shares-%d", (int)getpid());
	expect_had_again(where);
}

/* --- what is told ---------------------------------------------------------------------------- */

/* WK-3 */
static void each_listening_server_is_told_once_as_it_was_asked_for(void **state)
{
	char heard[64];

	begin(POLICY_NONE, 2);
	int port = listen_on(0, "a", "port 127.0.0.1 0");
	snprintf(heard, sizeof(heard), "127.0.0.1 4 %d -1", port);
	MASTER_RUN_UNTIL(&master, master.n_listening == 1);
	assert_string_equal(master.heard, heard);

	listen_on(1, "a", "port 127.0.0.1 0");
	MASTER_RUN_UNTIL(&master, master.n_listening == 2);
	port = listen_on(0, "b", "port - 0");
	snprintf(heard, sizeof(heard), "- 6 %d -1", port);
	MASTER_RUN_UNTIL(&master, master.n_listening == 3);
	assert_string_equal(master.heard, heard);

	crew_say(&master.crew, 0, "listen c path @%s", master.folder);
	hear(0, "c listening ");
	snprintf(heard, sizeof(heard), "@%s -1 0 -1", master.folder);
	MASTER_RUN_UNTIL(&master, master.n_listening == 4);
	assert_string_equal(master.heard, heard);
	master_run(&master);
	assert_int_equal(master.n_listening, 4);
}

/* LS-7 */
static void each_option_that_differs_is_told(void **state)
{
	begin(POLICY_NONE, 2);
	listen_on(0, "a", "port - 0 backlog=5 ipv6_only");
	listen_on(1, "a", "port - 0 backlog=5");
	assert_string_equal(master.difference, "ipv6_only");
	listen_on(0, "b", "port - 0 backlog=5");
	listen_on(1, "b", "port - 0");
	assert_string_equal(master.difference, "backlog");
	close_server(0, "b");
	close_server(1, "b");
}

/* --- connections instead of sockets ---------------------------------------------------------- */

/* LS-10, LS-14 */
static void in_turn_each_gets_the_next_one(void **state)
{
	int clients[12];

	begin(POLICY_ROUND_ROBIN, 3);
	int port = listen_on(0, "a", "port 127.0.0.1 0");
	for (size_t mate = 1; mate < 3; mate++)
		assert_int_equal(listen_on(mate, "a", "port 127.0.0.1 0"), port);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = connect_tcp("127.0.0.1", port);
		assert_int_equal(greeter(clients[i]), i % 3);
	}
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		close(clients[i]);
}

/* LS-12: a stand-in has an address, and is closed at once; what comes later goes to others. */
static void a_stand_in_has_an_address_and_is_closed_at_once(void **state)
{
	char where[64], expected[64];

	begin(POLICY_ROUND_ROBIN, 2);
	int port = listen_on(0, "a", "port 127.0.0.1 0");
	listen_on(1, "a", "port 127.0.0.1 0");
	crew_say(&master.crew, 0, "where a");
	snprintf(where, sizeof(where), "%s", hear(0, "a at "));
	snprintf(expected, sizeof(expected), "127.0.0.1:%d", port);
	assert_string_equal(where, expected);

	/* Meanwhile the supervisor does not know of it. */
	crew_say(&master.crew, 0, "close a");
	AUTO_CLOSE int first = connect_tcp("127.0.0.1", port);
	AUTO_CLOSE int second = connect_tcp("127.0.0.1", port);
	assert_int_equal(greeter(first), 1);
	assert_int_equal(greeter(second), 1);
}

/* DF-7: what is on its way to a server that closes goes to another one, and none is left hanging.
 */
static void connections_of_a_server_that_closes_go_to_others(void **state)
{
	int clients[8];

	begin(POLICY_ROUND_ROBIN, 2);
	int port = listen_on(0, "a", "port 127.0.0.1 0");
	listen_on(1, "a", "port 127.0.0.1 0");
	kernel_stop(master.crew.mates[0].pid);
	crew_say(&master.crew, 0, "close a");
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		clients[i] = connect_tcp("127.0.0.1", port);
	MASTER_RUN_UNTIL(&master, handoff_unanswered(&master.workers[0].taker.handoff) > 0);
	kernel_resume(master.crew.mates[0].pid);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		greeter(clients[i]);
		close(clients[i]);
	}
}

/* LS-13, DF-7: with the last one the listener goes, and what waits is ended, not left hanging. */
static void with_the_last_worker_the_listener_goes(void **state)
{
	begin(POLICY_ROUND_ROBIN, 1);
	int port = listen_on(0, "a", "port 127.0.0.1 0");

	kernel_stop(master.crew.mates[0].pid);
	AUTO_CLOSE int first = connect_tcp("127.0.0.1", port);
	AUTO_CLOSE int second = connect_tcp("127.0.0.1", port);
	MASTER_RUN_UNTIL(&master, handoff_unanswered(&master.workers[0].taker.handoff) == 2);
	kernel_kill(master.crew.mates[0].pid);
	MASTER_RUN_UNTIL(&master, master.workers[0].exited);

	client_expect_end(first);
	client_expect_end(second);
	expect_refused(port);
	assert_true(LIST_EMPTY(&master.shares.list));
}

/* LS-10: by how many it has, which its worker tells. */
static void whoever_has_the_fewest_gets_the_next_one(void **state)
{
	int clients[4];

	begin(POLICY_LEAST_CONNECTIONS, 2);
	int port = listen_on(0, "a", "port 127.0.0.1 0");
	for (size_t i = 0; i < 3; i++) {
		clients[i] = connect_tcp("127.0.0.1", port);
		assert_int_equal(greeter(clients[i]), 0);
	}
	const struct share *share = LIST_FIRST(&master.shares.list);
	MASTER_RUN_UNTIL(&master, taker_connections(&master.workers[0].taker, share->id) == 3);
	listen_on(1, "a", "port 127.0.0.1 0");
	for (size_t i = 0; i < 3; i++) {
		AUTO_CLOSE int fd = connect_tcp("127.0.0.1", port);
		assert_int_equal(greeter(fd), 1);
		close(take_fd(&fd));
		MASTER_RUN_UNTIL(&master,
				 taker_connections(&master.workers[1].taker, share->id) == 0);
	}
	for (size_t i = 0; i < 3; i++)
		close(clients[i]);
}

/* LS-6: the file goes with the last one, here as well. */
static void a_path_is_accepted_on_here(void **state)
{
	char path[64], where[96];

	begin(POLICY_ROUND_ROBIN, 2);
	snprintf(path, sizeof(path), "%s/s", master.folder);
	snprintf(where, sizeof(where), "path %s", path);
	listen_on(0, "a", where);
	listen_on(1, "a", where);
	AUTO_CLOSE int first = connect_unix(path);
	AUTO_CLOSE int second = connect_unix(path);
	assert_int_not_equal(greeter(first), greeter(second));
	close(take_fd(&first));
	close(take_fd(&second));
	close_server(0, "a");
	MASTER_RUN_UNTIL(&master, LIST_EMPTY(&master.workers[0].holder.holds));
	assert_int_equal(access(path, F_OK), 0);
	master_disconnect(&master, 1);
	assert_int_equal(access(path, F_OK), -1);
	crew_expect_gone(&master.crew, 1);
}

/* LS-6: from where the supervisor stands a path may be short enough for an address. */
static void a_path_that_is_too_long_may_be_short_from_here(void **state)
{
	char deep[128], words[512], here[512];

	begin(POLICY_NONE, 1);
	assert_non_null(getcwd(here, sizeof(here)));
	memset(deep, 'd', 100);
	deep[100] = '\0';
	assert_int_equal(chdir(master.folder), 0);
	assert_int_equal(mkdir(deep, 0755), 0);
	crew_say(&master.crew, 0, "folder %s", master.folder);
	snprintf(words, sizeof(words), "path %s/s", deep);
	say_listen(0, "a", words);
	hear(0, "a listening ");
	snprintf(words, sizeof(words), "%s/s", deep);
	assert_int_equal(access(words, F_OK), 0);
	close_server(0, "a");
	MASTER_RUN_UNTIL(&master, access(words, F_OK) == -1);

	/* From elsewhere it is not. */
	assert_int_equal(chdir(here), 0);
	snprintf(words, sizeof(words), "path %s/s", deep);
	say_listen(0, "a", words);
	hear(0, "a error ENAMETOOLONG");
}

#define SHARES_TEST(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SHARES_TEST(a_descriptor_is_the_supervisors_and_may_be_listened_on_twice),
		SHARES_TEST(a_descriptor_may_be_accepted_on_twice),
		SHARES_TEST(a_descriptor_that_is_no_stream_socket_is_an_error),
		SHARES_TEST(a_worker_that_dies_while_its_address_is_looked_up_leaves_nothing),
		SHARES_TEST(so_it_does_where_the_supervisor_would_accept),
		SHARES_TEST(everybody_who_waits_is_told_of_the_error),
		SHARES_TEST(the_first_may_go_while_others_wait),
		SHARES_TEST(who_waits_when_told_to_disconnect_gets_an_error),
		SHARES_TEST(a_port_that_was_given_up_on_its_way_can_be_had_again),
		SHARES_TEST(so_can_an_abstract_name),
		SHARES_TEST(each_listening_server_is_told_once_as_it_was_asked_for),
		SHARES_TEST(each_option_that_differs_is_told),
		SHARES_TEST(in_turn_each_gets_the_next_one),
		SHARES_TEST(a_stand_in_has_an_address_and_is_closed_at_once),
		SHARES_TEST(connections_of_a_server_that_closes_go_to_others),
		SHARES_TEST(with_the_last_worker_the_listener_goes),
		SHARES_TEST(whoever_has_the_fewest_gets_the_next_one),
		SHARES_TEST(a_path_is_accepted_on_here),
		SHARES_TEST(a_path_that_is_too_long_may_be_short_from_here),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
