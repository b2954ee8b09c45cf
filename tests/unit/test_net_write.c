/* Writing: return values, order of completions, drain, errors. */
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

static char big[8 << 20];

/* A client whose peer S reads nothing. */
static void connect_to_a_paused_guest(struct stage *stage, const struct net_socket_options *options)
{
	stage_open(stage, NULL);
	stage_connect(stage, options);
	net_socket_pause(stage->guest.socket);
}

static bool guest_has_all(void *ctx)
{
	return ((struct actor *)ctx)->received >= sizeof(big);
}

/* WR-1: sent at once, inside the call. */
static void a_write_tries_the_kernel_first(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	assert_int_equal(net_socket_write(stage->client.socket, "now", 3, NULL, NULL), 1);
	assert_int_equal(net_socket_buffer_size(stage->client.socket), 0);
	assert_int_equal(net_socket_bytes_written(stage->client.socket), 3);
	assert_false(ev_is_active(&stage->client.socket->io) &&
		     stage->client.socket->io.events & EV_WRITE);
}

/* WR-1, §1.2: 0 when high_water_mark bytes are queued after the attempt, and not before. */
static void the_result_tells_whether_more_is_welcome(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	assert_int_equal(net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL), 0);
	assert_true(net_socket_buffer_size(stage->client.socket) >= NET_HIGH_WATER_MARK_DEFAULT);
	assert_int_equal(net_socket_writable_length(stage->client.socket),
			 net_socket_buffer_size(stage->client.socket));
}

/* WR-1 */
static void a_small_queue_still_welcomes_more(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	net_socket_cork(stage->client.socket);
	assert_int_equal(net_socket_write(stage->client.socket, big, 65535, NULL, NULL), 1);
	assert_int_equal(net_socket_write(stage->client.socket, big, 1, NULL, NULL), 0);
}

/* WR-1 */
static void a_mark_of_zero_welcomes_only_what_was_sent(void **state)
{
	const struct net_socket_options options = {.high_water_mark = NET_HIGH_WATER_MARK_ZERO};
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, &options);
	assert_int_equal(net_socket_write(stage->client.socket, "x", 1, NULL, NULL), 1);
	net_socket_cork(stage->client.socket);
	assert_int_equal(net_socket_write(stage->client.socket, "x", 1, NULL, NULL), 0);
}

/* WR-2: when all is sent, once, and before the completion of the last write. */
static void drain_comes_once_when_all_is_sent_before_the_completion(void **state)
{
	struct stage *stage = *state;

	stage->host.guest_ops = &actor_deaf_ops;
	connect_to_a_paused_guest(stage, NULL);
	net_socket_write(stage->client.socket, big, sizeof(big), actor_done, &stage->client);
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "C.done:0");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.drain C.done:0 ");
	assert_int_equal(net_socket_buffer_size(stage->client.socket), 0);
}

static void note_queued(struct actor *actor)
{
	actor->status = (int)net_socket_buffer_size(actor->socket);
}

/* The queue was full, and is empty again; that is to be told. */
static void fill_and_empty_the_queue(struct net_socket *socket)
{
	net_socket_cork(socket);
	assert_int_equal(net_socket_write(socket, big, 65536, NULL, NULL), 0);
	net_socket_uncork(socket);
	assert_int_equal(net_socket_buffer_size(socket), 0);
}

/* WR-2: one drain, when what was written in the meantime is sent too. */
static void a_drain_that_waits_is_not_told_while_something_is_queued(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	stage->client.on[ON_DRAIN] = note_queued;
	fill_and_empty_the_queue(stage->client.socket);
	assert_int_equal(net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL), 0);
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "C.drain"));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "C.drain");
	assert_int_equal(stage->client.status, 0);
	story_run_for(&stage->story, guest_has_all, &stage->guest);
	story_run_ready(&stage->story);
	assert_int_equal(story_count(&stage->story, "C.drain"), 1);
}

/* WR-2: also when that is so little that it would not have to wait for one. */
static void a_drain_that_waits_is_told_after_a_little_more(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	fill_and_empty_the_queue(stage->client.socket);
	net_socket_cork(stage->client.socket);
	assert_int_equal(net_socket_write(stage->client.socket, "x", 1, NULL, NULL), 1);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	net_socket_uncork(stage->client.socket);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "C.drain ");
}

