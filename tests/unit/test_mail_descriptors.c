/* The descriptors of sockets that go with messages: who has one until when, who closes what when
 * something goes wrong on the way, and many of them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/transfer.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/post.h"

/* --- descriptors on their way ----------------------------------------------------------------- */

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
	post_bare_take_handle(post, &head, &fd);
	assert_int_equal(open_fd_count(), before + 1);
	close_fd(fd);
	assert_int_equal(recv(client, &byte, 1, MSG_DONTWAIT), -1);

	assert_false(post_bare_take(post, &m, &fd));
	post_bare_answer(post, head.number, 0);
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
	post_bare_take_handle(post, &head, &fd);
	assert_int_equal(post_watched(post), watched - 1);
	post_bare_answer(post, head.number, 0);
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
	post_pass_guest(post);
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
		post_bare_answer(post, head.number, ENOMEM);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests_name("mail_descriptors", tests, NULL, NULL);
}
