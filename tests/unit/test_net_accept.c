/* How connections come to a server: from the kernel's queue, or accepted elsewhere. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

static void note_count(struct host *host)
{
	host->count = net_server_connections(host->server);
}

/* AC-1: the count includes the new one. SL-17: descriptors do not block and close on exec. */
static void a_connection_counts_before_it_is_told(void **state)
{
	struct stage *stage = *state;
	int flags;

	stage->host.on[ON_CONNECTION] = note_count;
	stage_connected(stage);
	assert_int_equal(stage->host.count, 1);
	assert_ptr_equal(net_socket_server(stage->guest.socket), stage->host.server);
	flags = fcntl(stage->guest.socket->io.fd, F_GETFL);
	assert_true(flags & O_NONBLOCK);
	assert_true(fcntl(stage->guest.socket->io.fd, F_GETFD) & FD_CLOEXEC);
}

static uint64_t clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void a_connection_knows_when_it_came(void **state)
{
	struct stage *stage = *state;
	uint64_t before_us = clock_us();

	stage_connected(stage);
	assert_in_range(stage->guest.socket->accepted_us, before_us, clock_us());
}

/* Whatever the clock says, no two of a server's connections have come at the same time. */
static void connections_are_told_from_the_newest_to_the_oldest(void **state)
{
	enum { COUNT = 5 };
	struct stage *stage = *state;
	struct net_socket *s = NULL;
	uint64_t before_us = UINT64_MAX;
	int fds[COUNT];
	size_t count = 0;

	stage_open(stage, NULL);
	for (size_t i = 0; i < COUNT; i++)
		fds[i] = stage_plain(stage);
	net_socket_destroy(LIST_FIRST(&stage->host.server->sockets), 0);
	for (; (s = server_next_connection(stage->host.server, s)); count++) {
		assert_true(s->accepted_us > 0 && s->accepted_us < before_us);
		before_us = s->accepted_us;
	}
	assert_int_equal(count, COUNT - 1);
	net_server_close_all_connections(stage->host.server);
	for (size_t i = 0; i < COUNT; i++)
		close(fds[i]);
}

/* A clock that stands still gives different times all the same. */
static void no_two_times_of_a_loop_are_alike(void **state)
{
	struct stage *stage = *state;
	struct net_context *context;
	uint64_t last_us;

	stage_open(stage, NULL);
	context = stage->host.server->context;
	context->last_us = last_us = UINT64_MAX / 2; /* later than now */
	for (int i = 0; i < 10; i++, last_us = context->last_us)
		assert_int_equal(context_now_us(context), last_us + 1);
}

