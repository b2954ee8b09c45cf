/* An echo server on port 8124, or on the port or path that is given: echo_server /tmp/echo.sock */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>
#include <usher/net.h>

static void on_end(struct net_socket *c, void *ctx)
{
	puts("client disconnected");
}

static void on_client_error(struct net_socket *c, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "client: %s\n", error->text);
}

static const struct net_socket_ops client_ops = {.on_end = on_end, .on_error = on_client_error};

static void on_connection(struct net_server *server, struct net_socket *c, void *ctx)
{
	int r;

	puts("client connected");
	net_socket_set_ops(c, &client_ops, NULL);
	r = net_socket_write(c, "hello\r\n", 7, NULL, NULL);
	if (r >= 0)
		r = net_socket_pipe(c, c);
	if (r < 0)
		net_socket_destroy(c, r);
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "server: %s\n", error->text);
	exit(EXIT_FAILURE);
}

static const struct net_server_ops server_ops = {.on_connection = on_connection,
						 .on_error = on_error};

static void on_bound(struct net_server *server, int status, void *ctx)
{
	if (status == 0)
		puts("server bound");
}

/* The first signal stops accepting and removes the path; the loop ends with the last client. */
static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
	net_server_close(watcher->data, NULL, NULL);
	ev_ref(loop);
	ev_signal_stop(loop, watcher);
}

static int listen_on(struct net_server *server, const char *where)
{
	if (strchr(where, '/'))
		return net_server_listen_path(server, where, 0, on_bound, NULL);
	return net_server_listen_port(server, atoi(where), NULL, 0, on_bound, NULL);
}

int main(int argc, char *argv[])
{
	struct ev_loop *loop = ev_default_loop(0);
	struct net_server *server = NULL;
	ev_signal terminate;
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	r = net_create_server(loop, NULL, &server_ops, NULL, &server);
	if (r == 0)
		r = listen_on(server, argc > 1 ? argv[1] : "8124");
	if (r < 0) {
		fprintf(stderr, "%s\n", net_error_message(r));
		net_server_free(server);
		return EXIT_FAILURE;
	}

	ev_signal_init(&terminate, on_signal, SIGTERM);
	terminate.data = server;
	ev_signal_start(loop, &terminate);
	ev_unref(loop);

	ev_run(loop, 0);
	net_server_free(server);
	return EXIT_SUCCESS;
}
