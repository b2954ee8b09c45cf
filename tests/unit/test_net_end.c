/* Ending, half-open connections, destroying, resetting, and the discipline of callbacks. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

static char big[8 << 20];

/* EN-1: data, end, and the completion before on_finish. */
static void end_sends_data_then_our_end_then_tells(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_int_equal(net_socket_end(stage->client.socket, "bye", 3, actor_done, &stage->client),
			 0);
	assert_string_equal(stage->story.text, "");
	story_run_until(&stage->story, "S.end");
	assert_true(story_in_order(&stage->story, "C.done:0", "C.finish"));
	assert_true(story_in_order(&stage->story, "S.data:3", "S.end"));
}

/* EN-1: queued data first. */
static void end_waits_for_what_is_queued(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "C.finish"));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.end");
	assert_int_equal(stage->guest.received, sizeof(big));
}

/* EN-1: while connecting, the end waits for the connection. */
static void end_before_connect_is_done_after_it(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_end(stage->client.socket, "hi", 2, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_true(story_in_order(&stage->story, "C.ready", "C.finish"));
	assert_true(story_has(&stage->story, "S.data:2"));
}

static void answer_in_end(struct actor *actor)
{
	assert_int_equal(net_socket_write(actor->socket, "late", 4, NULL, NULL), 1);
}

/* EN-2 */
static void inside_the_end_one_may_still_write(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.on[ON_END] = answer_in_end;
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_true(story_has(&stage->story, "C.data:4"));
}

/* EN-3, CB-6 */
static void the_events_of_an_end_come_in_order(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_string_equal(stage->story.text, "C.finish S.end S.finish S.close C.end C.close ");
}

/* EN-3 */
static void the_server_may_end_first(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->guest.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.close");
	assert_string_equal(stage->story.text, "S.finish C.end C.finish C.close S.end S.close ");
}

static void half_open(struct stage *stage)
{
	struct actor *s = &stage->guest;

	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_OPEN);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "S.finish"));
	assert_int_equal(net_socket_ready_state(s->socket), NET_WRITE_ONLY);
	assert_int_equal(net_socket_ready_state(stage->client.socket), NET_READ_ONLY);
	net_socket_write(s->socket, "late", 4, NULL, NULL);
	story_run_until(&stage->story, "C.data:4");
	net_socket_end(s->socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_true(story_in_order(&stage->story, "C.end", "C.close"));
	assert_true(story_has(&stage->story, "S.close"));
}

/* EN-4 */
static void half_open_the_other_side_lives_until_its_own_end(void **state)
{
	const struct net_server_options options = {.allow_half_open = true};
	struct stage *stage = *state;

	stage_open(stage, &options);
	stage_connect(stage, NULL);
	half_open(stage);
}

/* EN-4, KF-8 */
static void unix_sockets_are_half_open_as_well(void **state)
{
	const struct net_server_options options = {.allow_half_open = true};
	struct stage *stage = *state;

	stage_open_path(stage, &options);
	stage_connect(stage, NULL);
	half_open(stage);
}

/* EN-5, ER-12 */
static void a_second_end_shares_the_outcome(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_connected(stage);
	net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL);
	assert_int_equal(net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client),
			 0);
	assert_int_equal(net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client),
			 0);
	net_socket_resume(stage->guest.socket);
	net_socket_pause(stage->client.socket);
	story_run_until(&stage->story, "C.finish");
	assert_string_equal(stage->story.text, "C.done:0 C.done:0 C.finish ");
	assert_int_equal(net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client),
			 0);
	story_run_until(&stage->story, "C.done:ERR_STREAM_ALREADY_FINISHED");
	assert_false(net_socket_destroyed(stage->client.socket));
}

/* EN-5 */
static void a_second_end_with_data_destroys(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	assert_int_equal(net_socket_end(stage->client.socket, "x", 1, NULL, NULL),
			 NET_ERR_STREAM_WRITE_AFTER_END);
	story_run_until(&stage->story, "C.error:ERR_STREAM_WRITE_AFTER_END");
	story_run_until(&stage->story, "C.close:error");
}

/* EN-6, CB-1, CB-6 */
static void destroy_acts_at_once_and_tells_later_and_once(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage_connected(stage);
	fd = stage->guest.socket->io.fd;
	net_socket_destroy(stage->guest.socket, -EPROTO);
	net_socket_destroy(stage->guest.socket, -EIO);
	assert_true(net_socket_destroyed(stage->guest.socket));
	assert_int_equal(net_socket_ready_state(stage->guest.socket), NET_CLOSED);
	assert_int_equal(net_server_connections(stage->host.server), 0);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_string_equal(stage->story.text, "");
	story_run_ready(&stage->story);
	assert_true(story_in_order(&stage->story, "S.error:EPROTO", "S.close:error"));
	assert_int_equal(story_count(&stage->story, "S.close:error"), 1);
	assert_false(story_has(&stage->story, "S.error:EIO"));
}

