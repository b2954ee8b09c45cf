/* Messages between a master of <usher/cluster.h> and its workers, with and without sockets. */
#include "tests/helpers/cluster_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

/* --- what workers do ------------------------------------------------------------------------- */

#define CHANNEL 3

static void send_or_exit(struct cluster_worker *self, const void *data, size_t size)
{
	if (cluster_worker_send(self, data, size, NULL, NULL, NULL) < 0)
		exit(EXIT_FAILURE);
}

static void send_back(struct cluster_worker *self, const struct cluster_message *message, void *ctx)
{
	send_or_exit(self, message->data, message->size);
}

static struct cluster_worker *open_with(struct ev_loop *loop, const struct cluster_worker_ops *ops,
					void *ctx)
{
	struct cluster_worker *self = NULL;

	if (cluster_worker_open(loop, ops, ctx, &self) < 0)
		exit(EXIT_FAILURE);
	return self;
}

static void echo(struct ev_loop *loop)
{
	static const struct cluster_worker_ops ops = {.on_message = send_back};

	open_with(loop, &ops, NULL);
	ev_run(loop, 0);
}

static void count_them(struct cluster_worker *self, const struct cluster_message *message,
		       void *ctx)
{
	int *count = ctx;
	int number;

	memcpy(&number, message->data, sizeof(number));
	if (number == *count)
		++*count;
}

/* Ends with the number of those that came in order. */
static void count(struct ev_loop *loop)
{
	static const struct cluster_worker_ops ops = {.on_message = count_them};
	int n = 0;

	open_with(loop, &ops, &n);
	ev_run(loop, 0);
	exit(n);
}

static void want_messages(struct ev_loop *loop, ev_timer *timer, int events)
{
	static const struct cluster_worker_ops ops = {.on_message = send_back};

	cluster_worker_set_ops(timer->data, &ops, NULL);
	ev_timer_stop(loop, timer);
}

static void echo_later(struct ev_loop *loop)
{
	ev_timer timer;

	ev_timer_init(&timer, want_messages, 0.2, 0);
	timer.data = open_with(loop, NULL, NULL);
	ev_timer_start(loop, &timer);
	ev_run(loop, 0);
}

static void listen_to_nobody(struct ev_loop *loop)
{
	open_with(loop, NULL, NULL);
	ev_run(loop, 0);
	exit(8);
}

/* Says all it has and goes. */
static void talk_and_leave(struct ev_loop *loop)
{
	struct cluster_worker *self = open_with(loop, NULL, NULL);
	static char big[300000];

	for (int i = 0; i < 10; i++)
		send_or_exit(self, big, sizeof(big));
	cluster_worker_disconnect(self);
	ev_run(loop, 0);
	exit(9);
}

static const struct net_socket_ops silent_ops;

static void greet_client(struct net_socket *socket, void *ctx)
{
	net_socket_set_ops(socket, &silent_ops, NULL);
	net_socket_write(socket, "worker\n", 7, NULL, NULL);
	net_socket_resume(socket);
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	greet_client(socket, NULL);
}

static const struct net_server_ops server_ops = {.on_connection = on_connection};

static void take_handle(struct cluster_worker *self, const struct cluster_message *message,
			void *ctx)
{
	if (message->socket)
		greet_client(message->socket, NULL);
	if (message->server)
		net_server_set_ops(message->server, &server_ops, NULL);
	send_or_exit(self, message->socket || message->server ? "taken" : "none", 5);
}

static void serve_what_comes(struct ev_loop *loop)
{
	static const struct cluster_worker_ops ops = {.on_message = take_handle};

	open_with(loop, &ops, NULL);
	ev_run(loop, 0);
}

static void hang(struct ev_loop *loop)
{
	open_with(loop, NULL, NULL);
	for (;;)
		pause();
}

/* Its child has the channel as well, until the master closes it. */
static void leave_the_channel_behind(struct ev_loop *loop)
{
	char byte;

	open_with(loop, NULL, NULL);
	if (fork() == 0)
		while (wait_readable(CHANNEL, WAIT_MS) && recv(CHANNEL, &byte, 1, 0) > 0)
			;
	_exit(0);
}

static const struct cluster_role roles[] = {
	{"echo", echo},
	{"count", count},
	{"echo_later", echo_later},
	{"listen_to_nobody", listen_to_nobody},
	{"talk_and_leave", talk_and_leave},
	{"serve_what_comes", serve_what_comes},
	{"hang", hang},
	{"leave_the_channel_behind", leave_the_channel_behind},
};

/* --- text ------------------------------------------------------------------------------------ */

static void on_sent(struct cluster_worker *worker, int status, void *ctx)
{
	*(int *)ctx = status;
}