/* AC-1, SL-17: options of the server are on the socket when it is told. */
static void options_of_the_server_are_set_on_its_connections(void **state)
{
	const struct net_server_options options = {
		.no_delay = true, .keep_alive = true, .keep_alive_initial_delay_ms = 7000};
	struct stage *stage = *state;

	stage_open(stage, &options);
	stage_connect(stage, NULL);
	assert_int_equal(option_of(stage->guest.socket, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option_of(stage->guest.socket, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(stage->guest.socket, IPPROTO_TCP, TCP_KEEPIDLE), 7);
}

static void destroy_and_note_count(struct actor *actor)
{
	struct net_server *server = net_socket_server(actor->socket);

	net_socket_destroy(actor->socket, 0);
	actor->status = (int)net_server_connections(server);
}

/* AC-2 */
static void the_count_falls_inside_destroy(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->guest.on[ON_DATA] = destroy_and_note_count;
	stage->guest.status = -1;
	net_socket_write(stage->client.socket, "x", 1, NULL, NULL);
	story_run_until(&stage->story, "S.close");
	assert_int_equal(stage->guest.status, 0);
}

/* AC-3 */
static void beyond_the_limit_connections_are_closed_at_once(void **state)
{
	struct stage *stage = *state;
	int fds[3];
	char byte;

	stage_open(stage, NULL);
	assert_int_equal(net_server_max_connections(stage->host.server), NET_NO_LIMIT);
	net_server_set_max_connections(stage->host.server, 2);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.drop");
	assert_string_equal(stage->story.text, "H.connection H.connection H.drop ");
	assert_int_equal(stage->host.drop.local.port, host_port(&stage->host));
	assert_string_equal(stage->host.drop.remote.address, "127.0.0.1");
	assert_int_not_equal(stage->host.drop.remote.port, 0);
	assert_int_equal(plain_receive(fds[2], &byte, 1), 0);

	/* Lowered, it leaves alone who is there. */
	net_server_set_max_connections(stage->host.server, 1);
	story_run_ready(&stage->story);
	assert_int_equal(net_server_connections(stage->host.server), 2);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

/* AC-4 */
static void a_limit_of_zero_drops_all_and_no_limit_none(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage_open(stage, NULL);
	net_server_set_max_connections(stage->host.server, 0);
	fd = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.drop");
	close(fd);
	net_server_set_max_connections(stage->host.server, NET_NO_LIMIT);
	close(stage_plain(stage));
}

/* AC-1: after the limit, the block list; who is on it is dropped, also in its mapped form. */
static void blocked_peers_are_dropped(void **state)
{
	struct net_server_options options = {0};
	struct net_block_list *list;
	struct stage *stage = *state;
	char byte;
	int fd;

	assert_int_equal(net_block_list_new(&list), 0);
	assert_int_equal(net_block_list_add_range(list, "127.0.0.1", "127.0.0.5"), 0);
	options.block_list = list;
	stage_create(stage, &options);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	fd = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.drop");
	assert_string_equal(stage->host.drop.remote.address, "::ffff:127.0.0.1");
	assert_int_equal(plain_receive(fd, &byte, 1), 0);
	assert_int_equal(net_server_connections(stage->host.server), 0);
	close(fd);
	net_server_free(stage->host.server);
	stage->host.server = NULL;
	net_block_list_free(list);
}

/* AC-5, KF-1: nor is the descriptor watched, which may yet go to another process. */
static void paused_on_connect_nothing_is_read(void **state)
{
	const struct net_server_options options = {.pause_on_connect = true};
	struct stage *stage = *state;
	int fd;

	stage_open(stage, &options);
	fd = plain_connect(&stage->host);
	plain_send(fd, "hello");
	story_run_until(&stage->story, "H.connection");
	story_run_ready(&stage->story);
	assert_int_equal(net_socket_bytes_read(stage->guest.socket), 0);
	assert_false(ev_is_active(&stage->guest.socket->io));
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.data:5");
	close(fd);
}

/* AC-6, RD-1: better than a buffer of it: what nobody reads stays in the kernel. */
static void without_a_reader_nothing_is_taken_from_the_kernel(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_open(stage, NULL);
	fd = stage_plain(stage);
	plain_send(fd, "hello");
	story_run_ready(&stage->story);
	assert_int_equal(net_socket_bytes_read(stage->guest.socket), 0);

	net_socket_set_ops(stage->guest.socket, &actor_ops, &stage->guest);
	story_run_until(&stage->story, "S.data:5");
	close(fd);
}

/* wrap: accept4 malloc calloc */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);

static int accept_error; /* what accept4() fails with, or 0 */
static unsigned accepts;
static unsigned refusals; /* so many allocations fail, ... */
static unsigned passes;   /* ... but so many succeed before each of them */
static unsigned passed;

static bool has_memory(void)
{
	if (refusals == 0 || passed++ < passes)
		return true;
	passed = 0;
	refusals--;
	return false;
}

void *__wrap_malloc(size_t size)
{
	return has_memory() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
	return has_memory() ? __real_calloc(count, size) : NULL;
}

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags)
{
	accepts++;
	if (accept_error == 0)
		return __real_accept4(fd, addr, size, flags);
	errno = accept_error;
	return -1;
}

static void all_who_wait_are_accepted_in_one_wake_up_and_none_in_vain(void **state)
{
	struct stage *stage = *state;
	int fds[3];

	stage->host.guest_count = 0;
	stage_open(stage, NULL);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = plain_connect(&stage->host);
	kernel_await_queue(stage->host.server->bound.fd, ARRAY_LEN(fds));
	accepts = 0;
	ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(net_server_connections(stage->host.server), ARRAY_LEN(fds));
	assert_int_equal(accepts, ARRAY_LEN(fds));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

#define PAUSE_MS 100 /* of a server that has no descriptor */

/* AC-7: clients wait in the queue; nothing is lost, nobody is told, and the loop sleeps. */
static void without_descriptors_accepting_waits_and_does_not_spin(void **state)
{
	static const int lacks[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
	struct stage *stage = *state;

	stage->host.guest_count = 0;
	stage_open(stage, NULL);
	for (size_t i = 0; i < ARRAY_LEN(lacks); i++) {
		int fd = plain_connect(&stage->host);
		int64_t begin = now_ms();

		story_forget(&stage->story);
		accepts = 0;
		accept_error = lacks[i];
		while (accepts < 3)
			ev_run(stage->story.loop, EVRUN_ONCE);
		accept_error = 0;
		assert_string_equal(stage->story.text, "");
		assert_true(now_ms() - begin >= 2 * PAUSE_MS);
		story_run_until(&stage->story, "H.connection");
		close(fd);
	}
}

/* AC-7: who was accepted already would be lost. A socket is one allocation, and its write_limit one
 * more. */
static void without_memory_accepting_waits_and_loses_nobody(void **state)
{
	const struct net_server_options options = {.write_limit = 1 << 20};
	struct stage *stage = *state;
	int fds[2];

	stage->host.guest_count = 0;
	stage_open(stage, &options);
	for (passes = 0; passes < ARRAY_LEN(fds); passes++) {
		int64_t begin = now_ms();

		fds[passes] = plain_connect(&stage->host);
		story_forget(&stage->story);
		accepts = passed = 0;
		refusals = 3;
		while (refusals > 0)
			ev_run(stage->story.loop, EVRUN_ONCE);
		assert_true(server_is_short(stage->host.server));
		assert_int_equal(accepts, 0);
		assert_string_equal(stage->story.text, "");
		assert_true(now_ms() - begin >= 2 * PAUSE_MS);
		story_run_until(&stage->story, "H.connection");
		assert_int_equal(accepts, 1);
	}
	close(fds[0]);
	close(fds[1]);
}

static void note_accepted(int fd, void *ctx)
{
}

static void note_short(int error, void *ctx)
{
	assert_int_equal(error, -EMFILE);
	(*(unsigned *)ctx)++;
}

/* The kernel does not wake this one in the place of others who could accept. */
static void without_descriptors_a_shared_socket_is_left_to_others(void **state)
{
	static const struct server_sharing sharing = {note_accepted, note_short};
	struct stage *stage = *state;
	struct net_server *server;
	unsigned shorts = 0;
	int fd;

	stage_open(stage, NULL);
	server = stage->host.server;
	server_share(server, &sharing, &shorts);
	fd = plain_connect(&stage->host);
	accept_error = EMFILE;
	while (!server_is_short(server))
		ev_run(stage->story.loop, EVRUN_ONCE);
	accept_error = 0;
	assert_int_equal(shorts, 1);
	assert_int_equal(epoll_ctl(server->context->set, EPOLL_CTL_DEL, server->bound.fd, NULL),
			 -1);
	assert_int_equal(errno, ENOENT);
	story_run_until(&stage->story, "H.connection");
	close(fd);
}

static bool gate_is_open(void *ctx)
{
	return *(bool *)ctx;
}

/* Who was parked and has no descriptors either waits for these, whatever else is asked of it. */
static void without_descriptors_who_is_unparked_waits_on(void **state)
{
	static const struct server_gate gate = {.is_open = gate_is_open};
	struct stage *stage = *state;
	struct net_server *server = stage_create(stage, NULL);
	bool open = false;
	int fd;

	server_set_gate(server, &gate, &open);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true}), 0);
	story_run_until(&stage->story, "H.listening");
	open = true;
	accept_error = EMFILE;
	server_accept_now(server);
	assert_true(server_is_short(server));
	server_unpark(server);
	assert_false(ev_is_active(&server->io));
	server_empty_queue(server);
	assert_true(server_is_short(server));

	accept_error = 0;
	fd = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.connection");
	close(fd);
}

