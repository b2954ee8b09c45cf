/* Messages of users over a channel: whole, in order, answered, within bounds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/cluster/mail_parts.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/post.h"

#define PIECE (IPC_PACKET_MAX - sizeof(uint32_t) - sizeof(struct ipc_mail))

/* A byte pattern that no cut leaves as it is. */
static char *pattern(size_t size)
{
	char *data = malloc(size + 1);

	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i % 251);
	return data;
}

static void assert_pattern(const struct post_end *end, size_t size)
{
	assert_int_equal(end->size, size);
	for (size_t i = 0; i < size; i++)
		if (end->data[i] != (char)(i % 251))
			fail_msg("byte %zu of %zu is wrong", i, size);
}

/* IP-1, IP-10: nothing happens inside the call. */
static void a_message_comes_and_its_sender_is_told(void **state)
{
	struct post *post = *state;

	assert_int_equal(post_text(&post->a, "hello"), 1);
	assert_string_equal(post->stage->story.text, "");
	post_run_dones(&post->a, 1);
	post_run_messages(&post->b, 1);
	assert_string_equal(post->b.data, "hello");
	assert_int_equal(post_text(&post->b, ""), 1);
	post_run_messages(&post->a, 1);
	assert_true(story_has(&post->stage->story, "A.message:0"));
	assert_int_equal(post->a.status, 0);
}

/* IP-1: with a handle, too. */
static void messages_of_800_kb_arrive_whole(void **state)
{
	struct post *post = *state;
	const size_t size = 800000;
	char *data = pattern(size);
	struct mail_handle handle;

	stage_connected(post->stage);
	handle = (struct mail_handle){.socket = post->stage->guest.socket};
	post->stage->guest.socket = NULL;
	assert_int_equal(post_send(&post->a, data, size, &handle), 0);
	assert_int_equal(post_send(&post->b, data, size, NULL), 0);
	post_run_messages(&post->b, 1);
	post_run_messages(&post->a, 1);
	post_run_dones(&post->a, 1);
	assert_pattern(&post->b, size);
	assert_pattern(&post->a, size);
	assert_true(story_has(&post->stage->story, "B.message:800000+socket"));
	free(data);
}

/* IP-1 */
static void every_cut_into_pieces_is_put_together(void **state)
{
	struct post *post = *state;
	const size_t sizes[] = {1,         PIECE - 1,     PIECE,         PIECE + 1,
				2 * PIECE, 4 * PIECE - 1, 4 * PIECE + 1, 1000000};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *data = pattern(sizes[i]);

		assert_true(post_send(&post->a, data, sizes[i], NULL) >= 0);
		post_run_messages(&post->b, i + 1);
		assert_pattern(&post->b, sizes[i]);
		free(data);
	}
}

/* IP-1: up to a limit with a name. */
static void the_longest_message_arrives_and_a_longer_one_is_refused(void **state)
{
	struct post *post = *state;
	char *data = pattern(MAIL_SIZE_MAX + 1);

	assert_int_equal(post_send(&post->a, data, MAIL_SIZE_MAX + 1, NULL), -EMSGSIZE);
	assert_int_equal(post_send(&post->a, data, MAIL_SIZE_MAX, NULL), 0);
	post_run_messages(&post->b, 1);
	assert_pattern(&post->b, MAIL_SIZE_MAX);
	post_run_dones(&post->a, 1);
	free(data);
}

static void what_waits_is_bounded(void **state)
{
	struct post *post = *state;
	char *data = pattern(MAIL_SIZE_MAX);
	size_t sent = 0;
	int r;

	mail_receive(post->b.mail, false);
	while ((r = post_send(&post->a, data, MAIL_SIZE_MAX, NULL)) >= 0)
		sent++;
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(sent, MAIL_QUEUE_MAX / MAIL_SIZE_MAX);
	mail_receive(post->b.mail, true);
	post_run_messages(&post->b, sent);
	post_run_dones(&post->a, sent);
	free(data);
}

static void note_order(struct post_end *end, const struct mail_message *m)
{
	story_tell(end->story, "%s%s%s", end->data, m->socket ? "+s" : "", m->server ? "+v" : "");
}

/* IP-2, IP-3: a handle is that of its own message, and nothing overtakes it. */
static void order_is_that_of_the_sends(void **state)
{
	struct post *post = *state;
	struct mail_handle server;

	stage_connected(post->stage);
	server = (struct mail_handle){.server = post->stage->host.server};
	post->b.is_quiet = post->a.is_quiet = true;
	post->b.on_message = note_order;
	assert_int_equal(post_text(&post->a, "one"), 1);
	assert_int_equal(post_actor(&post->a, "two", &post->stage->guest), 1);
	assert_int_equal(post_text(&post->a, "three"), 1);
	assert_int_equal(post_send(&post->a, "four", 4, &server), 0);
	assert_int_equal(post_text(&post->a, "five"), 0);
	post_run_messages(&post->b, 5);
	assert_string_equal(post->stage->story.text, "one two+s three four+v five ");
	post_run_dones(&post->a, 5);
}

