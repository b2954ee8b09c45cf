/* From one socket to another, by copying and by splice(2); and text out of bytes. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "common/net/transfer.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

/* wrap: splice malloc */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
ssize_t __real_splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t size,
		      unsigned flags);
ssize_t __wrap_splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t size,
		      unsigned flags);

static unsigned splices;
static bool splice_refused;
static bool memory_refused;

void *__wrap_malloc(size_t size)
{
	return memory_refused ? NULL : __real_malloc(size);
}

ssize_t __wrap_splice(int in, off64_t *off_in, int out, off64_t *off_out, size_t size,
		      unsigned flags)
{
	splices++;
	if (splice_refused) {
		errno = EINVAL;
		return -1;
	}
	return __real_splice(in, off_in, out, off_out, size, flags);
}

#define BULK ((size_t)24 << 20)

/* C sends to S, S is piped to the socket T, which is pair[0]; what arrives is read from far. */
struct line {
	struct stage *stage;
	struct actor to;
	int near; /* in place of C, of the test that says so */
	int far;
	char *sent;
	size_t received;
	size_t wrong;
	ev_io io;
};

static void on_far(struct ev_loop *loop, ev_io *io, int events)
{
	struct line *line = io->data;
	static char data[65536];
	ssize_t n = recv(line->far, data, sizeof(data), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		line->wrong += data[i] != line->sent[line->received + (size_t)i];
	if (n > 0)
		line->received += (size_t)n;
	if (n == 0)
		ev_io_stop(loop, io);
}

static void lay_line(struct line *line, struct stage *stage)
{
	struct net_socket_options options = {.has_fd = true, .allow_half_open = true};
	int pair[2];

	memset(line, 0, sizeof(*line));
	line->stage = stage;
	line->sent = malloc(BULK);
	for (size_t i = 0; i < BULK; i++)
		line->sent[i] = (char)(i * 2654435761U >> 13);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	options.fd = pair[0];
	line->far = pair[1];
	line->to = (struct actor){.story = &stage->story, .name = "T"};
	assert_int_equal(net_socket_new(stage->story.loop, &options, &actor_ops, &line->to,
					&line->to.socket),
			 0);
	assert_int_equal(net_socket_pipe(stage->guest.socket, line->to.socket), 0);
	ev_io_init(&line->io, on_far, line->far, EV_READ);
	line->io.data = line;
	splices = 0;
	splice_refused = false;
}

static void take_up(struct line *line)
{
	ev_io_stop(line->stage->story.loop, &line->io);
	close(line->far);
	if (line->to.socket)
		net_socket_destroy(line->to.socket, 0);
	story_run_ready(&line->stage->story);
	free(line->sent);
}

static bool has_bulk(void *ctx)
{
	return ((struct line *)ctx)->received == BULK;
}

static void small_pieces_are_copied_and_the_end_is_passed_on(void **state)
{
	struct stage *stage = *state;
	struct line line;
	char data[6] = "";

	stage_connected(stage);
	lay_line(&line, stage);
	net_socket_end(stage->client.socket, "small", 5, NULL, NULL);
	story_run_until(&stage->story, "T.finish");
	assert_false(story_has(&stage->story, "S.data:5"));
	assert_true(story_has(&stage->story, "S.end"));
	assert_int_equal(plain_receive(line.far, data, 6), 5);
	assert_string_equal(data, "small");
	assert_int_equal(splices, 0);
	take_up(&line);
}

static void send_bulk(struct line *line)
{
	struct stage *stage = line->stage;

	ev_io_start(stage->story.loop, &line->io);
	net_socket_write(stage->client.socket, line->sent, BULK, NULL, NULL);
	story_run_for(&stage->story, has_bulk, line);
	assert_int_equal(line->wrong, 0);
	assert_int_equal(net_socket_bytes_written(line->to.socket), BULK);
	assert_int_equal(net_socket_bytes_read(stage->guest.socket), BULK);
}

static void bulk_is_spliced_and_arrives_as_it_was(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	send_bulk(&line);
	assert_true(splices > 0);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "T.finish");
	take_up(&line);
}

static void where_splice_cannot_copying_goes_on(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	splice_refused = true;
	send_bulk(&line);
	assert_int_equal(splices, 1);
	take_up(&line);
}

