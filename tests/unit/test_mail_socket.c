/* Sockets that go with messages: what the sender loses, and what the receiver gets. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "common/net/transfer.h"
#include "tests/helpers/post.h"

/* --- what the sender sees ------------------------------------------------------------------- */

/* IP-6: and nothing of it before its turn has come. */
static void a_socket_that_was_sent_ends_without_an_event(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct net_socket *s;

	stage_connected(stage);
	s = stage->guest.socket;
	net_socket_hold(s);
	assert_int_equal(net_socket_set_timeout(s, 20, NULL, NULL), 0);
	assert_int_equal(net_server_connections(stage->host.server), 1);
	post_pass_guest(post);
	assert_int_equal(net_server_connections(stage->host.server), 0);
	assert_true(net_socket_destroyed(s));
	assert_null(net_socket_server(s));
	assert_int_equal(net_socket_ready_state(s), NET_CLOSED);
	story_run_ms(&stage->story, 60);
	assert_string_equal(stage->story.text, "");

	/* It takes nothing more, and says so as any other that is closed. */
	assert_int_equal(net_socket_write(s, "x", 1, NULL, NULL), NET_ERR_STREAM_DESTROYED);
	assert_int_equal(net_socket_timeout(s), 0);
	net_socket_release(s);

	net_socket_write(stage->client.socket, "ping", 4, NULL, NULL);
	story_run_until(&stage->story, "R.data:4");
	net_socket_end(post->guest.socket, "pong!", 5, NULL, NULL);
	story_run_until(&stage->story, "C.data:5");
	story_run_until(&stage->story, "C.close");
}

/* IP-6: what is queued behind a handle is still the sender's. */
static void a_socket_stays_until_its_turn(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct ipc_handle first;
	int fd, client;

	stage_connected(stage);
	client = stage_plain(stage);
	post_go_bare(post);
	assert_int_equal(post_actor(&post->a, "1", &stage->guest), 1);
	assert_int_equal(post_socket(&post->a, "2", stage->guests[0].socket), 1);
	post_bare_take_handle(post, &first, &fd);
	assert_int_equal(net_server_connections(stage->host.server), 1);
	plain_send(client, "still here");
	story_run_until(&stage->story, "G.data:10");

	post_bare_answer(post, first.number, 0);
	close_fd(fd);
	struct ipc_message m;
	assert_true(post_bare_take(post, &m, &fd));
	assert_int_equal(m.type, IPC_MAIL);
	post_bare_take_handle(post, &first, &fd);
	assert_int_equal(net_server_connections(stage->host.server), 0);
	assert_false(story_has(&stage->story, "G.close"));
	stage->guests[0].socket = NULL;
	close_fd(fd);
	close_fd(client);
}

/* IP-6: its message goes without it. */
static void a_socket_that_dies_while_it_waits_does_not_go(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	int client;

	stage_connected(stage);
	client = stage_plain(stage);
	assert_int_equal(post_actor(&post->a, "1", &stage->guest), 1);
	assert_int_equal(post_socket(&post->a, "22", stage->guests[0].socket), 1);
	net_socket_destroy(stage->guests[0].socket, 0);
	post_run_messages(&post->b, 2);
	assert_true(story_has(&stage->story, "B.message:1+socket"));
	assert_true(story_has(&stage->story, "B.message:2"));
	assert_true(story_has(&stage->story, "G.close"));
	post_run_dones(&post->a, 2);
	close_fd(client);
}

/* IP-6 */
static void the_second_of_two_sends_goes_without_the_socket(void **state)
{
	struct post *post = *state;
	struct net_socket *s;

	stage_connected(post->stage);
	s = post->stage->guest.socket;
	post->stage->guest.socket = NULL;
	net_socket_hold(s);
	assert_int_equal(post_socket(&post->a, "1", s), 1);
	assert_int_equal(post_socket(&post->a, "22", s), NET_ERR_STREAM_DESTROYED);
	net_socket_release(s);
	post_run_messages(&post->b, 1);

	/* Both while the first one waits behind another handle. */
	s = post->guest.socket;
	post->guest.socket = NULL;
	const struct mail_handle server = {.server = post->stage->host.server};
	assert_int_equal(post_send(&post->b, "v", 1, &server), 1);
	assert_int_equal(post_socket(&post->b, "333", s), 1);
	assert_int_equal(post_socket(&post->b, "4444", s), 0);
	post_run_messages(&post->a, 3);
	assert_true(story_has(&post->stage->story, "A.message:3+socket"));
	assert_true(story_has(&post->stage->story, "A.message:4"));
	post_run_dones(&post->b, 3);
}

