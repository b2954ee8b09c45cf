/* A server whose port no other worker shares: listen_exclusive [PORT] */
#include <stdio.h>
#include <stdlib.h>

#include <ev.h>
#include <usher/net.h>

static void on_connection(struct net_server *server, struct net_socket *socket, void *ctx)
{
	int r = net_socket_end(socket, "mine\n", 5, NULL, NULL);

	if (r < 0)
		net_socket_destroy(socket, r);
	net_socket_resume(socket);
}

/* done of the listen: one function for both outcomes, where on_listening and on_error are two. */
static void on_listened(struct net_server *server, int status, void *ctx)
{
	int *ret = ctx;

	if (status == 0)
		puts("server bound");
	else
		fprintf(stderr, "%s: %s\n", net_error_name(status), net_error_message(status));
	*ret = status;
}

static const struct net_server_ops ops = {.on_connection = on_connection};

int main(int argc, char *argv[])
{
	const struct net_listen_options options = {.host = "localhost",
						   .has_port = true,
						   .port = argc > 1 ? atoi(argv[1]) : 80,
						   .exclusive = true};
	struct ev_loop *loop = ev_default_loop(0);
	struct net_server *server = NULL;
	int status = 0, r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	r = net_create_server(loop, NULL, &ops, NULL, &server);
	if (r == 0)
		r = net_server_listen(server, &options, on_listened, &status);
	if (r < 0) {
		fprintf(stderr, "%s\n", net_error_message(r));
		net_server_free(server);
		return EXIT_FAILURE;
	}

	ev_run(loop, 0); /* returns at once when there is nothing to listen on */
	net_server_free(server);
	return status < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