static void wait_for_a_slow_destination(struct stage *stage, bool copies)
{
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	splice_refused = copies;
	net_socket_write(stage->client.socket, line.sent, BULK, NULL, NULL);
	story_run_ready(&stage->story);
	story_run_ready(&stage->story);
	assert_true(net_socket_buffer_size(stage->client.socket) > BULK / 2);
	assert_true(net_socket_buffer_size(line.to.socket) <= 2 * NET_HIGH_WATER_MARK_DEFAULT);
	ev_io_start(stage->story.loop, &line.io);
	story_run_for(&stage->story, has_bulk, &line);
	assert_int_equal(line.wrong, 0);
	take_up(&line);
}

/* Bytes wait inside the kernel's pipe for a destination that does not read. */
static void fill_pipe(struct line *line)
{
	struct stage *stage = line->stage;

	net_socket_write(stage->client.socket, line->sent, BULK, NULL, NULL);
	do {
		ev_io_start(stage->story.loop, &line->io);
		while (pipe_pending(line->to.socket) == 0)
			ev_run(stage->story.loop, EVRUN_ONCE);
		ev_io_stop(stage->story.loop, &line->io);
		story_run_ready(&stage->story);
	} while (pipe_pending(line->to.socket) == 0);
}

static void the_source_waits_when_bytes_are_spliced(void **state)
{
	wait_for_a_slow_destination(*state, false);
}

static void the_source_waits_when_bytes_are_copied(void **state)
{
	wait_for_a_slow_destination(*state, true);
}

/* The destination has room again, and does not know it yet. */
static void make_room(struct line *line)
{
	size_t before;

	do {
		before = line->received;
		on_far(line->stage->story.loop, &line->io, EV_READ);
	} while (line->received > before);
}

/* What is inside the kernel's pipe when the pipe ends still arrives, and before later writes. */
static void what_was_taken_from_the_source_is_not_lost(void **state)
{
	struct stage *stage = *state;
	struct line line;
	uint64_t read;

	stage_connected(stage);
	lay_line(&line, stage);
	fill_pipe(&line);
	make_room(&line);

	read = net_socket_bytes_read(stage->guest.socket);
	assert_int_equal(net_socket_write(line.to.socket, line.sent + read, 10, NULL, NULL), 1);
	net_socket_destroy(stage->guest.socket, 0);
	net_socket_end(line.to.socket, NULL, 0, NULL, NULL);
	ev_io_start(stage->story.loop, &line.io);
	story_run_until(&stage->story, "T.finish");
	while (ev_is_active(&line.io))
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(line.received, read + 10);
	assert_int_equal(line.wrong, 0);
	take_up(&line);
}

static void without_memory_for_what_was_taken_the_destination_ends(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	fill_pipe(&line);
	memory_refused = true;
	net_socket_unpipe(stage->guest.socket);
	memory_refused = false;
	story_run_until(&stage->story, "T.close:error");
	assert_int_equal(line.to.error, -ENOMEM);
	assert_false(net_socket_destroyed(stage->guest.socket));
	take_up(&line);
}

static unsigned sigpipes;

static void on_sigpipe(int number)
{
	sigpipes++;
}

/* WR-8: no SIGPIPE, though splice(2) would raise it; the source stays. */
static void a_destination_that_breaks_ends_the_pipe_without_sigpipe(void **state)
{
	struct stage *stage = *state;
	struct line line;
	void (*before)(int) = signal(SIGPIPE, on_sigpipe);

	stage_connected(stage);
	lay_line(&line, stage);
	net_socket_write(stage->client.socket, line.sent, BULK, NULL, NULL);
	ev_io_start(stage->story.loop, &line.io);
	while (splices == 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	ev_io_stop(stage->story.loop, &line.io);
	close(line.far);
	line.far = -1;
	story_run_until(&stage->story, "T.close:error");
	assert_int_equal(sigpipes, 0);
	assert_false(net_socket_destroyed(stage->guest.socket));
	signal(SIGPIPE, before);
	take_up(&line);
}

static void say_last_words_and_break(struct line *line)
{
	plain_send(line->far, "last words");
	close(line->far);
	line->far = -1;
}

static void expect_last_words(struct line *line)
{
	struct story *story = &line->stage->story;

	story_run_until(story, "T.close:error");
	assert_true(story_in_order(story, "T.data:10", "T.close:error"));
	assert_false(story_has(story, "T.end"));
	assert_false(net_socket_destroyed(line->stage->guest.socket));
}

/* RD-7: nor is what it said before that lost. */
static void what_a_destination_said_before_it_broke_is_told(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	fill_pipe(&line);
	say_last_words_and_break(&line);
	expect_last_words(&line);
	take_up(&line);
}

/* RD-7: the source has something before the destination is looked at, as what woke libev last
 * comes first. */
static void and_so_it_is_when_a_piece_is_copied_to_it(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	story_run_ready(&stage->story);
	say_last_words_and_break(&line);
	net_socket_write(stage->client.socket, "small", 5, NULL, NULL);
	expect_last_words(&line);
	take_up(&line);
}

static void reset_who_is_piped_to_himself(struct stage *stage)
{
	int fd;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	assert_int_equal(net_socket_pipe(stage->guest.socket, stage->guest.socket), 0);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "before", 6), 0);
	plain_send(fd, "last words");
	plain_reset(fd);
	story_run_until(&stage->story, "S.close:error");
}