/* IP-6 */
static void a_socket_that_is_kept_open_is_in_both_processes(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	const struct mail_handle handle = {.keep_open = true};
	struct mail_handle kept = handle;

	stage_connected(stage);
	kept.socket = stage->guest.socket;
	assert_int_equal(post_send(&post->a, "s", 1, &kept), 1);
	post_run_messages(&post->b, 1);
	post_run_dones(&post->a, 1);
	assert_int_equal(net_server_connections(stage->host.server), 1);
	net_socket_write(stage->guest.socket, "a", 1, NULL, NULL);
	net_socket_write(post->guest.socket, "bb", 2, NULL, NULL);
	story_run_until(&stage->story, "C.data:3");
	size_t watched = post_watched(post);

	/* Its close is not the last; nobody is woken for it any more. */
	net_socket_destroy(stage->guest.socket, 0);
	story_run_until(&stage->story, "S.close");
	assert_int_equal(post_watched(post), watched - 1);
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "C.end"));
	net_socket_end(post->guest.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "C.end");
}

static bool has_65536(void *ctx)
{
	return ((struct actor *)ctx)->received >= 65536;
}

static void plain_send_size(int fd, const char *bytes, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, bytes, size);

		assert_true(n > 0);
		bytes += n;
		size -= (size_t)n;
	}
}

/* O_NONBLOCK is of the descriptor's file, which both have. */
static void whoever_lets_a_shared_socket_block_harms_himself(void **state)
{
	static char bytes[1 << 20];
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct mail_handle kept = {.keep_open = true};
	int client, fd;

	stage_open(stage, &(struct net_server_options){.pause_on_connect = true});
	client = stage_plain(stage);
	kept.socket = stage->guest.socket;
	fd = transfer_fd(kept.socket);
	assert_int_equal(post_send(&post->a, "s", 1, &kept), 1);
	post_run_messages(&post->b, 1);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);

	/* As much as one read takes, so that another one is tried. */
	plain_send_size(client, bytes, 65536);
	net_socket_resume(post->guest.socket);
	story_run_for(&stage->story, has_65536, &post->guest);

	/* More than the kernel takes. */
	for (int i = 0; i < 16; i++)
		net_socket_write(post->guest.socket, bytes, sizeof(bytes), NULL, NULL);
	assert_true(net_socket_buffer_size(post->guest.socket) > 0);
	story_run_ready(&stage->story);
	close_fd(client);
}

/* ER-14: what cannot be sent is known at once. */
static void what_cannot_be_sent_is_refused_in_the_call(void **state)
{
	static char big[8 << 20];
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct mail_handle both;

	stage_open(stage, NULL);
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	assert_int_equal(post_socket(&post->a, "s", stage->client.socket), -EALREADY);
	story_run_until(&stage->story, "H.connection");
	story_run_until(&stage->story, "C.ready");

	net_socket_pause(stage->client.socket);
	net_socket_write(stage->guest.socket, big, sizeof(big), NULL, NULL);
	assert_true(net_socket_buffer_size(stage->guest.socket) > 0);
	assert_int_equal(post_socket(&post->a, "s", stage->guest.socket), -EBUSY);

	assert_int_equal(net_socket_pipe(stage->client.socket, stage->client.socket), 0);
	assert_int_equal(post_socket(&post->a, "s", stage->client.socket), -EBUSY);
	net_socket_unpipe(stage->client.socket);

	both = (struct mail_handle){.socket = stage->client.socket, .server = stage->host.server};
	assert_int_equal(post_send(&post->a, "s", 1, &both), -EINVAL);
	net_server_close(stage->host.server, NULL, NULL);
	both.socket = NULL;
	assert_int_equal(post_send(&post->a, "s", 1, &both), NET_ERR_SERVER_NOT_RUNNING);

	net_socket_hold(stage->guest.socket);
	net_socket_destroy(stage->guest.socket, 0);
	assert_int_equal(post_socket(&post->a, "s", stage->guest.socket), NET_ERR_STREAM_DESTROYED);
	net_socket_release(stage->guest.socket);
	story_run_ready(&stage->story);
	assert_int_equal(post->a.dones, 0);
}

