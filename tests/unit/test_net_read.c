/* Reading: pause and resume, who gets the data, the end. */
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

static void note_bytes(struct actor *actor)
{
	actor->status = (int)net_socket_bytes_read(actor->socket);
}

/* RD-1 */
static void data_waits_for_somebody_who_wants_it(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_connected(stage);
	net_socket_write(stage->client.socket, "early", 5, NULL, NULL);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
	assert_string_equal(stage->story.text, "");
	story_run_until(&stage->story, "S.data:5");
	assert_memory_equal(stage->guest.data, "early", 5);
}

/* RD-1: somebody who wants data does not undo an explicit pause. */
static void new_ops_do_not_undo_a_pause(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	assert_true(net_socket_is_paused(stage->guest.socket));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.data:1");
}

/* §1.2: data is dropped only when somebody resumes who has no on_data. */
static void resume_without_a_reader_drops_data(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_connected(stage);
	net_socket_resume(stage->guest.socket);
	stage->guest.on[ON_END] = note_bytes;
	net_socket_end(stage->client.socket, "dropped", 7, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	assert_int_equal(stage->guest.status, 7);
}

static void pause_once(struct actor *actor)
{
	net_socket_pause(actor->socket);
}

/* RD-2: nothing comes after the pause, and at most one chunk was taken from the kernel. */
static void pause_inside_data_is_obeyed_at_once(void **state)
{
	static char data[400000];
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.on[ON_DATA] = pause_once;
	net_socket_write(stage->client.socket, data, sizeof(data), NULL, NULL);
	while (stage->guest.received == 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	story_run_ready(&stage->story);
	assert_in_range(stage->guest.received, 1, 65536);
	assert_int_equal(net_socket_bytes_read(stage->guest.socket), stage->guest.received);

	/* Not inside the call. */
	stage->guest.on[ON_DATA] = NULL;
	stage->guest.received = 0;
	net_socket_resume(stage->guest.socket);
	assert_int_equal(stage->guest.received, 0);
	stage->guest.on[ON_END] = note_bytes;
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	assert_int_equal(stage->guest.status, sizeof(data));
}

/* RD-3: a slow reader slows the writer down, and not the memory of this process. */
static void a_paused_reader_stops_the_writer(void **state)
{
	static char data[1 << 24];
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	assert_int_equal(net_socket_write(stage->client.socket, data, sizeof(data), NULL, NULL), 0);
	story_run_ready(&stage->story);
	assert_true(net_socket_buffer_size(stage->client.socket) > 0);
	assert_false(story_has(&stage->story, "C.drain"));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "C.drain");
}

/* RD-3: reads in one wake-up are bounded, so another watcher has its turn. */
static void a_busy_peer_does_not_starve_the_loop(void **state)
{
	static char data[4 << 20];
	int big = sizeof(data);
	struct stage *stage = *state;
	int fd;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_open(stage, NULL);
	fd = stage_plain(stage);
	setsockopt(stage->guest.socket->io.fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	send(fd, data, sizeof(data), MSG_DONTWAIT);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
	ev_run(stage->story.loop, EVRUN_ONCE);
	assert_in_range(stage->guest.received, 1, 32 * 65536);
	close(fd);
}

/* RD-4 */
static void the_last_of_pause_and_resume_before_connect_counts(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_resume(stage->client.socket);
	net_socket_pause(stage->client.socket);
	story_run_until(&stage->story, "H.connection");
	net_socket_write(stage->guest.socket, "x", 1, NULL, NULL);
	story_run_until(&stage->story, "C.ready");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "C.data:1"));
	net_socket_resume(stage->client.socket);
	story_run_until(&stage->story, "C.data:1");
}

/* RD-5 */
static void the_end_waits_behind_unread_data(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_connected(stage);
	net_socket_end(stage->client.socket, "unread", 6, NULL, NULL);
	story_run_until(&stage->story, "C.finish");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.finish ");
	assert_int_equal(net_server_connections(stage->host.server), 1);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
	story_run_until(&stage->story, "S.end");
	assert_true(story_in_order(&stage->story, "S.data:6", "S.end"));
}

