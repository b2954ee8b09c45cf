/* A worker says how many connections it has, when it is asked and when that changes, whatever else
 * the same wake-up brings. */
#include "tests/helpers/play.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "worker/service.h"

/* Whoever chooses by the number of connections need not be told of each. */
static void each_end_is_counted_once(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	AUTO_CLOSE int one = play_hand_off(p, PLAY_LISTENER);
	AUTO_CLOSE int two = play_hand_off(p, PLAY_LISTENER);
	AUTO_CLOSE int unknown = play_hand_off(p, PLAY_LISTENER + 1);
	play_run_ready(p);
	assert_int_equal(claims_ended(&p->claims, PLAY_TALLY), 0);
	client_hang_up(take_fd(&one));
	play_run_ready(p);
	assert_int_equal(claims_ended(&p->claims, PLAY_TALLY), 1);

	/* The server has no room: nobody is served, and nobody stays. */
	net_server_set_max_connections(LIST_FIRST(&p->worker.services)->server, 1);
	AUTO_CLOSE int three = play_hand_off(p, PLAY_LISTENER);
	play_run_until_heard(p, three);
	client_expect_end(three);
	assert_int_equal(claims_ended(&p->claims, PLAY_TALLY), 2);
	net_server_close_all_connections(LIST_FIRST(&p->worker.services)->server);
	assert_int_equal(claims_ended(&p->claims, PLAY_TALLY), 3);
}

/* One end of a pair is the client, whose descriptor is added to ret. */
static int accepted_one(struct clients *ret)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	ret->fds[ret->count++] = pair[0];
	return pair[1];
}

/* Hands off so many at once, which need no port. */
static void hand_off_many(struct play *p, struct clients *ret, size_t count)
{
	const struct sockaddr from = {.sa_family = AF_UNIX};
	struct ipc_handoff body = {.listener = PLAY_LISTENER, .first = p->next};
	struct ipc_peer peers[IPC_FDS_MAX];
	int fds[IPC_FDS_MAX];

	assert_true(count <= IPC_FDS_MAX);
	ret->fds = reallocarray(ret->fds, ret->count + count, sizeof(*ret->fds));
	assert_non_null(ret->fds);
	for (size_t i = 0; i < count; i++) {
		fds[i] = accepted_one(ret);
		peers[i] = (struct ipc_peer){.size = sizeof(from.sa_family)};
		memcpy(peers[i].address, &from, sizeof(from));
	}
	play_say(p, IPC_HANDOFF, &body, peers, count, fds);
	for (size_t i = 0; i < count; i++)
		close_fd(fds[i]);
	p->next += (uint32_t)count;
}

/* Who asks sees at once that there is room: the next ones may come in the same wake-up. */
static void who_is_asked_for_a_count_has_room_for_the_next(void **state)
{
	const struct ipc_count count = {.request = 1};
	const struct ipc_counted_row *rows;
	struct clients clients = {0};
	struct play *p = *state;
	struct ipc_message message;

	play_announce(p, HANDLER_REPLY, false);
	hand_off_many(p, &clients, 128);
	hand_off_many(p, &clients, IPC_IN_FLIGHT_MAX - 128);
	play_say(p, IPC_COUNT, &count, NULL, 0, NULL);
	hand_off_many(p, &clients, 64);
	play_run_ready(p);
	assert_int_equal(p->worker.status, 0);
	play_expect_taken(p, IPC_IN_FLIGHT_MAX + 64);
	assert_true(play_hear(p, IPC_COUNTED, &message));
	rows = message.tail;
	assert_int_equal(rows->connections, IPC_IN_FLIGHT_MAX);
	for (size_t i = 0; i < clients.count; i++)
		client_expect(clients.fds[i], "hello");
	clients_done(&clients);
}

/* DF-7: what was counted as taken is served, and counted when it ends; the rest may be another
 * worker's. */
