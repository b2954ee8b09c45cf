/* Servers that listen in workers of a master of <usher/cluster.h>, on sockets that it shares. */
#include "tests/helpers/cluster_world.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/macros.h"
#include "tests/helpers/clients.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define PATH_SIZE 64

/* --- what workers do ------------------------------------------------------------------------- */

static struct cluster_worker *self;
static struct net_server *servers[16];
static size_t n_servers;

static void on_listen_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	cluster_worker_send(self, error->text, strlen(error->text), NULL, NULL, NULL);
}

static const struct net_server_ops server_ops = {.on_connection = cluster_greet,
						 .on_error = on_listen_error};

static struct net_server *listen_on(struct ev_loop *loop, const struct net_listen_options *options)
{
	struct net_server *server = NULL;
	int r = net_create_server(loop, NULL, &server_ops, self, &server);

	if (r == 0)
		r = net_server_listen(server, options, NULL, NULL);
	if (r < 0)
		exit(EXIT_FAILURE);
	servers[n_servers++] = server;
	return server;
}

static void run_and_free(struct ev_loop *loop)
{
	ev_run(loop, 0);
	while (n_servers > 0)
		net_server_free(servers[--n_servers]);
}

/* "leave"; all else is to have one more server. */
static void on_word(struct cluster_worker *worker, const struct cluster_message *message, void *ctx)
{
	struct ev_loop *loop = ctx;
	const struct net_listen_options any = {.has_port = true, .host = "127.0.0.1"};

	if (message->size == 5 && memcmp(message->data, "leave", 5) == 0)
		cluster_worker_disconnect(worker);
	else
		listen_on(loop, &any);
}

static const struct cluster_worker_ops worker_ops = {.on_message = on_word};

static void open_self(struct ev_loop *loop, const struct cluster_worker_ops *ops)
{
	if (cluster_worker_open(loop, ops, loop, &self) < 0)
		exit(EXIT_FAILURE);
}

/* On the port, and the host if there is one, of the environment. */
static void serve_port(struct ev_loop *loop)
{
	const char *port = getenv("PORT");
	const struct net_listen_options options = {
		.has_port = true, .port = port ? atoi(port) : 0, .host = getenv("HOST")};

	open_self(loop, &worker_ops);
	listen_on(loop, &options);
	run_and_free(loop);
}

static void serve_path(struct ev_loop *loop)
{
	const struct net_listen_options options = {.path = getenv("SOCKET")};

	open_self(loop, &worker_ops);
	listen_on(loop, &options);
	run_and_free(loop);
}

/* wrap: listen */
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);

static bool cannot_listen;

int __wrap_listen(int fd, int backlog)
{
	if (!cannot_listen)
		return __real_listen(fd, backlog);
	errno = ENOBUFS;
	return -1;
}

static void serve_path_in_vain(struct ev_loop *loop)
{
	cannot_listen = true;
	serve_path(loop);
}

/* No message is wanted: the server alone keeps it alive. */
static void serve_alone(struct ev_loop *loop)
{
	const struct net_listen_options options = {.has_port = true, .host = "127.0.0.1"};

	open_self(loop, NULL);
	listen_on(loop, &options);
	run_and_free(loop);
}

static void on_refused(struct net_server *server, int status, void *ctx)
{
	exit(status == -EPIPE || status == -ESHUTDOWN ? 11 : 12);
}

/* WK-6: it has been told to go, and asks all the same. */
static void on_late(struct ev_loop *loop, ev_timer *timer, int events)
{
	const struct net_listen_options options = {.has_port = true};
	struct net_server *server = timer->data;
	int r;

	if (!cluster_worker_exited_after_disconnect(self))
		return;
	r = net_server_listen(server, &options, on_refused, NULL);
	if (r < 0)
		on_refused(server, r, NULL);
	ev_timer_stop(loop, timer);
}

static void listen_when_disconnecting(struct ev_loop *loop)
{
	struct net_server *server;
	ev_timer timer;

	open_self(loop, &worker_ops);
	cluster_worker_hold(self);
	if (net_create_server(loop, NULL, &server_ops, self, &server) < 0)
		exit(EXIT_FAILURE);
	ev_timer_init(&timer, on_late, 0.01, 0.01);
	timer.data = server;
	ev_timer_start(loop, &timer);
	ev_run(loop, 0);
	exit(13);
}

static const struct cluster_role roles[] = {
	{"serve_port", serve_port},
	{"serve_path", serve_path},
	{"serve_path_in_vain", serve_path_in_vain},
	{"serve_alone", serve_alone},
	{"listen_when_disconnecting", listen_when_disconnecting},
};

/* --- listening ------------------------------------------------------------------------------- */

static int connect_and_hear(int port, unsigned *ret_worker)
{
	int client = connect_tcp("127.0.0.1", port);
	char text[32] = "";

	assert_true(wait_readable(client, WAIT_MS));
	assert_true(recv(client, text, sizeof(text) - 1, 0) > 0);
	assert_int_equal(sscanf(text, "worker %u\n", ret_worker), 1);
	return client;
}

