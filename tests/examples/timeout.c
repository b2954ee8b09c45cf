/* A server that hangs up on who says nothing for three seconds: timeout [PORT [MILLISECONDS]] */
#include <stdio.h>
#include <stdlib.h>

#include <ev.h>
#include <usher/net.h>

/* Only news: the connection stays until it is ended. */
static void on_timeout(struct net_socket *socket, void *ctx)
{
	puts("socket timeout");
	net_socket_end(socket, NULL, 0, NULL, NULL);
}

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	printf("%zu bytes\n", size);
}

static const struct net_socket_ops socket_ops = {.on_timeout = on_timeout, .on_data = on_data};

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	const int *ms = ctx;
	int r;

	net_socket_set_ops(socket, &socket_ops, NULL);
	r = net_socket_set_timeout(socket, *ms, NULL, NULL);
	if (r < 0)
		net_socket_destroy(socket, r);
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "%s\n", error->text);
	exit(EXIT_FAILURE);
}

static const struct net_server_ops ops = {.on_connection = on_connection, .on_error = on_error};

int main(int argc, char *argv[])
{
	int ms = argc > 2 ? atoi(argv[2]) : 3000;
	struct ev_loop *loop = ev_default_loop(0);
	struct net_server *server = NULL;
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	r = net_create_server(loop, NULL, &ops, &ms, &server);
	if (r == 0)
		r = net_server_listen_port(server, argc > 1 ? atoi(argv[1]) : 8124, "127.0.0.1", 0,
					   NULL, NULL);
	if (r < 0) {
		fprintf(stderr, "%s\n", net_error_message(r));
		net_server_free(server);
		return EXIT_FAILURE;
	}

	ev_run(loop, 0);
	net_server_free(server);
	return EXIT_SUCCESS;
}
