/* Requirements on reading, writing and ending that the tests of those modules do not show. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

/* --- writing --------------------------------------------------------------------------------- */

/* ER-11, WR-9: what waited for a connection that never came is told so, before the close. */
static void destroyed_while_connecting_writes_know_why(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->client);
	net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	assert_string_equal(stage->story.text, "C.done:ERR_SOCKET_CLOSED_BEFORE_CONNECTION "
					       "C.done:ERR_SOCKET_CLOSED_BEFORE_CONNECTION "
					       "C.close ");
}

/* WR-9: with an error that is the reason, for what waited as well. */
static void a_failed_connect_is_the_error_of_what_waited(void **state)
{
	struct stage *stage = *state;

	stage->client.story = &stage->story;
	assert_int_equal(net_socket_new(stage->story.loop, NULL, &actor_ops, &stage->client,
					&stage->client.socket),
			 0);
	assert_int_equal(
		net_socket_connect_path(stage->client.socket, "/no/such/socket", NULL, NULL), 0);
	net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->client);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text, "C.error:ENOENT C.done:ENOENT C.close:error ");
}

/* --- ending ---------------------------------------------------------------------------------- */

/* EN-9: a Unix socket cannot be reset, and while connecting that is known already. */
static void a_unix_socket_refuses_a_reset_while_connecting(void **state)
{
	struct stage *stage = *state;

	stage_open_path(stage, NULL);
	stage->client.story = &stage->story;
	assert_int_equal(net_socket_new(stage->story.loop, NULL, &actor_ops, &stage->client,
					&stage->client.socket),
			 0);
	assert_int_equal(net_socket_connect_path(stage->client.socket, stage->path, NULL, NULL), 0);
	assert_int_equal(net_socket_reset_and_destroy(stage->client.socket),
			 NET_ERR_INVALID_HANDLE_TYPE);
	story_run_until(&stage->story, "C.ready");
	assert_false(net_socket_destroyed(stage->client.socket));
}

static bool peer_has_ended(int fd)
{
	char byte;

	return wait_readable(fd, WAIT_MS) && recv(fd, &byte, 1, 0) == 0;
}

/* KF-2, EN-1: the end is told to the peer although a copy of the descriptor is open elsewhere. */
static void our_end_reaches_the_peer_past_a_copy_of_the_descriptor(void **state)
{
	struct stage *stage = *state;
	int fd, copy;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	copy = dup(stage->guest.socket->io.fd);
	net_socket_end(stage->guest.socket, NULL, 0, NULL, NULL);
	assert_true(peer_has_ended(fd));
	close(copy);
	close(fd);
}

/* KF-2, EN-1: the same when the peer has ended first, and our end is the answer to that. */
static void our_answer_to_an_end_reaches_the_peer_past_a_copy(void **state)
{
	struct stage *stage = *state;
	int fd, copy;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	copy = dup(stage->guest.socket->io.fd);
	shutdown(fd, SHUT_WR);
	story_run_until(&stage->story, "S.close");
	assert_true(peer_has_ended(fd));
	close(copy);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(destroyed_while_connecting_writes_know_why),
		on_stage(a_failed_connect_is_the_error_of_what_waited),
		on_stage(a_unix_socket_refuses_a_reset_while_connecting),
		on_stage(our_end_reaches_the_peer_past_a_copy_of_the_descriptor),
		on_stage(our_answer_to_an_end_reaches_the_peer_past_a_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
