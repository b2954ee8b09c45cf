/* A worker in this process, and its supervisor played by the test over a bare socket: what comes
 * accepted is taken first and served then, none is kept that may be another's, and the supervisor
 * is told when it must look, and only then. */
#include "worker/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cluster/inbox.h"
#include "common/fdpass.h"
#include "common/macros.h"
#include "common/net/server.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"
#include "worker/service.h"
#include "worker/wakeup.h"

#define LISTENER 3
#define TALLY    2

struct fixture {
	struct ev_loop *loop;
	struct worker worker;
	int channel; /* the supervisor's end */
	struct claims claims;
	int listening;
	int port;
	uint32_t next; /* number of a connection */
	int copy;      /* of the last one; -1: closed */
	size_t fds;
	alignas(uint32_t) char packet[IPC_PACKET_MAX];
};

static void say(struct fixture *f, enum ipc_type type, const void *body, const void *tail,
		size_t tail_count, const int *fds)
{
	int size = ipc_encode(type, body, tail, tail_count, f->packet);
	struct iovec part = {f->packet, (size_t)size};

	assert_int_equal(fdpass_send(f->channel, &part, 1, fds, ipc_fd_count(type, tail_count)),
			 size);
}

static void send_claims(struct fixture *f)
{
	AUTO_CLOSE int fd = -1;

	assert_int_equal(claims_new(&f->claims, &fd), 0);
	say(f, IPC_CLAIMS, NULL, NULL, 0, &fd);
}

static int setup(void **state)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct fixture *f = calloc(1, sizeof(*f));
	const char *which;
	struct bound bound;
	int pair[2];

	assert_non_null(f);
	f->fds = open_fd_count();
	f->loop = ev_loop_new(EVFLAG_AUTO);
	assert_int_equal(channel_pair(pair), 0);
	f->channel = pair[0];
	f->next = 1;
	f->copy = -1;
	assert_int_equal(worker_init(&f->worker, f->loop, pair[1]), 0);
	send_claims(f);
	assert_int_equal(bind_open(&options, &bound, &which), 0);
	f->listening = bound.fd;
	f->port = addr_port(&bound.addr);
	*state = f;
	return 0;
}

static void run_ready(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		ev_run(f->loop, EVRUN_NOWAIT);
}

/* Until there is something for the client, and what is ready then. */
static void run_until_heard(struct fixture *f, int client)
{
	do
		run_ready(f);
	while (!wait_readable(client, 1));
	run_ready(f);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	worker_done(&f->worker);
	run_ready(f);
	close_fd(f->channel);
	close_fd(f->listening);
	close_fd(f->copy);
	claims_close(&f->claims);
	ev_loop_destroy(f->loop);
	bool leaked = open_fd_count() != f->fds;
	free(f);
	return leaked ? -1 : 0;
}

/* The next message of a type; others before it are dropped. Returns whether there was one. */
static bool hear(struct fixture *f, enum ipc_type type, struct ipc_message *ret)
{
	const char *why;
	size_t n_fds;
	ssize_t size;

	while ((size = fdpass_recv(f->channel, f->packet, sizeof(f->packet), NULL, 0, &n_fds)) >
	       0) {
		assert_int_equal(ipc_decode(IPC_WORKER, f->packet, (size_t)size, 0, ret, &why), 0);
		if (ret->type == type)
			return true;
	}
	return false;
}

static void announce(struct fixture *f, enum handler_kind handler, bool tell)
{
	const struct ipc_adopt adopt = {
		.listener = LISTENER,
		.handler = handler,
		.name_size = 2,
		.tally = TALLY,
		.tell_connections = tell,
	};
	const char text[] = "ithello";

	say(f, IPC_ADOPT, &adopt, text, handler == HANDLER_REPLY ? 7 : 2, NULL);
	run_ready(f);
}

/* Hands off an accepted connection, of which a copy is kept; returns the client's end. */
static int hand_off_one(struct fixture *f, uint32_t listener)
{
	int client = connect_tcp("127.0.0.1", f->port);
	struct ipc_handoff body = {.listener = listener, .first = f->next++};
	struct ipc_peer peer = {.size = sizeof(struct sockaddr_in)};
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(4711)};

	from.sin_addr.s_addr = htonl(0x0a000001);
	memcpy(peer.address, &from, sizeof(from));
	close_fd(f->copy);
	/* The client's end may be connected before the listener has it. */
	assert_true(wait_readable(f->listening, WAIT_MS));
	f->copy = accept4(f->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	assert_true(f->copy >= 0);
	say(f, IPC_HANDOFF, &body, &peer, 1, &f->copy);
	return client;
}