/* WK-3 */
static void the_master_is_told_where_a_worker_listens(void **state)
{
	static const char *const env[] = {"HOST=127.0.0.1", NULL};
	const struct cluster_settings settings = {.env = env};
	struct cluster_world *w = *state;
	unsigned worker;

	cluster_world_serve(w, "serve_port", &settings);
	assert_string_equal(w->story, "fork 1, online 1, listening 1");
	assert_string_equal(w->address, "127.0.0.1");
	assert_int_equal(w->listening.address_type, 4);
	assert_true(w->listening.port > 0);
	assert_int_equal(kernel_tcp_listeners(w->listening.port), 1);
	close(connect_and_hear(w->listening.port, &worker));
	assert_int_equal(worker, 1);
}

/* WK-3 */
static void an_omitted_host_is_told_as_none(void **state)
{
	struct cluster_world *w = *state;

	cluster_world_serve(w, "serve_port", NULL);
	assert_string_equal(w->address, "(none)");
	assert_true(w->listening.address_type == 6 || w->listening.address_type == 4);
}

/* Workers are told of a path in a folder that is made from a template. */
static void start_with_path(struct cluster_world *w, const char *program, char *folder,
			    char path[PATH_SIZE])
{
	char variable[PATH_SIZE + 16];
	const char *const env[] = {variable, NULL};
	const struct cluster_settings settings = {.env = env};

	assert_non_null(mkdtemp(folder));
	snprintf(path, PATH_SIZE, "%s/socket", folder);
	snprintf(variable, sizeof(variable), "SOCKET=%s", path);
	cluster_world_start(w, program, &settings);
}

/* WK-3, LS-6 */
static void a_path_is_told_with_its_type_and_removed_with_the_last_worker(void **state)
{
	struct cluster_world *w = *state;
	char folder[] = "/tmp/usher-cluster-XXXXXX", path[PATH_SIZE];
	struct stat status;

	start_with_path(w, "serve_path", folder, path);
	cluster_world_fork(w);
	cluster_world_fork(w);
	CLUSTER_RUN_UNTIL(w, cluster_world_count(w, "listening 1") &&
				     cluster_world_count(w, "listening 2"));
	assert_string_equal(w->address, path);
	assert_int_equal(w->listening.address_type, -1);
	assert_int_equal(w->listening.port, 0);
	assert_int_equal(stat(path, &status), 0);
	cluster_disconnect(w->cluster, NULL, NULL);
	ev_run(w->loop, 0);
	assert_int_equal(stat(path, &status), -1);
	assert_int_equal(rmdir(folder), 0);
}

/* LS-6: nobody's server has it, though the worker lives on. */
static void a_socket_that_a_worker_cannot_use_is_given_back(void **state)
{
	struct cluster_world *w = *state;
	char folder[] = "/tmp/usher-cluster-XXXXXX", path[PATH_SIZE];
	struct stat status;

	start_with_path(w, "serve_path_in_vain", folder, path);
	cluster_world_fork(w);
	/* It has given it back before it is told why. */
	CLUSTER_RUN_UNTIL(w, strstr(w->story, "message 1"));
	assert_int_equal(stat(path, &status), -1);
	assert_false(cluster_world_told(w, "exit 1"));
	assert_int_equal(rmdir(folder), 0);
}

/* WK-3: once for each listening server; LS-2 */
static void each_server_is_told_once(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	int first;

	worker = cluster_world_serve(w, "serve_port", NULL);
	first = w->listening.port;
	cluster_worker_send(worker, "again", 5, NULL, NULL, NULL);
	CLUSTER_RUN_UNTIL(w, cluster_world_count(w, "listening 1") == 2);
	assert_int_not_equal(w->listening.port, first);
}

/* LS-2, LS-8 */
static void workers_share_the_first_port_0(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *first;
	unsigned worker;
	int port;

	first = cluster_world_serve(w, "serve_port", NULL);
	port = w->listening.port;
	cluster_world_fork(w);
	cluster_run_until(w, "listening 2");
	assert_int_equal(w->listening.port, port);

	/* What one dies with, the other serves. */
	cluster_worker_kill(first, SIGKILL);
	cluster_run_until(w, "exit 1");
	close(connect_and_hear(port, &worker));
	assert_int_equal(worker, 2);
}

/* WK-5: its connections are awaited, and nobody new comes in. */
static void a_disconnected_worker_serves_who_is_there_and_nobody_else(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	unsigned number;
	int port;

	worker = cluster_world_serve(w, "serve_port", NULL);
	port = w->listening.port;
	AUTO_CLOSE int client = connect_and_hear(port, &number);
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	cluster_run_until_refused(w, port);
	assert_false(cluster_world_told(w, "disconnect 1"));

	client_expect_echo(client);
	client_leave(client);
	cluster_run_until(w, "exit 1");
	assert_string_equal(w->story, "fork 1, online 1, listening 1, disconnect 1, "
				      "exit 1 0 0 voluntary");
}