/* EN-6, CB-6 */
static void destroy_without_a_connection_is_a_close(void **state)
{
	struct stage *stage = *state;
	struct net_socket *socket;

	stage->client.story = &stage->story;
	assert_int_equal(
		net_socket_new(stage->story.loop, NULL, &actor_ops, &stage->client, &socket), 0);
	assert_true(net_socket_pending(socket));
	net_socket_destroy(socket, 0);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.close ");
}

/* CB-5: without on_error the socket is closed, and nothing else happens. */
static void an_error_without_a_listener_closes_the_socket_only(void **state)
{
	struct stage *stage = *state;
	struct net_socket_ops ops = actor_ops;

	stage_connected(stage);
	ops.on_error = NULL;
	net_socket_set_ops(stage->guest.socket, &ops, &stage->guest);
	net_socket_destroy(stage->guest.socket, -EPROTO);
	story_run_until(&stage->story, "S.close:error");
	close(plain_connect(&stage->host));
	story_run_until(&stage->story, "H.connection");
}

/* EN-7, KF-7: unread data makes our close a reset for the peer. */
static void destroy_with_unread_data_resets_the_peer(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_open(stage, NULL);
	fd = stage_plain(stage);
	plain_send(fd, "unread");
	assert_true(wait_readable(stage->guest.socket->io.fd, WAIT_MS));
	story_run_ready(&stage->story);
	net_socket_destroy(stage->guest.socket, 0);
	plain_expect_reset(fd);
	close(fd);
}

/* EN-7, KF-7 */
static void destroy_with_unread_data_resets_the_peer_of_a_path(void **state)
{
	struct stage *stage = *state;
	AUTO_CLOSE int fd = -1;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_open_path(stage, NULL);
	fd = connect_unix(stage->path);
	story_run_until(&stage->story, "H.connection");
	plain_send(fd, "unread");
	story_run_ready(&stage->story);
	net_socket_destroy(stage->guest.socket, 0);
	plain_expect_reset(fd);
}

/* EN-8 */
static void destroy_soon_sends_first(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL);
	assert_int_equal(net_socket_destroy_soon(stage->client.socket), 0);
	assert_false(net_socket_destroyed(stage->client.socket));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "C.close");
	story_run_until(&stage->story, "S.end");
	assert_int_equal(stage->guest.received, sizeof(big));
	assert_false(story_has(&stage->story, "C.end"));
}

/* EN-9 */
static void a_reset_is_one_for_the_peer_and_a_plain_close_here(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_int_equal(net_socket_reset_and_destroy(stage->client.socket), 0);
	story_run_until(&stage->story, "S.close:error");
	assert_true(story_has(&stage->story, "C.close"));
	assert_true(story_has(&stage->story, "S.error:ECONNRESET"));
	assert_string_equal(stage->guest.error_text, "read ECONNRESET");
}

/* EN-9 */
static void a_reset_while_connecting_waits_for_the_connection(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	assert_int_equal(net_socket_reset_and_destroy(stage->client.socket), 0);
	assert_false(net_socket_destroyed(stage->client.socket));
	story_run_until(&stage->story, "C.close");
	assert_false(story_has(&stage->story, "C.connect"));
	story_run_until(&stage->story, "S.error:ECONNRESET");
}

/* EN-9 */
static void a_reset_needs_an_open_tcp_connection(void **state)
{
	struct stage *stage = *state;
	struct net_socket *socket;

	assert_int_equal(net_socket_new(stage->story.loop, NULL, NULL, NULL, &socket), 0);
	assert_int_equal(net_socket_reset_and_destroy(socket), NET_ERR_SOCKET_CLOSED);
	net_socket_destroy(socket, 0);

	stage_open_path(stage, NULL);
	stage_connect(stage, NULL);
	assert_int_equal(net_socket_reset_and_destroy(stage->guest.socket),
			 NET_ERR_INVALID_HANDLE_TYPE);
	assert_false(net_socket_destroyed(stage->guest.socket));
}

/* EN-9 */
static void a_reset_after_our_end_is_refused(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	assert_int_equal(net_socket_reset_and_destroy(stage->client.socket), -EINVAL);
	story_run_until(&stage->story, "C.close");
}