static void let_go(struct fixture *f)
{
	close_fd(take_fd(&f->copy));
	claims_let_go(&f->claims, f->next - 1);
}

/* The same, by a supervisor that has looked already. */
static int hand_off(struct fixture *f, uint32_t listener)
{
	int client = hand_off_one(f, listener);

	let_go(f);
	return client;
}

static void expect_taken(struct fixture *f, uint32_t number)
{
	assert_int_equal(claims_read(&f->claims).taken, number);
}

static void expect_bell(struct fixture *f, uint32_t number)
{
	struct ipc_message message;

	assert_true(hear(f, IPC_PROGRESS, &message));
	assert_int_equal(((const struct ipc_progress *)message.body)->taken, number);
	assert_false(hear(f, IPC_PROGRESS, &message));
}

static void expect_silence(struct fixture *f)
{
	struct ipc_message message;

	assert_false(hear(f, IPC_PROGRESS, &message));
}

static void expect_refused(struct fixture *f, uint32_t number, int reason)
{
	expect_bell(f, number);
	expect_taken(f, number);
	assert_int_equal(claims_reason(&f->claims, number), reason);
}

/* Nobody is woken for it. */
static void what_is_taken_is_told_by_the_page_alone(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	AUTO_CLOSE int client = hand_off(f, LISTENER);
	client_send(client, "x");
	run_until_heard(f, client);
	expect_taken(f, 1);
	client_expect(client, "x");
	assert_int_equal(claims_reason(&f->claims, 1), 0);
	client_hang_up(take_fd(&client));
	run_ready(f);
	expect_silence(f);
}

static void who_waits_for_room_is_told_when_there_is_some(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	claims_want_bell(&f->claims, true);
	run_ready(f);
	expect_silence(f);
	AUTO_CLOSE int client = hand_off(f, LISTENER);
	run_ready(f);
	expect_bell(f, 1);
}

/* IP-4: whoever was slow may have lost the connection, and then nobody here may touch it. */
static void what_was_withdrawn_is_not_touched(void **state)
{
	struct claims_state now = {0};
	struct fixture *f = *state;

	announce(f, HANDLER_REPLY, false);
	AUTO_CLOSE int lost = hand_off_one(f, LISTENER);
	assert_true(claims_withdraw(&f->claims, &now, 1));
	run_ready(f);
	expect_bell(f, 1);
	assert_false(wait_readable(lost, 0));
	AUTO_CLOSE int client = hand_off(f, LISTENER);
	run_until_heard(f, client);
	client_expect(client, "hello");
	assert_int_equal(claims_reason(&f->claims, 2), 0);
}

/* The supervisor may leave messages unread: the connections need not wait for it. */
static void who_does_not_read_holds_up_no_connection(void **state)
{
	struct fixture *f = *state;
	const struct ipc_counted counted = {.last = 1};
	struct ipc_message message;

	announce(f, HANDLER_REPLY, false);
	while (f->worker.channel.queued_messages == 0)
		assert_int_equal(
			channel_send(&f->worker.channel, IPC_COUNTED, &counted, NULL, 0, NULL), 0);
	claims_want_bell(&f->claims, true);
	AUTO_CLOSE int client = hand_off(f, LISTENER);
	run_until_heard(f, client);
	client_expect(client, "hello");
	assert_int_equal(f->worker.channel.queued_messages, 1);

	/* The channel has room again, and the bell was not forgotten. */
	while (!hear(f, IPC_PROGRESS, &message))
		run_ready(f);
	assert_int_equal(((const struct ipc_progress *)message.body)->taken, 1);
}

/* KF-2: closed here alone, it would not end for its client. */
static void a_close_while_the_supervisor_has_a_copy_rings(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	AUTO_CLOSE int client = hand_off_one(f, LISTENER);
	run_ready(f);
	expect_silence(f);
	net_server_close_all_connections(LIST_FIRST(&f->worker.services)->server);
	expect_bell(f, 1);
	run_ready(f);
	assert_false(wait_readable(client, 0));
	let_go(f);
	client_expect_end(client);
	expect_silence(f);
}

