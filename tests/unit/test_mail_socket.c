/* Sockets and servers that go with messages: what the sender loses, what the receiver gets, and who
 * closes what when something goes wrong on the way. */
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
#include "common/net/transfer.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/post.h"

/* Sends S from A to B, where it is R from then on; the story is empty then. */
static void pass_guest(struct post *post)
{
	size_t messages = post->b.messages, dones = post->a.dones;

	assert_int_equal(post_actor(&post->a, "s", &post->stage->guest), 1);
	post_run_messages(&post->b, messages + 1);
	post_run_dones(&post->a, dones + 1);
	assert_non_null(post->guest.socket);
	story_forget(&post->stage->story);
}

/* A and the bare end have the same handle in flight, which is kept by the latter in *ret_fd. */
static void fly_to_bare(struct post *post, struct ipc_handle *ret, int *ret_fd)
{
	struct ipc_message m;

	assert_true(post_bare_take(post, &m, ret_fd));
	assert_int_equal(m.type, IPC_HANDLE);
	assert_true(*ret_fd >= 0);
	*ret = *(const struct ipc_handle *)m.body;
}

static void bare_answer(struct post *post, uint32_t number, int status)
{
	post_bare_send(post, IPC_ANSWERED, &(struct ipc_answered){number, (uint32_t)status}, NULL,
		       0, -1);
}

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
	pass_guest(post);
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
	fly_to_bare(post, &first, &fd);
	assert_int_equal(net_server_connections(stage->host.server), 1);
	plain_send(client, "still here");
	story_run_until(&stage->story, "G.data:10");

	bare_answer(post, first.number, 0);
	close_fd(fd);
	struct ipc_message m;
	assert_true(post_bare_take(post, &m, &fd));
	assert_int_equal(m.type, IPC_MAIL);
	fly_to_bare(post, &first, &fd);
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

/* --- descriptors ----------------------------------------------------------------------------- */

/* IP-5, KF-2: the sender's copy is there until the answer, and then there is none, even if the rest
 * of the message still waits. */
static void the_sender_keeps_its_descriptor_until_the_answer(void **state)
{
	static char big[2 * IPC_MAIL_WINDOW];
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct ipc_handle head;
	struct ipc_message m;
	int fd, client;
	char byte;

	stage_open(stage, NULL);
	client = stage_plain(stage);
	post_go_bare(post);
	size_t before = open_fd_count();
	const struct mail_handle handle = {.socket = stage->guest.socket};
	stage->guest.socket = NULL;
	assert_int_equal(post_send(&post->a, big, sizeof(big), &handle), 0);
	fly_to_bare(post, &head, &fd);
	assert_int_equal(open_fd_count(), before + 1);
	close_fd(fd);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);

	assert_false(post_bare_take(post, &m, &fd));
	bare_answer(post, head.number, 0);
	story_run_ready(&stage->story);
	assert_int_equal(post->a.dones, 0);
	assert_int_equal(open_fd_count(), before - 1);
	assert_int_equal(recv(client, &byte, 1, 0), 0);
	close_fd(client);
}

/* IP-3, IP-5: the client sees the end; what was queued and had not left ends as well. */
static void a_channel_that_ends_closes_what_is_in_flight_and_what_waits(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	int clients[2];
	char byte;

	stage_open(stage, NULL);
	clients[0] = stage_plain(stage);
	clients[1] = stage_plain(stage);
	post_go_bare(post);
	assert_int_equal(post_actor(&post->a, "1", &stage->guest), 1);
	assert_int_equal(post_socket(&post->a, "2", stage->guests[0].socket), 1);
	assert_int_equal(post_text(&post->a, "3"), 0);
	story_run_ready(&stage->story);
	close_fd(take_fd(&post->bare));
	post_run_dones(&post->a, 3);
	assert_int_equal(story_count(&stage->story, "A.done:ERR_IPC_CHANNEL_CLOSED"), 3);
	story_run_until(&stage->story, "G.close");
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		assert_int_equal(recv(clients[i], &byte, 1, 0), 0);
		close_fd(clients[i]);
	}
}

