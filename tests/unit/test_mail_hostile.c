/* The other end of an exchange as an enemy: whatever it sends, the channel is given up with a
 * reason, nothing is told of it, and nothing is left behind. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fdpass.h"
#include "common/net/transfer.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/post.h"

static const char bytes[60000];

#define HEAD(number, kind, unread)    \
	{                             \
		number, kind, unread, \
		{                     \
			0             \
		}                     \
	}

static int setup(void **state)
{
	if (post_set(state) < 0)
		return -1;
	post_go_bare(*state);
	return 0;
}

#define on_bare(test) cmocka_unit_test_setup_teardown(test, setup, post_clear)

static void again(struct post *post)
{
	close_fd(take_fd(&post->bare));
	story_run_ready(&post->stage->story);
	story_forget(&post->stage->story);
	post->a.is_lost = false;
	post->a.messages = 0;
	post_go_bare(post);
}

static void piece(struct post *post, uint32_t number, uint32_t size, uint32_t offset, size_t count)
{
	post_bare_send(post, IPC_MAIL, &(struct ipc_mail){number, size, offset}, bytes, count, -1);
}

static int stream_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	return fd;
}

/* Sends a handle with a descriptor that is closed here. */
static void handle(struct post *post, const struct ipc_handle *head,
		   const struct ipc_handle_row *row, int fd)
{
	post_bare_send(post, IPC_HANDLE, head, row, 1, fd);
	close_fd(fd);
}

static void assert_given_up(struct post *post, const char *reason)
{
	size_t messages = post->a.messages;

	story_run_until(&post->stage->story, "A.lost:EPROTO");
	if (!strstr(post->a.lost_why, reason))
		fail_msg("not because of \"%s\" but \"%s\"", reason, post->a.lost_why);
	assert_int_equal(post->a.messages, messages);
}

struct wrong_piece {
	const char *name;
	struct ipc_mail first; /* size 0: none; with 4 bytes */
	struct ipc_mail body;
	size_t count;
	const char *reason;
};

static const struct wrong_piece wrong_pieces[] = {
	{"number 0", {0}, {0, 4, 0}, 4, "turn"},
	{"a number that was left out", {0}, {2, 4, 0}, 4, "turn"},
	{"the number of one that came", {1, 4, 0}, {1, 4, 0}, 4, "turn"},
	{"an offset at the start", {0}, {1, 8, 4}, 4, "turn"},
	{"a gap", {1, 100, 0}, {1, 100, 5}, 4, "turn"},
	{"one piece twice", {1, 100, 0}, {1, 100, 0}, 4, "turn"},
	{"another message between", {1, 100, 0}, {2, 100, 0}, 4, "turn"},
	{"a size that changes", {1, 100, 0}, {1, 101, 4}, 4, "turn"},
	{"a size that shrinks", {1, 100, 0}, {1, 4, 4}, 0, "turn"},
	{"more than its size", {0}, {1, 3, 0}, 4, "wrong size"},
	{"more than is missing", {1, 6, 0}, {1, 6, 4}, 3, "wrong size"},
	{"nothing of something", {0}, {1, 4, 0}, 0, "wrong size"},
	{"nothing more", {1, 8, 0}, {1, 8, 4}, 0, "wrong size"},
	{"something of nothing", {0}, {1, 0, 0}, 4, "wrong size"},
	{"the greatest size", {0}, {1, UINT32_MAX, 0}, 4, "too long"},
	{"one byte too many", {0}, {1, (16u << 20) + 1, 0}, 4, "too long"},
};

/* IP-12: lengths, ids, and pieces out of order. */
static void a_piece_that_does_not_fit_is_refused(void **state)
{
	struct post *post = *state;

	for (size_t i = 0; i < ARRAY_LEN(wrong_pieces); i++) {
		const struct wrong_piece *w = &wrong_pieces[i];

		if (w->first.size > 0) {
			piece(post, w->first.number, w->first.size, w->first.offset, 4);
			story_run_ready(&post->stage->story);
		}
		piece(post, w->body.number, w->body.size, w->body.offset, w->count);
		assert_given_up(post, w->reason);
		again(post);
	}
}

struct wrong_handle {
	const char *name;
	struct ipc_handle head;
	struct ipc_handle_row row;
	const char *reason;
};