/* Whoever chooses by the number of connections need not be told of each. */
static void each_end_is_counted_once(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	AUTO_CLOSE int one = hand_off(f, LISTENER);
	AUTO_CLOSE int two = hand_off(f, LISTENER);
	AUTO_CLOSE int unknown = hand_off(f, LISTENER + 1);
	run_ready(f);
	assert_int_equal(claims_ended(&f->claims, TALLY), 0);
	client_hang_up(take_fd(&one));
	run_ready(f);
	assert_int_equal(claims_ended(&f->claims, TALLY), 1);

	/* The server has no room: nobody is served, and nobody stays. */
	net_server_set_max_connections(LIST_FIRST(&f->worker.services)->server, 1);
	AUTO_CLOSE int three = hand_off(f, LISTENER);
	run_until_heard(f, three);
	client_expect_end(three);
	assert_int_equal(claims_ended(&f->claims, TALLY), 2);
	net_server_close_all_connections(LIST_FIRST(&f->worker.services)->server);
	assert_int_equal(claims_ended(&f->claims, TALLY), 3);
}

/* Many that end at once make it look once. */
static void one_bell_is_enough_for_all_that_were_taken_before(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	AUTO_CLOSE int one = hand_off_one(f, LISTENER);
	AUTO_CLOSE int two = hand_off_one(f, LISTENER);
	run_ready(f);
	net_server_close_all_connections(LIST_FIRST(&f->worker.services)->server);
	expect_bell(f, 2);
	AUTO_CLOSE int three = hand_off_one(f, LISTENER);
	run_ready(f);
	expect_silence(f);
	net_server_close_all_connections(LIST_FIRST(&f->worker.services)->server);
	expect_bell(f, 3);
}

/* KF-1: what stays in the set after its close makes libev build a new one, of all connections. */
static void a_copy_elsewhere_leaves_nothing_in_the_set(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	size_t before = kernel_watched_fds(getpid());
	AUTO_CLOSE int client = hand_off_one(f, LISTENER);
	run_ready(f);
	assert_int_equal(kernel_watched_fds(getpid()), before + 1);
	net_server_close_all_connections(LIST_FIRST(&f->worker.services)->server);
	assert_int_equal(kernel_watched_fds(getpid()), before);
}

/* Ends the connection of client from both sides. */
static void end_well(struct fixture *f, int client)
{
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	run_until_heard(f, client);
	client_expect_end(client);
}

/* Nobody waits for it, but each such end is dearer than one without a copy. */
static void ends_that_pass_a_copy_ring_when_they_gather(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	for (int i = 0; i < 3; i++) {
		AUTO_CLOSE int client = hand_off_one(f, LISTENER);
		run_ready(f);
		end_well(f, client);
		expect_silence(f);
		let_go(f);
	}
	AUTO_CLOSE int one = hand_off_one(f, LISTENER);
	AUTO_CLOSE int two = hand_off_one(f, LISTENER);
	run_ready(f);
	end_well(f, one);
	expect_silence(f);
	end_well(f, two);
	expect_bell(f, 5);
}

/* EN-3, KF-2: an end reaches the client also while the supervisor sleeps over its copy. */
static void an_end_passes_the_supervisors_copy(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	AUTO_CLOSE int client = hand_off_one(f, LISTENER);
	run_ready(f);
	assert_int_equal(shutdown(client, SHUT_WR), 0);
	run_until_heard(f, client);
	client_expect_end(client);
	expect_silence(f);
}

/* Runs right after the turn's new connections were made, and before one is read from. */
struct look {
	ev_prepare watcher;
	struct fixture *fixture;
	struct net_address remote;
};

static void on_look(struct ev_loop *loop, ev_prepare *watcher, int events)
{
	struct look *look = CONTAINER_OF(watcher, struct look, watcher);
	const struct service *service = LIST_FIRST(&look->fixture->worker.services);
	const struct net_socket *socket = LIST_FIRST(&service->server->sockets);

	if (socket)
		assert_int_equal(net_socket_remote_address(socket, &look->remote), 0);
}