/* IP-1 */
static void a_message_goes_there_and_back(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	int status = 1;

	cluster_world_start(w, "echo", NULL);
	worker = cluster_world_fork(w);
	w->in_call = true;
	assert_int_equal(cluster_worker_send(worker, "hello", 5, NULL, on_sent, &status), 1);
	w->in_call = false;
	assert_int_equal(status, 1);
	cluster_run_until(w, "message 1 hello");
	assert_int_equal(status, 0);
}

static void a_big_message_arrives_whole(void **state)
{
	static char big[800000];
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	memset(big, 'x', sizeof(big));
	cluster_world_start(w, "echo", NULL);
	worker = cluster_world_fork(w);
	assert_int_equal(cluster_worker_send(worker, big, sizeof(big), NULL, NULL, NULL), 0);
	CLUSTER_RUN_UNTIL(w, w->message_bytes == sizeof(big));
	assert_int_equal(cluster_world_count(w, "message 1"), 1);
}

#define MANY 200

/* IP-11: the queue first, then the end. */
static void what_was_sent_before_a_disconnect_arrives_before_it(void **state)
{
	static char message[20000];
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "count", NULL);
	worker = cluster_world_fork(w);
	for (int i = 0; i < MANY; i++) {
		memcpy(message, &i, sizeof(i));
		assert_true(cluster_worker_send(worker, message, sizeof(message), NULL, NULL,
						NULL) >= 0);
	}
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	assert_int_equal(cluster_worker_send(worker, "x", 1, NULL, NULL, NULL),
			 NET_ERR_IPC_CHANNEL_CLOSED);
	ev_run(w->loop, 0);
	assert_int_equal(w->last_code, MANY);
	assert_true(cluster_world_told(w, "exit 1 200 0 voluntary"));
}

/* IP-11 */
static void what_a_worker_has_sent_arrives_before_its_disconnect(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "talk_and_leave", NULL);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_int_equal(cluster_world_count(w, "message 1"), 10);
	assert_int_equal(w->message_bytes, 3000000);
	assert_true(strstr(w->story, "disconnect 1") > strrchr(w->story, 'm'));
	assert_true(cluster_world_told(w, "exit 1 9 0 voluntary"));
}

/* IP-12 */
static void messages_wait_for_whoever_wants_them(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "echo_later", NULL);
	worker = cluster_world_fork(w);
	for (int i = 0; i < 3; i++)
		assert_int_equal(cluster_worker_send(worker, "early", 5, NULL, NULL, NULL), 1);
	CLUSTER_RUN_UNTIL(w, cluster_world_count(w, "message 1 early") == 3);
}

/* IP-14 */
static void a_worker_that_wants_no_messages_need_not_stay(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_start(w, "listen_to_nobody", NULL);
	cluster_world_fork(w);
	ev_run(w->loop, 0);
	assert_string_equal(w->story, "fork 1, online 1, disconnect 1, exit 1 8 0");
}

/* IP-10 */
static void a_send_to_a_worker_that_died_is_no_fatal_error(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	int status = 1;

	cluster_world_start(w, "hang", NULL);
	worker = cluster_world_fork(w);
	cluster_worker_hold(worker);
	cluster_run_until(w, "online 1");
	assert_int_equal(cluster_worker_kill(worker, SIGKILL), 0);
	kernel_await_end(cluster_worker_pid(worker));
	/* It is not known yet. */
	assert_true(cluster_worker_is_connected(worker));
	assert_true(cluster_worker_send(worker, "x", 1, NULL, on_sent, &status) >= 0);
	ev_run(w->loop, 0);
	assert_int_equal(status, NET_ERR_IPC_CHANNEL_CLOSED);
	assert_int_equal(cluster_worker_send(worker, "x", 1, NULL, on_sent, &status),
			 NET_ERR_IPC_CHANNEL_CLOSED);
	cluster_worker_release(worker);
}

/* IP-10 */
static void what_a_hanging_worker_never_took_is_told(void **state)
{
	static char big[1 << 20];
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	int status = 1;

	cluster_world_start(w, "hang", NULL);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "online 1");
	assert_int_equal(cluster_worker_send(worker, big, sizeof(big), NULL, on_sent, &status), 0);
	assert_int_equal(cluster_worker_kill(worker, SIGKILL), 0);
	ev_run(w->loop, 0);
	assert_int_equal(status, NET_ERR_IPC_CHANNEL_CLOSED);
}

/* In the last event of its worker. */
static void free_at_the_last(struct cluster_world *w, const char *event,
			     struct cluster_worker *worker)
{
	struct cluster *cluster = w->cluster;