static void a_socket_that_has_something_to_write_when_its_turn_comes_stays(void **state)
{
	static char big[8 << 20];
	struct post *post = *state;
	struct stage *stage = post->stage;
	int client;

	stage_connected(stage);
	client = stage_plain(stage);
	assert_int_equal(post_actor(&post->a, "1", &stage->guest), 1);
	assert_int_equal(post_socket(&post->a, "22", stage->guests[0].socket), 1);
	assert_int_equal(post_text(&post->a, "333"), 0);
	net_socket_write(stage->guests[0].socket, big, sizeof(big), NULL, NULL);
	post_run_dones(&post->a, 3);
	post_run_messages(&post->b, 2);
	assert_true(story_has(&stage->story, "A.done:EBUSY"));
	assert_false(story_has(&stage->story, "B.message:2"));
	assert_false(net_socket_destroyed(stage->guests[0].socket));
	assert_int_equal(plain_receive(client, big, 1000), 1000);
	close_fd(client);
}

/* --- what the receiver gets ------------------------------------------------------------------ */

/* IP-9: options that are none of the kernel's. */
static void options_go_along(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	const struct net_server_options options = {.allow_half_open = true,
						   .no_delay = true,
						   .keep_alive = true,
						   .keep_alive_initial_delay_ms = 60000,
						   .high_water_mark = 777,
						   .write_limit = 99999};
	struct net_address here, there;

	stage_open(stage, &options);
	stage_connect(stage, NULL);
	assert_int_equal(net_socket_set_type_of_service(stage->guest.socket, 16), 0);
	assert_int_equal(net_socket_remote_address(stage->guest.socket, &here), 0);
	post_pass_guest(post);
	const struct net_socket *s = post->guest.socket;
	assert_int_equal(s->high_water_mark, 777);
	assert_int_equal(s->extra->write_limit, 99999);
	assert_true(s->no_delay && s->keep_alive && s->allow_half_open);
	assert_int_equal(s->extra->keep_alive_initial_delay_ms, 60000);
	assert_int_equal(net_socket_type_of_service(s), 16);
	assert_int_equal(net_socket_remote_address(s, &there), 0);
	assert_memory_equal(&here, &there, sizeof(here));
	assert_false(net_socket_is_paused(s));
	assert_null(net_socket_server(s));

	/* Half open: our side goes on after the peer has ended. */
	net_socket_end(stage->client.socket, "last", 4, NULL, NULL);
	story_run_until(&stage->story, "R.end");
	story_run_ready(&stage->story);
	net_socket_end(post->guest.socket, "still here", 10, NULL, NULL);
	story_run_until(&stage->story, "C.data:10");
	story_run_until(&stage->story, "R.close");
}

/* IP-9: and after a default socket's peer has ended, so do we. */
static void without_the_option_a_socket_is_not_half_open(void **state)
{
	struct post *post = *state;

	stage_connected(post->stage);
	post_pass_guest(post);
	net_socket_end(post->stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&post->stage->story, "R.close");
	story_run_until(&post->stage->story, "C.close");
}

static void a_side_that_has_ended_stays_ended(void **state)
{
	struct post *post = *state;

	stage_open(post->stage, &(struct net_server_options){.allow_half_open = true});
	stage_connect(post->stage, &(struct net_socket_options){.allow_half_open = true});
	net_socket_end(post->stage->guest.socket, "bye", 3, NULL, NULL);
	story_run_until(&post->stage->story, "C.end");
	post_pass_guest(post);
	assert_int_equal(net_socket_ready_state(post->guest.socket), NET_READ_ONLY);
	net_socket_end(post->stage->client.socket, "and thanks", 10, NULL, NULL);
	story_run_until(&post->stage->story, "R.data:10");
	story_run_until(&post->stage->story, "R.close");
}