/* IP-10: 128 KiB that are unsent. */
static void a_sender_of_much_is_asked_to_wait(void **state)
{
	struct post *post = *state;
	char *data = pattern(4096);
	size_t sent = 0;

	mail_receive(post->b.mail, false);
	do {
		assert_int_equal(post_send(&post->a, data, 4096, NULL), 1);
		story_run_ready(&post->stage->story);
		sent++;
	} while (post->a.dones == sent);
	/* The other end has no more room: one waits, and 31 are still less. */
	assert_int_equal(sent, IPC_MAIL_WINDOW / (4096 + IPC_MAIL_PIECE_COST) + 1);
	for (size_t i = 1; i < 31; i++)
		assert_int_equal(post_send(&post->a, data, 4096, NULL), 1);
	assert_int_equal(post_send(&post->a, data, 4095, NULL), 1);
	assert_int_equal(post_send(&post->a, data, 1, NULL), 0);
	mail_receive(post->b.mail, true);
	post_run_dones(&post->a, sent + 32);
	assert_int_equal(post_send(&post->a, data, 4096, NULL), 1);
	free(data);
}

/* IP-10: the answer is what the others wait for. */
static void more_than_one_message_behind_a_handle_is_a_reason_to_wait(void **state)
{
	struct post *post = *state;

	stage_connected(post->stage);
	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	assert_int_equal(post_text(&post->a, "1"), 1);
	assert_int_equal(post_text(&post->a, "2"), 0);
	assert_int_equal(post_text(&post->a, "3"), 0);
	post_run_dones(&post->a, 4);
	assert_int_equal(post_text(&post->a, "4"), 1);
	post_run_messages(&post->b, 5);
}

/* IP-10, ER-14 */
static void a_closed_channel_takes_no_message(void **state)
{
	struct post *post = *state;

	post_end_close(&post->b);
	story_run_until(&post->stage->story, "A.lost:0");
	assert_int_equal(post_text(&post->a, "late"), NET_ERR_IPC_CHANNEL_CLOSED);
	story_run_ready(&post->stage->story);
	assert_int_equal(post->a.dones, 0);
}

/* IP-10: without a completion the error is an event. */
static void a_failed_send_without_a_completion_is_an_error(void **state)
{
	struct post *post = *state;

	stage_connected(post->stage);
	post_go_bare(post);
	assert_int_equal(mail_send(post->a.mail, "x", 1,
				   &(struct mail_handle){.socket = post->stage->guest.socket}, NULL,
				   NULL),
			 1);
	post->stage->guest.socket = NULL;
	assert_int_equal(mail_send(post->a.mail, "y", 1, NULL, NULL, NULL), 1);
	close_fd(take_fd(&post->bare));
	story_run_until(&post->stage->story, "A.error:ERR_IPC_CHANNEL_CLOSED");
	story_run_ready(&post->stage->story);
	assert_int_equal(story_count(&post->stage->story, "A.error:ERR_IPC_CHANNEL_CLOSED"), 2);
}

/* IP-12: and within the bounds of one end the other messages of the channel go on. */
static void messages_wait_for_somebody_who_wants_them(void **state)
{
	struct post *post = *state;
	char *data = pattern(100000);
	const size_t count = 20;

	mail_receive(post->b.mail, false);
	for (size_t i = 0; i < count; i++)
		assert_true(post_send(&post->a, data, 100000, NULL) >= 0);
	story_run_ready(&post->stage->story);
	assert_int_equal(post->b.messages, 0);
	assert_in_range(post->a.dones, 1, 2);

	/* The other direction is not blocked by that, nor are answers. */
	stage_connected(post->stage);
	assert_int_equal(post_actor(&post->b, "s", &post->stage->guest), 1);
	post_run_messages(&post->a, 1);
	post_run_dones(&post->b, 1);

	mail_receive(post->b.mail, true);
	assert_int_equal(post->b.messages, 0);
	post_run_messages(&post->b, count);
	assert_pattern(&post->b, 100000);
	post_run_dones(&post->a, count);
	free(data);
}

static void stop_after_three(struct post_end *end, const struct mail_message *m)
{
	if (end->messages == 3)
		mail_receive(end->mail, false);
}

/* IP-12 */
static void who_stops_to_receive_gets_the_rest_later(void **state)
{
	struct post *post = *state;

	post->b.on_message = stop_after_three;
	for (int i = 0; i < 10; i++)
		assert_int_equal(post_text(&post->a, "x"), 1);
	post_run_dones(&post->a, 10);
	story_run_ready(&post->stage->story);
	assert_int_equal(post->b.messages, 3);
	mail_receive(post->b.mail, true);
	post_run_messages(&post->b, 10);
}