/* AC-8: which may have gone since, so that the kernel does not know it any more. */
static void the_peer_is_the_one_that_the_supervisor_saw(void **state)
{
	struct fixture *f = *state;
	struct look look = {.fixture = f};

	announce(f, HANDLER_ECHO, false);
	ev_prepare_init(&look.watcher, on_look);
	ev_set_priority(&look.watcher, EV_MINPRI);
	ev_prepare_start(f->loop, &look.watcher);
	AUTO_CLOSE int client = hand_off_one(f, LISTENER);
	run_ready(f);
	ev_prepare_stop(f->loop, &look.watcher);
	assert_string_equal(look.remote.address, "10.0.0.1");
	assert_int_equal(look.remote.port, 4711);
}

/* --- in one wake-up ----------------------------------------------------------------------------
 */

/* One end of a pair is the client, whose descriptor is added to ret. */
static int accepted_one(struct clients *ret)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
	ret->fds[ret->count++] = pair[0];
	return pair[1];
}

/* Hands off so many at once, which need no port. */
static void hand_off_many(struct fixture *f, struct clients *ret, size_t count)
{
	const struct sockaddr from = {.sa_family = AF_UNIX};
	struct ipc_handoff body = {.listener = LISTENER, .first = f->next};
	struct ipc_peer peers[IPC_FDS_MAX];
	int fds[IPC_FDS_MAX];

	assert_true(count <= IPC_FDS_MAX);
	ret->fds = reallocarray(ret->fds, ret->count + count, sizeof(*ret->fds));
	assert_non_null(ret->fds);
	for (size_t i = 0; i < count; i++) {
		fds[i] = accepted_one(ret);
		peers[i] = (struct ipc_peer){.size = sizeof(from.sa_family)};
		memcpy(peers[i].address, &from, sizeof(from));
	}
	say(f, IPC_HANDOFF, &body, peers, count, fds);
	for (size_t i = 0; i < count; i++)
		close_fd(fds[i]);
	f->next += (uint32_t)count;
}

/* Who asks sees at once that there is room: the next ones may come in the same wake-up. */
static void who_is_asked_for_a_count_has_room_for_the_next(void **state)
{
	const struct ipc_count count = {.request = 1};
	const struct ipc_counted_row *rows;
	struct clients clients = {0};
	struct fixture *f = *state;
	struct ipc_message message;

	announce(f, HANDLER_REPLY, false);
	hand_off_many(f, &clients, 128);
	hand_off_many(f, &clients, IPC_IN_FLIGHT_MAX - 128);
	say(f, IPC_COUNT, &count, NULL, 0, NULL);
	hand_off_many(f, &clients, 64);
	run_ready(f);
	assert_int_equal(f->worker.status, 0);
	expect_taken(f, IPC_IN_FLIGHT_MAX + 64);
	assert_true(hear(f, IPC_COUNTED, &message));
	rows = message.tail;
	assert_int_equal(rows->connections, IPC_IN_FLIGHT_MAX);
	for (size_t i = 0; i < clients.count; i++)
		client_expect(clients.fds[i], "hello");
	clients_done(&clients);
}

/* DF-7: what was counted as taken is served, and counted when it ends; the rest may be another
 * worker's. */
static void a_release_right_after_a_count_loses_nobody(void **state)
{
	const struct ipc_release release = {.listener = LISTENER};
	const struct ipc_count count = {.request = 1};
	struct clients clients = {0};
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	hand_off_many(f, &clients, 2);
	say(f, IPC_COUNT, &count, NULL, 0, NULL);
	hand_off_many(f, &clients, 1);
	say(f, IPC_RELEASE, &release, NULL, 0, NULL);
	run_ready(f);
	expect_taken(f, 3);
	assert_int_equal(claims_reason(&f->claims, 1), 0);
	assert_int_equal(claims_reason(&f->claims, 2), 0);
	assert_int_equal(claims_reason(&f->claims, 3), ESHUTDOWN);
	client_send(clients.fds[0], "x");
	run_until_heard(f, clients.fds[0]);
	client_expect(clients.fds[0], "x");
	assert_int_equal(claims_ended(&f->claims, TALLY), 0);
	clients_done(&clients);
	run_ready(f);
	assert_int_equal(claims_ended(&f->claims, TALLY), 2);
}

/* Those that end while others are still taken are told with them. */
static void one_bell_is_enough_for_a_wakeup(void **state)
{
	struct clients clients = {0};
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, true);
	hand_off_many(f, &clients, 3);
	net_server_set_max_connections(LIST_FIRST(&f->worker.services)->server, 1);
	run_ready(f);
	expect_bell(f, 3);
	clients_done(&clients);
}