static const struct wrong_handle wrong_handles[] = {
	{"number 0", HEAD(0, IPC_HANDLE_SOCKET, 0), {0}, "turn"},
	{"a number that was left out", HEAD(2, IPC_HANDLE_SOCKET, 0), {0}, "turn"},
	{"no kind", HEAD(1, 0, 0), {0}, "unknown kind"},
	{"another kind", HEAD(1, 3, 0), {0}, "unknown kind"},
	{"too many unread", HEAD(1, IPC_HANDLE_SOCKET, TRANSFER_UNREAD_MAX + 1), {0}, "more bytes"},
	{"a server that has read", HEAD(1, IPC_HANDLE_SERVER, 1), {0}, "more bytes"},
	{"unknown flags", HEAD(1, IPC_HANDLE_SOCKET, 0), {.flags = 1u << 31}, "no sense"},
	{"a type of service", HEAD(1, IPC_HANDLE_SOCKET, 0), {.type_of_service = 256}, "no sense"},
	{"a delay",
	 HEAD(1, IPC_HANDLE_SOCKET, 0),
	 {.keep_alive_initial_delay_ms = 1u << 31},
	 "no sense"},
	{"a long address", HEAD(1, IPC_HANDLE_SOCKET, 0), {.peer = {.size = 113}}, "no sense"},
	{"a huge address",
	 HEAD(1, IPC_HANDLE_SOCKET, 0),
	 {.peer = {.size = UINT32_MAX}},
	 "no sense"},
	{"a short address", HEAD(1, IPC_HANDLE_SOCKET, 0), {.peer = {.size = 1}}, "no sense"},
	{"an unknown family",
	 HEAD(1, IPC_HANDLE_SOCKET, 0),
	 {.peer = {.size = 16, .address = {77}}},
	 "no sense"},
	{"half an address",
	 HEAD(1, IPC_HANDLE_SOCKET, 0),
	 {.peer = {.size = 15, .address = {AF_INET}}},
	 "no sense"},
	{"half a v6 address",
	 HEAD(1, IPC_HANDLE_SOCKET, 0),
	 {.peer = {.size = 16, .address = {AF_INET6}}},
	 "no sense"},
	{"a peer of another family",
	 HEAD(1, IPC_HANDLE_SOCKET, 0),
	 {.peer = {.size = sizeof(struct sockaddr_in), .address = {AF_INET}}},
	 "not what it says"},
	{"a server that does not listen", HEAD(1, IPC_HANDLE_SERVER, 0), {0}, "not what it says"},
};

static void a_handle_that_makes_no_sense_is_refused(void **state)
{
	struct post *post = *state;

	for (size_t i = 0; i < ARRAY_LEN(wrong_handles); i++) {
		const struct wrong_handle *w = &wrong_handles[i];
		size_t before = open_fd_count();

		handle(post, &w->head, &w->row, stream_socket());
		assert_given_up(post, w->reason);
		story_run_ready(&post->stage->story);
		assert_int_equal(open_fd_count(), before - 1);
		again(post);
	}
}