/* IP-9: the kernel may no longer know it. */
static void the_peer_is_known_after_it_has_gone(void **state)
{
	struct post *post = *state;
	struct net_address before, after;
	int client;

	stage_open(post->stage, &(struct net_server_options){.pause_on_connect = true});
	client = stage_plain(post->stage);
	assert_int_equal(net_socket_remote_address(post->stage->guest.socket, &before), 0);
	plain_reset(client);
	post_pass_guest(post);
	assert_int_equal(net_socket_remote_address(post->guest.socket, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
	net_socket_resume(post->guest.socket);
	story_run_until(&post->stage->story, "R.error:ECONNRESET");
}

static void a_unix_socket_goes_with_its_path(void **state)
{
	struct post *post = *state;
	struct net_address there;

	stage_open_path(post->stage, NULL);
	stage_connect(post->stage, NULL);
	assert_int_equal(post_actor(&post->a, "s", &post->stage->client), 1);
	post_run_messages(&post->b, 1);
	assert_int_equal(net_socket_remote_address(post->guest.socket, &there), 0);
	assert_string_equal(there.address, post->stage->path);
	net_socket_write(post->guest.socket, "hello", 5, NULL, NULL);
	story_run_until(&post->stage->story, "S.data:5");
}

static bool has_18(void *ctx)
{
	return ((struct actor *)ctx)->size >= 18;
}

/* IP-7: what was read and put back is told first, and nothing twice. */
static void bytes_that_were_put_back_come_first(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;

	stage_connected(stage);
	net_socket_write(stage->client.socket, "GET / HTTP/1.0\r\n", 16, NULL, NULL);
	story_run_until(&stage->story, "S.data:16");
	assert_int_equal(net_socket_unshift(stage->guest.socket, "/ HTTP/1.0\r\n", 12), 0);
	assert_int_equal(net_socket_unshift(stage->guest.socket, "GET ", 4), 0);
	net_socket_write(stage->client.socket, "\r\n", 2, NULL, NULL);
	post_pass_guest(post);
	story_run_for(&stage->story, has_18, &post->guest);
	assert_int_equal(post->guest.size, 18);
	assert_memory_equal(post->guest.data, "GET / HTTP/1.0\r\n\r\n", 18);
	assert_string_equal(post->b.data, "s");
	assert_int_equal(net_socket_bytes_read(post->guest.socket), 18);
}

/* IP-7: as much as there can be, to a receiver that is paused, and with a message of its own. */
static void a_megabyte_that_was_put_back_arrives(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	const size_t size = 1 << 20;
	char *data = calloc(1, size + 1);

	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i % 251);
	stage_connected(stage);
	net_socket_pause(stage->guest.socket);
	assert_int_equal(net_socket_unshift(stage->guest.socket, data, size + 1), -ENOBUFS);
	assert_int_equal(net_socket_unshift(stage->guest.socket, data, size), 0);
	assert_int_equal(net_socket_unshift(stage->guest.socket, data, 1), -ENOBUFS);
	assert_int_equal(post_actor(&post->a, "with it", &stage->guest), 1);
	post_run_messages(&post->b, 1);
	assert_string_equal(post->b.data, "with it");
	assert_int_equal(post->guest.received, 0);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_ready(&stage->story);
	net_socket_resume(post->guest.socket);
	story_run_until(&stage->story, "R.end");
	assert_int_equal(post->guest.size, size);
	assert_memory_equal(post->guest.data, data, size);
	free(data);
}

/* IP-7: half a character, which an encoding holds back. */
static void half_a_character_goes_along(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;

	stage_connected(stage);
	assert_int_equal(net_socket_set_encoding(stage->guest.socket, NET_ENCODING_UTF8), 0);
	net_socket_write(stage->client.socket, "a\xe2\x82", 3, NULL, NULL);
	story_run_until(&stage->story, "S.data:1");
	post_pass_guest(post);
	net_socket_write(stage->client.socket, "\xac", 1, NULL, NULL);
	story_run_until(&stage->story, "R.data:1");
	assert_int_equal(post->guest.size, 3);
	assert_memory_equal(post->guest.data, "\xe2\x82\xac", 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_post(a_socket_that_was_sent_ends_without_an_event),
		on_post(a_socket_stays_until_its_turn),
		on_post(a_socket_that_dies_while_it_waits_does_not_go),
		on_post(the_second_of_two_sends_goes_without_the_socket),
		on_post(a_socket_that_is_kept_open_is_in_both_processes),
		on_post(whoever_lets_a_shared_socket_block_harms_himself),
		on_post(what_cannot_be_sent_is_refused_in_the_call),
		on_post(a_socket_that_has_something_to_write_when_its_turn_comes_stays),
		on_post(options_go_along),
		on_post(without_the_option_a_socket_is_not_half_open),
		on_post(a_side_that_has_ended_stays_ended),
		on_post(the_peer_is_known_after_it_has_gone),
		on_post(a_unix_socket_goes_with_its_path),
		on_post(bytes_that_were_put_back_come_first),
		on_post(a_megabyte_that_was_put_back_arrives),
		on_post(half_a_character_goes_along),
	};

	return cmocka_run_group_tests_name("mail_socket", tests, NULL, NULL);
}
