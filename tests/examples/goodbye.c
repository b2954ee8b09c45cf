/* A server on any free port that says goodbye. */
#include <stdio.h>
#include <stdlib.h>

#include <ev.h>
#include <usher/net.h>

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	int r = net_socket_end(socket, "goodbye\n", 8, NULL, NULL);

	if (r < 0)
		net_socket_destroy(socket, r);
	net_socket_resume(socket); /* drop what it sends: its end comes behind that */
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	fprintf(stderr, "%s\n", error->text);
	exit(EXIT_FAILURE);
}

static void on_listening(struct net_server *server, void *ctx)
{
	struct net_address where;

	if (net_server_address(server, &where) == 0)
		printf("opened server on { port: %u, family: 'IPv%d', address: '%s' }\n",
		       where.port, where.family, where.address);
}

static const struct net_server_ops ops = {
	.on_listening = on_listening, .on_connection = on_connection, .on_error = on_error};

int main(void)
{
	struct ev_loop *loop = ev_default_loop(0);
	struct net_server *server = NULL;
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	r = net_create_server(loop, NULL, &ops, NULL, &server);
	if (r == 0)
		r = net_server_listen(server, NULL, NULL, NULL);
	if (r < 0) {
		fprintf(stderr, "%s\n", net_error_message(r));
		net_server_free(server);
		return EXIT_FAILURE;
	}

	ev_run(loop, 0);
	net_server_free(server);
	return EXIT_SUCCESS;
}