/* RD-7: once sending has failed the pipe has ended, also where both ends are one. */
static void a_reset_of_one_that_is_piped_to_itself_is_told(void **state)
{
	struct stage *stage = *state;

	reset_who_is_piped_to_himself(stage);
	assert_string_equal(stage->story.text, "S.data:10 S.error:ECONNRESET S.close:error ");
}

static void answer(struct actor *actor)
{
	assert_int_equal(net_socket_write(actor->socket, "bye", 3, actor_done, actor), 1);
}

static void end_with_an_answer(struct actor *actor)
{
	net_socket_end(actor->socket, "bye", 3, actor_done, actor);
}

static void end_without(struct actor *actor)
{
	net_socket_end(actor->socket, NULL, 0, actor_done, actor);
}

static void answer_corked(struct actor *actor)
{
	net_socket_cork(actor->socket);
	answer(actor);
	net_socket_uncork(actor->socket);
}

/* RD-7, WR-9: one failure is told, whoever could meet it, too. */
static void fail_to_answer(struct stage *stage, void (*on_data)(struct actor *actor))
{
	stage->guest.on[ON_DATA] = on_data;
	reset_who_is_piped_to_himself(stage);
	assert_string_equal(stage->story.text, "S.data:10 S.error:ECONNRESET S.done:ECONNRESET "
					       "S.close:error ");
}

static void an_answer_to_what_came_before_a_reset_fails_by_it(void **state)
{
	fail_to_answer(*state, answer);
}

static void so_does_one_that_was_corked(void **state)
{
	fail_to_answer(*state, answer_corked);
}

static void so_does_an_end_with_an_answer(void **state)
{
	fail_to_answer(*state, end_with_an_answer);
}

static void so_does_an_end_without(void **state)
{
	fail_to_answer(*state, end_without);
}

/* Until the pipe is full and the source has more. */
static void send_all_it_takes(struct line *line, int fd)
{
	const struct net_socket *from = line->stage->guest.socket;
	size_t sent = 0;
	ssize_t n;

	do {
		n = send(fd, line->sent + sent, BULK - sent, MSG_DONTWAIT);
		sent += n > 0 ? (size_t)n : 0;
		story_run_ready(&line->stage->story);
	} while (n > 0 || !pipe_is_full(from->extra->pipe_out));
}

/* S has more to send than the kernel takes, and is reset when its pipe is full. Returns how much
 * came of what its peer said. */
static uint64_t reset_the_source_of_a_full_pipe(struct line *line, size_t limit)
{
	struct stage *stage = line->stage;
	struct net_socket *from = stage->guest.socket;
	int received, fd = line->near;
	uint64_t read;

	if (limit > 0)
		assert_int_equal(socket_set_write_limit(line->to.socket, limit), 0);
	assert_int_equal(net_socket_write(from, line->sent, BULK, NULL, NULL), 0);
	send_all_it_takes(line, fd);
	plain_reset(fd);
	read = net_socket_bytes_read(from);
	assert_int_equal(ioctl(from->io.fd, FIONREAD, &received), 0);
	assert_true(received > 0);
	story_run_until(&stage->story, "S.close:error");

	assert_false(net_socket_destroyed(line->to.socket));
	net_socket_end(line->to.socket, NULL, 0, NULL, NULL);
	ev_io_start(stage->story.loop, &line->io);
	story_run_until(&stage->story, "T.finish");
	while (ev_is_active(&line->io))
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(line->wrong, 0);
	assert_true(line->received >= read);
	return read + (uint64_t)received;
}

