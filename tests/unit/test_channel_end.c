/* Every way in which a channel ends: it is told once, and nothing is left open. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/fdpass.h"
#include "common/macros.h"
#include "tests/helpers/channel_world.h"
#include "tests/helpers/fds.h"

static void lost_peer_is_told_once(void **state)
{
	struct world *w = *state;

	assert_true(world_send_hello(w, 0, 0));
	close_fd(take_fd(&w->theirs));
	world_assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(w->supervisor.count, 1);
	assert_int_equal(world_send_count(w, 1), -EPIPE);
	world_run_ready(w);
	assert_int_equal(w->supervisor.lost_count, 1);
}

static void lost_peer_is_told_once_with_messages_waiting_for_it(void **state)
{
	struct world *w = *state;

	world_fill(w);
	close_fd(take_fd(&w->theirs));
	world_assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(world_send_count(w, 1), -EPIPE);
}

/* A peer that left messages unread resets the connection, yet what it said before is there. */
static void last_words_of_a_peer_that_did_not_listen_are_heard(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_send_count(w, 0), 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(world_send_hello(w, i, 0));
	close_fd(take_fd(&w->theirs));
	world_assert_lost_once(w, &w->supervisor, 0);
	world_assert_numbers(&w->supervisor, 3);
}

static void last_words_are_heard_with_messages_waiting(void **state)
{
	struct world *w = *state;

	world_fill(w);
	for (size_t i = 0; i < 3; i++)
		assert_true(world_send_hello(w, i, 0));
	close_fd(take_fd(&w->theirs));
	world_assert_lost_once(w, &w->supervisor, 0);
	world_assert_numbers(&w->supervisor, 3);
}

static void last_words_are_heard_when_a_send_notices_first(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_send_count(w, 0), 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(world_send_hello(w, i, 0));
	close_fd(take_fd(&w->theirs));
	assert_int_equal(world_send_count(w, 1), -EPIPE);
	assert_int_equal(world_send_count(w, 2), -EPIPE);
	assert_int_equal(w->supervisor.lost_count, 0); /* not inside the call */
	world_assert_lost_once(w, &w->supervisor, 0);
	world_assert_numbers(&w->supervisor, 3);
}

/* A peer may shut its reading side and stay: then nothing can be sent to it any more. */
static void peer_that_takes_no_more_is_lost_at_the_next_send(void **state)
{
	struct world *w = *state;

	assert_int_equal(shutdown(w->theirs, SHUT_RD), 0);
	world_run_ready(w);
	assert_int_equal(world_send_count(w, 0), -EPIPE);
	world_assert_lost_once(w, &w->supervisor, 0);
}

static void bad_message_is_told_once_and_nothing_after_it_is_heard(void **state)
{
	static const uint32_t bad[][4] = {
		{0}, {IPC_START}, {IPC_COUNT, 1}, {IPC_TYPE_END}, {IPC_HELLO, 1, 2}, {UINT32_MAX},
	};
	static const size_t sizes[] = {4, 4, 8, 4, 12, 4};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		void *fresh = NULL;

		assert_int_equal(world_setup(&fresh), 0);
		struct world *w = fresh;
		assert_true(world_send_hello(w, 0, 0));
		assert_int_equal(world_send_raw(w, bad[i], sizes[i], 0), sizes[i]);
		assert_true(world_send_hello(w, 1, 0));
		world_assert_lost_once(w, &w->supervisor, -EPROTO);
		world_assert_numbers(&w->supervisor, 1);
		assert_int_equal(world_send_count(w, 1), -EPIPE);
		assert_int_equal(world_teardown(&fresh), 0);
	}
}

static void every_size_below_a_whole_message_is_refused(void **state)
{
	static const uint32_t hello[] = {IPC_HELLO, IPC_VERSION};

	for (size_t size = 1; size < sizeof(hello); size++) {
		void *fresh = NULL;

		assert_int_equal(world_setup(&fresh), 0);
		struct world *w = fresh;
		assert_int_equal(world_send_raw(w, hello, size, 0), size);
		world_assert_lost_once(w, &w->supervisor, -EPROTO);
		assert_int_equal(world_teardown(&fresh), 0);
	}
}

static void message_that_is_too_long_is_refused(void **state)
{
	static const uint32_t packet[IPC_PACKET_MAX / sizeof(uint32_t) + 1] = {IPC_COUNTED};
	struct world *w = *state;
	size_t before = open_fd_count();

	assert_int_equal(world_send_raw(w, packet, IPC_PACKET_MAX + 1, 1), IPC_PACKET_MAX + 1);
	world_assert_lost_once(w, &w->supervisor, -EMSGSIZE);
	assert_int_equal(w->supervisor.count, 0);
	assert_int_equal(open_fd_count(), before - 1);
}