static void send_elsewhere(struct post_end *end)
{
	struct post_end *other = end->guests[0]->other;
	struct actor *waiting = end->guests[1];
	const struct mail_handle server = {.server = end->server};

	if (!waiting->socket || end->status == 0)
		return;
	/* It has to wait there, too. */
	assert_int_equal(post_send(other, "first", 5, &server), 1);
	assert_int_equal(post_actor(other, "again", waiting), 1);
}

/* IP-5: who is told may give what had not left to another process. */
static void what_waited_for_a_channel_that_ended_may_go_elsewhere(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct post_end c = {0}, d = {0};
	struct actor to_other = {.other = &c};
	int client, fds[2];

	assert_int_equal(channel_pair(fds), 0);
	post_end_open(&c, &stage->story, "c", fds[0], IPC_SUPERVISOR);
	post_end_open(&d, &stage->story, "d", fds[1], IPC_WORKER);
	stage_connected(stage);
	client = stage_plain(stage);
	post_go_bare(post);
	post->a.on_done = send_elsewhere;
	post->a.guests[0] = &to_other;
	post->a.guests[1] = &stage->guests[0];
	post->a.server = stage->host.server;
	assert_int_equal(post_actor(&post->a, "1", &stage->guest), 1);
	assert_int_equal(post_socket(&post->a, "2", stage->guests[0].socket), 1);
	close_fd(take_fd(&post->bare));
	post_run_messages(&d, 2);
	post->a.server = NULL;
	assert_string_equal(d.data, "again");
	assert_int_equal(d.socket_count, 1);
	assert_false(story_has(&stage->story, "G.close"));
	post_end_close(&c);
	post_end_close(&d);
	close_fd(client);
}