/* IP-12: what came whole before the end is told after it. */
static void what_is_kept_outlives_the_channel(void **state)
{
	struct post *post = *state;

	mail_receive(post->b.mail, false);
	stage_connected(post->stage);
	assert_int_equal(post_text(&post->a, "one"), 1);
	assert_int_equal(post_actor(&post->a, "two", &post->stage->guest), 1);
	post_run_dones(&post->a, 2);
	post_end_close(&post->a);
	story_run_until(&post->stage->story, "B.lost:0");
	mail_receive(post->b.mail, true);
	post_run_messages(&post->b, 2);
	assert_string_equal(post->b.data, "two");
	net_socket_end(post->guest.socket, "x", 1, NULL, NULL);
	story_run_until(&post->stage->story, "C.data:1");
}

static void on_flushed(struct mail *mail, int status, void *ctx)
{
	struct post_end *end = ctx;

	story_tell(end->story, "%s.flushed:%s", end->name,
		   status == 0 ? "0" : net_error_name(status));
}

/* IP-11: with a handle that is not yet answered, and much behind it. */
static void an_end_sends_first_what_waits(void **state)
{
	struct post *post = *state;
	struct story *story = &post->stage->story;
	char *data = pattern(600000);

	stage_connected(post->stage);
	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	assert_int_equal(post_send(&post->a, data, 600000, NULL), 0);
	assert_int_equal(mail_end(post->a.mail, on_flushed, &post->a), 0);
	assert_int_equal(post_text(&post->a, "late"), NET_ERR_IPC_CHANNEL_CLOSED);
	assert_int_equal(mail_end(post->a.mail, on_flushed, &post->a), NET_ERR_IPC_DISCONNECTED);
	assert_false(story_has(story, "A.flushed:0"));
	story_run_until(story, "A.flushed:0");
	assert_int_equal(post->a.dones, 2);
	/* The other end may still have something to say. */
	assert_int_equal(post_text(&post->b, "bye"), 1);
	post_run_messages(&post->a, 1);
	post_end_close(&post->a);
	post_run_messages(&post->b, 2);
	assert_int_equal(story_count(story, "A.flushed:0"), 1);
	free(data);
}

/* IP-11: the event comes later, also when there is nothing to flush. */
static void an_end_with_nothing_to_send_is_told_later(void **state)
{
	struct post *post = *state;

	assert_int_equal(mail_end(post->a.mail, on_flushed, &post->a), 0);
	assert_string_equal(post->stage->story.text, "");
	story_run_until(&post->stage->story, "A.flushed:0");
}

/* IP-11, ER-14 */
static void an_end_is_told_when_the_channel_ends_first(void **state)
{
	struct post *post = *state;

	post_go_bare(post);
	stage_connected(post->stage);
	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	assert_int_equal(mail_end(post->a.mail, on_flushed, &post->a), 0);
	story_run_ready(&post->stage->story);
	assert_false(story_has(&post->stage->story, "A.flushed:0"));
	close_fd(take_fd(&post->bare));
	story_run_until(&post->stage->story, "A.flushed:ERR_IPC_CHANNEL_CLOSED");
	assert_int_equal(post->a.status, NET_ERR_IPC_CHANNEL_CLOSED);
	assert_int_equal(mail_end(post->a.mail, on_flushed, &post->a), NET_ERR_IPC_DISCONNECTED);
}

/* Whether the loop would run on without anything to wait for but the channels. */
static bool holds_the_loop(struct post *post)
{
	story_run_ready(&post->stage->story);
	return ev_run(post->stage->story.loop, EVRUN_NOWAIT);
}

/* IP-14 */
static void the_channel_holds_the_loop_while_somebody_receives(void **state)
{
	struct post *post = *state;

	mail_receive(post->a.mail, false);
	assert_true(holds_the_loop(post));
	mail_receive(post->b.mail, false);
	assert_false(holds_the_loop(post));
	assert_int_equal(post_text(&post->a, "x"), 1);
	post_run_dones(&post->a, 1);
	assert_false(holds_the_loop(post));
	mail_receive(post->b.mail, true);
	assert_true(holds_the_loop(post));
	assert_int_equal(post->b.messages, 1);
}

/* IP-14: what is on its way is not given up because of that. */
static void the_channel_holds_the_loop_while_something_is_to_be_sent(void **state)
{
	struct post *post = *state;

	stage_connected(post->stage);
	net_socket_unref(post->stage->client.socket);
	net_socket_unref(post->stage->guest.socket);
	net_server_unref(post->stage->host.server);
	post_go_bare(post);
	mail_receive(post->a.mail, false);
	assert_false(holds_the_loop(post));
	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	assert_true(holds_the_loop(post));
}