static void what_comes_for_nobody_is_refused(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	AUTO_CLOSE int unknown = hand_off(f, LISTENER + 1);
	run_ready(f);
	expect_refused(f, 1, ESHUTDOWN);
	client_expect_end(unknown);
}

/* DF-7 */
static void a_drain_takes_what_came_before_and_refuses_what_comes_after(void **state)
{
	const struct ipc_drain drain = {.timeout_ms = 60000};
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	AUTO_CLOSE int before = hand_off(f, LISTENER);
	say(f, IPC_DRAIN, &drain, NULL, 0, NULL);
	AUTO_CLOSE int after = hand_off(f, LISTENER);
	run_ready(f);
	expect_refused(f, 2, ESHUTDOWN);
	assert_int_equal(claims_reason(&f->claims, 1), 0);
	client_expect_end(after);
	client_send(before, "x");
	run_until_heard(f, before);
	client_expect(before, "x");
}

static void expect_told(struct fixture *f, uint32_t connections)
{
	const struct ipc_counted_row *rows;
	struct ipc_message message;

	assert_true(hear(f, IPC_PROGRESS, &message));
	assert_int_equal(message.tail_count, 1);
	rows = message.tail;
	assert_int_equal(rows->listener, LISTENER);
	assert_int_equal(rows->connections, connections);
}

static void the_number_of_connections_is_told_when_it_changes(void **state)
{
	struct fixture *f = *state;
	struct ipc_message message;

	announce(f, HANDLER_ECHO, true);
	AUTO_CLOSE int one = hand_off(f, LISTENER);
	AUTO_CLOSE int two = hand_off(f, LISTENER);
	run_ready(f);
	expect_told(f, 2);
	assert_false(hear(f, IPC_PROGRESS, &message));
	client_send(two, "x");
	run_until_heard(f, two);
	client_expect(two, "x");
	assert_false(hear(f, IPC_PROGRESS, &message));
	client_hang_up(take_fd(&one));
	run_ready(f);
	expect_told(f, 1);
	assert_int_equal(f->worker.channel.queued_messages, 0);
}

/* Nothing else would wake the worker to tell that a permit is free. */
static void who_has_left_already_is_told_before_the_loop_sleeps(void **state)
{
	const struct ipc_adopt adopt = {
		.listener = LISTENER, .handler = HANDLER_ECHO, .name_size = 2, .metered = 1};
	const struct ipc_held_row *row;
	struct fixture *f = *state;
	struct ipc_message message;

	say(f, IPC_ADOPT, &adopt, "it", 2, NULL);
	run_ready(f);
	client_hang_up(hand_off_one(f, LISTENER));
	ev_run(f->loop, EVRUN_NOWAIT); /* it comes */
	ev_run(f->loop,
	       EVRUN_NOWAIT); /* it is taken, and its end is found, before the loop waits */
	assert_true(hear(f, IPC_HELD, &message));
	assert_int_equal(message.tail_count, 1);
	row = message.tail;
	assert_int_equal(row->ended, 1);
}

/* What supervisors of the same version do not send. */
static void a_gap_in_the_numbers_ends_the_worker(void **state)
{
	struct fixture *f = *state;

	announce(f, HANDLER_ECHO, false);
	f->next++;
	AUTO_CLOSE int client = hand_off(f, LISTENER);
	run_ready(f);
	assert_int_not_equal(f->worker.status, 0);
	client_expect_end(client);
}

static void serve(struct fixture *f, uint32_t handle, bool shared)
{
	const struct ipc_serve body = {.listener = LISTENER,
				       .handle = handle,
				       .handler = HANDLER_ECHO,
				       .name_size = 2,
				       .shared = shared};

	say(f, IPC_SERVE, &body, "it", 2, &f->listening);
	run_ready(f);
}

/* Leaving the queue of those who wait and joining it again is for those who share a socket. */
static void who_has_a_socket_alone_does_not_queue_again(void **state)
{
	struct fixture *f = *state;
	const struct service *service;

	serve(f, 0, true);
	serve(f, 1, false);
	LIST_FOREACH (service, &f->worker.services, link) {
		const struct server_sharing *sharing = service->server->sharing;

		assert_true(sharing == (service->handle == 0 ? &worker_sharing : &worker_alone));
	}
}