/* As libev does when the kernel refuses to watch one descriptor more. */
static void refuse_watch(struct stage *stage)
{
	struct net_server *server = stage->host.server;

	assert_true(ev_is_active(&server->io));
	ev_io_stop(stage->story.loop, &server->io);
	ev_feed_event(stage->story.loop, &server->io, EV_ERROR | EV_READ | EV_WRITE);
}

static void a_refused_watch_is_forgotten_when_the_server_is_closed(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	net_server_unref(stage->host.server);
	refuse_watch(stage);
	net_server_close(stage->host.server, NULL, NULL);
	assert_false(ev_is_pending(&stage->host.server->io));
	story_run_until(&stage->story, "H.close");
	assert_false(server_is_short(stage->host.server));
}

static void a_socket_that_cannot_be_watched_is_watched_again_soon(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage_open(stage, NULL);
	refuse_watch(stage);
	ev_run(stage->story.loop, EVRUN_NOWAIT);
	assert_true(server_is_short(stage->host.server));
	fd = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.connection");
	close(fd);
}

/* AC-7: what is wrong with one connection is no matter of the listener. */
static void errors_of_one_connection_are_passed_over(void **state)
{
	static const int passing[] = {ECONNABORTED, EINTR, EPROTO};
	struct stage *stage = *state;

	stage->host.guest_count = 0;
	stage_open(stage, NULL);
	for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
		int fd = plain_connect(&stage->host);

		story_forget(&stage->story);
		accepts = 0;
		accept_error = passing[i];
		/* The end of the one before may come first. */
		while (accepts == 0)
			ev_run(stage->story.loop, EVRUN_ONCE);
		accept_error = 0;
		assert_int_equal(accepts, 64);
		story_run_until(&stage->story, "H.connection");
		assert_string_equal(stage->story.text, "H.connection ");
		close(fd);
	}
}

