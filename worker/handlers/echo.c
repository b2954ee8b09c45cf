/* Sends back what comes, as RFC 862 says; a client that does not read is not read either. */
#include <errno.h>

#include "worker/handlers/handler.h"

static void on_data(struct net_socket *socket, const void *data, size_t size, void *ctx)
{
	int r = net_socket_write(socket, data, size, NULL, NULL);

	if (r == 0)
		net_socket_pause(socket);
	else if (r == -ENOMEM)
		net_socket_destroy(socket, r); /* an echo with a hole would be none */
}

static void on_drain(struct net_socket *socket, void *ctx)
{
	net_socket_resume(socket);
}

static const struct net_socket_ops ops = {.on_data = on_data, .on_drain = on_drain};

static void on_connection(struct net_socket *socket, struct handler_text *text)
{
	net_socket_set_ops(socket, &ops, text);
}

const struct handler echo_handler = {.on_connection = on_connection};
