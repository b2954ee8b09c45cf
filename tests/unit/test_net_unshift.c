/* Bytes that are put back are the next to be told, to whoever is there by then. */
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

static void pause_it(struct actor *actor)
{
	net_socket_pause(actor->socket);
}

static bool has_all(void *ctx)
{
	struct actor *actor = ctx;

	return actor->received >= *(size_t *)actor->other;
}

static void run_until_received(struct stage *stage, struct actor *actor, size_t size)
{
	actor->other = &size;
	story_run_for(&stage->story, has_all, actor);
	assert_int_equal(actor->received, size);
}

/* CB-1: later, and before what the kernel has. */
static void what_is_put_back_comes_first(void **state)
{
	struct stage *stage = *state;
	int client;

	stage_open(stage, NULL);
	client = stage_plain(stage);
	plain_send(client, "world");
	assert_int_equal(net_socket_unshift(stage->guest.socket, "lo ", 3), 0);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "hel", 3), 0);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "", 0), 0);
	assert_string_equal(stage->story.text, "");
	run_until_received(stage, &stage->guest, 11);
	assert_memory_equal(stage->guest.data, "hello world", 11);
	assert_int_equal(net_socket_bytes_read(stage->guest.socket), 5);
	close_fd(client);
}

static void put_back_once(struct actor *actor)
{
	if (actor->received == 4)
		assert_int_equal(net_socket_unshift(actor->socket, "cd", 2), 0);
}

static void it_may_be_put_back_inside_its_event(void **state)
{
	struct stage *stage = *state;
	int client;

	stage_open(stage, NULL);
	client = stage_plain(stage);
	stage->guest.on[ON_DATA] = put_back_once;
	plain_send(client, "abcd");
	story_run_until(&stage->story, "S.data:4");
	plain_send(client, "ef");
	run_until_received(stage, &stage->guest, 8);
	assert_memory_equal(stage->guest.data, "abcdcdef", 8);
	close_fd(client);
}

/* RD-4, RD-5: it waits as what the kernel has does, and so does the end behind it. */
static void it_waits_for_somebody_who_wants_it(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "abc", 3), 0);
	net_socket_end(stage->client.socket, "def", 3, NULL, NULL);
	story_run_ms(&stage->story, 20);
	assert_false(story_has(&stage->story, "S.data:3"));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.end");
	assert_memory_equal(stage->guest.data, "abcdef", 6);
}

static void without_ops_it_waits_for_them(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_ops(stage->guest.socket, &actor_deaf_ops, &stage->guest);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "abc", 3), 0);
	net_socket_write(stage->client.socket, "def", 3, NULL, NULL);
	story_run_ready(&stage->story);
	assert_int_equal(stage->guest.received, 0);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
	run_until_received(stage, &stage->guest, 6);
	assert_memory_equal(stage->guest.data, "abcdef", 6);
}

/* RD-5: nor is an end told before it. */
static void without_ops_the_end_waits_behind_it(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_ops(stage->guest.socket, &actor_deaf_ops, &stage->guest);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "abc", 3), 0);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_ms(&stage->story, 20);
	assert_false(story_has(&stage->story, "S.end"));
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
	story_run_until(&stage->story, "S.end");
	assert_true(story_in_order(&stage->story, "S.data:3", "S.end"));
}

static void pause_before_the_end(struct actor *actor)
{
	net_socket_pause(actor->socket);
}

/* The end was seen, and then something is put back before it is told. */
static void the_end_waits_for_it(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, &(struct net_server_options){.allow_half_open = true});
	stage_connect(stage, NULL);
	assert_int_equal(net_socket_set_encoding(stage->guest.socket, NET_ENCODING_UTF8), 0);
	stage->guest.on[ON_DATA] = pause_before_the_end;
	/* Half a character is told as a fault once the end is there, and its event pauses. */
	net_socket_end(stage->client.socket, "\xc3", 1, NULL, NULL);
	story_run_until(&stage->story, "S.data:3");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "S.end"));
	assert_int_equal(net_socket_unshift(stage->guest.socket, "rest", 4), 0);
	stage->guest.on[ON_DATA] = NULL;
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.end");
	assert_true(story_in_order(&stage->story, "S.data:4", "S.end"));
	assert_int_equal(net_socket_unshift(stage->guest.socket, "late", 4), -EINVAL);
}

static char room[3];
static size_t filled;
static char all[64];

static void *give_room(struct net_socket *s, size_t *ret_size, void *ctx)
{
	*ret_size = sizeof(room);
	return room;
}

static bool take_room(struct net_socket *s, void *data, size_t size, void *ctx)
{
	assert_ptr_equal(data, room);
	assert_in_range(size, 1, sizeof(room));
	memcpy(all + filled, data, size);
	filled += size;
	return true;
}

static bool has_11(void *ctx)
{
	return filled >= 11;
}