static void empty_packet_ends_the_channel(void **state)
{
	struct world *w = *state;

	assert_int_equal(world_send_raw(w, "", 0, 0), 0);
	assert_true(world_send_hello(w, 0, 0));
	world_assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(w->supervisor.count, 0);
}

static void descriptor_of_an_empty_packet_is_closed(void **state)
{
	struct world *w = *state;
	size_t before = open_fd_count();

	assert_int_equal(world_send_raw(w, "", 0, 1), 0);
	world_assert_lost_once(w, &w->supervisor, -EPROTO);
	assert_int_equal(open_fd_count(), before - 1);
}

/* As libev does when the kernel refuses to watch one descriptor more. */
static void a_channel_that_cannot_be_watched_is_lost(void **state)
{
	struct world *w = *state;

	ev_io_stop(w->loop, &w->supervisor.channel.reader);
	ev_feed_event(w->loop, &w->supervisor.channel.reader, EV_ERROR | EV_READ | EV_WRITE);
	world_run_ready(w);
	world_assert_lost_once(w, &w->supervisor, -ENOMEM);
}

static void close_channel(struct end *end, struct ipc_message *message)
{
	channel_close(&end->channel);
}

static void callback_may_close_and_hears_nothing_more(void **state)
{
	struct world *w = *state;

	w->supervisor.react = close_channel;
	for (size_t i = 0; i < 3; i++)
		assert_true(world_send_hello(w, i, 0));
	WORLD_RUN_UNTIL(w, w->supervisor.count > 0);
	world_run_ready(w);
	assert_int_equal(w->supervisor.count, 1);
	assert_int_equal(w->supervisor.lost_count, 0);
	assert_int_equal(world_send_hello(w, 3, 0), false);
}

static void callback_may_close_while_a_descriptor_is_before_it(void **state)
{
	struct world *w = *state;
	size_t before = open_fd_count();

	w->worker.react = close_channel;
	world_open_worker(w);
	assert_int_equal(world_send_serve(w, 0, STDIN_FILENO), 0);
	assert_int_equal(world_send_serve(w, 1, STDIN_FILENO), 0);
	WORLD_RUN_UNTIL(w, w->worker.count > 0);
	assert_int_equal(w->worker.count, 1);
	world_assert_lost_once(w, &w->supervisor, 0);
	assert_int_equal(open_fd_count(), before - 2);
}

static void closed_channel_may_be_closed_again_and_sends_nothing(void **state)
{
	struct world *w = *state;
	AUTO_CLOSE int fd = -1;

	channel_close(&w->supervisor.channel);
	fd = eventfd(0, EFD_CLOEXEC); /* may have the number of the channel's socket */
	channel_close(&w->supervisor.channel);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(world_send_count(w, 0), -EPIPE);
	assert_int_equal(world_send_serve(w, 0, fd), -EPIPE);
	assert_int_equal(channel_tell(&w->supervisor.channel, IPC_START, NULL, NULL, 0, NULL), 0);
	assert_int_not_equal(fcntl(fd, F_GETFD), -1);
	world_run_ready(w);
	assert_int_equal(w->supervisor.lost_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, world_setup, world_teardown)
		TEST(lost_peer_is_told_once),
		TEST(lost_peer_is_told_once_with_messages_waiting_for_it),
		TEST(last_words_of_a_peer_that_did_not_listen_are_heard),
		TEST(last_words_are_heard_with_messages_waiting),
		TEST(last_words_are_heard_when_a_send_notices_first),
		TEST(peer_that_takes_no_more_is_lost_at_the_next_send),
		TEST(bad_message_is_told_once_and_nothing_after_it_is_heard),
		TEST(every_size_below_a_whole_message_is_refused),
		TEST(message_that_is_too_long_is_refused),
		TEST(empty_packet_ends_the_channel),
		TEST(a_channel_that_cannot_be_watched_is_lost),
		TEST(descriptor_of_an_empty_packet_is_closed),
		TEST(callback_may_close_and_hears_nothing_more),
		TEST(callback_may_close_while_a_descriptor_is_before_it),
		TEST(closed_channel_may_be_closed_again_and_sends_nothing),
#undef TEST
	};

	alarm(120);
	return cmocka_run_group_tests_name("channel_end", tests, NULL, NULL);
}