static void lay_line_from_plain(struct line *line, struct stage *stage)
{
	int fd;

	stage_open(stage, NULL);
	fd = stage_plain(stage);
	lay_line(line, stage);
	line->near = fd;
}

/* RD-7: the destination gets what there was, though it has enough already. */
static void a_reset_behind_a_full_pipe_loses_nothing(void **state)
{
	struct line line;

	lay_line_from_plain(&line, *state);
	uint64_t all = reset_the_source_of_a_full_pipe(&line, 0);
	assert_int_equal(line.received, all);
	take_up(&line);
}

static void nor_behind_one_that_copies(void **state)
{
	struct line line;

	lay_line_from_plain(&line, *state);
	splice_refused = true;
	uint64_t all = reset_the_source_of_a_full_pipe(&line, 0);
	assert_int_equal(line.received, all);
	take_up(&line);
}

/* The destination has done nothing for which to be destroyed. */
static void but_the_destination_keeps_its_limit(void **state)
{
	struct line line;

	lay_line_from_plain(&line, *state);
	uint64_t all = reset_the_source_of_a_full_pipe(&line, 256 << 10);
	assert_true(line.received < all);
	take_up(&line);
}

/* Another process has s as well, and lets it block. Returns its descriptor. */
static int share(struct net_socket *s)
{
	int theirs = dup(s->io.fd);

	assert_true(theirs >= 0);
	transfer_share_socket(s);
	assert_int_equal(fcntl(theirs, F_SETFL, 0), 0);
	return theirs;
}

/* IP-6: splice(2) would wait in the kernel, and the whole loop with it. */
static void pipe_while_one_end_is_shared(struct stage *stage, bool source)
{
	struct line line;
	int theirs;

	watchdog(60);
	stage_connected(stage);
	lay_line(&line, stage);
	theirs = share(source ? stage->guest.socket : line.to.socket);
	send_bulk(&line);
	assert_int_equal(splices, 0);
	close(theirs);
	take_up(&line);
}

static void a_source_that_another_process_has_is_copied_from(void **state)
{
	pipe_while_one_end_is_shared(*state, true);
}

static void a_destination_that_another_process_has_is_copied_to(void **state)
{
	pipe_while_one_end_is_shared(*state, false);
}

static void a_pipe_may_be_taken_away(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	net_socket_unpipe(stage->guest.socket);
	net_socket_unpipe(stage->guest.socket);
	net_socket_write(stage->client.socket, "mine", 4, NULL, NULL);
	story_run_until(&stage->story, "S.data:4");
	take_up(&line);
}

static bool client_has_bulk(void *ctx)
{
	return ((struct stage *)ctx)->client.received == BULK;
}

/* The documents' echo server: c.pipe(c). */
static void a_socket_piped_to_itself_echoes(void **state)
{
	struct stage *stage = *state;
	AUTO_FREE char *sent = calloc(1, BULK);

	assert_non_null(sent);
	for (size_t i = 0; i < BULK; i++)
		sent[i] = (char)(i * 2654435761U >> 13);
	stage_connected(stage);
	splices = 0;
	splice_refused = false;
	assert_int_equal(net_socket_pipe(stage->guest.socket, stage->guest.socket), 0);
	assert_int_equal(net_socket_pipe(stage->guest.socket, stage->guest.socket), -EALREADY);
	net_socket_end(stage->client.socket, sent, BULK, NULL, NULL);
	story_run_for(&stage->story, client_has_bulk, stage);
	story_run_until(&stage->story, "C.close");

	assert_memory_equal(stage->client.data, sent, sizeof(stage->client.data));
	assert_true(splices > 0);
	assert_true(story_in_order(&stage->story, "S.end", "S.finish"));
	assert_true(story_in_order(&stage->story, "S.finish", "S.close"));
	assert_false(story_has(&stage->story, "S.close:error"));
}

/* Nothing is read for a destination that takes no more. */
static void a_destination_that_ends_gives_the_source_back(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	net_socket_end(line.to.socket, NULL, 0, NULL, NULL);
	net_socket_write(stage->client.socket, "mine", 4, NULL, NULL);
	story_run_until(&stage->story, "S.data:4");
	take_up(&line);
}

