/* An echo server in several processes: cluster_echo [WORKERS [PORT]]. The master starts the
 * workers, another one for each that dies, and ends when all have ended after SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <ev.h>
#include <usher/cluster.h>

static int fail(int r)
{
	fprintf(stderr, "%s\n", net_error_message(r));
	return EXIT_FAILURE;
}

/* --- a worker -------------------------------------------------------------------------------- */

static const struct net_socket_ops client_ops;

static void on_connection(struct net_server *server, struct net_socket *c, void *ctx)
{
	int r;

	net_socket_set_ops(c, &client_ops, NULL);
	r = net_socket_pipe(c, c);
	if (r < 0)
		net_socket_destroy(c, r);
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "%s\n", error->text);
	exit(EXIT_FAILURE);
}

static const struct net_server_ops server_ops = {.on_connection = on_connection,
						 .on_error = on_error};

static int be_a_worker(struct ev_loop *loop, int port)
{
	struct cluster_worker *self;
	struct net_server *server = NULL;
	int r = cluster_worker_open(loop, NULL, NULL, &self);

	if (r == 0)
		r = net_create_server(loop, NULL, &server_ops, NULL, &server);
	if (r == 0)
		r = net_server_listen_port(server, port, "127.0.0.1", 0, NULL, NULL);
	if (r < 0)
		return fail(r);

	/* It ends when the master has said so and the last client has gone. */
	ev_run(loop, 0);
	net_server_free(server);
	return EXIT_SUCCESS;
}

/* --- the master ------------------------------------------------------------------------------ */

static void on_listening(struct cluster *cluster, struct cluster_worker *worker,
			 const struct cluster_listening *listening, void *ctx)
{
	printf("worker %u listens on port %d\n", cluster_worker_id(worker), listening->port);
}

static void on_exit_status(struct cluster *cluster, struct cluster_worker *worker, int code,
			   int signal, void *ctx)
{
	printf("worker %u ended: code %d, signal %d\n", cluster_worker_id(worker), code, signal);
	if (!cluster_worker_exited_after_disconnect(worker))
		cluster_fork(cluster, NULL, NULL);
}

static const struct cluster_ops cluster_ops = {.on_listening = on_listening,
					       .on_exit = on_exit_status};

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
	cluster_disconnect(watcher->data, NULL, NULL);
	ev_ref(loop);
	ev_signal_stop(loop, watcher);
}

static int be_the_master(struct ev_loop *loop, int workers, const char *port)
{
	const char *const args[] = {port, NULL};
	const struct cluster_settings settings = {.args = args, .disconnect_timeout_ms = 10000};
	struct cluster *cluster = NULL;
	ev_signal terminate;
	int r = cluster_setup_master(loop, &settings, &cluster_ops, NULL, &cluster);

	for (int i = 0; r == 0 && i < workers; i++)
		r = cluster_fork(cluster, NULL, NULL);
	if (r < 0) {
		cluster_free(cluster);
		return fail(r);
	}

	ev_signal_init(&terminate, on_signal, SIGTERM);
	terminate.data = cluster;
	ev_signal_start(loop, &terminate);
	ev_unref(loop);

	ev_run(loop, 0);
	cluster_free(cluster);
	return EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	struct ev_loop *loop = ev_default_loop(0);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (cluster_is_worker())
		return be_a_worker(loop, argc > 1 ? atoi(argv[1]) : 0);
	return be_the_master(loop, argc > 1 ? atoi(argv[1]) : 2, argc > 2 ? argv[2] : "8124");
}
