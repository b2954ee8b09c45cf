/* Servers that programs in workers make: usherd opens what they listen on, once for all of them. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/kernel.h"
#include "tests/helpers/listen_world.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

/* --- who shares what ------------------------------------------------------------------------- */

/* LS-1 */
static void a_server_does_not_listen_before_the_supervisor_has_answered(void **state)
{
	struct usher *u = *state;

	listen_start(u, 1, "");
	crew_say(&crew, 0, "listen_now a port 127.0.0.1 0");
	crew_hear(&crew, 0, "a now nowhere");
	int port = listen_heard(0, "a");
	listen_expect_greeting("127.0.0.1", port);
	listen_close(0, "a");
}

/* LS-2 */
static void the_same_turn_of_port_0_is_one_port_for_all(void **state)
{
	struct usher *u = *state;

	listen_start(u, 3, "");
	int first = listen_any(0, "a"), second = listen_any(0, "b");

	assert_int_not_equal(first, second);
	for (size_t mate = 1; mate < 3; mate++) {
		assert_int_equal(listen_any(mate, "a"), first);
		assert_int_equal(listen_any(mate, "b"), second);
	}
	assert_int_equal(kernel_tcp_listeners(first), 1);

	/* Once more, while the others stay, is another turn. */
	listen_close(0, "a");
	int third = listen_any(0, "a");
	assert_int_not_equal(third, first);
	assert_int_not_equal(third, second);
	for (size_t mate = 0; mate < 3; mate++) {
		listen_close(mate, "a");
		listen_close(mate, "b");
	}
	listen_expect_refused(first);
	listen_expect_refused(third);
}

/* LS-2: what is spelt in another way is another address, which is taken. */
static void an_address_that_is_spelt_differently_is_in_use(void **state)
{
	struct usher *u = *state;

	listen_start(u, 2, "");
	int port = listen_free_port(0);
	listen_on(0, "a", port);
	crew_say(&crew, 1, "listen a port :: %d", port);
	listen_expect_error(1, "a", "EADDRINUSE");
	crew_say(&crew, 1, "listen a port localhost %d", port);
	listen_expect_error(1, "a", "EADDRINUSE");
	listen_close(0, "a");
}

/* LS-3, DF-10 */
static void a_fixed_port_is_joined_by_others_and_taken_twice_by_nobody(void **state)
{
	struct usher *u = *state;
	char error[128];

	listen_start(u, 2, "");
	int port = listen_free_port(0);
	listen_on(0, "a", port);
	listen_on(1, "a", port);
	crew_say(&crew, 1, "listen b port 127.0.0.1 %d", port);
	snprintf(error, sizeof(error), "EADDRINUSE bind EADDRINUSE 127.0.0.1:%d", port);
	listen_expect_error(1, "b", error);

	/* Whoever closes and listens again joins the others again. */
	listen_close(1, "a");
	listen_on(1, "b", port);
	listen_close(1, "b");
	listen_close(0, "a");
	listen_expect_refused(port);
	listen_on(1, "a", port);
	listen_close(1, "a");
}

/* LS-4 */
static void an_exclusive_server_is_the_workers_own(void **state)
{
	struct usher *u = *state;

	listen_start(u, 2, "");
	int port = listen_any(0, "a");
	crew_say(&crew, 1, "listen own port 127.0.0.1 %d exclusive", port);
	listen_expect_error(1, "own", "EADDRINUSE");

	crew_say(&crew, 0, "listen own port 127.0.0.1 0 exclusive");
	crew_say(&crew, 1, "listen own port 127.0.0.1 0 exclusive");
	int mine = listen_heard(0, "own"), others = listen_heard(1, "own");
	assert_int_not_equal(mine, others);
	crew_say(&crew, 0, "listen b port 127.0.0.1 %d", others);
	listen_expect_error(0, "b", "EADDRINUSE");

	/* It is said with each call, not once for the server. */
	listen_close(1, "own");
	crew_say(&crew, 1, "listen own port 127.0.0.1 0");
	assert_int_equal(listen_heard(1, "own"), port);
	listen_close(0, "a");
	listen_close(0, "own");
	listen_close(1, "own");
}