/* WK-4, WK-5 */
static void a_worker_that_leaves_awaits_its_connections(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	unsigned number;
	int port;

	worker = cluster_world_serve(w, "serve_port", NULL);
	port = w->listening.port;
	AUTO_CLOSE int client = connect_and_hear(port, &number);
	cluster_worker_send(worker, "leave", 5, NULL, NULL, NULL);
	cluster_run_until_refused(w, port);
	client_expect_echo(client);
	client_leave(client);
	cluster_run_until(w, "exit 1 0 0 voluntary");
}

/* WK-5: whose connections never end. */
static void connections_that_do_not_end_are_cut_at_the_deadline(void **state)
{
	const struct cluster_settings settings = {.disconnect_timeout_ms = 200};
	struct cluster_world *w = *state;
	struct cluster_worker *worker;
	unsigned number;

	worker = cluster_world_serve(w, "serve_port", &settings);
	AUTO_CLOSE int client = connect_and_hear(w->listening.port, &number);
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	cluster_run_until(w, "exit 1 -1 15 voluntary");
	client_expect_end(client);
}

/* WK-6 */
static void a_listen_of_a_disconnecting_worker_is_answered(void **state)
{
	struct cluster_world *w = *state;
	struct cluster_worker *worker;

	cluster_world_start(w, "listen_when_disconnecting", NULL);
	worker = cluster_world_fork(w);
	cluster_run_until(w, "online 1");
	assert_int_equal(cluster_worker_disconnect(worker), 0);
	ev_run(w->loop, 0);
	assert_int_equal(w->last_code, 11);
}

/* ER-2: the error names the address. */
static void a_port_that_is_taken_is_an_error_in_the_worker(void **state)
{
	char variable[32];
	const char *const env[] = {variable, "HOST=127.0.0.1", NULL};
	const struct cluster_settings settings = {.env = env};
	struct cluster_world *w = *state;
	struct net_server *server;
	struct net_address address;

	assert_int_equal(net_create_server(w->loop, NULL, NULL, NULL, &server), 0);
	assert_int_equal(net_server_listen_port(server, 0, "127.0.0.1", 0, NULL, NULL), 0);
	ev_run(w->loop, EVRUN_NOWAIT);
	assert_int_equal(net_server_address(server, &address), 0);
	snprintf(variable, sizeof(variable), "PORT=%u", address.port);
	cluster_world_start(w, "serve_port", &settings);
	cluster_world_fork(w);
	CLUSTER_RUN_UNTIL(w, strstr(w->story, "message 1"));
	assert_int_equal(w->message_bytes,
			 strlen("bind EADDRINUSE 127.0.0.1:") + strlen(variable) - strlen("PORT="));
	net_server_free(server);
}

/* IP-14: and so long as it asks for it, too. */
static void a_server_alone_keeps_a_worker_alive(void **state)
{
	struct cluster_world *w = *state;
	unsigned number;

	cluster_world_start(w, "serve_alone", NULL);
	cluster_world_fork(w);
	/* It has asked long before it is answered. */
	stay_busy(300);
	cluster_run_until(w, "listening 1");
	close(connect_and_hear(w->listening.port, &number));
	assert_int_equal(number, 1);
}

static void free_at_listening(struct cluster_world *w, const char *event,
			      struct cluster_worker *worker)
{
	struct cluster *cluster = w->cluster;

	if (strncmp(event, "listening", 9) != 0)
		return;
	w->cluster = NULL;
	cluster_free(cluster);
}

/* CB-3 */
static void a_cluster_may_be_freed_when_a_worker_listens(void **state)
{
	struct cluster_world *w = *state;

	w->react = free_at_listening;
	cluster_world_serve(w, "serve_port", NULL);
	cluster_run_until_childless(w);
	assert_true(tcp_is_refused(w->listening.port));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(test) \
	cmocka_unit_test_setup_teardown(test, cluster_world_setup, cluster_world_teardown)
		TEST(the_master_is_told_where_a_worker_listens),
		TEST(an_omitted_host_is_told_as_none),
		TEST(a_path_is_told_with_its_type_and_removed_with_the_last_worker),
		TEST(a_socket_that_a_worker_cannot_use_is_given_back),
		TEST(each_server_is_told_once),
		TEST(workers_share_the_first_port_0),
		TEST(a_disconnected_worker_serves_who_is_there_and_nobody_else),
		TEST(a_worker_that_leaves_awaits_its_connections),
		TEST(connections_that_do_not_end_are_cut_at_the_deadline),
		TEST(a_listen_of_a_disconnecting_worker_is_answered),
		TEST(a_port_that_is_taken_is_an_error_in_the_worker),
		TEST(a_server_alone_keeps_a_worker_alive),
		TEST(a_cluster_may_be_freed_when_a_worker_listens),
#undef TEST
	};

	if (cluster_is_worker())
		cluster_play(argc, argv, roles, ARRAY_LEN(roles));
	watchdog(120);
	return cmocka_run_group_tests_name("cluster listen", tests, NULL, NULL);
}