/* RD-5 */
static void the_end_without_data_is_told_without_a_reader(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.close");
}

/* RD-6 */
static void bytes_read_stay_known_after_the_end(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.on[ON_CLOSE] = note_bytes;
	net_socket_end(stage->client.socket, "1234567", 7, NULL, NULL);
	story_run_until(&stage->story, "S.close");
	assert_int_equal(stage->guest.status, 7);
}

/* Both are there before S looks. */
static void say_last_words_and_reset(int fd)
{
	plain_send(fd, "last words");
	plain_reset(fd);
}

/* RD-7, ER-5: "read ECONNRESET"; what came before the reset is delivered. */
static void a_reset_is_an_error_after_the_data(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	say_last_words_and_reset(stage_plain(stage));
	story_run_until(&stage->story, "S.close:error");
	assert_string_equal(stage->story.text, "S.data:10 S.error:ECONNRESET S.close:error ");
	assert_string_equal(stage->guest.error_text, "read ECONNRESET");
}

/* S has more to send than the kernel takes. Returns the other end. */
static int plain_with_a_queue(struct stage *stage)
{
	static char data[8 << 20];
	int fd;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	assert_int_equal(net_socket_write(stage->guest.socket, data, sizeof(data), actor_done,
					  &stage->guest),
			 0);
	return fd;
}

/* RD-7, WR-9: sending what is queued meets the reset first, and the kernel tells it only once. */
static void a_reset_while_data_is_queued_comes_after_what_was_received(void **state)
{
	struct stage *stage = *state;

	say_last_words_and_reset(plain_with_a_queue(stage));
	story_run_until(&stage->story, "S.close:error");
	assert_string_equal(stage->story.text,
			    "S.data:10 S.error:ECONNRESET S.done:ECONNRESET S.close:error ");
	assert_string_equal(stage->guest.error_text, "write ECONNRESET");
}

struct own_buffer {
	char room[4];
	char seen[64];
	size_t size;
	size_t asked;
	bool pause;
};

static void *give_buffer(struct net_socket *socket, size_t *ret_size, void *ctx)
{
	struct own_buffer *own = ctx;

	own->asked++;
	*ret_size = sizeof(own->room);
	return own->room;
}

static bool take_data(struct net_socket *socket, void *data, size_t size, void *ctx)
{
	struct own_buffer *own = ctx;

	assert_ptr_equal(data, own->room);
	memcpy(own->seen + own->size, data, size);
	own->size += size;
	return !own->pause;
}

static bool has_ten(void *ctx)
{
	return ((struct own_buffer *)ctx)->size == 10;
}

