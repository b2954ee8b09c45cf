/* A server that tells each new client how many there are, and takes no more than three. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>
#include <usher/net.h>

/* The socket is held, as it may be closed by now; a write to it is refused then. */
static void on_count(struct net_server *server, int status, size_t count, void *ctx)
{
	struct net_socket *socket = ctx;
	char text[32];
	int r = status;

	snprintf(text, sizeof(text), "%zu connections\n", count);
	if (r == 0)
		r = net_socket_write(socket, text, strlen(text), NULL, NULL);
	if (r < 0)
		net_socket_destroy(socket, r);
	net_socket_release(socket);
}

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	int r = net_server_get_connections(server, on_count, socket);

	if (r < 0) {
		net_socket_destroy(socket, r);
		return;
	}
	net_socket_hold(socket); /* until on_count */
	net_socket_resume(socket);
}

static void on_drop(struct net_server *server, const struct net_drop *drop, void *ctx)
{
	printf("no room for %s port %u\n", drop->remote.address, drop->remote.port);
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "%s\n", error->text);
	exit(EXIT_FAILURE);
}

static const struct net_server_ops ops = {
	.on_connection = on_connection, .on_drop = on_drop, .on_error = on_error};

int main(int argc, char *argv[])
{
	struct ev_loop *loop = ev_default_loop(0);
	struct net_server *server = NULL;
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	r = net_create_server(loop, NULL, &ops, NULL, &server);
	if (r == 0) {
		net_server_set_max_connections(server, 3);
		r = net_server_listen_port(server, argc > 1 ? atoi(argv[1]) : 8124, "127.0.0.1", 0,
					   NULL, NULL);
	}
	if (r < 0) {
		fprintf(stderr, "%s\n", net_error_message(r));
		net_server_free(server);
		return EXIT_FAILURE;
	}

	ev_run(loop, 0);
	net_server_free(server);
	return EXIT_SUCCESS;
}