/* WR-2 */
static void no_drain_without_a_refused_write_nor_after_the_end(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	net_socket_cork(stage->client.socket);
	net_socket_write(stage->client.socket, "little", 6, actor_done, &stage->client);
	net_socket_uncork(stage->client.socket);
	story_run_until(&stage->story, "C.done:0");
	assert_false(story_has(&stage->story, "C.drain"));
	net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "C.close");
	assert_false(story_has(&stage->story, "C.drain"));
}

/* WR-2: not even a drain that was due before the end. */
static void a_drain_that_waits_is_not_told_after_an_end(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	fill_and_empty_the_queue(stage->client.socket);
	net_socket_end(stage->client.socket, big, sizeof(big), NULL, NULL);
	assert_true(net_socket_buffer_size(stage->client.socket) > 0);
	story_run_until(&stage->story, "C.close");
	assert_false(story_has(&stage->story, "C.drain"));
}

/* WR-3, CB-1, CB-2 */
static void completions_come_later_once_and_in_order(void **state)
{
	struct stage *stage = *state;
	struct actor second = {.story = &stage->story, .name = "2"};

	stage_connected(stage);
	net_socket_write(stage->client.socket, "a", 1, actor_done, &stage->client);
	net_socket_write(stage->guest.socket, "b", 1, actor_done, &second);
	net_socket_write(stage->client.socket, "c", 1, actor_done, &stage->guest);
	assert_string_equal(stage->story.text, "");
	story_run_until(&stage->story, "S.done:0");
	assert_true(strncmp(stage->story.text, "C.done:0 2.done:0 S.done:0 ", 27) == 0);
	story_run_ready(&stage->story);
	assert_int_equal(story_count(&stage->story, "C.done:0"), 1);
	stage->guest.socket = second.socket;
	stage->client.socket = NULL;
	net_server_close_all_connections(stage->host.server);
}

/* WR-4: what waits goes out together. */
static void corked_writes_leave_as_one(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_cork(stage->client.socket);
	net_socket_cork(stage->client.socket);
	for (int i = 0; i < 5; i++)
		net_socket_write(stage->client.socket, "abcd", 4, i % 2 ? actor_done : NULL,
				 &stage->client);
	net_socket_uncork(stage->client.socket);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	net_socket_uncork(stage->client.socket);
	story_run_until(&stage->story, "S.data:20");
	assert_int_equal(story_count(&stage->story, "C.done:0"), 2);
}

