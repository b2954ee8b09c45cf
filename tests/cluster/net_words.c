/* A server that finds its port in use, closes, listens on another one and closes twice, and tells
 * its events, a word a line: net_words BUSY-PORT. What net_words.js does in Node.js. */
#include <ev.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/net/net.h"

#define HOST "127.0.0.1"

static void check(int r)
{
	if (r == 0)
		return;
	fprintf(stderr, "%s\n", net_error_message(r));
	exit(EXIT_FAILURE);
}

static void on_error(struct net_server *server, const struct net_error *error, void *ctx)
{
	puts("error");
	net_server_close(server, NULL, NULL);
	check(net_server_listen_port(server, 0, HOST, 0, NULL, NULL));
}

static void on_listening(struct net_server *server, void *ctx)
{
	puts("listening");
	net_server_close(server, NULL, NULL);
	net_server_close(server, NULL, NULL);
}

static void on_close(struct net_server *server, void *ctx)
{
	puts("close");
}

int main(int argc, char *argv[])
{
	static const struct net_server_ops ops = {
		.on_error = on_error, .on_listening = on_listening, .on_close = on_close};
	struct ev_loop *loop = ev_default_loop(0);
	struct net_server *server;

	if (argc != 2) {
		fprintf(stderr, "usage: net_words BUSY-PORT\n");
		return EXIT_FAILURE;
	}
	check(net_create_server(loop, NULL, &ops, NULL, &server));
	check(net_server_listen_port(server, atoi(argv[1]), HOST, 0, NULL, NULL));
	ev_run(loop, 0);
	net_server_free(server);
	return EXIT_SUCCESS;
}