/* EN-10: what was not yet told of an end is not told after destroy. */
static void destroy_may_skip_the_end(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	net_socket_destroy(stage->guest.socket, 0);
	story_run_until(&stage->story, "S.close");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "S.end"));
}

/* A socket is gone after on_close unless it is held. */
static void a_held_socket_outlives_its_close(void **state)
{
	struct stage *stage = *state;
	struct net_socket *socket;

	stage_connected(stage);
	socket = stage->client.socket;
	net_socket_hold(socket);
	net_socket_destroy(socket, 0);
	story_run_until(&stage->story, "C.close");
	assert_true(net_socket_destroyed(socket));
	assert_int_equal(net_socket_write(socket, "x", 1, actor_done, &stage->client),
			 NET_ERR_STREAM_DESTROYED);
	net_socket_release(socket);
	story_run_until(&stage->story, "C.done:ERR_STREAM_DESTROYED");
	stage->client.socket = NULL;
}

/* CB-2: over all objects of a loop, what was asked first is told first. */
static void deferred_events_keep_their_order_over_objects(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_destroy(stage->guest.socket, 0);
	net_server_get_connections(stage->host.server, host_counted, &stage->host);
	net_socket_destroy(stage->client.socket, 0);
	net_server_close(stage->host.server, NULL, NULL);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "S.close H.counted:0 C.close H.close ");
}

/* CB-4: a completion is called once. */
static void completions_are_called_once(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client);
	story_run_until(&stage->story, "C.close");
	story_run_ready(&stage->story);
	assert_int_equal(story_count(&stage->story, "C.done:0"), 1);
}

/* EN-1, WR-8: it has not finished then. */
static void a_write_after_the_end_fails_the_end_too(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, "bye", 3, actor_done, &stage->client);
	assert_int_equal(net_socket_write(stage->client.socket, "x", 1, NULL, NULL),
			 NET_ERR_STREAM_WRITE_AFTER_END);
	story_run_until(&stage->story, "C.close:error");
	assert_true(story_in_order(&stage->story, "C.error:ERR_STREAM_WRITE_AFTER_END",
				   "C.done:ERR_STREAM_WRITE_AFTER_END"));
	assert_false(story_has(&stage->story, "C.done:0"));
	assert_false(story_has(&stage->story, "C.finish"));
}

static void write_on_done(struct actor *actor)
{
	actor->on[ON_DONE] = NULL;
	net_socket_write(actor->socket, "x", 1, actor_done, actor);
}

/* EN-1, WR-8: by then it has finished. */
static void a_write_when_the_end_is_told_is_refused_in_its_turn(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->client.on[ON_DONE] = write_on_done;
	net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client);
	net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client);
	story_run_until(&stage->story, "C.close:error");
	assert_true(
		story_in_order(&stage->story, "C.done:0", "C.error:ERR_STREAM_WRITE_AFTER_END"));
	assert_int_equal(story_count(&stage->story, "C.done:0"), 2);
	assert_true(story_in_order(&stage->story, "C.error:ERR_STREAM_WRITE_AFTER_END",
				   "C.done:ERR_STREAM_WRITE_AFTER_END"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(end_sends_data_then_our_end_then_tells),
		on_stage(end_waits_for_what_is_queued),
		on_stage(end_before_connect_is_done_after_it),
		on_stage(inside_the_end_one_may_still_write),
		on_stage(the_events_of_an_end_come_in_order),
		on_stage(the_server_may_end_first),
		on_stage(half_open_the_other_side_lives_until_its_own_end),
		on_stage(unix_sockets_are_half_open_as_well),
		on_stage(a_second_end_shares_the_outcome),
		on_stage(a_second_end_with_data_destroys),
		on_stage(destroy_acts_at_once_and_tells_later_and_once),
		on_stage(destroy_without_a_connection_is_a_close),
		on_stage(an_error_without_a_listener_closes_the_socket_only),
		on_stage(destroy_with_unread_data_resets_the_peer),
		on_stage(destroy_with_unread_data_resets_the_peer_of_a_path),
		on_stage(destroy_soon_sends_first),
		on_stage(a_reset_is_one_for_the_peer_and_a_plain_close_here),
		on_stage(a_reset_while_connecting_waits_for_the_connection),
		on_stage(a_reset_needs_an_open_tcp_connection),
		on_stage(a_reset_after_our_end_is_refused),
		on_stage(destroy_may_skip_the_end),
		on_stage(a_held_socket_outlives_its_close),
		on_stage(deferred_events_keep_their_order_over_objects),
		on_stage(completions_are_called_once),
		on_stage(a_write_after_the_end_fails_the_end_too),
		on_stage(a_write_when_the_end_is_told_is_refused_in_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