/* WR-4 */
static void end_uncorks(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_cork(stage->client.socket);
	net_socket_write(stage->client.socket, "abcd", 4, NULL, NULL);
	net_socket_end(stage->client.socket, "ef", 2, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	assert_true(story_has(&stage->story, "S.data:6"));
}

/* WR-4: more parts than one system call takes. */
static void any_number_of_parts_is_sent(void **state)
{
	struct stage *stage = *state;
	struct iovec parts[3000];
	char letters[] = "xyz";

	stage_connected(stage);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		parts[i] = (struct iovec){.iov_base = &letters[i % 2], .iov_len = 1 + i % 2};
	assert_int_equal(
		net_socket_writev(stage->client.socket, parts, ARRAY_LEN(parts), NULL, NULL), 1);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	assert_int_equal(stage->guest.received, 4500);
	assert_memory_equal(stage->guest.data, "xyzxyz", 6);
	assert_memory_equal(stage->guest.data + 4494, "xyzxyz", 6);
}

static void nonsense_is_refused(void **state)
{
	struct stage *stage = *state;
	struct iovec parts[2] = {{.iov_base = big, .iov_len = SIZE_MAX / 2},
				 {.iov_base = big, .iov_len = SIZE_MAX / 2}};

	stage_connected(stage);
	assert_int_equal(net_socket_writev(stage->client.socket, parts, 2, NULL, NULL), -EINVAL);
	assert_int_equal(net_socket_writev(stage->client.socket, parts, -1, NULL, NULL), -EINVAL);
	assert_int_equal(net_socket_write(stage->client.socket, NULL, 3, NULL, NULL), -EINVAL);
	assert_int_equal(net_socket_end(stage->client.socket, NULL, 3, actor_done, &stage->client),
			 -EINVAL);
	assert_false(net_socket_destroyed(stage->client.socket));

	/* It goes on, and nobody is told of what was not taken. */
	assert_int_equal(net_socket_end(stage->client.socket, "bye", 3, NULL, NULL), 0);
	assert_int_equal(net_socket_end(stage->client.socket, NULL, 3, actor_done, &stage->client),
			 -EINVAL);
	story_run_until(&stage->story, "C.close");
	assert_true(story_has(&stage->story, "S.data:3"));
	assert_false(story_has(&stage->story, "C.done:EINVAL"));
}

/* WR-5 */
static void writes_before_connect_wait_and_count(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	assert_int_equal(
		net_socket_write(stage->client.socket, "early", 5, actor_done, &stage->client), 1);
	net_socket_write(stage->client.socket, "bird", 4, NULL, NULL);
	assert_int_equal(net_socket_bytes_written(stage->client.socket), 9);
	assert_int_equal(net_socket_buffer_size(stage->client.socket), 9);
	story_run_until(&stage->story, "S.data:9");
	assert_memory_equal(stage->guest.data, "earlybird", 9);
	assert_true(story_in_order(&stage->story, "C.ready", "C.done:0"));
}

static void note_written(struct actor *actor)
{
	actor->status = (int)net_socket_bytes_written(actor->socket);
}

/* WR-6, WR-7 */
static void bytes_written_count_what_was_accepted_and_stay(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL);
	assert_int_equal(net_socket_bytes_written(stage->client.socket), sizeof(big));
	stage->client.on[ON_CLOSE] = note_written;
	net_socket_destroy(stage->client.socket, 0);
	assert_int_equal(net_socket_buffer_size(stage->client.socket), 0);
	story_run_until(&stage->story, "C.close");
	assert_int_equal(stage->client.status, sizeof(big));
}

/* WR-8, ER-12 */
static void a_write_after_the_end_destroys(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	assert_int_equal(net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->client),
			 NET_ERR_STREAM_WRITE_AFTER_END);
	story_run_until(&stage->story, "C.close:error");
	assert_true(story_has(&stage->story, "C.error:ERR_STREAM_WRITE_AFTER_END"));
	assert_true(story_has(&stage->story, "C.done:ERR_STREAM_WRITE_AFTER_END"));
	assert_string_equal(stage->client.error_text, "write after end");
}

/* WR-8: before on_close if that is to come. */
static void a_write_after_destroy_is_told_to_its_completion_only(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_destroy(stage->client.socket, 0);
	assert_int_equal(net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->client),
			 NET_ERR_STREAM_DESTROYED);
	story_run_until(&stage->story, "C.close");
	assert_true(story_in_order(&stage->story, "C.done:ERR_STREAM_DESTROYED", "C.close"));
}

/* WR-8, ER-11 */
static void a_write_without_a_connection_destroys(void **state)
{
	struct stage *stage = *state;
	struct net_socket *socket;

	stage->client.story = &stage->story;
	assert_int_equal(
		net_socket_new(stage->story.loop, NULL, &actor_ops, &stage->client, &socket), 0);
	assert_int_equal(net_socket_write(socket, "x", 1, actor_done, &stage->client),
			 NET_ERR_SOCKET_CLOSED);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text,
			    "C.error:ERR_SOCKET_CLOSED C.done:ERR_SOCKET_CLOSED C.close:error ");
}

static void write_when_ended(struct actor *actor)
{
	actor->status = net_socket_write(actor->socket, "x", 1, NULL, NULL);
}

/* WR-8: the peer has ended, and so have we because of it. */
static void a_write_after_the_automatic_end_is_epipe(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	net_socket_write(stage->guest.socket, big, sizeof(big), actor_done, &stage->guest);
	net_socket_resume(stage->guest.socket);
	stage->guest.on[ON_DONE] = write_when_ended;
	net_socket_pause(stage->client.socket);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	story_run_ready(&stage->story);
	net_socket_resume(stage->client.socket);
	story_run_until(&stage->story, "S.close:error");
	assert_int_equal(stage->guest.status, -EPIPE);
	assert_string_equal(stage->guest.error_text, "write EPIPE");
}