/* ER-5: "accept E...", and the server goes on listening. */
static void other_errors_of_accept_are_told_and_do_not_spin(void **state)
{
	struct stage *stage = *state;
	char expected[64];
	int fd;

	stage_open(stage, NULL);
	fd = plain_connect(&stage->host);
	accept_error = EINVAL;
	story_run_ms(&stage->story, 50);
	accept_error = 0;
	assert_string_equal(stage->story.text, "H.error:EINVAL ");
	snprintf(expected, sizeof(expected), "accept EINVAL 127.0.0.1:%d", host_port(&stage->host));
	assert_string_equal(stage->host.error_text, expected);
	story_run_until(&stage->story, "H.connection");
	close(fd);
}

static void close_the_server(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct stage *stage = timer->data;

	assert_false(ev_is_active(&stage->host.server->pause));
	assert_true(ev_is_pending(&stage->host.server->pause));
	net_server_close(stage->host.server, NULL, NULL);
}

/* AC-7: the wait is over in the same turn in which the server is closed, before it is told. */
static void closing_ends_a_wait_for_descriptors_that_is_just_over(void **state)
{
	struct stage *stage = *state;
	ev_timer timer;
	int fd;

	stage_open(stage, NULL);
	net_server_unref(stage->host.server);
	fd = plain_connect(&stage->host);
	accept_error = EMFILE;
	while (!ev_is_active(&stage->host.server->pause))
		ev_run(stage->story.loop, EVRUN_ONCE);
	accept_error = 0;

	/* From the loop's time, which is that of the pause: it is over before that. */
	ev_timer_init(&timer, close_the_server, 0.001, 0.);
	timer.data = stage;
	ev_timer_start(stage->story.loop, &timer);
	stay_busy(2 * PAUSE_MS);
	story_run_until(&stage->story, "H.close");
	story_run_ms(&stage->story, 10);
	assert_false(net_server_listening(stage->host.server));
	assert_false(story_has(&stage->story, "H.connection"));
	close(fd);
}

static bool has_no_peer(void *ctx)
{
	struct addr addr;

	return addr_of_peer(((struct net_socket *)ctx)->io.fd, &addr) == -ENOTCONN;
}

/* AC-8: the address is the one that accept4() gave. */
static void the_address_of_a_peer_that_has_reset_is_known(void **state)
{
	struct stage *stage = *state;
	struct net_address local, remote;
	struct addr addr;
	int fd;

	stage->host.guest_ops = &actor_deaf_ops;
	stage_open(stage, NULL);
	fd = plain_connect(&stage->host);
	assert_int_equal(addr_of_socket(fd, &addr), 0);
	addr_to_net(&addr, &local);
	plain_reset(fd);
	story_run_until(&stage->story, "H.connection");
	assert_int_equal(net_socket_remote_address(stage->guest.socket, &remote), 0);
	assert_int_equal(remote.port, local.port);
	assert_true(poll_until(has_no_peer, stage->guest.socket, WAIT_MS));
}