static int listening_socket(void)
{
	const struct sockaddr_in any = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* Files, pipes, datagram sockets, and sockets in another state than they are said to be. */
static void a_descriptor_of_another_kind_is_refused(void **state)
{
	struct post *post = *state;
	const struct ipc_handle_row row = {0};
	const struct ipc_handle a_socket = HEAD(1, IPC_HANDLE_SOCKET, 0);
	const struct ipc_handle a_server = HEAD(1, IPC_HANDLE_SERVER, 0);

	for (int i = 0; i < 5; i++) {
		int fd = i < 2   ? open("/dev/null", O_RDONLY | O_CLOEXEC)
			 : i < 4 ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
				 : listening_socket();

		handle(post, i % 2 ? &a_server : &a_socket, &row, fd);
		assert_given_up(post, "not what it says");
		again(post);
	}
}

static void a_message_with_no_handle_or_with_several_is_refused(void **state)
{
	struct post *post = *state;
	const struct ipc_handle_row rows[2] = {0};
	const struct ipc_handle head = HEAD(1, IPC_HANDLE_SOCKET, 0);
	static uint32_t packet[IPC_PACKET_MAX / sizeof(uint32_t)];
	int size = ipc_encode(IPC_HANDLE, &head, rows, 2, packet);
	const int fds[2] = {STDIN_FILENO, STDIN_FILENO};
	struct iovec part = {packet, (size_t)size};

	post_bare_send(post, IPC_HANDLE, &head, NULL, 0, -1);
	assert_given_up(post, "no handle or with several");
	again(post);
	assert_int_equal(fdpass_send(post->bare, &part, 1, fds, 2), size);
	assert_given_up(post, "no handle or with several");
}

static void a_handle_within_a_message_is_refused(void **state)
{
	struct post *post = *state;
	const struct ipc_handle_row row = {0};
	struct ipc_handle head = HEAD(1, IPC_HANDLE_SOCKET, 0);

	piece(post, 1, 100, 0, 4);
	handle(post, &head, &row, stream_socket());
	assert_given_up(post, "turn");
	again(post);

	handle(post, &head, &row, stream_socket());
	head.number = 2;
	handle(post, &head, &row, stream_socket());
	assert_given_up(post, "turn");
	again(post);

	/* Its bytes are fewer than those of its socket. */
	head = (struct ipc_handle)HEAD(1, IPC_HANDLE_SOCKET, 10);
	handle(post, &head, &row, stream_socket());
	piece(post, 1, 9, 0, 9);
	assert_given_up(post, "too long");
}

/* IP-12: what nobody wants is bounded, whatever the other end believes. */
static void who_sends_more_than_there_is_room_for_is_given_up(void **state)
{
	struct post *post = *state;
	uint32_t number = 0;

	mail_receive(post->a.mail, false);
	while (!post->a.is_lost && number < 100) {
		piece(post, ++number, sizeof(bytes), 0, sizeof(bytes));
		story_run_ready(&post->stage->story);
	}
	assert_int_equal(number, IPC_MAIL_WINDOW / (sizeof(bytes) + IPC_MAIL_PIECE_COST) + 1);
	assert_given_up(post, "room");
	assert_int_equal(post->a.messages, 0);
}

/* IP-12: descriptors, too. */
static void who_sends_more_handles_than_there_is_room_for_is_given_up(void **state)
{
	struct post *post = *state;
	const struct ipc_handle_row row = {0};
	size_t before = open_fd_count();
	uint32_t number = 0;

	mail_receive(post->a.mail, false);
	while (!post->a.is_lost && number < 1000) {
		const struct ipc_handle head = HEAD(++number, IPC_HANDLE_SOCKET, 0);

		handle(post, &head, &row, stream_socket());
		piece(post, number, 0, 0, 0);
		story_run_ready(&post->stage->story);
	}
	assert_given_up(post, "room");
	assert_in_range(number, 2, IPC_MAIL_WINDOW / IPC_MAIL_HANDLE_COST);
	mail_free(post->a.mail);
	post->a.mail = NULL;
	story_run_ready(&post->stage->story);
	assert_int_equal(open_fd_count(), before - 1);
}

static void who_took_more_than_was_sent_is_given_up(void **state)
{
	struct post *post = *state;
	const uint32_t costs[] = {1, IPC_MAIL_WINDOW, UINT32_MAX};

	for (size_t i = 0; i < ARRAY_LEN(costs); i++) {
		post_bare_send(post, IPC_TAKEN, &(struct ipc_taken){costs[i]}, NULL, 0, -1);
		assert_given_up(post, "more than it was sent");
		again(post);
	}
	assert_int_equal(post_text(&post->a, "four"), 1);
	post_bare_send(post, IPC_TAKEN, &(struct ipc_taken){IPC_MAIL_PIECE_COST + 5}, NULL, 0, -1);
	assert_given_up(post, "more than it was sent");
}

/* What is on its way and not answered is room that nobody gives back. */
static void who_took_a_handle_that_is_not_answered_is_given_up(void **state)
{
	struct post *post = *state;
	struct ipc_handle head;
	int fd;

	stage_connected(post->stage);
	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	post_bare_take_handle(post, &head, &fd);
	close_fd(fd);
	post_bare_send(post, IPC_TAKEN, &(struct ipc_taken){IPC_MAIL_HANDLE_COST}, NULL, 0, -1);
	assert_given_up(post, "more than it was sent");
}

static void expect_refusal(struct post *post, uint32_t reason, int status)
{
	struct ipc_message m;
	int fd;

	stage_connected(post->stage);
	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	for (int i = 0; i < 4; i++) {
		while (!post_bare_take(post, &m, &fd))
			ev_run(post->stage->story.loop, EVRUN_ONCE);
		assert_int_equal(m.type, IPC_HANDLE);
		close_fd(fd);
		post_bare_send(post, IPC_ANSWERED, &(struct ipc_answered){1, reason}, NULL, 0, -1);
	}
	post_run_dones(&post->a, 1);
	assert_int_equal(post->a.status, status);
}

/* A refusal with a number that is none is one all the same. */
static void a_refusal_for_no_known_reason_is_a_refusal(void **state)
{
	expect_refusal(*state, 0x80000000u + 5, -EPROTO);
}

/* The other end has one, or it could not say so. */
static void a_refusal_for_want_of_a_channel_is_a_refusal(void **state)
{
	expect_refusal(*state, EPIPE, -EPIPE);
}

/* Whoever asks and never listens is given up when his answers do not fit. */
static void who_asks_without_end_is_given_up(void **state)
{
	struct post *post = *state;
	const struct ipc_sockets question = {.request = 1};

	for (size_t i = 0; i < 100000 && !post->a.is_lost; i++) {
		post_bare_send(post, IPC_SOCKETS_COUNT, &question, NULL, 0, -1);
		ev_run(post->stage->story.loop, EVRUN_NOWAIT);
	}
	assert_true(post->a.is_lost);
	assert_non_null(strstr(post->a.lost_why, "takes no answers"));
	assert_true(story_has(&post->stage->story, "A.lost:ENOBUFS"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_bare(a_piece_that_does_not_fit_is_refused),
		on_bare(a_handle_that_makes_no_sense_is_refused),
		on_bare(a_descriptor_of_another_kind_is_refused),
		on_bare(a_message_with_no_handle_or_with_several_is_refused),
		on_bare(a_handle_within_a_message_is_refused),
		on_bare(who_sends_more_than_there_is_room_for_is_given_up),
		on_bare(who_sends_more_handles_than_there_is_room_for_is_given_up),
		on_bare(who_took_more_than_was_sent_is_given_up),
		on_bare(who_took_a_handle_that_is_not_answered_is_given_up),
		on_bare(a_refusal_for_no_known_reason_is_a_refusal),
		on_bare(a_refusal_for_want_of_a_channel_is_a_refusal),
		on_bare(who_asks_without_end_is_given_up),
	};

	return cmocka_run_group_tests_name("mail_hostile", tests, NULL, NULL);
}