/* IP-12: other messages of the channel are none of the user's, and unknown answers are nothing. */
static void unknown_answers_are_ignored(void **state)
{
	struct post *post = *state;

	post_go_bare(post);
	post_bare_send(post, IPC_ANSWERED, &(struct ipc_answered){.number = 1}, NULL, 0, -1);
	post_bare_send(post, IPC_ANSWERED, &(struct ipc_answered){77, EMFILE}, NULL, 0, -1);
	post_bare_send(post, IPC_SOCKETS_COUNTED, &(struct ipc_sockets_counted){5, 9}, NULL, 0, -1);
	post_bare_send(post, IPC_SOCKETS_CLOSED, &(struct ipc_sockets_closed){5}, NULL, 0, -1);
	post_bare_send(post, IPC_SOCKETS_CLOSED, &(struct ipc_sockets_closed){0}, NULL, 0, -1);
	post_bare_send(post, IPC_MAIL, &(struct ipc_mail){1, 2, 0}, "ok", 2, -1);
	post_run_messages(&post->a, 1);
	assert_string_equal(post->a.data, "ok");
	assert_string_equal(post->stage->story.text, "A.message:2 ");
}

/* IP-1: after 2^32 messages, of which each has a number that is not 0. */
static void numbers_wrap_around(void **state)
{
	struct post *post = *state;

	post->a.mail->out.last_number = post->b.mail->in.last_number = UINT32_MAX - 2;
	stage_connected(post->stage);
	assert_int_equal(post_text(&post->a, "1"), 1);
	assert_int_equal(post_text(&post->a, "2"), 1);
	assert_int_equal(post_actor(&post->a, "3", &post->stage->guest), 1);
	assert_int_equal(post_text(&post->a, "4"), 1);
	post_run_messages(&post->b, 4);
	post_run_dones(&post->a, 4);
	assert_int_equal(post->b.mail->in.last_number, 2);
}

static void free_mail(struct post_end *end)
{
	struct mail *mail = end->mail;

	end->mail = NULL;
	mail_free(mail);
}

static void free_on_message(struct post_end *end, const struct mail_message *m)
{
	free_mail(end);
}

static void a_mail_may_be_freed_in_its_callbacks(void **state)
{
	struct post *post = *state;

	post->b.on_message = free_on_message;
	post->a.on_done = free_mail;
	assert_int_equal(post_text(&post->a, "1"), 1);
	assert_int_equal(post_text(&post->a, "2"), 1);
	post_run_messages(&post->b, 1);
	post_run_dones(&post->a, 1);
	story_run_ready(&post->stage->story);
	assert_int_equal(post->b.messages, 1);
	assert_int_equal(post->a.dones, 1);
}

static void nothing_is_told_after_a_free(void **state)
{
	struct post *post = *state;

	stage_connected(post->stage);
	assert_int_equal(post_actor(&post->a, "1", &post->stage->guest), 1);
	assert_int_equal(post_text(&post->a, "2"), 1);
	assert_int_equal(mail_end(post->a.mail, on_flushed, &post->a), 0);
	free_mail(&post->a);
	story_run_ready(&post->stage->story);
	assert_int_equal(post->a.dones, 0);
	assert_false(story_has(&post->stage->story, "A.flushed:0"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_post(a_message_comes_and_its_sender_is_told),
		on_post(messages_of_800_kb_arrive_whole),
		on_post(every_cut_into_pieces_is_put_together),
		on_post(the_longest_message_arrives_and_a_longer_one_is_refused),
		on_post(what_waits_is_bounded),
		on_post(order_is_that_of_the_sends),
		on_post(a_sender_of_much_is_asked_to_wait),
		on_post(more_than_one_message_behind_a_handle_is_a_reason_to_wait),
		on_post(a_closed_channel_takes_no_message),
		on_post(a_failed_send_without_a_completion_is_an_error),
		on_post(messages_wait_for_somebody_who_wants_them),
		on_post(who_stops_to_receive_gets_the_rest_later),
		on_post(what_is_kept_outlives_the_channel),
		on_post(an_end_sends_first_what_waits),
		on_post(an_end_with_nothing_to_send_is_told_later),
		on_post(an_end_is_told_when_the_channel_ends_first),
		on_post(the_channel_holds_the_loop_while_somebody_receives),
		on_post(the_channel_holds_the_loop_while_something_is_to_be_sent),
		on_post(unknown_answers_are_ignored),
		on_post(numbers_wrap_around),
		on_post(a_mail_may_be_freed_in_its_callbacks),
		on_post(nothing_is_told_after_a_free),
	};

	return cmocka_run_group_tests_name("mail", tests, NULL, NULL);
}