/* WR-8, WR-9: no SIGPIPE; the error first, then the completions with it, then the close. */
static void a_broken_connection_is_told_before_completions(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_open(stage, NULL);
	fd = stage_plain(stage);
	net_socket_pause(stage->guest.socket);
	net_socket_write(stage->guest.socket, big, sizeof(big), actor_done, &stage->guest);
	net_socket_write(stage->guest.socket, "more", 4, actor_done, &stage->guest);
	plain_reset(fd);
	story_run_until(&stage->story, "S.close:error");
	assert_string_equal(stage->story.text, "S.error:ECONNRESET S.done:ECONNRESET "
					       "S.done:ECONNRESET S.close:error ");
	assert_string_equal(stage->guest.error_text, "write ECONNRESET");
}

/* WR-8: the same when the kernel says so inside the call. */
static void a_broken_connection_is_the_result_of_a_write(void **state)
{
	struct stage *stage = *state;
	int fd, r = 1;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_open(stage, NULL);
	fd = stage_plain(stage);
	net_socket_pause(stage->guest.socket);
	close(fd);
	while (r == 1) /* until the kernel has the peer's answer to the first */
		r = net_socket_write(stage->guest.socket, "x", 1, NULL, NULL);
	assert_true(r == -EPIPE || r == -ECONNRESET);
	assert_true(net_socket_destroyed(stage->guest.socket));
	assert_string_equal(stage->story.text, "");
	story_run_until(&stage->story, "S.close:error");
}

/* WR-9: what was cut off is neither sent nor destroyed. */
static void destroy_answers_every_queued_write_before_the_close(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	net_socket_write(stage->client.socket, big, sizeof(big), NULL, NULL);
	story_run_ready(&stage->story);
	net_socket_write(stage->client.socket, big, sizeof(big), actor_done, &stage->client);
	net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->guest);
	net_socket_destroy(stage->client.socket, 0);
	assert_false(story_has(&stage->story, "C.close"));
	story_run_until(&stage->story, "C.close");
	assert_true(story_in_order(&stage->story, "C.done:ERR_STREAM_DESTROYED", "C.close"));
	assert_true(story_in_order(&stage->story, "S.done:ERR_STREAM_DESTROYED", "C.close"));
	stage->guest.socket = stage->host.latest;
}

/* WR-9 */
static void a_write_that_was_cut_off_is_cancelled(void **state)
{
	const struct net_socket_options options = {.high_water_mark = 1};
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, &options);
	net_socket_cork(stage->client.socket);
	net_socket_write(stage->client.socket, big, sizeof(big), actor_done, &stage->client);
	net_socket_uncork(stage->client.socket);
	story_run_ready(&stage->story);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	assert_true(story_has(&stage->story, "C.done:ECANCELED"));
}

/* WR-9: what the kernel took inside the call is a beginning, too; the next one has none. */
static void and_so_is_one_that_was_cut_off_at_once(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	net_socket_write(stage->client.socket, big, sizeof(big), actor_done, &stage->client);
	net_socket_write(stage->client.socket, big, sizeof(big), actor_done, &stage->client);
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	assert_true(
		story_in_order(&stage->story, "C.done:ECANCELED", "C.done:ERR_STREAM_DESTROYED"));
}

/* WR-10 */
static void an_empty_write_is_answered_in_its_turn(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	assert_int_equal(
		net_socket_write(stage->client.socket, NULL, 0, actor_done, &stage->client), 1);
	story_run_until(&stage->story, "C.done:0");
	story_forget(&stage->story);
	net_socket_write(stage->client.socket, big, sizeof(big), actor_done, &stage->client);
	net_socket_write(stage->client.socket, "", 0, actor_done, &stage->host.guests[1][0]);
	stage->guests[0].story = &stage->story;
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "G.done:0");
	assert_true(story_in_order(&stage->story, "C.done:0", "G.done:0"));
	stage->guests[0].socket = NULL;
}

