/* A master that accepts, and passes each connection on to the next of its workers, which echo: what
 * node_parent.js is, by the public headers of the library.
 *
 *   cluster_parent WORKERS
 *
 * Lines on standard input, each answered by one line on standard output; it ends with the input:
 *
 *     listen NAME      "listening NAME PORT", on a free port of 127.0.0.1
 *     workers          "workers PID..."
 *     count NAME       "count NAME N", or "error TEXT" */
#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <usher/cluster.h>
#include <usher/net.h>

#define HOST        "127.0.0.1"
#define SERVERS_MAX 4

struct served {
	char name[32];
	struct net_server *server;
};

static struct {
	struct ev_loop *loop;
	struct cluster *cluster;
	struct cluster_worker *last; /* who had the turn */
	struct served servers[SERVERS_MAX];
	char input[4096];
	size_t size;
} parent;

static void check(const char *what, int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "cluster_parent: %s: %s\n", what, net_error_message(r));
	exit(EXIT_FAILURE);
}

/* --- a worker -------------------------------------------------------------------------------- */

static void on_socket_error(struct net_socket *socket, const struct net_error *error, void *ctx)
{
}

static const struct net_socket_ops socket_ops = {.on_error = on_socket_error};

static void on_message(struct cluster_worker *worker, const struct cluster_message *message,
		       void *ctx)
{
	if (!message->socket)
		return;
	net_socket_set_ops(message->socket, &socket_ops, NULL);
	int r = net_socket_pipe(message->socket, message->socket);

	if (r < 0)
		net_socket_destroy(message->socket, r);
}

static int work(void)
{
	static const struct cluster_worker_ops ops = {.on_message = on_message};
	struct cluster_worker *self;

	check("open", cluster_worker_open(parent.loop, &ops, NULL, &self));
	ev_run(parent.loop, 0);
	return EXIT_SUCCESS;
}

/* --- the master ------------------------------------------------------------------------------ */

static struct cluster_worker *next_worker(void)
{
	parent.last = cluster_next_worker(parent.cluster, parent.last);
	if (!parent.last)
		parent.last = cluster_next_worker(parent.cluster, NULL);
	return parent.last;
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	const struct cluster_send_options options = {.socket = socket};
	struct cluster_worker *worker = next_worker();
	int r = worker ? cluster_worker_send(worker, "take", 4, &options, NULL, NULL) : -ESRCH;

	if (r < 0)
		net_socket_destroy(socket, r);
}

static void on_listening(struct net_server *server, void *ctx)
{
	const struct served *served = ctx;
	struct net_address address;

	check("address", net_server_address(server, &address));
	printf("listening %s %d\n", served->name, address.port);
}

static struct served *find(const char *name)
{
	for (size_t i = 0; i < SERVERS_MAX; i++)
		if (strcmp(parent.servers[i].name, name) == 0)
			return &parent.servers[i];
	fprintf(stderr, "cluster_parent: no server %s\n", name);
	exit(EXIT_FAILURE);
}

static void serve(const char *name)
{
	static const struct net_server_options options = {.pause_on_connect = true};
	static const struct net_server_ops ops = {.on_connection = on_connection,
						  .on_listening = on_listening};
	struct served *served = find("");

	snprintf(served->name, sizeof(served->name), "%s", name);
	check("create", net_create_server(parent.loop, &options, &ops, served, &served->server));
	check("listen", net_server_listen_port(served->server, 0, HOST, 0, NULL, NULL));
}

static void on_counted(struct net_server *server, int status, size_t count, void *ctx)
{
	const struct served *served = ctx;

	if (status < 0)
		printf("error %s\n", net_error_message(status));
	else
		printf("count %s %zu\n", served->name, count);
}

static void tell_workers(void)
{
	struct cluster_worker *worker = NULL;

	printf("workers");
	while ((worker = cluster_next_worker(parent.cluster, worker)))
		printf(" %d", (int)cluster_worker_pid(worker));
	printf("\n");
}

static void obey(char *line)
{
	char *rest = NULL;
	const char *verb = strtok_r(line, " ", &rest);
	const char *name = strtok_r(NULL, " ", &rest);

	if (verb && strcmp(verb, "workers") == 0) {
		tell_workers();
	} else if (verb && name && strcmp(verb, "listen") == 0) {
		serve(name);
	} else if (verb && name && strcmp(verb, "count") == 0) {
		struct served *served = find(name);

		check("count", net_server_get_connections(served->server, on_counted, served));
	} else {
		fprintf(stderr, "cluster_parent: no such line\n");
		exit(EXIT_FAILURE);
	}
}

static void on_input(struct ev_loop *loop, ev_io *watcher, int events)
{
	ssize_t n = read(STDIN_FILENO, parent.input + parent.size,
			 sizeof(parent.input) - 1 - parent.size);
	char *line = parent.input, *end;

	if (n <= 0) {
		ev_break(loop, EVBREAK_ALL);
		return;
	}
	parent.size += (size_t)n;
	parent.input[parent.size] = '\0';
	while ((end = strchr(line, '\n'))) {
		*end = '\0';
		obey(line);
		line = end + 1;
	}
	parent.size -= (size_t)(line - parent.input);
	memmove(parent.input, line, parent.size);
}

static void forget(struct cluster_worker *worker)
{
	if (parent.last == worker)
		parent.last = NULL;
}

static void on_worker_disconnect(struct cluster *cluster, struct cluster_worker *worker, void *ctx)
{
	forget(worker);
}

static void on_worker_exit(struct cluster *cluster, struct cluster_worker *worker, int code,
			   int signal, void *ctx)
{
	forget(worker);
}

static int supervise(long workers)
{
	static const struct cluster_ops ops = {.on_disconnect = on_worker_disconnect,
					       .on_exit = on_worker_exit};
	struct cluster_worker *worker;
	ev_io input;

	setvbuf(stdout, NULL, _IOLBF, 0);
	check("set up", cluster_setup_master(parent.loop, NULL, &ops, NULL, &parent.cluster));
	for (long i = 0; i < workers; i++)
		check("fork", cluster_fork(parent.cluster, NULL, &worker));
	ev_io_init(&input, on_input, STDIN_FILENO, EV_READ);
	ev_io_start(parent.loop, &input);
	ev_run(parent.loop, 0);

	for (size_t i = 0; i < SERVERS_MAX; i++)
		net_server_free(parent.servers[i].server);
	cluster_free(parent.cluster);
	return EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	parent.loop = ev_default_loop(0);
	if (cluster_is_worker())
		return work();
	if (argc != 2) {
		fprintf(stderr, "usage: cluster_parent WORKERS\n");
		return EXIT_FAILURE;
	}
	return supervise(strtol(argv[1], NULL, 10));
}
