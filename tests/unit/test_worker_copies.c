/* A worker's connections end though the supervisor may still have a copy of them. */
#include "tests/helpers/play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"
#include "worker/service.h"

/* KF-2: closed here alone, it would not end for its client. */
static void a_close_while_the_supervisor_has_a_copy_rings(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	AUTO_CLOSE int client = play_hand_off_one(p, PLAY_LISTENER);
	play_run_ready(p);
	play_expect_silence(p);
	net_server_close_all_connections(LIST_FIRST(&p->worker.services)->server);
	play_expect_bell(p, 1);
	play_run_ready(p);
	assert_false(wait_readable(client, 0));
	play_let_go(p);
	client_expect_end(client);
	play_expect_silence(p);
}

/* Many that end at once make it look once. */
static void one_bell_is_enough_for_all_that_were_taken_before(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	AUTO_CLOSE int one = play_hand_off_one(p, PLAY_LISTENER);
	AUTO_CLOSE int two = play_hand_off_one(p, PLAY_LISTENER);
	play_run_ready(p);
	net_server_close_all_connections(LIST_FIRST(&p->worker.services)->server);
	play_expect_bell(p, 2);
	AUTO_CLOSE int three = play_hand_off_one(p, PLAY_LISTENER);
	play_run_ready(p);
	play_expect_silence(p);
	net_server_close_all_connections(LIST_FIRST(&p->worker.services)->server);
	play_expect_bell(p, 3);
}

/* KF-1: what stays in the set after its close makes libev build a new one, of all connections. */
static void a_copy_elsewhere_leaves_nothing_in_the_set(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	size_t before = kernel_watched_fds(getpid());
	AUTO_CLOSE int client = play_hand_off_one(p, PLAY_LISTENER);
	play_run_ready(p);
	assert_int_equal(kernel_watched_fds(getpid()), before + 1);
	net_server_close_all_connections(LIST_FIRST(&p->worker.services)->server);
	assert_int_equal(kernel_watched_fds(getpid()), before);
}

/* Ends the connection of client from both sides. */
static void end_well(struct play *p, int client)
{
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	play_run_until_heard(p, client);
	client_expect_end(client);
}

/* Nobody waits for it, but each such end is dearer than one without a copy. */
static void ends_that_pass_a_copy_ring_when_they_gather(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	for (int i = 0; i < 3; i++) {
		AUTO_CLOSE int client = play_hand_off_one(p, PLAY_LISTENER);
		play_run_ready(p);
		end_well(p, client);
		play_expect_silence(p);
		play_let_go(p);
	}
	AUTO_CLOSE int one = play_hand_off_one(p, PLAY_LISTENER);
	AUTO_CLOSE int two = play_hand_off_one(p, PLAY_LISTENER);
	play_run_ready(p);
	end_well(p, one);
	play_expect_silence(p);
	end_well(p, two);
	play_expect_bell(p, 5);
}

/* EN-3, KF-2: an end reaches the client also while the supervisor sleeps over its copy. */
static void an_end_passes_the_supervisors_copy(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	AUTO_CLOSE int client = play_hand_off_one(p, PLAY_LISTENER);
	play_run_ready(p);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	play_run_until_heard(p, client);
	client_expect_end(client);
	play_expect_silence(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY_TEST(a_close_while_the_supervisor_has_a_copy_rings),
		PLAY_TEST(one_bell_is_enough_for_all_that_were_taken_before),
		PLAY_TEST(a_copy_elsewhere_leaves_nothing_in_the_set),
		PLAY_TEST(ends_that_pass_a_copy_ring_when_they_gather),
		PLAY_TEST(an_end_passes_the_supervisors_copy),
	};

	alarm(60);
	return cmocka_run_group_tests_name("worker copies", tests, NULL, NULL);
}
