/* Reads and forgets, as RFC 863 says. */
#include "worker/handlers/handler.h"

static const struct net_socket_ops ops;

static void on_connection(struct net_socket *socket, struct handler_text *text)
{
	net_socket_set_ops(socket, &ops, text);
	net_socket_resume(socket);
}

const struct handler discard_handler = {.on_connection = on_connection};