static void connect_and_echo(struct fixture *f, int *ret_fd)
{
	*ret_fd = connect_tcp("127.0.0.1", f->port);
	client_send(*ret_fd, "x");
	run_until_heard(f, *ret_fd);
	client_expect(*ret_fd, "x");
}

/* wrap: accept4 */
int __real_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);

/* 0: it does what it always does. */
static int accept_error;

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags)
{
	if (accept_error == 0)
		return __real_accept4(fd, addr, size, flags);
	errno = accept_error;
	return -1;
}

/* So that the others look. */
static void who_has_no_descriptor_for_a_client_says_so(void **state)
{
	const struct service *service;
	struct fixture *f = *state;
	struct ipc_message message;
	AUTO_CLOSE int client = -1;

	serve(f, 0, true);
	service = LIST_FIRST(&f->worker.services);
	client = connect_tcp("127.0.0.1", f->port);
	assert_true(wait_readable(f->listening, WAIT_MS));
	accept_error = EMFILE;
	run_ready(f);
	accept_error = 0;
	assert_true(hear(f, IPC_SHORT, &message));
	while (net_server_connections(service->server) == 0)
		ev_run(f->loop, EVRUN_ONCE);
	assert_int_equal(f->worker.status, 0);
}

/* A stand-in gives a socket back while it still has connections from it, and gets it again. */
static void a_socket_may_come_again_and_all_connections_count(void **state)
{
	const struct ipc_release release = {.listener = LISTENER, .handle = 1};
	const struct ipc_count count = {.request = 9};
	const struct ipc_counted_row *rows;
	struct fixture *f = *state;
	struct ipc_message message;
	AUTO_CLOSE int first = -1;
	AUTO_CLOSE int second = -1;

	serve(f, 1, false);
	connect_and_echo(f, &first);
	say(f, IPC_RELEASE, &release, NULL, 0, NULL);
	serve(f, 1, false);
	connect_and_echo(f, &second);
	say(f, IPC_COUNT, &count, NULL, 0, NULL);
	run_ready(f);
	assert_true(hear(f, IPC_COUNTED, &message));
	assert_int_equal(message.tail_count, 1);
	rows = message.tail;
	assert_int_equal(rows->connections, 2);
	assert_int_equal(f->worker.status, 0);
}

/* --- what is logged -------------------------------------------------------------------------- */

#define LOG_SIZE 4096

/* Standard error is ours only while the loop runs, for cmocka uses it too. */
static void run_logged(struct fixture *f, char ret[LOG_SIZE])
{
	AUTO_CLOSE int file = memfd_create("log", MFD_CLOEXEC);
	AUTO_CLOSE int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	ssize_t size;

	assert_true(file >= 0 && saved >= 0);
	dup2(file, STDERR_FILENO);
	run_ready(f);
	dup2(saved, STDERR_FILENO);
	size = pread(file, ret, LOG_SIZE - 1, 0);
	ret[size > 0 ? size : 0] = '\0';
}

static void expect_logged(const char *text, const char *wanted)
{
	if (!strstr(text, wanted))
		fail_msg("no \"%s\" in:\n%s", wanted, text);
}

/* Announced under that name, which has a connection that it has no room for. */
static void lose_one(struct fixture *f, const char *name, char ret_log[LOG_SIZE])
{
	const struct ipc_adopt adopt = {
		.listener = LISTENER, .handler = HANDLER_ECHO, .name_size = (uint32_t)strlen(name)};

	say(f, IPC_ADOPT, &adopt, name, strlen(name), NULL);
	run_ready(f);
	assert_int_equal(f->worker.status, 0);
	net_server_set_max_connections(LIST_FIRST(&f->worker.services)->server, 0);
	AUTO_CLOSE int client = hand_off(f, LISTENER);
	run_logged(f, ret_log);
}

/* Who reads it knows the name of the configuration, and no number. */
static void a_lost_connection_is_told_with_the_listeners_name(void **state)
{
	char log[LOG_SIZE];

	lose_one(*state, "web", log);
	expect_logged(log, "listener \"web\": a connection is lost: ");
}

static void a_name_may_have_the_longest_length(void **state)
{
	char name[IPC_LISTENER_NAME_MAX + 1] = "", log[LOG_SIZE], expected[LOG_SIZE];

	memset(name, 'n', IPC_LISTENER_NAME_MAX);
	lose_one(*state, name, log);
	snprintf(expected, sizeof(expected), "listener \"%s\": ", name);
	expect_logged(log, expected);
}

