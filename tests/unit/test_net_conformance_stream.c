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

static char big[4 << 20];

static void write_late(struct actor *actor)
{
	net_socket_write(actor->socket, "late", 4, NULL, NULL);
}

/* --- writing --------------------------------------------------------------------------------- */

/* WR-9: the end that waited for a connection is told the same as a write. */
static void an_end_that_waited_for_a_connection_is_told(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_end(stage->client.socket, NULL, 0, actor_done, &stage->client);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	assert_string_equal(stage->story.text,
			    "C.done:ERR_SOCKET_CLOSED_BEFORE_CONNECTION C.close ");
}

/* WR-9: with an error that is the reason, for what waited as well. */
static void a_failed_connect_is_the_error_of_what_waited(void **state)
{
	struct stage *stage = *state;

	stage_unconnected(stage);
	assert_int_equal(
		net_socket_connect_path(stage->client.socket, "/no/such/socket", NULL, NULL), 0);
	net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->client);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text, "C.error:ENOENT C.done:ENOENT C.close:error ");
}

/* WR-3, WR-11: what waits is a copy, goes out in order, and is answered in order. */
static void what_waits_is_a_copy_in_order(void **state)
{
	struct stage *stage = *state;
	char data[] = "first";

	stage_connected(stage);
	stage->guests[0].story = &stage->story;
	net_socket_cork(stage->client.socket);
	net_socket_write(stage->client.socket, data, 5, actor_done, &stage->client);
	memcpy(data, "other", 5);
	net_socket_write(stage->client.socket, data, 5, actor_done, &stage->guests[0]);
	memset(data, 'x', 5);
	net_socket_uncork(stage->client.socket);
	story_run_until(&stage->story, "S.data:10");
	story_run_ready(&stage->story);
	stage->guests[0].socket = NULL;
	assert_memory_equal(stage->guest.data, "firstother", 10);
	assert_true(story_in_order(&stage->story, "C.done:0", "G.done:0"));
}

static int write_corked(struct net_socket *socket, size_t size)
{
	int r;

	net_socket_cork(socket);
	r = net_socket_write(socket, big, size, NULL, NULL);
	net_socket_uncork(socket);
	return r;
}

/* WR-2: a drain is of the writes before it: the next queue has one only if it was too long, too. */
static void the_next_queue_needs_a_drain_of_its_own(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_int_equal(write_corked(stage->client.socket, NET_HIGH_WATER_MARK_DEFAULT), 0);
	story_run_until(&stage->story, "C.drain");
	assert_int_equal(write_corked(stage->client.socket, 1), 1);
	while (stage->guest.received <= NET_HIGH_WATER_MARK_DEFAULT)
		ev_run(stage->story.loop, EVRUN_ONCE);
	story_run_ready(&stage->story);
	assert_int_equal(story_count(&stage->story, "C.drain"), 1);
	assert_int_equal(write_corked(stage->client.socket, NET_HIGH_WATER_MARK_DEFAULT), 0);
	story_forget(&stage->story);
	story_run_until(&stage->story, "C.drain");
}

/* WR-5: what was written while connecting goes out in one piece, before what is written then. */
static void early_writes_go_out_first(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	stage->client.on[ON_READY] = write_late;
	net_socket_write(stage->client.socket, "early ", 6, NULL, NULL);
	story_run_until(&stage->story, "C.ready");
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	assert_int_equal(stage->guest.received, 10);
	assert_memory_equal(stage->guest.data, "early late", 10);
}

/* --- reading --------------------------------------------------------------------------------- */

struct sizes {
	size_t most;
	size_t total;
};

static void note_size(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	struct sizes *sizes = ctx;

	sizes->most = size > sizes->most ? size : sizes->most;
	sizes->total += size;
}

static bool has_all(void *ctx)
{
	return ((struct sizes *)ctx)->total == sizeof(big);
}

/* RD-3: no piece is larger than 64 KiB, however much there is. */
static void data_comes_in_pieces(void **state)
{
	static const struct net_socket_ops ops = {.on_data = note_size};
	struct stage *stage = *state;
	struct sizes sizes = {.most = 0};

	stage->host.guest_ops = &actor_deaf_ops;
	stage_connected(stage);
	net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL);
	story_run_ready(&stage->story);
	net_socket_set_ops(stage->guest.socket, &ops, &sizes);
	story_run_for(&stage->story, has_all, &sizes);
	assert_in_range(sizes.most, 1, 65536);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
}

/* RD-7: what was in the kernel when the reset came is told before it. */
static void data_that_waits_survives_a_reset(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	net_socket_pause(stage->guest.socket);
	plain_send(fd, "last words");
	plain_reset(fd);
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.close:error");
	assert_string_equal(stage->story.text, "S.data:10 S.error:ECONNRESET S.close:error ");
}

/* --- ending ---------------------------------------------------------------------------------- */

/* EN-9: a Unix socket cannot be reset, and while connecting that is known already. */
static void a_unix_socket_refuses_a_reset_while_connecting(void **state)
{
	struct stage *stage = *state;

	stage_open_path(stage, NULL);
	stage_unconnected(stage);
	assert_int_equal(net_socket_connect_path(stage->client.socket, stage->path, NULL, NULL), 0);
	assert_int_equal(net_socket_reset_and_destroy(stage->client.socket),
			 NET_ERR_INVALID_HANDLE_TYPE);
	story_run_until(&stage->story, "C.ready");
	assert_false(net_socket_destroyed(stage->client.socket));
}

/* EN-1: our end of what the peer has reset is an end all the same. */
static void an_end_after_a_reset_is_a_success(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	net_socket_pause(stage->guest.socket);
	plain_reset(fd);
	net_socket_end(stage->guest.socket, NULL, 0, actor_done, &stage->guest);
	story_run_until(&stage->story, "S.finish");
	assert_string_equal(stage->story.text, "S.done:0 S.finish ");
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
		on_stage(an_end_that_waited_for_a_connection_is_told),
		on_stage(a_failed_connect_is_the_error_of_what_waited),
		on_stage(what_waits_is_a_copy_in_order),
		on_stage(the_next_queue_needs_a_drain_of_its_own),
		on_stage(early_writes_go_out_first),
		on_stage(data_comes_in_pieces),
		on_stage(data_that_waits_survives_a_reset),
		on_stage(an_end_after_a_reset_is_a_success),
		on_stage(a_unix_socket_refuses_a_reset_while_connecting),
		on_stage(our_end_reaches_the_peer_past_a_copy_of_the_descriptor),
		on_stage(our_answer_to_an_end_reaches_the_peer_past_a_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