/* IP-5: what had come of a message ends with the channel, the socket too. */
static void a_receiver_closes_what_is_not_whole(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct ipc_handle_row row = {0};
	struct ipc_handle head = {.number = 1, .kind = IPC_HANDLE_SOCKET};
	struct ipc_message m;
	int pair[2], fd;
	char byte;

	post_go_bare(post);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	post_bare_send(post, IPC_HANDLE, &head, &row, 1, pair[0]);
	close_fd(pair[0]);
	assert_true(post_bare_take(post, &m, &fd));
	assert_int_equal(m.type, IPC_ANSWERED);
	assert_int_equal(((const struct ipc_answered *)m.body)->status, 0);
	post_bare_send(post, IPC_MAIL, &(struct ipc_mail){1, 10, 0}, "half", 4, -1);
	story_run_ready(&stage->story);
	assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), -1);
	close_fd(take_fd(&post->bare));
	story_run_until(&stage->story, "A.lost:0");
	story_run_ready(&stage->story);
	assert_int_equal(recv(pair[1], &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(post->a.messages, 0);
	close_fd(pair[1]);
}

/* KF-1: the descriptor leaves the set while it is still open elsewhere. */
static void a_watched_socket_leaves_the_set_of_the_loop(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;

	stage_connected(stage);
	post_go_bare(post);
	story_run_ready(&stage->story);
	size_t watched = post_watched(post);
	struct ipc_handle head;
	int fd;

	assert_int_equal(post_actor(&post->a, "s", &stage->guest), 1);
	fly_to_bare(post, &head, &fd);
	assert_int_equal(post_watched(post), watched - 1);
	bare_answer(post, head.number, 0);
	story_run_ready(&stage->story);

	/* What happens on it wakes nobody here. */
	unsigned iterations = ev_iteration(stage->story.loop);
	for (int i = 0; i < 10; i++)
		net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	story_run_ms(&stage->story, 30);
	assert_in_range(ev_iteration(stage->story.loop) - iterations, 1, 4);
	assert_int_equal(post_watched(post), watched - 1);
	close_fd(fd);
}

/* KF-1: with pause_on_connect it never was in the set. */
static void a_paused_socket_is_never_watched(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;

	stage_open(stage, &(struct net_server_options){.pause_on_connect = true});
	stage_connect(stage, NULL);
	story_run_ready(&stage->story);
	size_t watched = post_watched(post);
	pass_guest(post);
	story_run_ready(&stage->story);
	assert_int_equal(post_watched(post), watched);
	assert_true(net_socket_is_paused(post->guest.socket));
	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	net_socket_resume(post->guest.socket);
	story_run_until(&stage->story, "R.data:1");
}

/* --- descriptors that do not arrive ---------------------------------------------------------- */

static bool runs(struct post *post, size_t dones)
{
	ev_run(post->stage->story.loop, EVRUN_ONCE);
	return post->a.dones < dones;
}

/* At the limit of descriptors: the one of the message is lost, and its bytes come. */
static int lose_descriptors(void *arg)
{
	struct post *post = arg;
	int fd = transfer_fd(post->stage->guest.socket);

	post->a.is_quiet = post->b.is_quiet = true;
	if (fd == -1 || post_actor(&post->a, "s", &post->stage->guest) != 1 ||
	    post_text(&post->a, "behind") != 1)
		return 1;
	while (runs(post, 1))
		;
	if (post->a.failures != 1 || post->a.failure != -EMFILE || post->b.messages != 0)
		return 2;
	if (fcntl(fd, F_GETFD) != -1)
		return 3;
	while (runs(post, 2))
		;
	while (post->b.messages == 0)
		ev_run(post->stage->story.loop, EVRUN_ONCE);
	return strcmp(post->b.data, "behind") == 0 && !post->b.is_lost && !post->a.is_lost ? 0 : 4;
}

/* IP-4: the sender is told, the client sees the end, and what is behind goes on. */
static void a_descriptor_that_is_lost_four_times_is_given_up(void **state)
{
	struct post *post = *state;
	int client;

	stage_open(post->stage, NULL);
	client = stage_plain(post->stage);
	assert_int_equal(run_with_fd_limit(0, lose_descriptors, post), 0);
	close_fd(client);
}

static void give_room(struct ev_loop *loop, ev_timer *timer, int events)
{
	close_fd(take_fd(timer->data));
}

static int lose_one_descriptor(void *arg)
{
	struct post *post = arg;
	int spare = dup(STDIN_FILENO);
	ev_timer timer;

	post->a.is_quiet = post->b.is_quiet = true;
	ev_timer_init(&timer, give_room, 0.02, 0.);
	timer.data = &spare;
	ev_timer_start(post->stage->story.loop, &timer);
	if (spare == -1 || post_actor(&post->a, "s", &post->stage->guest) != 1)
		return 1;
	while (runs(post, 1))
		;
	while (post->b.messages == 0)
		ev_run(post->stage->story.loop, EVRUN_ONCE);
	/* Not before there was room, which the limit had kept away. */
	if (spare != -1 || post->a.failures != 0 || !post->guest.socket)
		return 2;
	return net_socket_write(post->guest.socket, "arrived", 7, NULL, NULL) == 1 ? 0 : 3;
}

/* IP-4: it is sent again, and the receiver has room by then. */
static void a_descriptor_that_was_lost_is_sent_again(void **state)
{
	struct post *post = *state;
	char text[8] = "";
	int client;

	stage_open(post->stage, NULL);
	client = stage_plain(post->stage);
	assert_int_equal(run_with_fd_limit(1, lose_one_descriptor, post), 0);
	assert_int_equal(plain_receive(client, text, 7), 7);
	assert_string_equal(text, "arrived");
	close_fd(client);
}

/* IP-4: three more times, and never a fifth one. */
static void a_refusal_is_answered_by_three_more_tries(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct ipc_message m;
	struct ipc_handle head;
	int client, fd;
	char byte;

	stage_open(stage, NULL);
	client = stage_plain(stage);
	post_go_bare(post);
	assert_int_equal(post_actor(&post->a, "s", &stage->guest), 1);
	for (int i = 0; i < 4; i++) {
		while (!post_bare_take(post, &m, &fd))
			ev_run(stage->story.loop, EVRUN_ONCE);
		assert_int_equal(m.type, IPC_HANDLE);
		head = *(const struct ipc_handle *)m.body;
		assert_int_equal(head.number, 1);
		close_fd(fd);
		assert_int_equal(post->a.dones, 0);
		bare_answer(post, head.number, ENOMEM);
	}
	post_run_dones(&post->a, 1);
	assert_int_equal(post->a.status, -ENOMEM);
	assert_int_equal(recv(client, &byte, 1, 0), 0);
	assert_false(post_bare_take(post, &m, &fd));
	close_fd(client);
}

/* --- many ------------------------------------------------------------------------------------ */

#define CROWD 1000

/* IP-3: both ends send at once, and nobody waits for ever. */
static void a_thousand_sockets_each_way_arrive(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	const struct net_socket_options options = {.has_fd = true};
	static int far[2][CROWD];
	struct post_end *ends[] = {&post->a, &post->b};

	if (!allow_fds(6 * CROWD))
		skip();
	post->a.is_quiet = post->b.is_quiet = true;
	post->b.guest_count = 0;
	for (size_t i = 0; i < CROWD; i++)
		for (size_t e = 0; e < 2; e++) {
			struct net_socket_options on = options;
			struct net_socket *s;
			int pair[2];

			assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
					 0);
			far[e][i] = pair[1];
			on.fd = pair[0];
			assert_int_equal(net_socket_new(stage->story.loop, &on, NULL, NULL, &s), 0);
			assert_true(post_socket(ends[e], "s", s) >= 0);
		}
	post_run_messages(&post->b, CROWD);
	post_run_messages(&post->a, CROWD);
	post_run_dones(&post->a, CROWD);
	post_run_dones(&post->b, CROWD);
	assert_int_equal(post->a.socket_count, CROWD);
	for (size_t i = 0; i < CROWD; i++)
		for (size_t e = 0; e < 2; e++) {
			struct post_end *other = ends[1 - e];
			char byte = 0;

			net_socket_write(other->sockets[i], i % 2 ? "x" : "y", 1, NULL, NULL);
			assert_int_equal(read(far[e][i], &byte, 1), 1);
			assert_int_equal(byte, i % 2 ? 'x' : 'y');
			close_fd(far[e][i]);
		}
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
	pass_guest(post);
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
	pass_guest(post);
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
	pass_guest(post);
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
	const struct linger now = {.l_onoff = 1};
	assert_int_equal(setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close_fd(client);
	pass_guest(post);
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
	pass_guest(post);
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
	pass_guest(post);
	net_socket_write(stage->client.socket, "\xac", 1, NULL, NULL);
	story_run_until(&stage->story, "R.data:1");
	assert_int_equal(post->guest.size, 3);
	assert_memory_equal(post->guest.data, "\xe2\x82\xac", 3);
}

/* --- servers --------------------------------------------------------------------------------- */

struct received_host {
	struct host host;
	struct actor guests[2];
};

static void receive_server(struct post *post, struct received_host *r)
{
	const struct mail_handle handle = {.server = post->stage->host.server};

	*r = (struct received_host){.host = {.story = &post->stage->story, .name = "h"}};
	assert_int_equal(post_send(&post->a, "v", 1, &handle), 1);
	post_run_messages(&post->b, 1);
	post_run_dones(&post->a, 1);
	assert_non_null(post->b.server);
	for (size_t i = 0; i < ARRAY_LEN(r->guests); i++) {
		r->guests[i].name = "g";
		r->host.guests[i] = &r->guests[i];
	}
	r->host.guest_count = ARRAY_LEN(r->guests);
	r->host.server = post->b.server;
	net_server_set_ops(post->b.server, &host_ops, &r->host);
	story_forget(&post->stage->story);
}

static void end_received(struct received_host *r)
{
	for (size_t i = 0; i < ARRAY_LEN(r->guests); i++)
		if (r->guests[i].socket)
			net_socket_destroy(r->guests[i].socket, 0);
}

/* IP-8: each accepts, counts and closes by itself. */
static void a_server_that_was_sent_listens_in_both(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	static struct received_host r;
	struct net_address here, there;
	int client;

	stage_open(stage, &(struct net_server_options){.pause_on_connect = true});
	receive_server(post, &r);
	assert_true(net_server_listening(post->b.server));
	assert_int_equal(net_server_address(stage->host.server, &here), 0);
	assert_int_equal(net_server_address(post->b.server, &there), 0);
	assert_memory_equal(&here, &there, sizeof(here));

	size_t watched = post_watched(post);
	net_server_close(stage->host.server, host_done, &stage->host);
	story_run_until(&stage->story, "H.close");
	assert_int_equal(post_watched(post), watched - 1);
	client = plain_connect(&r.host);
	story_run_until(&stage->story, "h.connection");
	assert_int_equal(net_server_connections(post->b.server), 1);
	assert_true(net_socket_is_paused(r.guests[0].socket));
	close_fd(client);
	end_received(&r);
}

/* IP-8: the sender's goes on when the receiver's is closed. */
static void the_servers_close_independently(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	static struct received_host r;
	int client;

	stage_open_path(stage, NULL);
	receive_server(post, &r);
	net_server_close(post->b.server, host_done, &r.host);
	story_run_until(&stage->story, "h.close");
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct addr addr;
	assert_int_equal(addr_unix(stage->path, &addr), 0);
	assert_int_equal(connect(client, &addr.sa, addr.len), 0);
	story_run_until(&stage->story, "H.connection");
	close_fd(client);
}

static void a_server_that_is_closed_while_it_waits_does_not_go(void **state)
{
	struct post *post = *state;
	struct stage *stage = post->stage;
	struct mail_handle handle;

	stage_connected(stage);
	handle = (struct mail_handle){.server = stage->host.server};
	assert_int_equal(post_actor(&post->a, "1", &stage->guest), 1);
	assert_int_equal(post_send(&post->a, "22", 2, &handle), 1);
	net_server_free(stage->host.server);
	stage->host.server = NULL;
	post_run_messages(&post->b, 2);
	assert_true(story_has(&stage->story, "B.message:2"));
	post_run_dones(&post->a, 2);
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
		on_post(the_sender_keeps_its_descriptor_until_the_answer),
		on_post(a_channel_that_ends_closes_what_is_in_flight_and_what_waits),
		on_post(what_waited_for_a_channel_that_ended_may_go_elsewhere),
		on_post(a_receiver_closes_what_is_not_whole),
		on_post(a_watched_socket_leaves_the_set_of_the_loop),
		on_post(a_paused_socket_is_never_watched),
		on_post(a_descriptor_that_is_lost_four_times_is_given_up),
		on_post(a_descriptor_that_was_lost_is_sent_again),
		on_post(a_refusal_is_answered_by_three_more_tries),
		on_post(a_thousand_sockets_each_way_arrive),
		on_post(options_go_along),
		on_post(without_the_option_a_socket_is_not_half_open),
		on_post(a_side_that_has_ended_stays_ended),
		on_post(the_peer_is_known_after_it_has_gone),
		on_post(a_unix_socket_goes_with_its_path),
		on_post(bytes_that_were_put_back_come_first),
		on_post(a_megabyte_that_was_put_back_arrives),
		on_post(half_a_character_goes_along),
		on_post(a_server_that_was_sent_listens_in_both),
		on_post(the_servers_close_independently),
		on_post(a_server_that_is_closed_while_it_waits_does_not_go),
	};

	return cmocka_run_group_tests_name("mail_socket", tests, NULL, NULL);
}