/* KF-5: work in one wake-up is bounded; other watchers, and other processes that accept on the same
 * socket, have their turn between connections. */
static void a_burst_is_accepted_in_portions(void **state)
{
	struct stage *stage = *state;
	int fds[100];

	stage_open(stage, NULL);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = plain_connect(&stage->host);
	kernel_await_queue(stage->host.server->bound.fd, ARRAY_LEN(fds));
	ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(net_server_connections(stage->host.server), 64);
	ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(net_server_connections(stage->host.server), 100);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	net_server_close_all_connections(stage->host.server);
	assert_int_equal(net_server_connections(stage->host.server), 0);
	story_run_ready(&stage->story);
}

/* AC-1: without anybody to tell, a connection is closed, and does not count. */
static void without_on_connection_connections_are_closed(void **state)
{
	static const struct net_server_ops nobody;
	struct stage *stage = *state;
	struct net_address address;
	char byte;
	int fd;

	assert_int_equal(net_create_server(stage->story.loop, NULL, &nobody, &stage->host,
					   &stage->host.server),
			 0);
	assert_ptr_equal(net_server_ctx(stage->host.server), &stage->host);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	fd = plain_connect(&stage->host);
	ev_run(stage->story.loop, EVRUN_ONCE);
	assert_int_equal(plain_receive(fd, &byte, 1), 0);
	close(fd);
}

/* A connection accepted elsewhere is like one of the server's own. */
static void an_adopted_connection_counts_and_serves(void **state)
{
	struct stage *stage = *state;
	struct addr peer;
	int pair[2];

	stage_open(stage, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(addr_of_peer(pair[0], &peer), 0);
	net_server_set_max_connections(stage->host.server, 1);
	assert_true(server_has_room(stage->host.server));
	assert_int_equal(server_adopt(stage->host.server, pair[0], &peer), 0);
	assert_false(server_has_room(stage->host.server));
	assert_int_equal(net_server_connections(stage->host.server), 1);
	plain_send(pair[1], "hi");
	story_run_until(&stage->story, "S.data:2");

	assert_int_equal(server_adopt(stage->host.server, pair[1], &peer), -EBUSY);
	assert_int_equal(fcntl(pair[1], F_GETFD), -1);
	assert_true(story_has(&stage->story, "H.drop"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(a_connection_counts_before_it_is_told),
		on_stage(a_connection_knows_when_it_came),
		on_stage(connections_are_told_from_the_newest_to_the_oldest),
		on_stage(no_two_times_of_a_loop_are_alike),
		on_stage(options_of_the_server_are_set_on_its_connections),
		on_stage(the_count_falls_inside_destroy),
		on_stage(beyond_the_limit_connections_are_closed_at_once),
		on_stage(a_limit_of_zero_drops_all_and_no_limit_none),
		on_stage(blocked_peers_are_dropped),
		on_stage(paused_on_connect_nothing_is_read),
		on_stage(without_a_reader_nothing_is_taken_from_the_kernel),
		on_stage(all_who_wait_are_accepted_in_one_wake_up_and_none_in_vain),
		on_stage(without_descriptors_accepting_waits_and_does_not_spin),
		on_stage(without_memory_accepting_waits_and_loses_nobody),
		on_stage(without_descriptors_a_shared_socket_is_left_to_others),
		on_stage(without_descriptors_who_is_unparked_waits_on),
		on_stage(a_socket_that_cannot_be_watched_is_watched_again_soon),
		on_stage(a_refused_watch_is_forgotten_when_the_server_is_closed),
		on_stage(errors_of_one_connection_are_passed_over),
		on_stage(other_errors_of_accept_are_told_and_do_not_spin),
		on_stage(closing_ends_a_wait_for_descriptors_that_is_just_over),
		on_stage(the_address_of_a_peer_that_has_reset_is_known),
		on_stage(a_burst_is_accepted_in_portions),
		on_stage(without_on_connection_connections_are_closed),
		on_stage(an_adopted_connection_counts_and_serves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