/* RD-9 */
static void a_buffer_of_the_users_own_is_filled_and_false_pauses(void **state)
{
	static const struct net_socket_ops ops = {.on_buffer = give_buffer, .on_read = take_data};
	struct stage *stage = *state;
	struct own_buffer own = {.pause = true};

	stage_connected(stage);
	net_socket_set_ops(stage->guest.socket, &ops, &own);
	net_socket_write(stage->client.socket, "0123456789", 10, NULL, NULL);
	while (own.size == 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	story_run_ready(&stage->story);
	assert_int_equal(own.size, 4);
	assert_int_equal(own.asked, 1);

	own.pause = false;
	net_socket_resume(stage->guest.socket);
	story_run_for(&stage->story, has_ten, &own);
	assert_memory_equal(own.seen, "0123456789", 10);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
}

/* Four bytes at a time. */
static char little[4];

static void *give_little(struct net_socket *socket, size_t *ret_size, void *ctx)
{
	struct actor *actor = ctx;

	story_tell(actor->story, "%s.buffer", actor->name);
	*ret_size = sizeof(little);
	return little;
}

static bool note_little(struct net_socket *socket, void *data, size_t size, void *ctx)
{
	struct actor *actor = ctx;

	story_tell(actor->story, "%s.read:%zu", actor->name, size);
	return true;
}

static bool note_little_and_pause(struct net_socket *socket, void *data, size_t size, void *ctx)
{
	note_little(socket, data, size, ctx);
	return false;
}

static bool note_little_and_go(struct net_socket *socket, void *data, size_t size, void *ctx)
{
	net_socket_destroy(socket, 0);
	return note_little(socket, data, size, ctx);
}

typedef bool on_read_fn(struct net_socket *socket, void *data, size_t size, void *ctx);

/* S reads like that, and has more to send than the kernel takes. */
static void reset_who_reads_little(struct stage *stage, on_read_fn *on_read, const char *last)
{
	static struct net_socket_ops ops;
	int fd = plain_with_a_queue(stage);

	ops = actor_ops;
	ops.on_buffer = give_little;
	ops.on_read = on_read;
	net_socket_set_ops(stage->guest.socket, &ops, &stage->guest);
	say_last_words_and_reset(fd);
	story_run_until(&stage->story, last);
}

/* RD-7, RD-9: all of it, in as many reads as it takes, and no end behind it. */
static void what_was_received_before_a_reset_may_take_many_reads(void **state)
{
	struct stage *stage = *state;

	reset_who_reads_little(stage, note_little, "S.close:error");
	assert_string_equal(stage->story.text,
			    "S.buffer S.read:4 S.buffer S.read:4 S.buffer S.read:2 "
			    "S.error:ECONNRESET S.done:ECONNRESET S.close:error ");
}

/* RD-2, RD-7, RD-9 */
static void who_pauses_before_a_reset_is_told_no_more(void **state)
{
	struct stage *stage = *state;

	reset_who_reads_little(stage, note_little_and_pause, "S.close:error");
	assert_string_equal(
		stage->story.text,
		"S.buffer S.read:4 S.error:ECONNRESET S.done:ECONNRESET S.close:error ");
}

/* RD-9 */
static void who_goes_before_a_reset_is_told_no_more(void **state)
{
	struct stage *stage = *state;

	reset_who_reads_little(stage, note_little_and_go, "S.close");
	assert_string_equal(stage->story.text, "S.buffer S.read:4 S.done:ECANCELED S.close ");
}

static char much[1 << 20];

/* Leaves the socket to the test's actor. */
static void *give_much_and_leave(struct net_socket *socket, size_t *ret_size, void *ctx)
{
	net_socket_set_ops(socket, &actor_ops, ctx);
	*ret_size = sizeof(much);
	return much;
}

/* Leaves it to somebody with a buffer of his own. */
static void *give_much_to_another(struct net_socket *socket, size_t *ret_size, void *ctx)
{
	static const struct net_socket_ops ops = {.on_buffer = give_buffer, .on_read = take_data};
	struct actor *actor = ctx;

	net_socket_set_ops(socket, &ops, actor->other);
	*ret_size = sizeof(much);
	return much;
}

static bool take_nothing(struct net_socket *socket, void *data, size_t size, void *ctx)
{
	fail_msg("%zu bytes for somebody who has left", size);
	return true;
}

struct pieces {
	size_t before;
	size_t largest;
};

static void note_piece(struct actor *actor)
{
	struct pieces *pieces = actor->other;
	size_t size = actor->received - pieces->before;

	pieces->before = actor->received;
	if (size > pieces->largest)
		pieces->largest = size;
}

static bool has_400000(void *ctx)
{
	return ((struct actor *)ctx)->received == 400000;
}

/* RD-8, RD-9: text is made of no more than the loop's own buffer takes. */
static void a_buffer_is_not_filled_for_who_has_no_such(void **state)
{
	static const struct net_socket_ops ops = {.on_buffer = give_much_and_leave,
						  .on_read = take_nothing};
	struct pieces pieces = {0};
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.other = &pieces;
	stage->guest.on[ON_DATA] = note_piece;
	assert_int_equal(net_socket_set_encoding(stage->guest.socket, NET_ENCODING_HEX), 0);
	assert_int_equal(net_socket_unshift(stage->guest.socket, much, 200000), 0);
	net_socket_set_ops(stage->guest.socket, &ops, &stage->guest);
	story_run_for(&stage->story, has_400000, &stage->guest);
	assert_in_range(pieces.largest, 1, 2 * 65536);
}

/* RD-9 */
static void a_buffer_is_not_filled_for_who_has_another(void **state)
{
	static const struct net_socket_ops ops = {.on_buffer = give_much_to_another,
						  .on_read = take_nothing};
	struct own_buffer own = {0};
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.other = &own;
	net_socket_set_ops(stage->guest.socket, &ops, &stage->guest);
	net_socket_write(stage->client.socket, "0123456789", 10, NULL, NULL);
	story_run_for(&stage->story, has_ten, &own);
	assert_memory_equal(own.seen, "0123456789", 10);
	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
}

static void *give_nothing(struct net_socket *socket, size_t *ret_size, void *ctx)
{
	return NULL;
}

/* RD-9 */
static void a_user_without_a_buffer_ends_the_socket(void **state)
{
	struct net_socket_ops ops = actor_ops;
	struct stage *stage = *state;

	stage_connected(stage);
	ops.on_buffer = give_nothing;
	ops.on_read = take_data;
	net_socket_set_ops(stage->guest.socket, &ops, &stage->guest);
	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	story_run_until(&stage->story, "S.error:ENOBUFS");
	story_run_until(&stage->story, "S.close:error");
}

/* As libev does when the kernel refuses to watch one descriptor more. */
static struct net_socket *connect_unwatched(struct stage *stage)
{
	struct net_socket *guest;

	stage_connected(stage);
	guest = stage->guest.socket;
	net_socket_unref(guest);
	assert_true(ev_is_active(&guest->io));
	ev_io_stop(stage->story.loop, &guest->io);
	ev_feed_event(stage->story.loop, &guest->io, EV_ERROR | EV_READ | EV_WRITE);
	return guest;
}

static void a_connection_that_cannot_be_watched_ends_with_an_error(void **state)
{
	struct stage *stage = *state;

	connect_unwatched(stage);
	story_run_until(&stage->story, "S.close:error");
	assert_int_equal(stage->guest.error, -ENOMEM);
	assert_int_equal(story_count(&stage->story, "S.error:ENOMEM"), 1);
}

/* Who ends before libev has said so is not told any more. */
static void a_refused_watch_is_forgotten_with_its_connection(void **state)
{
	struct stage *stage = *state;
	struct net_socket *guest = connect_unwatched(stage);

	net_socket_destroy(guest, 0);
	assert_false(ev_is_pending(&guest->io));
	story_run_until(&stage->story, "S.close");
	assert_false(story_has(&stage->story, "S.error:ENOMEM"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(data_waits_for_somebody_who_wants_it),
		on_stage(new_ops_do_not_undo_a_pause),
		on_stage(resume_without_a_reader_drops_data),
		on_stage(pause_inside_data_is_obeyed_at_once),
		on_stage(a_paused_reader_stops_the_writer),
		on_stage(a_busy_peer_does_not_starve_the_loop),
		on_stage(the_last_of_pause_and_resume_before_connect_counts),
		on_stage(the_end_waits_behind_unread_data),
		on_stage(the_end_without_data_is_told_without_a_reader),
		on_stage(bytes_read_stay_known_after_the_end),
		on_stage(a_reset_is_an_error_after_the_data),
		on_stage(a_reset_while_data_is_queued_comes_after_what_was_received),
		on_stage(what_was_received_before_a_reset_may_take_many_reads),
		on_stage(who_pauses_before_a_reset_is_told_no_more),
		on_stage(who_goes_before_a_reset_is_told_no_more),
		on_stage(a_buffer_of_the_users_own_is_filled_and_false_pauses),
		on_stage(a_buffer_is_not_filled_for_who_has_no_such),
		on_stage(a_buffer_is_not_filled_for_who_has_another),
		on_stage(a_user_without_a_buffer_ends_the_socket),
		on_stage(a_connection_that_cannot_be_watched_ends_with_an_error),
		on_stage(a_refused_watch_is_forgotten_with_its_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