	if (!cluster_world_told(w, "disconnect 1") || !cluster_world_told(w, "exit 1"))
		return;
	w->cluster = NULL;
	cluster_free(cluster);
}

static void expect_a_cluster(struct cluster_worker *worker, int status, void *ctx)
{
	const struct cluster_world *w = ctx;

	assert_non_null(w->cluster);
}

/* CB-3: what waits for its turn when the cluster is freed is told no more. Both last events come in
 * one turn of the loop. */
static void a_completion_does_not_come_after_the_cluster_is_freed(void **state)
{
	static const char *const ends[] = {"hang", "leave_the_channel_behind"};
	static char big[1 << 20];
	struct cluster_world *w = *state;

	w->react = free_at_the_last;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct cluster_worker *worker;

		w->story[0] = '\0';
		cluster_world_start(w, ends[i], NULL);
		worker = cluster_world_fork(w);
		assert_int_equal(
			cluster_worker_send(worker, big, sizeof(big), NULL, expect_a_cluster, w),
			0);
		if (i == 0)
			kernel_kill(cluster_worker_pid(worker));
		kernel_await_end(cluster_worker_pid(worker));
		cluster_run_until(w, i == 0 ? "exit 1" : "disconnect 1");
		assert_null(w->cluster);
		cluster_run_until_childless(w);
	}
}

/* --- handles --------------------------------------------------------------------------------- */

static void send_to_worker(struct net_server *server, struct net_socket *socket, void *ctx)
{
	const struct cluster_send_options options = {.socket = socket};
	struct cluster_worker *worker = ctx;

	assert_true(cluster_worker_send(worker, "c", 1, &options, NULL, NULL) >= 0);
}

static const struct net_server_ops sender_ops = {.on_connection = send_to_worker};

static struct net_server *listen_here(struct cluster_world *w, struct cluster_worker *worker,
				      int *ret_port)
{
	const struct net_server_options options = {.pause_on_connect = true};
	struct net_address address;
	struct net_server *server;

	assert_int_equal(net_create_server(w->loop, &options, &sender_ops, worker, &server), 0);
	assert_int_equal(net_server_listen_port(server, 0, NULL, 0, NULL, NULL), 0);
	assert_int_equal(net_server_address(server, &address), 0);
	*ret_port = address.port;
	return server;
}

static void on_count(struct net_server *server, int status, size_t connections, void *ctx)
{
	assert_int_equal(status, 0);
	*(int *)ctx = (int)connections;
}

/* IP-6, GC-2 */
static void a_socket_goes_to_a_worker_and_is_counted_there(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	struct net_server *server;
	int port, connections = -1;

	cluster_world_start(w, "serve_what_comes", NULL);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "online 1");
	server = listen_here(w, worker, &port);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	cluster_run_until(w, "message 1 taken");
	client_expect(client, "worker\n");
	assert_int_equal(net_server_connections(server), 0);
	net_server_get_connections(server, on_count, &connections);
	CLUSTER_RUN_UNTIL(w, connections >= 0);
	assert_int_equal(connections, 1);
	net_server_free(server);
}

/* IP-8 */
static void a_server_goes_to_a_worker_and_is_closed_here(void **state)
{
	struct cluster_send_options options = {0};
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	int port;

	cluster_world_start(w, "serve_what_comes", NULL);
	worker = cluster_world_fork(w);
	options.server = listen_here(w, worker, &port);
	assert_true(cluster_worker_send(worker, "s", 1, &options, NULL, NULL) >= 0);
	cluster_run_until(w, "message 1 taken");
	net_server_close(options.server, NULL, NULL);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	client_expect(client, "worker\n");
	net_server_free(options.server);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(test) \
	cmocka_unit_test_setup_teardown(test, cluster_world_setup, cluster_world_teardown)
		TEST(a_message_goes_there_and_back),
		TEST(a_big_message_arrives_whole),
		TEST(what_was_sent_before_a_disconnect_arrives_before_it),
		TEST(what_a_worker_has_sent_arrives_before_its_disconnect),
		TEST(messages_wait_for_whoever_wants_them),
		TEST(a_worker_that_wants_no_messages_need_not_stay),
		TEST(a_send_to_a_worker_that_died_is_no_fatal_error),
		TEST(what_a_hanging_worker_never_took_is_told),
		TEST(a_completion_does_not_come_after_the_cluster_is_freed),
		TEST(a_socket_goes_to_a_worker_and_is_counted_there),
		TEST(a_server_goes_to_a_worker_and_is_closed_here),
#undef TEST
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	watchdog(120);
	return cmocka_run_group_tests_name("cluster messages", tests, NULL, NULL);
}