static void wrong_pipes_are_refused(void **state)
{
	struct stage *stage = *state;
	struct line line;

	stage_connected(stage);
	lay_line(&line, stage);
	assert_int_equal(net_socket_pipe(stage->guest.socket, stage->client.socket), -EALREADY);
	assert_int_equal(net_socket_pipe(stage->client.socket, line.to.socket), -EALREADY);
	net_socket_destroy(line.to.socket, 0);
	assert_int_equal(net_socket_pipe(stage->client.socket, line.to.socket),
			 NET_ERR_STREAM_DESTROYED);
	take_up(&line);
}

/* WR-8: the first piece would be a write after its end. */
static void a_destination_that_was_ended_is_refused(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	assert_int_equal(net_socket_pipe(stage->client.socket, stage->client.socket),
			 NET_ERR_STREAM_DESTROYED);
	net_socket_write(stage->guest.socket, "mine", 4, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_true(story_has(&stage->story, "C.data:4"));
}

static void pipe_to_nowhere(struct actor *actor)
{
	actor->status = net_socket_pipe(actor->socket, actor->other);
}

static void pipe_ended(struct stage *stage, struct net_socket *to, const char *word)
{
	stage->guest.other = to;
	stage->guest.on[ON_FINISH] = pipe_to_nowhere;
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, word);
}

/* EN-1: there is nothing left to do for a source that has ended but to end the destination. */
static void a_source_that_has_ended_ends_the_destination(void **state)
{
	struct net_socket_options options = {.has_fd = true};
	struct stage *stage = *state;
	struct actor to = {.story = &stage->story, .name = "T"};
	int pair[2];
	char byte;

	stage_connected(stage);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	options.fd = pair[0];
	assert_int_equal(net_socket_new(stage->story.loop, &options, &actor_ops, &to, &to.socket),
			 0);
	pipe_ended(stage, to.socket, "T.finish");
	assert_int_equal(stage->guest.status, 0);
	assert_int_equal(recv(pair[1], &byte, 1, 0), 0);
	close(pair[1]);
	story_run_until(&stage->story, "T.close");
}

static void and_destroys_one_that_never_connected(void **state)
{
	struct stage *stage = *state;
	struct actor to = {.story = &stage->story, .name = "T"};

	stage_connected(stage);
	assert_int_equal(net_socket_new(stage->story.loop, NULL, &actor_ops, &to, &to.socket), 0);
	pipe_ended(stage, to.socket, "T.close:error");
	assert_int_equal(stage->guest.status, NET_ERR_SOCKET_CLOSED);
	assert_int_equal(to.error, NET_ERR_SOCKET_CLOSED);
}

/* --- encodings ------------------------------------------------------------------------------- */

/* RD-8: what is cut between two reads is held back; counters stay in bytes. */
static void a_character_cut_between_reads_is_told_whole(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_int_equal(net_socket_set_encoding(stage->guest.socket, NET_ENCODING_UTF8), 0);
	net_socket_write(stage->client.socket, "a\xe2\x82", 3, NULL, NULL);
	story_run_until(&stage->story, "S.data:1");
	net_socket_write(stage->client.socket, "\xac", 1, NULL, NULL);
	story_run_until(&stage->story, "S.data:3");
	assert_memory_equal(stage->guest.data, "a\xe2\x82\xac", 4);
	assert_int_equal(net_socket_bytes_read(stage->guest.socket), 4);
}

/* RD-8: what is still held back at the end is told before it. */
static void a_character_cut_by_the_end_is_replaced(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_encoding(stage->guest.socket, NET_ENCODING_UTF8);
	net_socket_end(stage->client.socket, "\xe2\x82", 2, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	assert_true(story_in_order(&stage->story, "S.data:3", "S.end"));
	assert_memory_equal(stage->guest.data, "\xef\xbf\xbd", 3);
}

static void pause_it(struct actor *actor)
{
	net_socket_pause(actor->socket);
}

/* RD-5, RD-8: who pauses at the last piece is told the end after resume. */
static void a_pause_at_the_last_piece_holds_the_end_back(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.on[ON_DATA] = pause_it;
	net_socket_set_encoding(stage->guest.socket, NET_ENCODING_HEX);
	net_socket_set_encoding(stage->guest.socket, NET_ENCODING_BASE64);
	net_socket_end(stage->client.socket, "x", 1, NULL, NULL);
	story_run_until(&stage->story, "S.data:4");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "S.end"));
	net_socket_resume(stage->guest.socket);
	assert_false(story_has(&stage->story, "S.end"));
	story_run_until(&stage->story, "S.close");
	assert_memory_equal(stage->guest.data, "eA==", 4);
}