static void a_release_right_after_a_count_loses_nobody(void **state)
{
	const struct ipc_release release = {.listener = PLAY_LISTENER};
	const struct ipc_count count = {.request = 1};
	struct clients clients = {0};
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	hand_off_many(p, &clients, 2);
	play_say(p, IPC_COUNT, &count, NULL, 0, NULL);
	hand_off_many(p, &clients, 1);
	play_say(p, IPC_RELEASE, &release, NULL, 0, NULL);
	play_run_ready(p);
	play_expect_taken(p, 3);
	assert_int_equal(claims_reason(&p->claims, 1), 0);
	assert_int_equal(claims_reason(&p->claims, 2), 0);
	assert_int_equal(claims_reason(&p->claims, 3), ESHUTDOWN);
	client_send(clients.fds[0], "x");
	play_run_until_heard(p, clients.fds[0]);
	client_expect(clients.fds[0], "x");
	assert_int_equal(claims_ended(&p->claims, PLAY_TALLY), 0);
	clients_done(&clients);
	play_run_ready(p);
	assert_int_equal(claims_ended(&p->claims, PLAY_TALLY), 2);
}

/* Those that end while others are still taken are told with them. */
static void one_bell_is_enough_for_a_wakeup(void **state)
{
	struct clients clients = {0};
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, true);
	hand_off_many(p, &clients, 3);
	net_server_set_max_connections(LIST_FIRST(&p->worker.services)->server, 1);
	play_run_ready(p);
	play_expect_bell(p, 3);
	clients_done(&clients);
}

static void expect_told(struct play *p, uint32_t connections)
{
	const struct ipc_counted_row *rows;
	struct ipc_message message;

	assert_true(play_hear(p, IPC_PROGRESS, &message));
	assert_int_equal(message.tail_count, 1);
	rows = message.tail;
	assert_int_equal(rows->listener, PLAY_LISTENER);
	assert_int_equal(rows->connections, connections);
}

static void the_number_of_connections_is_told_when_it_changes(void **state)
{
	struct play *p = *state;
	struct ipc_message message;

	play_announce(p, HANDLER_ECHO, true);
	AUTO_CLOSE int one = play_hand_off(p, PLAY_LISTENER);
	AUTO_CLOSE int two = play_hand_off(p, PLAY_LISTENER);
	play_run_ready(p);
	expect_told(p, 2);
	assert_false(play_hear(p, IPC_PROGRESS, &message));
	client_send(two, "x");
	play_run_until_heard(p, two);
	client_expect(two, "x");
	assert_false(play_hear(p, IPC_PROGRESS, &message));
	client_hang_up(take_fd(&one));
	play_run_ready(p);
	expect_told(p, 1);
	assert_int_equal(p->worker.channel.queued_messages, 0);
}

/* Nothing else would wake the worker to tell that a permit is free. */
static void who_has_left_already_is_told_before_the_loop_sleeps(void **state)
{
	const struct ipc_adopt adopt = {
		.listener = PLAY_LISTENER, .handler = HANDLER_ECHO, .name_size = 2, .metered = 1};
	const struct ipc_held_row *row;
	struct play *p = *state;
	struct ipc_message message;

	play_say(p, IPC_ADOPT, &adopt, "it", 2, NULL);
	play_run_ready(p);
	client_hang_up(play_hand_off_one(p, PLAY_LISTENER));
	ev_run(p->loop, EVRUN_NOWAIT); /* it comes */
	ev_run(p->loop,
	       EVRUN_NOWAIT); /* it is taken, and its end is found, before the loop waits */
	assert_true(play_hear(p, IPC_HELD, &message));
	assert_int_equal(message.tail_count, 1);
	row = message.tail;
	assert_int_equal(row->ended, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY_TEST(each_end_is_counted_once),
		PLAY_TEST(who_is_asked_for_a_count_has_room_for_the_next),
		PLAY_TEST(a_release_right_after_a_count_loses_nobody),
		PLAY_TEST(one_bell_is_enough_for_a_wakeup),
		PLAY_TEST(the_number_of_connections_is_told_when_it_changes),
		PLAY_TEST(who_has_left_already_is_told_before_the_loop_sleeps),
	};

	alarm(60);
	return cmocka_run_group_tests_name("worker count", tests, NULL, NULL);
}
