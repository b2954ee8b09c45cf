/* A client of the echo server on port 8124, or on the port or path that is given. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>
#include <usher/net.h>

static void on_connect(struct net_socket *client, void *ctx)
{
	int r;

	puts("connected to server!");
	r = net_socket_write(client, "world!\r\n", 8, NULL, NULL);
	if (r < 0)
		net_socket_destroy(client, r);
}

static void on_data(struct net_socket *client, const void *data, size_t size, void *ctx)
{
	fwrite(data, 1, size, stdout);
	net_socket_end(client, NULL, 0, NULL, NULL);
}

static void on_end(struct net_socket *client, void *ctx)
{
	puts("disconnected from server");
}

static void on_error(struct net_socket *client, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "%s\n", error->text);
}

/* The socket is gone after this. */
static void on_close(struct net_socket *client, bool had_error, void *ctx)
{
	int *status = ctx;

	*status = had_error ? EXIT_FAILURE : EXIT_SUCCESS;
}

static const struct net_socket_ops client_ops = {.on_connect = on_connect,
						 .on_data = on_data,
						 .on_end = on_end,
						 .on_error = on_error,
						 .on_close = on_close};

int main(int argc, char *argv[])
{
	const char *where = argc > 1 ? argv[1] : "8124";
	struct net_connect_options options = {.has_port = true, .port = atoi(where)};
	struct ev_loop *loop = ev_default_loop(0);
	struct net_socket *client;
	int status, r;

	if (strchr(where, '/'))
		options.path = where; /* the port is ignored then */
	r = net_create_connection(loop, &options, NULL, &client_ops, &status, &client);
	if (r < 0) {
		fprintf(stderr, "%s\n", net_error_message(r));
		return EXIT_FAILURE;
	}

	ev_run(loop, 0);
	return status;
}