/* RD-4, RD-5: who paused at the last piece resumes and puts back: the end comes behind that. */
static void an_end_that_was_seen_already_waits_for_it(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.on[ON_DATA] = pause_it;
	net_socket_set_encoding(stage->guest.socket, NET_ENCODING_BASE64);
	net_socket_end(stage->client.socket, "x", 1, NULL, NULL);
	story_run_until(&stage->story, "S.data:4");
	stage->guest.on[ON_DATA] = NULL;
	net_socket_resume(stage->guest.socket);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "ab", 2), 0);
	story_run_until(&stage->story, "S.end");
	assert_int_equal(stage->guest.received, 8);
	assert_memory_equal(stage->guest.data, "eA==YWI=", 8);
}

static void send_new(struct host *host)
{
	plain_send(host->latest->io.fd, "new");
}

/* What was put back is none of the next connection's. */
static void it_ends_with_its_connection(void **state)
{
	struct stage *stage = *state;
	struct net_socket *s;

	stage_connected(stage);
	s = stage->client.socket;
	net_socket_pause(s);
	assert_int_equal(net_socket_unshift(s, "old", 3), 0);
	net_socket_hold(s);
	net_socket_destroy(s, 0);
	story_run_until(&stage->story, "C.close");

	stage->host.on[ON_CONNECTION] = send_new;
	assert_int_equal(
		net_socket_connect_port(s, host_port(&stage->host), "127.0.0.1", NULL, NULL), 0);
	net_socket_resume(s);
	run_until_received(stage, &stage->client, 3);
	assert_memory_equal(stage->client.data, "new", 3);
	net_socket_release(s);
}

static void it_goes_through_a_buffer_of_the_users(void **state)
{
	static const struct net_socket_ops ops = {.on_buffer = give_room, .on_read = take_room};
	struct stage *stage = *state;

	stage_connected(stage);
	filled = 0;
	net_socket_set_ops(stage->guest.socket, &ops, NULL);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "hello w", 7), 0);
	net_socket_write(stage->client.socket, "orld", 4, NULL, NULL);
	story_run_for(&stage->story, has_11, NULL);
	assert_memory_equal(all, "hello world", 11);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
}

static void it_goes_into_a_pipe(void **state)
{
	struct stage *stage = *state;
	char text[12] = "";
	int client;

	stage_open(stage, NULL);
	client = stage_plain(stage);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "hello ", 6), 0);
	assert_int_equal(net_socket_pipe(stage->guest.socket, stage->guest.socket), 0);
	plain_send(client, "world");
	while (net_socket_bytes_written(stage->guest.socket) < 11)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(plain_receive(client, text, 11), 11);
	assert_string_equal(text, "hello world");
	close_fd(client);
}

static void more_than_a_megabyte_is_refused(void **state)
{
	struct stage *stage = *state;
	char *big = calloc(1, (1 << 20) + 1);

	assert_non_null(big);
	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	assert_int_equal(net_socket_unshift(stage->guest.socket, big, (1 << 20) + 1), -ENOBUFS);
	assert_int_equal(net_socket_unshift(stage->guest.socket, big, SIZE_MAX), -ENOBUFS);
	assert_int_equal(net_socket_unshift(stage->guest.socket, NULL, 1), -EINVAL);
	assert_int_equal(net_socket_unshift(stage->guest.socket, big, 1 << 20), 0);
	assert_int_equal(net_socket_unshift(stage->guest.socket, big, 1), -ENOBUFS);
	net_socket_resume(stage->guest.socket);
	run_until_received(stage, &stage->guest, 1 << 20);
	assert_int_equal(net_socket_unshift(stage->guest.socket, big, 1), 0);
	run_until_received(stage, &stage->guest, (1 << 20) + 1);
	free(big);
}

/* EN-3: and nothing is told after it. */
static void a_destroyed_socket_takes_nothing_back(void **state)
{
	struct stage *stage = *state;
	struct net_socket *s;

	stage_connected(stage);
	s = stage->guest.socket;
	assert_int_equal(net_socket_unshift(s, "abc", 3), 0);
	net_socket_hold(s);
	net_socket_destroy(s, 0);
	assert_int_equal(net_socket_unshift(s, "abc", 3), NET_ERR_STREAM_DESTROYED);
	story_run_until(&stage->story, "S.close");
	assert_false(story_has(&stage->story, "S.data:3"));
	net_socket_release(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(what_is_put_back_comes_first),
		on_stage(it_may_be_put_back_inside_its_event),
		on_stage(it_waits_for_somebody_who_wants_it),
		on_stage(without_ops_it_waits_for_them),
		on_stage(without_ops_the_end_waits_behind_it),
		on_stage(the_end_waits_for_it),
		on_stage(an_end_that_was_seen_already_waits_for_it),
		on_stage(it_ends_with_its_connection),
		on_stage(it_goes_through_a_buffer_of_the_users),
		on_stage(it_goes_into_a_pipe),
		on_stage(more_than_a_megabyte_is_refused),
		on_stage(a_destroyed_socket_takes_nothing_back),
	};

	return cmocka_run_group_tests_name("net_unshift", tests, NULL, NULL);
}