static void a_name_beyond_that_ends_the_worker(void **state)
{
	const struct ipc_adopt adopt = {.listener = LISTENER,
					.handler = HANDLER_REPLY,
					.name_size = IPC_LISTENER_NAME_MAX + 1};
	char tail[IPC_LISTENER_NAME_MAX + 2];
	struct fixture *f = *state;

	memset(tail, 'n', sizeof(tail));
	say(f, IPC_ADOPT, &adopt, tail, sizeof(tail), NULL);
	run_ready(f);
	assert_int_not_equal(f->worker.status, 0);
	assert_true(LIST_EMPTY(&f->worker.services));
}

static void a_listener_without_a_name_is_told_by_its_number(void **state)
{
	char log[LOG_SIZE], expected[64];

	lose_one(*state, "", log);
	snprintf(expected, sizeof(expected), "listener %d: a connection is lost: ", LISTENER);
	expect_logged(log, expected);
}

static void an_error_of_a_socket_is_told_with_the_listeners_name(void **state)
{
	struct fixture *f = *state;
	char log[LOG_SIZE];

	serve(f, 0, false);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", f->port);
	assert_true(wait_readable(f->listening, WAIT_MS));
	accept_error = EINVAL;
	run_logged(f, log);
	accept_error = 0;
	expect_logged(log, "listener \"it\": accept EINVAL");
}

/* Nobody has given it a name. */
static void what_a_program_listens_on_is_told_by_its_address(void **state)
{
	const struct ipc_listened_apart answer = {.request = 1, .listener = IPC_SHARE_FIRST + 1};
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(4711),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct ipc_peer row = {.size = sizeof(address)};
	struct fixture *f = *state;
	struct net_server *server;
	char log[LOG_SIZE];

	memcpy(row.address, &address, sizeof(address));
	assert_int_equal(net_create_server(f->loop, NULL, NULL, NULL, &server), 0);
	assert_int_equal(net_server_listen_port(server, 4711, "127.0.0.1", 0, NULL, NULL), 0);
	run_ready(f);
	say(f, IPC_LISTENED_APART, &answer, &row, 1, NULL);
	run_ready(f);
	AUTO_CLOSE int client = hand_off(f, answer.listener);
	run_logged(f, log);
	expect_logged(log, "listener 127.0.0.1:4711: a connection is lost: ");
	net_server_free(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		TEST(what_is_taken_is_told_by_the_page_alone),
		TEST(who_waits_for_room_is_told_when_there_is_some),
		TEST(what_was_withdrawn_is_not_touched),
		TEST(who_does_not_read_holds_up_no_connection),
		TEST(a_close_while_the_supervisor_has_a_copy_rings),
		TEST(each_end_is_counted_once),
		TEST(one_bell_is_enough_for_all_that_were_taken_before),
		TEST(a_copy_elsewhere_leaves_nothing_in_the_set),
		TEST(ends_that_pass_a_copy_ring_when_they_gather),
		TEST(an_end_passes_the_supervisors_copy),
		TEST(the_peer_is_the_one_that_the_supervisor_saw),
		TEST(who_is_asked_for_a_count_has_room_for_the_next),
		TEST(a_release_right_after_a_count_loses_nobody),
		TEST(one_bell_is_enough_for_a_wakeup),
		TEST(what_comes_for_nobody_is_refused),
		TEST(a_drain_takes_what_came_before_and_refuses_what_comes_after),
		TEST(the_number_of_connections_is_told_when_it_changes),
		TEST(who_has_left_already_is_told_before_the_loop_sleeps),
		TEST(a_gap_in_the_numbers_ends_the_worker),
		TEST(who_has_a_socket_alone_does_not_queue_again),
		TEST(who_has_no_descriptor_for_a_client_says_so),
		TEST(a_socket_may_come_again_and_all_connections_count),
		TEST(a_lost_connection_is_told_with_the_listeners_name),
		TEST(a_name_may_have_the_longest_length),
		TEST(a_name_beyond_that_ends_the_worker),
		TEST(a_listener_without_a_name_is_told_by_its_number),
		TEST(an_error_of_a_socket_is_told_with_the_listeners_name),
		TEST(what_a_program_listens_on_is_told_by_its_address),
#undef TEST
	};

	alarm(60);
	return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