static void pause_and_resume(struct actor *actor)
{
	net_socket_pause(actor->socket);
	net_socket_resume(actor->socket);
}

/* RD-5: who resumes in the text that was held back, after the end has come, is told it once. */
static void the_end_behind_a_held_back_text_is_told_once(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_encoding(stage->guest.socket, NET_ENCODING_UTF8);
	stage->guest.on[ON_DATA] = pause_and_resume;
	net_socket_end(stage->client.socket, "\xc3", 1, NULL, NULL);
	story_run_until(&stage->story, "S.close");
	assert_int_equal(story_count(&stage->story, "S.end"), 1);
	assert_true(story_in_order(&stage->story, "S.data:3", "S.end"));
	assert_true(story_in_order(&stage->story, "S.end", "S.finish"));
}

static void pipe_back(struct actor *actor)
{
	assert_int_equal(net_socket_pipe(actor->socket, actor->socket), 0);
}

/* RD-8: a pipe carries bytes, and so those of a character of which a part had come. */
static void a_pipe_takes_what_was_held_back(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	net_socket_set_encoding(stage->guest.socket, NET_ENCODING_UTF8);
	stage->guest.on[ON_DATA] = pipe_back;
	net_socket_write(stage->client.socket, "a\xe2\x82", 3, NULL, NULL);
	story_run_until(&stage->story, "S.data:1");
	net_socket_end(stage->client.socket, "\xac", 1, NULL, NULL);
	story_run_until(&stage->story, "C.close");
	assert_int_equal(stage->guest.received, 1);
	assert_int_equal(stage->client.received, 3);
	assert_memory_equal(stage->client.data, "\xe2\x82\xac", 3);
}

static void an_unknown_encoding_is_refused(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_int_equal(net_socket_set_encoding(stage->guest.socket, (enum net_encoding)99),
			 NET_ERR_INVALID_ARG_VALUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(small_pieces_are_copied_and_the_end_is_passed_on),
		on_stage(bulk_is_spliced_and_arrives_as_it_was),
		on_stage(where_splice_cannot_copying_goes_on),
		on_stage(the_source_waits_when_bytes_are_spliced),
		on_stage(the_source_waits_when_bytes_are_copied),
		on_stage(what_was_taken_from_the_source_is_not_lost),
		on_stage(without_memory_for_what_was_taken_the_destination_ends),
		on_stage(a_destination_that_breaks_ends_the_pipe_without_sigpipe),
		on_stage(what_a_destination_said_before_it_broke_is_told),
		on_stage(and_so_it_is_when_a_piece_is_copied_to_it),
		on_stage(a_reset_of_one_that_is_piped_to_itself_is_told),
		on_stage(an_answer_to_what_came_before_a_reset_fails_by_it),
		on_stage(so_does_one_that_was_corked),
		on_stage(so_does_an_end_with_an_answer),
		on_stage(so_does_an_end_without),
		on_stage(a_reset_behind_a_full_pipe_loses_nothing),
		on_stage(nor_behind_one_that_copies),
		on_stage(but_the_destination_keeps_its_limit),
		on_stage(a_source_that_another_process_has_is_copied_from),
		on_stage(a_destination_that_another_process_has_is_copied_to),
		on_stage(a_pipe_may_be_taken_away),
		on_stage(a_socket_piped_to_itself_echoes),
		on_stage(a_destination_that_ends_gives_the_source_back),
		on_stage(wrong_pipes_are_refused),
		on_stage(a_destination_that_was_ended_is_refused),
		on_stage(a_source_that_has_ended_ends_the_destination),
		on_stage(and_destroys_one_that_never_connected),
		on_stage(a_character_cut_between_reads_is_told_whole),
		on_stage(a_character_cut_by_the_end_is_replaced),
		on_stage(a_pause_at_the_last_piece_holds_the_end_back),
		on_stage(the_end_behind_a_held_back_text_is_told_once),
		on_stage(a_pipe_takes_what_was_held_back),
		on_stage(an_unknown_encoding_is_refused),
	};

	watchdog(250);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