/* LS-5 */
static void an_error_is_told_to_each_and_the_next_attempt_is_a_new_one(void **state)
{
	struct usher *u = *state;

	listen_start(u, 3, "");
	int port = listen_free_port(2);
	crew_say(&crew, 2, "listen own port 127.0.0.1 %d exclusive", port);
	listen_heard(2, "own");
	for (size_t mate = 0; mate < 2; mate++) {
		crew_say(&crew, mate, "listen a port 127.0.0.1 %d again", port);
		listen_expect_error(mate, "a", "EADDRINUSE");
		listen_expect_error(mate, "a", "EADDRINUSE");
	}
	listen_close(2, "own");
	for (size_t mate = 0; mate < 2; mate++)
		listen_on(mate, "a", port);
	for (size_t mate = 0; mate < 2; mate++)
		listen_close(mate, "a");
}

/* LS-5: a name that nobody knows is the error of the lookup. */
static void a_name_is_looked_up_by_the_supervisor(void **state)
{
	struct usher *u = *state;

	listen_start(u, 2, "");
	crew_say(&crew, 0, "listen a port localhost 0");
	crew_say(&crew, 1, "listen a port localhost 0");
	int port = listen_heard(0, "a");
	assert_int_equal(listen_heard(1, "a"), port);
	crew_say(&crew, 0, "listen b port no..such.host 80");
	listen_expect_error(0, "b", "");
	listen_close(0, "a");
	listen_close(1, "a");
}

/* LS-7, KF-3 */
static void the_options_of_the_first_win_and_others_are_noted(void **state)
{
	struct usher *u = *state;

	listen_start(u, 2, "");
	int port = listen_free_port(0);
	crew_say(&crew, 0, "listen a port 127.0.0.1 %d backlog=5", port);
	listen_heard(0, "a");
	crew_say(&crew, 1, "listen a port 127.0.0.1 %d backlog=7", port);
	listen_heard(1, "a");
	assert_true(usher_logs(u, "wants another backlog on 127.0.0.1:"));
	listen_close(0, "a");
	listen_close(1, "a");
}

/* LS-8 */
static void a_worker_that_closes_or_dies_leaves_the_others_undisturbed(void **state)
{
	struct usher *u = *state;

	listen_start(u, 2, "");
	int port = listen_any(0, "a");
	assert_int_equal(listen_any(1, "a"), port);
	/* Nobody accepts: what waits in the queue is not the first one's. */
	kernel_stop(crew.mates[1].pid);
	kernel_stop(crew.mates[0].pid);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	crew_kill(&crew, 0);
	kernel_resume(crew.mates[1].pid);
	assert_int_equal(listen_greeter(client), crew.mates[1].pid);

	crew_await(&crew, 1);
	assert_int_equal(listen_any(2, "a"), port);
	listen_close(2, "a");
	AUTO_CLOSE int another = connect_tcp("127.0.0.1", port);
	assert_int_equal(listen_greeter(another), crew.mates[1].pid);
	crew_say(&crew, 1, "close a");
	listen_expect_refused(port);
}

/* LS-9: whoever is awake accepts, and a stopped one keeps nobody waiting. */
static void a_stopped_worker_keeps_no_client_waiting(void **state)
{
	struct usher *u = *state;
	int clients[20];

	listen_start(u, 3, "");
	int port = listen_any(0, "a");
	listen_any(1, "a");
	listen_any(2, "a");
	kernel_stop(crew.mates[1].pid);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = connect_tcp("127.0.0.1", port);
		assert_int_not_equal(listen_greeter(clients[i]), crew.mates[1].pid);
	}
	kernel_resume(crew.mates[1].pid);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		close(clients[i]);
	for (size_t mate = 0; mate < 3; mate++)
		listen_close(mate, "a");
}