/* WR-11: the caller may reuse the memory when the call returns. */
static void queued_data_is_a_copy(void **state)
{
	struct stage *stage = *state;
	char *data = malloc(sizeof(big));

	connect_to_a_paused_guest(stage, NULL);
	memset(data, 'a', sizeof(big));
	net_socket_write(stage->client.socket, data, sizeof(big), NULL, NULL);
	memset(data, 'b', sizeof(big));
	free(data);
	net_socket_resume(stage->guest.socket);
	story_run_for(&stage->story, guest_has_all, &stage->guest);
	for (size_t i = 0; i < stage->guest.size; i++)
		assert_int_equal(stage->guest.data[i], 'a');
}

/* WR-12: one wake-up sends at most 32 queued writes. */
static void one_wake_up_sends_a_bounded_number_of_writes(void **state)
{
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, NULL);
	net_socket_cork(stage->client.socket);
	for (int i = 0; i < 100; i++)
		net_socket_write(stage->client.socket, "x", 1, actor_done, &stage->client);
	net_socket_uncork(stage->client.socket);
	assert_int_equal(net_socket_buffer_size(stage->client.socket), 68);
	ev_run(stage->story.loop, EVRUN_ONCE);
	assert_in_range(net_socket_buffer_size(stage->client.socket), 4, 36);
	while (net_socket_buffer_size(stage->client.socket) > 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	story_run_ready(&stage->story);
	assert_int_equal(story_count(&stage->story, "C.done:0"), 100);
}

/* A peer that never reads is cut off when write_limit bytes wait for it. */
static void the_write_limit_ends_a_peer_that_never_reads(void **state)
{
	const struct net_socket_options options = {.write_limit = 1 << 20};
	struct stage *stage = *state;

	connect_to_a_paused_guest(stage, &options);
	assert_int_equal(net_socket_write(stage->client.socket, big, sizeof(big), actor_done,
					  &stage->client),
			 NET_ERR_WRITE_LIMIT);
	story_run_until(&stage->story, "C.close:error");
	assert_string_equal(stage->story.text,
			    "C.error:ERR_WRITE_LIMIT C.done:ERR_WRITE_LIMIT C.close:error ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(a_write_tries_the_kernel_first),
		on_stage(the_result_tells_whether_more_is_welcome),
		on_stage(a_small_queue_still_welcomes_more),
		on_stage(a_mark_of_zero_welcomes_only_what_was_sent),
		on_stage(drain_comes_once_when_all_is_sent_before_the_completion),
		on_stage(a_drain_that_waits_is_not_told_while_something_is_queued),
		on_stage(a_drain_that_waits_is_told_after_a_little_more),
		on_stage(no_drain_without_a_refused_write_nor_after_the_end),
		on_stage(a_drain_that_waits_is_not_told_after_an_end),
		on_stage(completions_come_later_once_and_in_order),
		on_stage(corked_writes_leave_as_one),
		on_stage(end_uncorks),
		on_stage(any_number_of_parts_is_sent),
		on_stage(nonsense_is_refused),
		on_stage(writes_before_connect_wait_and_count),
		on_stage(bytes_written_count_what_was_accepted_and_stay),
		on_stage(a_write_after_the_end_destroys),
		on_stage(a_write_after_destroy_is_told_to_its_completion_only),
		on_stage(a_write_without_a_connection_destroys),
		on_stage(a_write_after_the_automatic_end_is_epipe),
		on_stage(a_broken_connection_is_told_before_completions),
		on_stage(a_broken_connection_is_the_result_of_a_write),
		on_stage(destroy_answers_every_queued_write_before_the_close),
		on_stage(a_write_that_was_cut_off_is_cancelled),
		on_stage(and_so_is_one_that_was_cut_off_at_once),
		on_stage(an_empty_write_is_answered_in_its_turn),
		on_stage(queued_data_is_a_copy),
		on_stage(one_wake_up_sends_a_bounded_number_of_writes),
		on_stage(the_write_limit_ends_a_peer_that_never_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
