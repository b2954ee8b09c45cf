/* A worker takes what comes accepted first and serves it then, keeps none that may be another's,
 * and the supervisor is told when it must look, and only then. */
#include "tests/helpers/play.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/wait.h"
#include "worker/service.h"

/* Nobody is woken for it. */
static void what_is_taken_is_told_by_the_page_alone(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	AUTO_CLOSE int client = play_hand_off(p, PLAY_LISTENER);
	client_send(client, "x");
	play_run_until_heard(p, client);
	play_expect_taken(p, 1);
	client_expect(client, "x");
	assert_int_equal(claims_reason(&p->claims, 1), 0);
	client_hang_up(take_fd(&client));
	play_run_ready(p);
	play_expect_silence(p);
}

static void who_waits_for_room_is_told_when_there_is_some(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	claims_want_bell(&p->claims, true);
	play_run_ready(p);
	play_expect_silence(p);
	AUTO_CLOSE int client = play_hand_off(p, PLAY_LISTENER);
	play_run_ready(p);
	play_expect_bell(p, 1);
}

/* IP-4: whoever was slow may have lost the connection, and then nobody here may touch it. */
static void what_was_withdrawn_is_not_touched(void **state)
{
	struct claims_state now = {0};
	struct play *p = *state;

	play_announce(p, HANDLER_REPLY, false);
	AUTO_CLOSE int lost = play_hand_off_one(p, PLAY_LISTENER);
	assert_true(claims_withdraw(&p->claims, &now, 1));
	play_run_ready(p);
	play_expect_bell(p, 1);
	assert_false(wait_readable(lost, 0));
	AUTO_CLOSE int client = play_hand_off(p, PLAY_LISTENER);
	play_run_until_heard(p, client);
	client_expect(client, "hello");
	assert_int_equal(claims_reason(&p->claims, 2), 0);
}

/* The supervisor may leave messages unread: the connections need not wait for it. */
static void who_does_not_read_holds_up_no_connection(void **state)
{
	struct play *p = *state;
	const struct ipc_counted counted = {.last = 1};
	struct ipc_message message;

	play_announce(p, HANDLER_REPLY, false);
	while (p->worker.channel.queued_messages == 0)
		assert_int_equal(
			channel_send(&p->worker.channel, IPC_COUNTED, &counted, NULL, 0, NULL), 0);
	claims_want_bell(&p->claims, true);
	AUTO_CLOSE int client = play_hand_off(p, PLAY_LISTENER);
	play_run_until_heard(p, client);
	client_expect(client, "hello");
	assert_int_equal(p->worker.channel.queued_messages, 1);

	/* The channel has room again, and the bell was not forgotten. */
	while (!play_hear(p, IPC_PROGRESS, &message))
		play_run_ready(p);
	assert_int_equal(((const struct ipc_progress *)message.body)->taken, 1);
}

static void expect_refused(struct play *p, uint32_t number, int reason)
{
	play_expect_bell(p, number);
	play_expect_taken(p, number);
	assert_int_equal(claims_reason(&p->claims, number), reason);
}

static void what_comes_for_nobody_is_refused(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	AUTO_CLOSE int unknown = play_hand_off(p, PLAY_LISTENER + 1);
	play_run_ready(p);
	expect_refused(p, 1, ESHUTDOWN);
	client_expect_end(unknown);
}

/* DF-7 */
static void a_drain_takes_what_came_before_and_refuses_what_comes_after(void **state)
{
	const struct ipc_drain drain = {.timeout_ms = 60000};
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	AUTO_CLOSE int before = play_hand_off(p, PLAY_LISTENER);
	play_say(p, IPC_DRAIN, &drain, NULL, 0, NULL);
	AUTO_CLOSE int after = play_hand_off(p, PLAY_LISTENER);
	play_run_ready(p);
	expect_refused(p, 2, ESHUTDOWN);
	assert_int_equal(claims_reason(&p->claims, 1), 0);
	client_expect_end(after);
	client_send(before, "x");
	play_run_until_heard(p, before);
	client_expect(before, "x");
}

/* Runs right after the turn's new connections were made, and before one is read from. */
struct look {
	ev_prepare watcher;
	struct play *play;
	struct net_address remote;
};

static void on_look(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct look *look = CONTAINER_OF(watcher, struct look, watcher);
	const struct service *service = LIST_FIRST(&look->play->worker.services);
	const struct net_socket *socket = LIST_FIRST(&service->server->sockets);

	if (socket)
		assert_int_equal(net_socket_remote_address(socket, &look->remote), 0);
}

/* AC-8: which may have gone since, so that the kernel does not know it any more. */
static void the_peer_is_the_one_that_the_supervisor_saw(void **state)
{
	struct play *p = *state;
	struct look look = {.play = p};

	play_announce(p, HANDLER_ECHO, false);
	ev_prepare_init(&look.watcher, on_look);
	ev_set_priority(&look.watcher, EV_MINPRI);
	ev_prepare_start(p->loop, &look.watcher);
	AUTO_CLOSE int client = play_hand_off_one(p, PLAY_LISTENER);
	play_run_ready(p);
	ev_prepare_stop(p->loop, &look.watcher);
	assert_string_equal(look.remote.address, "10.0.0.1");
	assert_int_equal(look.remote.port, 4711);
}

/* What supervisors of the same version do not send. */
static void a_gap_in_the_numbers_ends_the_worker(void **state)
{
	struct play *p = *state;

	play_announce(p, HANDLER_ECHO, false);
	p->next++;
	AUTO_CLOSE int client = play_hand_off(p, PLAY_LISTENER);
	play_run_ready(p);
	assert_int_not_equal(p->worker.status, 0);
	client_expect_end(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY_TEST(what_is_taken_is_told_by_the_page_alone),
		PLAY_TEST(who_waits_for_room_is_told_when_there_is_some),
		PLAY_TEST(what_was_withdrawn_is_not_touched),
		PLAY_TEST(who_does_not_read_holds_up_no_connection),
		PLAY_TEST(what_comes_for_nobody_is_refused),
		PLAY_TEST(a_drain_takes_what_came_before_and_refuses_what_comes_after),
		PLAY_TEST(the_peer_is_the_one_that_the_supervisor_saw),
		PLAY_TEST(a_gap_in_the_numbers_ends_the_worker),
	};

	alarm(60);
	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