/* DF-9 */
static void ipv6_only_is_honoured_in_a_worker_without_a_host(void **state)
{
	struct usher *u = *state;

	listen_start(u, 1, "");
	crew_say(&crew, 0, "listen a port - 0 ipv6_only");
	int port = listen_heard(0, "a");
	expect_tcp_refused("127.0.0.1", port);
	listen_expect_greeting("::1", port);
	listen_close(0, "a");
}

/* --- the end of workers ---------------------------------------------------------------------- */

/* DF-11: nobody is left who would take the answer. */
static void a_listen_that_its_worker_did_not_live_to_see_harms_nobody(void **state)
{
	struct usher *u = *state;

	listen_start(u, 1, "");
	kernel_stop(u->process.pid);
	crew_say(&crew, 0, "listen_now a port 127.0.0.1 0");
	crew_hear(&crew, 0, "a now nowhere");
	crew_kill(&crew, 0);
	usher_signal(u, SIGCONT);

	crew_await(&crew, 1);
	listen_expect_greeting("127.0.0.1", listen_any(1, "a"));
	listen_close(1, "a");
}

/* WK-6 */
static void a_worker_that_disconnects_gets_an_error(void **state)
{
	struct usher *u = *state;

	listen_start(u, 2, "");
	int port = listen_any(0, "a");
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	listen_greeter(client);
	crew_say(&crew, 0, "drain");
	crew_say(&crew, 0, "listen b port 127.0.0.1 0");
	crew_hear(&crew, 0, "b refused ESHUTDOWN");

	/* WK-5: new clients are refused at once, though it still has one. */
	listen_expect_refused(port);
	close(take_fd(&client));
	crew_expect_gone(&crew, 0);
	crew_await(&crew, 1);
}

/* DF-2: close, and listen again at once, tells nothing of the first time. */
static void closing_and_listening_at_once_is_one_story(void **state)
{
	struct usher *u = *state;

	listen_start(u, 1, "");
	int port = listen_free_port(0);
	for (int i = 0; i < 200; i++) {
		crew_say(&crew, 0, "listen a port 127.0.0.1 %d\nclose a", port);
		crew_hear(&crew, 0, "a closed");
		crew_say(&crew, 0, "listen b path @%s\nclose b", u->folder);
		crew_hear(&crew, 0, "b closed");
		/* It may be far ahead of usherd, which refuses it more than 256 at a time. */
		if (i % 50 == 49) {
			crew_say(&crew, 0, "listen b path @%s", u->folder);
			crew_hear(&crew, 0, "b listening @");
			listen_close(0, "b");
		}
	}
	listen_on(0, "a", port);
	listen_expect_greeting("127.0.0.1", port);
	listen_close(0, "a");
	listen_expect_refused(port);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTEN_TEST(a_server_does_not_listen_before_the_supervisor_has_answered),
		LISTEN_TEST(the_same_turn_of_port_0_is_one_port_for_all),
		LISTEN_TEST(an_address_that_is_spelt_differently_is_in_use),
		LISTEN_TEST(a_fixed_port_is_joined_by_others_and_taken_twice_by_nobody),
		LISTEN_TEST(an_exclusive_server_is_the_workers_own),
		LISTEN_TEST(an_error_is_told_to_each_and_the_next_attempt_is_a_new_one),
		LISTEN_TEST(a_name_is_looked_up_by_the_supervisor),
		LISTEN_TEST(the_options_of_the_first_win_and_others_are_noted),
		LISTEN_TEST(a_worker_that_closes_or_dies_leaves_the_others_undisturbed),
		LISTEN_TEST(a_stopped_worker_keeps_no_client_waiting),
		LISTEN_TEST(ipv6_only_is_honoured_in_a_worker_without_a_host),
		LISTEN_TEST(a_listen_that_its_worker_did_not_live_to_see_harms_nobody),
		LISTEN_TEST(a_worker_that_disconnects_gets_an_error),
		LISTEN_TEST(closing_and_listening_at_once_is_one_story),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
